#!/bin/sh
# devpi-server 6.20.3 answers a simple page asked for with `Accept: application/json` with status 200, HTML, and
# `Content-Type: text_html`, which is no media type (RFC 9110 8.3.1 wants type/subtype). The request is valid; 406, or the page's
# JSON (PEP 691), or text/html would be answers. Any Accept that names neither text/html nor the simple API's JSON gets the same.
#
# Seen: HTTP/1.1 200 OK, content-type: text_html
# Exit: 0 while that is so, 1 when it changed.
set -eu
place=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$place"' EXIT
server=
python3 -m venv "$place/environment"
"$place/environment/bin/pip" install --quiet devpi-server==6.20.3
"$place/environment/bin/devpi-init" --serverdir "$place/data" --no-root-pypi >/dev/null 2>&1
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$place/environment/bin/devpi-server" --serverdir "$place/data" --host 127.0.0.1 --port "$port" \
    --argon2-memory-cost 1024 --argon2-time-cost 1 --argon2-parallelism 1 >/dev/null 2>&1 &
server=$!
python3 - "$port" <<'PROGRAM'
import json, sys, time, urllib.error, urllib.request

root = f"http://127.0.0.1:{sys.argv[1]}"


def ask(path, method="GET", **headers):
    body = b'{"bases": ""}' if method == "PUT" else None
    return urllib.request.urlopen(urllib.request.Request(root + path, data=body, method=method, headers=headers))


for _ in range(120):
    try:
        ask("/+api", Accept="application/json")
        break
    except OSError:
        time.sleep(0.5)
ask("/root/dev", "PUT", **{"X-Devpi-Auth": "cm9vdDo=", "Content-Type": "application/json"})
answer = ask("/root/dev/+simple/", Accept="application/json")
print(f"{answer.status} {answer.reason}, content-type: {answer.headers['Content-Type']}, body: {answer.read(15)!r}")
sys.exit(0 if (answer.status, answer.headers["Content-Type"]) == (200, "text_html") else 1)
PROGRAM
