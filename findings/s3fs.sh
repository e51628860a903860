#!/bin/sh
# s3fs 2026.9.0 with aiobotocore 3.10.0 sends 50 requests for one read of a small object to a store that closes each connection without an
# answer, as one does that restarts or sheds load, although the retries of its client are switched off (`retries` of `config_kwargs`). Its own
# two loops of five attempts stand one around the other in `cat_file`, no documented option sets their number, and each attempt reaches the
# store twice. A list of the same folder is one loop.
#
# Seen: requests that such a server got
#   ls           10
#   cat_file     50
# Exit: 0 while that is so, 1 when it changed.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/environment"
"$place/environment/bin/pip" install --quiet s3fs==2026.9.0 aiobotocore==3.10.0
"$place/environment/bin/python" - <<'PROGRAM'
import http.server
import sys
import threading

import s3fs

requests = []


class Shedding(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        requests.append(self.path)
        self.close_connection = True

    def log_message(self, *_words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shedding)
threading.Thread(target=server.serve_forever, daemon=True).start()
files = s3fs.S3FileSystem(
    key="k", secret="s", endpoint_url=f"http://127.0.0.1:{server.server_port}", config_kwargs={"retries": {"total_max_attempts": 1}}
)
seen = []
for ask in (lambda: files.ls("bucket/folder"), lambda: files.cat_file("bucket/folder/object", start=0, end=10)):
    requests.clear()
    try:
        ask()
    except Exception as error:
        print(f"{len(requests):3} requests, then {type(error).__name__}")
    seen.append(len(requests))
sys.exit(0 if seen == [10, 50] else 1)
PROGRAM
