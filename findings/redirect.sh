#!/usr/bin/env bash
# uv 0.13.9 cannot publish to an index that redirects with a relative Location, though it follows redirects of uploads when the Location is absolute.
#
# RFC 9110 10.2.2 lets Location be relative to the URL that was asked, and so it is what many servers send: aiohttp 3.14.5 does
# (`normalize_path_middleware`, which puts the slash at the end of a path), with 308, whose meaning is to send the same POST again. With the same
# redirect while it reads a project page, uv follows it.
#
# Seen: an upload to /legacy, where /legacy/ takes uploads
#   Location: http://host/legacy/   uv publish: exit 0, uploaded
#   Location: /legacy/              uv publish: exit 2, "location header is not a URL"
#   page /simple/demo/ moved to /pages/demo/ with a relative Location    uv pip install: exit 0
# Exit: 0 while that is so, 1 when it changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9 aiohttp==3.14.5
"$work/env/bin/uv" --version
"$work/env/bin/python" - "$work" <<'PY'
import asyncio
import os
import pathlib
import sys
import zipfile

from aiohttp import web

work = pathlib.Path(sys.argv[1])
wheel = work / "demo-1.0-py3-none-any.whl"
with zipfile.ZipFile(wheel, "w") as archive:
    archive.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
    archive.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    archive.writestr("demo-1.0.dist-info/RECORD", "".join(f"demo-1.0.dist-info/{name},,\n" for name in ("METADATA", "WHEEL", "RECORD")))
uploads = []


async def take(request):
    uploads.append(await request.read())
    return web.Response(text="taken")


async def absolutely(request):
    raise web.HTTPPermanentRedirect(f"http://{request.host}/legacy/")


async def moved(_request):
    raise web.HTTPPermanentRedirect("/pages/demo/")


async def page(_request):
    return web.Response(text=f'<!DOCTYPE html><html><body><a href="/{wheel.name}">{wheel.name}</a></body></html>', content_type="text/html")


async def main():
    app = web.Application(middlewares=[web.normalize_path_middleware()])
    app.router.add_post("/legacy/", take)
    app.router.add_post("/absolute", absolutely)
    app.router.add_get("/simple/demo/", moved)
    app.router.add_get("/pages/demo/", page)
    app.router.add_get(f"/{wheel.name}", lambda _request: asyncio.sleep(0, web.FileResponse(wheel)))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    root = f"http://127.0.0.1:{runner.addresses[0][1]}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}

    async def uv(label, *words):
        process = await asyncio.create_subprocess_exec(
            work / "env/bin/uv", *words, "--no-config", "--no-cache", env=environment, stderr=asyncio.subprocess.PIPE
        )
        said = (await process.communicate())[1].decode()
        print(f"{label}: exit {process.returncode}", *(said.splitlines()[-2:] if process.returncode else []))
        return process.returncode, "location header is not a URL" in said, len(uploads)

    publish = "publish", "-u", "u", "-p", "p", "--no-attestations", wheel, "--publish-url"
    install = "pip", "install", "--python", work / "env/bin/python", "--target", work / "target", "demo", "--default-index"
    return [
        await uv("upload, absolute Location", *publish, f"{root}/absolute"),
        await uv("upload, relative Location", *publish, f"{root}/legacy"),
        await uv("page, relative Location", *install, f"{root}/simple/"),
    ] == [(0, False, 1), (2, True, 1), (0, False, 1)]


sys.exit(0 if asyncio.run(main()) else 1)
PY
