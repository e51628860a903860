#!/bin/sh
# s3fs 2026.9.0 replaces an existing object by an empty one, without an error, if a file that was opened with "xb" (create, never replace) is closed
# before anything was written to it. With one byte or more the same call sends `If-None-Match: *` and raises FileExistsError, so every test that
# writes something passes. An empty marker or lock, or a source that happens to be empty, takes the object's content away. The S3 server
# here keeps objects in a dictionary and knows that one condition; with moto 5.2.5 in its place the result is the same.
#
# Seen: an object with the content b"first"
#   open "xb", write(b"x"), close       If-None-Match: *    FileExistsError   then b"first"
#   open "xb", close                    no condition        no error          then b""
#   pipe_file(b"", mode="create")       If-None-Match: *    FileExistsError   then b"first"
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

objects, conditions = {}, []
REFUSED = b"<Error><Code>PreconditionFailed</Code><Message>It exists</Message><Condition>If-None-Match</Condition></Error>"


class Store(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        conditions.append(self.headers["If-None-Match"])
        if conditions[-1] == "*" and self.path in objects:
            self.answer(412, REFUSED)
        else:
            objects[self.path] = content
            self.answer(200, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("ETag", '"e"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
threading.Thread(target=server.serve_forever, daemon=True).start()
files = s3fs.S3FileSystem(key="k", secret="s", endpoint_url=f"http://127.0.0.1:{server.server_port}")


def write(content):
    with files.open("bucket/object", "xb") as file:
        file.write(content)


def close():
    with files.open("bucket/object", "xb"):
        pass


seen = []
for label, create in (
    ("one byte", lambda: write(b"x")),
    ("nothing", close),
    ("pipe_file", lambda: files.pipe_file("bucket/object", b"", mode="create")),
):
    files.pipe_file("bucket/object", b"first")
    try:
        create()
        outcome = "no error"
    except FileExistsError:
        outcome = "FileExistsError"
    seen.append((conditions[-1], outcome, objects["/bucket/object"]))
    print(f"s3fs {s3fs.__version__} {label:10}", *seen[-1])
sys.exit(0 if seen == [("*", "FileExistsError", b"first"), (None, "no error", b""), ("*", "FileExistsError", b"first")] else 1)
PROGRAM
