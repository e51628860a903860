"""nginx as the registry that mirrors mirror: the made-up registry, as PyPI answers.

JSON or HTML by `Accept`, `X-PyPI-Last-Serial` on lists, pages and documents, ETags, ten minutes to live. The list is sent compressed to those who
take gzip. Each request has a line in a log: status, method, URL, range.

A body that ends too early is one whose length nginx does not know (`ssi`) and must not mark (`chunked_transfer_encoding`), below a head that says it.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import machine
from benchmarks.fixtures import Manifest, Site
from benchmarks.made_registry import MadeRegistry
from benchmarks.peers.nginx import BEGINNING, Nginx

_CONFIGURATION = (
    BEGINNING
    + """\
    log_format requests "$status $request_method $request_uri $http_range";
    keepalive_requests 1000000000;
    absolute_redirect off;
    map $http_accept $form {{
        default html;
        "~application/vnd\\.pypi\\.simple\\.v1\\+json" json;
    }}
    map $realpath_root $serial {{
        default "";
        "~@(?<number>[0-9]+)" $number;
    }}
    server {{
        listen 127.0.0.1:{port};
        access_log {place}/requests.log requests;
        types {{
            application/vnd.pypi.simple.v1+json json;
            "text/html; charset=utf-8" html;
        }}
        add_header X-PyPI-Last-Serial $serial;
        add_header Cache-Control "max-age=600, public";
        add_header Vary Accept;
        location = /+settled {{ access_log off; return 204; }}
        rewrite ^/simple$ /simple/ permanent;
        rewrite ^/simple/([^/]+)$ /simple/$1/ permanent;
        location = /simple/ {{
            root {made}/list;
            gzip_static on;
            try_files /page.$form =404;
        }}
        location ~ ^/simple/(?<project>[^/]+)/$ {{
            root {made}/projects/$project;
            if (-f $document_root/unavailable) {{ return 503; }}
            try_files /page.$form =404;
        }}
        location ~ ^/pypi/(?<project>[^/]+)/json$ {{
            types {{ application/json json; }}
            root {made}/projects/$project;
            if (-f $document_root/unavailable) {{ return 503; }}
            try_files /document.json =404;
        }}
        location ~ ^/packages/[^/]+/[^/]+/[^/]+/(?<filename>[^/]+)$ {{
            types {{ }}
            default_type application/octet-stream;
            add_header Cache-Control "max-age=365000000, immutable, public";
            root {made}/files;
            set $sent whole;
            if (-d {made}/cut/$filename) {{ set $sent half$http_range; }}
            if ($sent = half) {{ rewrite ^ /+cut/$filename last; }}
            rewrite ^ /$filename break;
        }}
        location ~ ^/\\+cut/(?<filename>[^/]+)$ {{
            internal;
            types {{ }}
            default_type application/octet-stream;
            root {made}/cut/$filename;
            ssi on;
            ssi_types *;
            chunked_transfer_encoding off;
            add_header Content-Length $serial;
            try_files /half =404;
        }}
    }}
}}
"""
)


class NginxRegistry(Nginx):
    """The server of a registry that is made up."""

    name = "made-up registry"

    def __init__(self, place: Path) -> None:
        super().__init__(Site(root=place, manifest=Manifest(recipe=0, sizes=(), large_bytes=0, projects={})), place)

    def version(self) -> str:
        return ""

    def command(self) -> Sequence[str]:
        return self.configured(_CONFIGURATION, made=self.place / "made")

    def pinned(self, command: Sequence[str]) -> Sequence[str]:
        """Elsewhere than the mirrors that ask it."""
        return machine.driver_command(command)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def registry(self) -> MadeRegistry:
        """The registry that it serves; empty until it is filled."""
        return MadeRegistry(self.place / "made", self.url)

    def requests(self) -> list[str]:
        """The requests since the last time: status, method, URL, and range."""
        # A client has its answer before the line of the request is written. The one worker takes up a request after the lines of the earlier ones.
        with urllib.request.urlopen(f"{self.url}/+settled"):
            pass
        log = self.place / "requests.log"
        lines = log.read_text().splitlines()
        log.write_text("")  # nginx appends
        return [line.rstrip() for line in lines]


@contextmanager
def serving(place: Path) -> Iterator[NginxRegistry]:
    """A registry that is served meanwhile; its files are below a directory that is not there yet."""
    server = NginxRegistry(place)
    server.start()
    try:
        yield server
    finally:
        server.stop()
