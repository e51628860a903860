"""nginx as the registry that caches are filled from: recorded pages, sidecars and files, from disk.

Pages are sent as JSON, compressed for those who take gzip, with an ETag and ten minutes to live, as PyPI sends them. Files are immutable. It counts
the requests for files in a log of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import machine
from benchmarks.peers.nginx import BEGINNING, Nginx

_CONFIGURATION = (
    BEGINNING
    + """\
    log_format uri $uri;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port};
        location /simple/ {{
            root {recording}/upstream;
            rewrite ^/simple/$ /index.json break;
            rewrite ^/simple/([^/]+)/$ /$1.json break;
            types {{ }}
            default_type application/vnd.pypi.simple.v1+json;
            gzip_static on;
            add_header Cache-Control "max-age=600, public";
        }}
        location /files/ {{
            alias {recording}/packages/;
            types {{ }}
            default_type application/octet-stream;
            add_header Cache-Control "max-age=365000000, immutable, public";
            access_log {place}/files.log uri;
        }}
    }}
}}
"""
)


class NginxUpstream(Nginx):
    """Sends a recording: the site is its directory."""

    name = "nginx upstream"

    def version(self) -> str:
        return ""

    def command(self) -> Sequence[str]:
        return self.configured(_CONFIGURATION, recording=self.site.root)

    def pinned(self, command: Sequence[str]) -> Sequence[str]:
        """With those who send requests: elsewhere than the servers that ask it, as upstreams are."""
        return machine.driver_command(command)

    def times_sent(self, filename: str) -> int:
        """How often a file was asked for since the last time."""
        log = self.place / "files.log"
        count = sum(line.endswith(f"/{filename}") for line in log.read_text().splitlines())
        log.write_text("")  # nginx appends
        return count
