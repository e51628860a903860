for (const form of document.forms) {
  form.addEventListener("submit", async event => {
    event.preventDefault();
    const name = form.id === "list" ? "list" : new FormData(form).get("name").trim().toLowerCase().replace(/[-_.]+/g, "-");
    const told = document.getElementById("told");
    try {
      // A project that is called "list" is asked for in another spelling.
      const path = form.id === "project" && name === "list" ? "List" : encodeURIComponent(name);
      const answer = await fetch(`cache/${path}`, { method: "DELETE" });
      told.textContent = answer.ok ? `The next request asks for ${name} again.` : `${answer.status}: ${await answer.text()}`;
    } catch (error) {
      told.textContent = `The server did not answer: ${error}`;
    }
  });
}
