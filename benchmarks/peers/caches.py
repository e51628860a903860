"""Caches in front of a registry, each as its documentation starts it, empty at every start. `index` is what a client is configured for.

pkgindex    `pkgindex-serve run`, its index `root/pypi`
pypiron     hosted and proxied packages in one index; its checks against advisories, which ask the network, are off, and so is its wait of 7 days for new files
peryx       one index with one upstream
devpi       a mirror index without devpi-web
proxpi      under gunicorn, 8 threads
nginx       `proxy_cache` with `proxy_cache_lock`; links in pages are rewritten, so that files come through it too. It knows nothing of packages
direct      no cache: the registry itself
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.fixtures import Site, page_project
from benchmarks.peers import Server, Target, environments
from benchmarks.peers.devpi import Devpi
from benchmarks.peers.nginx import BEGINNING, Nginx
from benchmarks.peers.pkgindex import MIRROR, PkgIndex
from benchmarks.peers.proxpi import Proxpi

_NGINX = (
    BEGINNING
    + """\
    proxy_cache_path {place}/cache levels=2 keys_zone=everything:16m;
    upstream registry {{ server {registry}; keepalive 32; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_cache everything;
        proxy_cache_lock on;
        proxy_cache_lock_timeout 60s;
        proxy_cache_valid 200 1d;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host {registry};
        location /files/ {{ proxy_pass http://registry; }}
        location /simple/ {{
            proxy_pass http://registry;
            proxy_set_header Accept-Encoding "";
            sub_filter "http://{registry}/" "http://127.0.0.1:{port}/";
            sub_filter_once off;
            sub_filter_types *;
            gzip on;
            gzip_comp_level 1;
            gzip_types *;
        }}
    }}
}}
"""
)


class Cache(Server):
    """A cache of a registry."""

    @property
    def index(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def start_empty(self) -> None:
        """Start it, knowing nothing."""
        self.stop()
        shutil.rmtree(self.place, ignore_errors=True)
        self.start()


class PkgIndexCache(PkgIndex, Cache):
    def __init__(self, site: Site, place: Path, *, upstream: str) -> None:
        super().__init__(site, place, upstream=upstream, empty=True)

    @property
    def index(self) -> str:
        return f"http://127.0.0.1:{self.port}/{MIRROR}/+simple/"

    def prepare(self) -> None:
        """Nothing: its first start makes the index."""


class _Installed(Cache):
    """A peer from the registry."""

    def __init__(self, site: Site, place: Path, *, upstream: str) -> None:
        super().__init__(site, place)
        self._registry = f"{upstream}/simple/"

    def missing(self) -> str:
        return environments.missing(self.name)

    def version(self) -> str:
        return environments.version(self.name)

    def pages(self, size: int, form: str, coding: str) -> Iterator[Target]:
        yield self.page_target(f"{self.name}, mirrored", f"{self._path}{page_project(size)}/", form, coding)

    def files(self, project: str) -> Iterator[Target]:
        entry, _ = self.site.file(project)
        yield self.linked_target(f"{self.name}, mirrored", f"{self._path}{project}/", entry.filename)

    @property
    def _path(self) -> str:
        return urlsplit(self.index).path


class PypIron(_Installed):
    name = "pypiron"

    def command(self) -> Sequence[str]:
        options = ["--data-dir", str(self.place / "data"), "--bind-addr", f"127.0.0.1:{self.port}"]
        proxy = ["--proxy-upstream", self._registry, "--allow-insecure-upstream"]
        unchecked = ["--advisory-feed", "", "--malware-block", "false", "--exclude-newer", ""]
        return [str(environments.program(self.name, "pypiron")), "serve", *options, *proxy, *unchecked]


class Peryx(_Installed):
    name = "peryx"

    @property
    def index(self) -> str:
        return f"http://127.0.0.1:{self.port}/pypi/simple/"

    def command(self) -> Sequence[str]:
        configuration = self.place / "peryx.toml"
        configuration.write_text(
            f'[[index]]\nname = "pypi"\n[[index.upstream]]\nname = "up"\nurl = "{self._registry}"\n'
        )
        options = ["-c", str(configuration), "--port", str(self.port), "--data-dir", str(self.place / "data")]
        return [str(environments.program(self.name, "peryx")), "serve", *options]


class DevpiCache(Devpi, Cache):
    def __init__(self, site: Site, place: Path, *, upstream: str) -> None:
        super().__init__(site, place, upstream=upstream, empty=True)

    @property
    def index(self) -> str:
        return f"http://127.0.0.1:{self.port}/root/mirror/+simple/"

    def fill(self) -> None:
        mirror = {"type": "mirror", "volatile": False, "mirror_url": f"{self._upstream}/simple/"}
        self.stages().send("PUT", "/root/mirror", mirror)


class ProxpiCache(Proxpi, Cache):
    @property
    def index(self) -> str:
        return f"http://127.0.0.1:{self.port}/index/"

    def environment(self) -> Mapping[str, str]:
        """With its own time-out, after which it sends a client to the upstream."""
        found = dict(super().environment())
        del found["PROXPI_DOWNLOAD_TIMEOUT"]
        return found


class NginxCache(Nginx, Cache):
    def __init__(self, site: Site, place: Path, *, upstream: str) -> None:
        super().__init__(site, place)
        self._upstream = upstream

    def command(self) -> Sequence[str]:
        return self.configured(_NGINX, registry=self._upstream.removeprefix("http://"))


CACHES = (PkgIndexCache, PypIron, Peryx, DevpiCache, ProxpiCache, NginxCache)
