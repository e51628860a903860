// Moves to the field of the search and through its results by keys, and shows results while one types. Pages work without it.
"use strict";

const form = document.querySelector("form[role=search]");
const field = form.querySelector("input");
let turn = 0;
let timer = 0;

async function show() {
  const mine = ++turn;
  const url = new URL(location.href);
  url.search = new URLSearchParams({ q: field.value });
  const answer = await fetch(url, { headers: { Accept: "application/xhtml+xml, text/html" } });
  const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("results");
  if (mine !== turn || !found) return;
  document.getElementById("results").replaceWith(found);
  history.replaceState(null, "", url);
}

if ("live" in form.dataset)
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, 100);
  });

document.addEventListener("keydown", (event) => {
  const active = document.activeElement;
  if (event.key === "/" && !active.matches("input, select, textarea")) {
    event.preventDefault();
    field.focus();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const links = [...document.querySelectorAll("#results a")];
    const place = links.indexOf(active);
    if (active !== field && place < 0) return;
    event.preventDefault();
    (links[place + (event.key === "ArrowDown" ? 1 : -1)] ?? (place > 0 ? active : field)).focus();
  }
});
