"""Every kind of archive, with metadata of every age, in the form of every client; and what each rule says to it.

The expectation of a cell is the union of three short tables, written by hand: what `pypi` finds unusual about its kind, its age and its form.
The expectation shares no code with the product. Both rules take a cell with nothing unusual without a warning.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from msgspec import Struct

from pkgindex_core.testing.wheels import record_of, tar_gz_of, zip_of
from tests.http.forms import Part

Outcome = Literal["taken", "warned", "refused"]

KINDS: Final[Mapping[str, str]] = {
    "wheel": "",
    "sdist": "",
    "sdist, old name": "PEP 625 names it",
    "sdist, zip": "PEP 625 names it",
    "sdist, tar.bz2": "PEP 625 names it",
    "sdist, tgz": "PEP 625 names it",
    "sdist, tar.xz": "PEP 625 names it",
    "egg": "build a wheel",
    "dumb": "build a wheel",
    "wininst": "build a wheel",
}
"""The kinds of archives; what a warning about each says, nothing for the two that today's tools build."""

AGES: Final[Mapping[str, str]] = {
    "1.0": "",
    "1.1": "",
    "1.2": "",
    "2.0": "metadata-version '2.0'",
    "2.1": "",
    "2.4": "",
    "newer than known": "metadata-version '9.9'",
    "no version": "no metadata-version",
    "no metadata": "PKG-INFO",
    "Latin-1": "UTF-8",
}
"""The metadata inside; what a warning about each says."""

FORMS: Final[Mapping[str, str]] = {
    "twine": "",
    "uv": "",
    "devpi": "",
    "curl": "the form has no field name, version, metadata_version, filetype",
    "no filetype": "the form has no field filetype",
}
"""The clients; what a warning about the form of each says."""

_OPAQUE: Final = ("wininst",)
"""Kinds whose inside is not read."""
_NEED_METADATA: Final = ("wheel", "egg")
_MAY_LACK_METADATA: Final = ("dumb",)
"""Without a word: a dumb archive is a tree of a file system."""


class Cell(Struct, frozen=True, kw_only=True):
    """One upload."""

    number: int
    kind: str
    age: str
    form: str
    project: str
    filename: str
    data: bytes
    fields: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.kind} / {self.age} / {self.form}"

    @property
    def parts(self) -> list[Part]:
        texts: list[Part] = [(name, None, value.encode()) for name, value in self.fields.items()]
        return [*texts, ("content", self.filename, self.data)]

    @property
    def dangerous(self) -> bool:
        """Whether no rules take it: nothing inside says what it is."""
        return self.age == "no metadata" and self.kind in _NEED_METADATA

    @property
    def unusual(self) -> list[str]:
        """What warnings say."""
        age = AGES[self.age]
        if self.kind in _OPAQUE or (self.age == "no metadata" and self.kind in _MAY_LACK_METADATA):
            age = ""
        return [text for text in (KINDS[self.kind], age, FORMS[self.form]) if text]

    def outcome(self, rules: str) -> Outcome:
        """What becomes of it."""
        if self.dangerous or (self.unusual and rules == "pypi"):
            return "refused"
        return "warned" if self.unusual else "taken"


def cells() -> Iterator[Cell]:
    """All cells, each of a project of its own: none is in another's way."""
    number = 0
    for kind in KINDS:
        for age in AGES:
            for form in FORMS:
                number += 1
                yield _cell(number, kind, age, form)


def _cell(number: int, kind: str, age: str, form: str) -> Cell:
    name = f"Old.Pack-{number}" if kind == "sdist, old name" else f"pack{number}"
    metadata = None if age == "no metadata" else _metadata(name, age)
    filename, data = _archive(name, kind, metadata)
    return Cell(
        number=number,
        kind=kind,
        age=age,
        form=form,
        project=name.lower().replace(".", "-"),
        filename=filename,
        data=data,
        fields=_fields(name, kind, age, form, data),
    )


def _headers(name: str, age: str) -> dict[str, str]:
    """The metadata as lines; each version has a field that came with it."""
    written = {"no version": "", "newer than known": "9.9", "Latin-1": "1.1"}.get(age, age)
    return {
        **({"Metadata-Version": written} if written else {}),
        "Name": name,
        "Version": "1.0",
        "Summary": "of the matrix",
        "Author": "J\xfcrgen" if age == "Latin-1" else "Jane",
        **({"Requires-Python": ">=2.6"} if age in {"1.2", "2.0", "2.1", "2.4"} else {}),
        **({"Description-Content-Type": "text/plain"} if age in {"2.1", "2.4"} else {}),
        **({"License-Expression": "MIT"} if age == "2.4" else {}),
    }


def _metadata(name: str, age: str) -> bytes:
    text = "".join(f"{field}: {value}\n" for field, value in _headers(name, age).items())
    return text.encode("latin-1" if age == "Latin-1" else "utf-8")


def _archive(name: str, kind: str, metadata: bytes | None) -> tuple[str, bytes]:
    """The file, in the layout of its kind."""
    module = {f"{name}.py": b"x = 1\n"}
    if kind == "wheel":
        info = f"{name}-1.0.dist-info"
        members = dict(module)
        if metadata is not None:
            members[f"{info}/METADATA"] = metadata
        members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        members[f"{info}/RECORD"] = record_of(members, f"{info}/RECORD")
        return f"{name}-1.0-py3-none-any.whl", zip_of(members)
    if kind == "egg":
        said = {} if metadata is None else {"EGG-INFO/PKG-INFO": metadata}
        return f"{name}-1.0-py2.7.egg", zip_of({**said, "EGG-INFO/top_level.txt": b"x\n", **module})
    if kind == "dumb":
        place = "./usr/lib/python2.7/site-packages"
        said = {} if metadata is None else {f"{place}/{name}-1.0.egg-info": metadata}
        members = {**said, **{f"{place}/{path}": data for path, data in module.items()}}
        return f"{name}-1.0.linux-x86_64.tar.gz", tar_gz_of(members)
    if kind == "wininst":
        # A Windows program with a zip behind it.
        said = {} if metadata is None else {f"PURELIB/{name}-1.0-py2.5.egg-info": metadata}
        return f"{name}-1.0.win32-py2.5.exe", b"MZ\x90\0" * 64 + zip_of({**said, **module})
    top = f"{name}-1.0"
    said = {} if metadata is None else {f"{top}/PKG-INFO": metadata}
    members = {**said, f"{top}/setup.py": b"from setuptools import setup\nsetup()\n", f"{top}/{name}.py": b"x = 1\n"}
    ending = {"sdist": "tar.gz", "sdist, old name": "tar.gz"}.get(kind, kind.removeprefix("sdist, "))
    if ending == "zip":
        return f"{top}.zip", zip_of(members)
    plain = gzip.decompress(tar_gz_of(members))
    compress = {"tar.bz2": bz2.compress, "tar.xz": lzma.compress}.get(ending, gzip.compress)
    return f"{top}.{ending}", compress(plain)


def _fields(name: str, kind: str, age: str, form: str, data: bytes) -> dict[str, str]:
    """What the client sends beside the file."""
    if form == "curl":
        return {":action": "file_upload"}
    filetype, pyversion = {
        "wheel": ("bdist_wheel", "py3"),
        "egg": ("bdist_egg", "2.7"),
        # twine goes by the ending alone.
        "dumb": ("bdist_dumb", "any") if form == "devpi" else ("sdist", "source"),
        "wininst": ("bdist_wininst", "2.5"),
    }.get(kind, ("sdist", "source"))
    headers = _headers(name, age)
    said = {field.lower().replace("-", "_"): value for field, value in headers.items()}
    if age == "no metadata":
        said = {"name": name, "version": "1.0", "metadata_version": "1.0"}
    # Tools write a number that the metadata has not.
    said.setdefault("metadata_version", "1.0")
    asked = {":action": "file_upload", "protocol_version": "1"}
    digests = {
        "sha256_digest": hashlib.sha256(data).hexdigest(),
        "blake2_256_digest": hashlib.blake2b(data, digest_size=32).hexdigest(),
    }
    described = {**said, "filetype": filetype, "pyversion": pyversion}
    if form == "uv":
        return {":action": "file_upload", **digests, "protocol_version": "1", **described}
    if form == "devpi":
        return {**described, **asked}
    if form == "no filetype":
        del described["filetype"]
    return {**described, **digests, **asked}
