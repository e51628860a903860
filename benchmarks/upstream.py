"""The static index that the mirrors of all servers mirror. It is asked while caches are filled, and never measured.

A page of which a compressed form lies beside it (`name.json.gz`) is sent so to those who take gzip.

python -m benchmarks.upstream SITE PORT
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_JSON = "application/vnd.pypi.simple.v1+json"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    """Head and body are two writes; waiting for the acknowledgement of the first takes 40 ms."""
    site: Path

    def do_GET(self) -> None:
        place, kind = self._find()
        if not place.is_file():
            self.send_error(404)
            return
        packed = place.with_name(f"{place.name}.gz")
        is_packed = packed.is_file() and "gzip" in self.headers.get("Accept-Encoding", "")
        data = (packed if is_packed else place).read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if is_packed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{place.stat().st_mtime_ns:x}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_GET  # noqa: N815 - the base class names it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing."""

    def _find(self) -> tuple[Path, str]:
        parts = [part for part in self.path.partition("?")[0].split("/") if part]
        if parts[:1] == ["files"] and len(parts) == 3:
            return self.site / "packages" / parts[1] / parts[2], "application/octet-stream"
        name = parts[1] if parts[:1] == ["simple"] and len(parts) == 2 else "index"
        if _JSON in self.headers.get("Accept", ""):
            return self.site / "upstream" / f"{name}.json", _JSON
        return self.site / "upstream" / f"{name}.html", "text/html; charset=utf-8"


def main() -> None:
    Handler.site = Path(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
