"""Builds tiny wheels and source distributions, byte for byte the same every time.

For tests and for authors of plugins. pip, uv and the inspection of uploads accept the files: RECORD is complete, the zip has no data
descriptors and no comments, and timestamps are fixed. A source distribution has its own build backend, so that an installer can build
it without a network. Arguments are not checked, so that a test can make a wrong wheel.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping

from msgspec import Struct

from pkgindex_core.digests import Sha256, sha256_of

_OLDEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3  # `create_system`: fixed, since zipfile writes the current system


class BuiltFile(Struct, frozen=True, kw_only=True):
    """One distribution file, in memory."""

    filename: str
    data: bytes
    metadata: bytes
    """The exact bytes of METADATA or PKG-INFO inside `data`."""
    sha256: Sha256

    @property
    def size(self) -> int:
        return len(self.data)


def build_wheel(
    name: str,
    version: str,
    *,
    requires_dist: Iterable[str] = (),
    requires_python: str = "",
    provides_extra: Iterable[str] = (),
    files: Mapping[str, bytes] | None = None,
    metadata_extra: str = "",
    metadata_version: str = "2.1",
    description: str = "",
    build: str = "",
    tag: str = "py3-none-any",
    stored: bool = False,
) -> BuiltFile:
    """Make a wheel. Without `files` it has one module, named for the project, with a `__version__`.

    `metadata_extra`: further header lines of METADATA. `stored` leaves the members uncompressed.
    """
    spelled = _file_name_part(name)
    spelled_version = version.replace("-", "_")
    metadata = core_metadata(
        name,
        version,
        requires_dist=requires_dist,
        requires_python=requires_python,
        provides_extra=provides_extra,
        metadata_extra=metadata_extra,
        metadata_version=metadata_version,
        description=description,
    )
    info = f"{spelled}-{spelled_version}.dist-info"
    members = dict(_module(spelled, version) if files is None else files)
    members[f"{info}/METADATA"] = metadata
    members[f"{info}/WHEEL"] = _wheel_file(tag, build)
    members[f"{info}/RECORD"] = record_of(members, f"{info}/RECORD")
    stem = "-".join(part for part in (spelled, spelled_version, build, tag) if part)
    data = zip_of(members, stored=stored)
    return BuiltFile(filename=f"{stem}.whl", data=data, metadata=metadata, sha256=sha256_of(data))


def build_sdist(
    name: str,
    version: str,
    *,
    requires_dist: Iterable[str] = (),
    requires_python: str = "",
    provides_extra: Iterable[str] = (),
    files: Mapping[str, bytes] | None = None,
    metadata_extra: str = "",
    metadata_version: str = "2.2",
    description: str = "",
) -> BuiltFile:
    """Make a source distribution (PEP 625) that an installer can build without a network.

    Without `files` it has one module, named for the project, with a `__version__`.
    """
    spelled = _file_name_part(name)
    metadata = core_metadata(
        name,
        version,
        requires_dist=requires_dist,
        requires_python=requires_python,
        provides_extra=provides_extra,
        metadata_extra=metadata_extra,
        metadata_version=metadata_version,
        description=description,
    )
    top = f"{spelled}-{version}"
    sources = dict(_module(spelled, version) if files is None else files)
    members = {f"{top}/{path}": data for path, data in sources.items()}
    members[f"{top}/PKG-INFO"] = metadata
    members.setdefault(f"{top}/pyproject.toml", _PYPROJECT)
    members.setdefault(f"{top}/_tiny_backend.py", _BACKEND)
    data = tar_gz_of(members)
    return BuiltFile(filename=f"{top}.tar.gz", data=data, metadata=metadata, sha256=sha256_of(data))


def core_metadata(
    name: str,
    version: str,
    *,
    requires_dist: Iterable[str] = (),
    requires_python: str = "",
    provides_extra: Iterable[str] = (),
    metadata_extra: str = "",
    metadata_version: str = "2.1",
    description: str = "",
) -> bytes:
    """Write a METADATA file."""
    lines = [
        f"Metadata-Version: {metadata_version}",
        f"Name: {name}",
        f"Version: {version}",
        f"Summary: {name} for tests",
    ]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Requires-Dist: {requirement}" for requirement in requires_dist]
    lines += [f"Provides-Extra: {extra}" for extra in provides_extra]
    if metadata_extra:
        lines.append(metadata_extra.strip("\n"))
    return ("\n".join(lines) + "\n" + (f"\n{description}" if description else "")).encode()


def record_of(members: Mapping[str, bytes], record_name: str) -> bytes:
    """Write the RECORD of these members; the line of RECORD itself has neither hash nor size."""
    lines = [
        f"{_record_field(name)},sha256={_record_hash(data)},{len(data)}"
        for name, data in members.items()
        if name != record_name
    ]
    return ("\n".join([*lines, f"{record_name},,"]) + "\n").encode()


def zip_of(members: Mapping[str, bytes], *, stored: bool = False) -> bytes:
    """Write a plain zip in the given order, with fixed times and modes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _OLDEST_ZIP_TIME)
            info.create_system = _UNIX
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()


def tar_gz_of(members: Mapping[str, bytes]) -> bytes:
    """Write a gzipped tar in the given order, with fixed times, modes and owners."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o644
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _file_name_part(name: str) -> str:
    """The project's name in filenames: normalised, with `_` (PEP 427, PEP 625)."""
    return "_".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


def _module(spelled: str, version: str) -> dict[str, bytes]:
    return {f"{spelled}.py": f'__version__ = "{version}"\n'.encode()}


def _wheel_file(tag: str, build: str) -> bytes:
    python, abi, platform = tag.split("-")
    lines = ["Wheel-Version: 1.0", "Generator: pkgindex", f"Root-Is-Purelib: {'true' if abi == 'none' else 'false'}"]
    if build:
        lines.append(f"Build: {build}")
    # PEP 427: a compressed tag set has one Tag line for each tag.
    lines += [f"Tag: {p}-{a}-{q}" for p in python.split(".") for a in abi.split(".") for q in platform.split(".")]
    return ("\n".join(lines) + "\n").encode()


def _record_field(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(mark in name for mark in ',"\r\n') else name


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


_PYPROJECT = b"""\
[build-system]
requires = []
build-backend = "_tiny_backend"
backend-path = ["."]
"""

_BACKEND = rb'''"""Packs what lies beside it into a wheel, with the standard library alone."""

import base64
import hashlib
import pathlib
import re
import zipfile

HERE = pathlib.Path(__file__).parent


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    metadata = (HERE / "PKG-INFO").read_bytes()
    headers = dict(line.split(": ", 1) for line in metadata.decode().splitlines()[:3])
    # Installers unpack under a directory name of their own, so the name is not taken from there.
    stem = re.sub(r"[-_.]+", "_", headers["Name"]).lower() + "-" + headers["Version"].replace("-", "_")
    members = {
        path.relative_to(HERE).as_posix(): path.read_bytes()
        for path in sorted(HERE.rglob("*"))
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.name not in ("PKG-INFO", "pyproject.toml", "_tiny_backend.py")
    }
    info = stem + ".dist-info"
    members[info + "/METADATA"] = metadata
    members[info + "/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: tiny\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    lines = []
    for name, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(name + ",sha256=" + digest + "," + str(len(data)))
    lines.append(info + "/RECORD,,")
    members[info + "/RECORD"] = ("\n".join(lines) + "\n").encode()
    filename = stem + "-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / filename, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return filename


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError("this tree was made from an sdist")
'''
