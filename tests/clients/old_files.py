"""Takes, lists and installs real files of old times: thirty that the package registry has, listed with their digests in `old_files.txt`.

    uv venv --python 3.11 /tmp/old && uv pip install --python /tmp/old twine==5.1.1 "importlib-metadata<8" pip setuptools==57.5.0 wheel==0.37.1
    .venv/bin/python -m tests.clients.old_files /tmp/old/bin /tmp/old-files [FILE…]

The files are fetched into the directory unless they are there, through this server's mirror of the index that pip is configured with. They are then
uploaded with twine to a fresh server whose upstream does not answer. What twine refuses on its own is sent with curl. pip installs from there alone, and uv
the wheels that pip passes over; the setuptools named above is the last one that translates Python 2. The status is 1 if a file is not taken, listed and
served, or if a wheel is not installed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
from msgspec import Struct

from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from tests.clients.conftest import ServerProcess
from tests.clients.running import executable, run

_LIST = Path(__file__).with_name("old_files.txt")
_NO_UPSTREAM = "http://127.0.0.1:9/simple/"
_ANY_NETWORK = {"PKGINDEX_PLUGINS__MIRROR__ALLOW_NETWORKS": '["0.0.0.0/0", "::/0"]'}
"""The index that pip is configured with may be a private one."""
_JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


class OldFile(Struct, frozen=True, kw_only=True):
    """A line of the list."""

    project: str
    version: str
    filename: str
    sha256: str

    @property
    def kind(self) -> str:
        return next(
            end for end in (".whl", ".tar.gz", ".zip", ".tar.bz2", ".egg", ".exe") if self.filename.endswith(end)
        )


async def fetch(files: list[OldFile], place: Path, server: ServerProcess) -> None:
    """Bring what is not there yet, through the mirror; refuse other bytes than those of the list."""
    async with aiohttp.ClientSession() as session:
        for file in files:
            path = place / file.filename
            if not path.exists():
                url = (await _listed(session, f"{server.url}/root/pypi/+simple/{file.project}/"))[file.filename][0]
                async with session.get(url) as answer:
                    assert answer.status == 200, (url, await answer.text())
                    path.write_bytes(await answer.read())
            found = sha256_of(path.read_bytes())
            assert found == file.sha256, f"{path} has the digest {found}, and not {file.sha256}"


async def upload(file: OldFile, place: Path, tools: Path, server: ServerProcess) -> tuple[str, str]:
    """Upload a file; return what it was taken from, and why it was not taken or twine did not send it."""
    path = place / file.filename
    twine = await run(
        tools / "twine", "upload", "--verbose", "--non-interactive", "--config-file", os.devnull, "--repository-url", f"{server.url}/legacy/",
        "-u", "root", "-p", server.password, path, env={"COLUMNS": "500"},
    )  # fmt: skip
    if twine.status == 0:
        return "twine", twine.output
    if "HTTPError" in twine.output:
        return "refused", twine.output
    curl = await run(
        "curl", "-sS", "-u", f"root:{server.password}", "-F", ":action=file_upload", "-F", f"content=@{path}",
        "-w", "%{http_code}", f"{server.url}/legacy/",
    )  # fmt: skip
    if curl.output.endswith("200"):
        return "curl", twine.output
    return "refused", curl.output


async def is_served(file: OldFile, server: ServerProcess) -> bool:
    """Whether the page lists the file with its digest, and its URL gives the same bytes."""
    async with aiohttp.ClientSession() as session:
        url, digest = (await _listed(session, f"{server.url}/root/dev/+simple/{file.project}/"))[file.filename]
        async with session.get(url) as answer:
            return digest == file.sha256 == sha256_of(await answer.read())


async def install(file: OldFile, tools: Path, server: ServerProcess) -> tuple[str, str]:
    """Install exactly this file from the server alone: with pip, and with uv what pip passes over. Return the installer, or nothing, and what pip said."""
    words: list[str | Path] = [
        "--no-deps",
        "--no-cache-dir",
        "--no-build-isolation",
        "--index-url",
        f"{server.url}/simple/",
    ]
    if file.kind == ".whl":
        python = file.filename.split("-")[-3].split(".")[-1]
        # A wheel for Python 2 alone is installed as for that.
        words += ["--only-binary=:all:", "--platform", "any", "--implementation", "py", "--abi", "none"]
        words += ["--python-version", "2.7" if python.startswith("py2") else "3.11"]
    with tempfile.TemporaryDirectory() as target:
        requirement = f"{file.project}=={file.version} --hash=sha256:{file.sha256}\n"
        (Path(target) / "requirements.txt").write_text(requirement)
        words += ["--target", Path(target) / "installed", "-r", Path(target) / "requirements.txt"]
        pip = await run(tools / "python", "-m", "pip", "install", *words)
        if pip.status == 0 or file.kind != ".whl":
            return "" if pip.status else "pip", pip.output
        uv = await run(
            executable("uv"), "pip", "install", "--no-cache", "--no-deps", "--python", sys.executable,
            "--target", Path(target) / "installed", "--default-index", f"{server.url}/simple/",
            "--require-hashes", "-r", Path(target) / "requirements.txt",
        )  # fmt: skip
        return "" if uv.status else "uv", pip.output


async def _listed(session: aiohttp.ClientSession, page: str) -> dict[str, tuple[str, str]]:
    """URL and digest of each file of a page, by filename."""
    async with session.get(page, headers=_JSON) as answer:
        assert answer.status == 200, (page, await answer.text())
        document = await answer.json(content_type=None)
        return {
            file["filename"]: (urljoin(str(answer.url), file["url"]), file["hashes"].get("sha256", ""))
            for file in document["files"]
        }


def _upstream() -> str:
    """The index that pip is configured with, or else what this server mirrors by itself."""
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or Settings(data=Path()).upstream


async def show(tools: Path, place: Path, names: list[str]) -> int:
    """Do all of it with the files of the list, or those named; print what came of each; return the exit status."""
    lines = [line.split() for line in _LIST.read_text().splitlines()]
    files = [OldFile(project=a, version=b, filename=c, sha256=d) for a, b, c, d in lines if not names or c in names]
    place.mkdir(exist_ok=True)
    counts: Counter[tuple[str, str]] = Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as data:
        mirror = ServerProcess(Path(data) / "mirror", _upstream(), **_ANY_NETWORK)
        await mirror.start()
        try:
            await fetch(files, place, mirror)
        finally:
            await mirror.stop()
        server = ServerProcess(Path(data) / "fresh", _NO_UPSTREAM)
        await server.start()
        try:
            for file in files:
                taken, said = await upload(file, place, tools, server)
                served = taken != "refused" and await is_served(file, server)
                installer, output = await install(file, tools, server)
                came = [
                    f"taken from {taken}" if taken != "refused" else taken,
                    *(["listed and served"] if served else []),
                ]
                came.append(f"installed by {installer}" if installer else "not installed")
                counts.update((file.kind, what) for what in ("files", *came))
                failed += not served or (file.kind == ".whl" and not installer)
                print(f"{file.filename}: {', '.join(came)}")
                print(
                    "".join(
                        f"    {line}\n"
                        for line in _reasons(said if taken != "twine" else "", output if installer != "pip" else "")
                    ),
                    end="",
                )
        finally:
            await server.stop()
    for (kind, what), count in sorted(counts.items()):
        print(f"{kind:10}{count:4} {what}")
    for what in dict.fromkeys(what for _, what in sorted(counts)):
        print(f"{'all':10}{sum(count for (_, each), count in counts.items() if each == what):4} {what}")
    return 1 if failed else 0


def _reasons(sending: str, installing: str) -> list[str]:
    """The lines that say why something did not work."""
    lines = [line.strip() for line in sending.splitlines() if line.strip()][-3:]
    lines += [line.strip() for line in installing.splitlines() if "error" in line.lower()][:3]
    return [line[:160] for line in lines]


if __name__ == "__main__":
    sys.exit(asyncio.run(show(Path(sys.argv[1]).absolute(), Path(sys.argv[2]), sys.argv[3:])))
