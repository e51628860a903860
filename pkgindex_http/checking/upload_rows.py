"""Rows about uploads (UP and VA). They publish a wheel of a project of their own, and leave it there."""

from __future__ import annotations

import asyncio
import hashlib
import io
import secrets
import zipfile
from base64 import urlsafe_b64encode
from typing import Final

from pkgindex_http.checking.asking import SeenAnswer
from pkgindex_http.checking.outcomes import Advised, CheckedRow, Skipped
from pkgindex_http.checking.subjects import PIP, CheckedSubject, document_of, links_of

_BOUNDARY: Final = "pkgindex-check-3f9a7c"
_SECONDS: Final = 3
"""How long a file is waited for that was taken."""


class Publishing:
    """The uploads of one check. Each check has a project of its own, so that checks of one index do not disturb each other."""

    def __init__(self, upload_url: str) -> None:
        self._url = upload_url
        self.project = f"pkgindex-check-{secrets.token_hex(4)}"
        self.wheel = _made_wheel(self.project, "1.0", b"first")

    def rows(self) -> tuple[CheckedRow, ...]:
        """In the order in which they have to be checked."""
        return (
            CheckedRow("UP-13", "an upload without credentials is 401", "anybody can publish; or uv and twine do not know that they should log in", self._anonymous),
            CheckedRow("UP-5", "a wrong digest is refused", "bytes that were damaged on the way are published", self._wrong_digest),
            CheckedRow("VA-31", "form and archive have to agree", "a file appears under the name of another project", self._wrong_name),
            CheckedRow("VA-28", "a wheel has to be one", "pip and uv fail at the file, and not the one who published it", self._no_wheel),
            CheckedRow("UP-10", "an upload is taken, and is there at once", "twine and uv publish fail; installs right after a release fail", self._taken),
            CheckedRow("UP-11", "a name that is taken gets no other bytes", "lock files with the first bytes fail", self._other_bytes),
            CheckedRow("UP-12", "the refusal says File already exists", "twine --skip-existing and poetry stop instead of skipping", self._says_exists),
            CheckedRow("UP-17", "the same bytes again do no harm", "a repeated upload after a lost answer fails", self._again),
        )  # fmt: skip

    def _version(self, version: str) -> bytes:
        """A wheel of a version of its own: what one row gets taken does not decide another."""
        return _made_wheel(self.project, version, b"first")

    async def _anonymous(self, subject: CheckedSubject) -> str:
        seen = await self._send(subject, self._version("0.6"), anonymous=True, version="0.6")
        if seen.status == 401:
            return "" if seen.headers.get("www-authenticate") else "the 401 has no WWW-Authenticate"
        return f"it answers {seen.status}"

    async def _wrong_digest(self, subject: CheckedSubject) -> str:
        return _refused(await self._send(subject, self._version("0.7"), version="0.7", sha256_digest="0" * 64))

    async def _wrong_name(self, subject: CheckedSubject) -> str:
        other = f"{self.project}-other"
        return _refused(await self._send(subject, self._version("0.8"), version="0.8", name=other))

    async def _no_wheel(self, subject: CheckedSubject) -> str:
        return _refused(await self._send(subject, b"this is no zip file", version="0.9"))

    async def _taken(self, subject: CheckedSubject) -> str:
        seen = await self._send(subject, self.wheel)
        if seen.status not in {200, 201}:
            return f"it answers {seen.status}: {seen.text.strip()[:100]}"
        for waited in range(_SECONDS * 5):
            if waited:
                await asyncio.sleep(0.2)
            told = await self._missing(subject)
            if not told:
                if waited:
                    raise Advised(f"the file is on its page {waited / 5:.1f} seconds later")
                return ""
        return told

    async def _missing(self, subject: CheckedSubject) -> str:
        page = await subject.asking.send("GET", f"{subject.root}{self.project}/", headers={"Accept": PIP}, follow=True)
        document = document_of(page)
        names = (
            {each["filename"] for each in document.get("files", ())}
            if document
            else {link.filename for link in links_of(page)[0]}
        )
        return "" if _filename(self.project, "1.0") in names else f"its page answers {page.status} without the file"

    async def _other_bytes(self, subject: CheckedSubject) -> str:
        seen = await self._send(subject, _made_wheel(self.project, "1.0", b"second"))
        return "" if seen.status in {400, 403, 409} else f"it answers {seen.status}"

    async def _says_exists(self, subject: CheckedSubject) -> str:
        seen = await self._send(subject, _made_wheel(self.project, "1.0", b"second"))
        if seen.status < 400:
            raise Skipped("other bytes are taken")
        told = seen.text.lower()
        return (
            ""
            if seen.status == 409 or "already exist" in told
            else f"it answers {seen.status}: {seen.text.strip()[:100]}"
        )

    async def _again(self, subject: CheckedSubject) -> str:
        seen = await self._send(subject, self.wheel)
        return "" if seen.status in {200, 201, 400, 409} else f"it answers {seen.status}"

    async def _send(
        self, subject: CheckedSubject, content: bytes, *, anonymous: bool = False, **changed: str
    ) -> SeenAnswer:
        version = changed.get("version", "1.0")
        fields = {
            ":action": "file_upload", "protocol_version": "1", "name": self.project, "version": version, "filetype": "bdist_wheel",
            "pyversion": "py3", "metadata_version": "2.1", "summary": "A check of this index", "sha256_digest": hashlib.sha256(content).hexdigest(),
            **changed,
        }  # fmt: skip
        parts = [
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        filename = _filename(self.project, version)
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        body = "".join(parts).encode() + head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
            "User-Agent": "twine/7.0.0 (pkgindex check)",
        }
        return await subject.asking.send("POST", self._url, headers=headers, data=body, anonymous=anonymous)


def _refused(seen: SeenAnswer) -> str:
    if seen.status in {401, 403}:
        raise Skipped(f"the credentials may not upload: {seen.status}")
    return "" if 400 <= seen.status < 500 else f"it answers {seen.status}"


def _filename(project: str, version: str) -> str:
    return f"{project.replace('-', '_')}-{version}-py3-none-any.whl"


def _made_wheel(project: str, version: str, content: bytes) -> bytes:
    """A wheel with one module, and a RECORD that is true."""
    stem = project.replace("-", "_")
    directory = f"{stem}-{version}.dist-info"
    files = {
        f"{stem}.py": b'"""A check of an index."""\n# ' + content + b"\n",
        f"{directory}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nSummary: A check of this index\n".encode(),
        f"{directory}/WHEEL": b"Wheel-Version: 1.0\nGenerator: pkgindex\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
    )
    files[f"{directory}/RECORD"] = f"{record}{directory}/RECORD,,\n".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
    return out.getvalue()
