"""The TLS certificate of a server, which is read again when its files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

from pkgindex_core.errors import Refused
from pkgindex_http.settings import ServerSettings

_LOOK_SECONDS: Final = 30.0
_log = logging.getLogger("pkgindex.http")


class Certificate:
    """A certificate with its key. New connections use what was read last."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files. Raises `Refused` if they cannot be used."""
        self._files = certificate, key
        self._seen = self._look()
        self.context = self._read()

    @classmethod
    def of(cls, settings: ServerSettings) -> Certificate:
        """The certificate that the settings name. Raises `Refused`."""
        if not settings.tls_certificate:
            raise Refused("tls_key is set without tls_certificate", hint="name the certificate with --tls-certificate")
        return cls(Path(settings.tls_certificate), Path(settings.tls_key or settings.tls_certificate))

    def renew(self) -> None:
        """Read the files again. If they cannot be used, the old certificate stays, and the log says so."""
        self._seen = self._look()
        try:
            self._read()  # certificate and key fit; a live context could be left with half of a pair
            self.context.load_cert_chain(*self._files)
        except (Refused, OSError) as error:
            _log.error("the certificate is not renewed, and the old one stays in use: %s", error)
        else:
            _log.info("the certificate %s was read again", self._files[0])

    async def watch(self) -> None:
        """Renew the certificate when its files change, for ever."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._look() != self._seen:
                self.renew()

    def _look(self) -> list[tuple[int, int, int] | None]:
        """Inode, time and size of each file; None for a file that cannot be read."""
        marks: list[tuple[int, int, int] | None] = []
        for file in self._files:
            try:
                found = file.stat()
            except OSError:
                marks.append(None)
            else:
                marks.append((found.st_ino, found.st_mtime_ns, found.st_size))
        return marks

    def _read(self) -> ssl.SSLContext:
        certificate, key = self._files
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except ssl.SSLError as error:
            reason = error.reason or "not PEM"
            raise Refused(
                f"the certificate {certificate} and the key {key} cannot be used: {reason}",
                hint="both are PEM files; the key belongs to the first certificate of its file, and has no password",
            ) from error
        except OSError as error:
            named = error.filename or f"{certificate} or {key}"
            raise Refused(f"{named} cannot be read: {error.strerror}") from error
        return context


def _no_password() -> str:
    """Called for an encrypted key. Without it OpenSSL would ask at the terminal."""
    return ""
