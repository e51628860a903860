"""Compares the WHEEL file with the filename (PEP 427, "File contents").

Only warns: installers use the filename.
"""

from __future__ import annotations

from pkgindex_core.formats.archives.member_names import shown
from pkgindex_core.formats.filenames import UploadName
from pkgindex_core.formats.upload_rules import Findings

_TAGS_LIMIT = 2000


def check_wheel_file(data: bytes, name: UploadName, findings: Findings) -> None:
    """Warn about an unknown version, a missing Root-Is-Purelib and differing tags."""
    fields: dict[str, list[str]] = {}
    # The fields that are read stand near the beginning.
    for line in data[: 64 * 1024].decode(errors="replace").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), []).append(value.strip())
    version = fields.get("wheel-version", [""])[0]
    if version.partition(".")[0] != "1":
        findings.warn(f"WHEEL has the Wheel-Version {shown(version)}; installers know 1.x")
    if fields.get("root-is-purelib", [""])[0].lower() not in {"true", "false"}:
        findings.warn("WHEEL does not say whether Root-Is-Purelib is true or false")
    tags: set[str] = set()
    for tag in fields.get("tag", ())[:_TAGS_LIMIT]:
        parts = tag.split("-")
        # Some tools write the compressed set instead of its expansion.
        if len(parts) == 3 and all(part.count(".") < 20 for part in parts):
            tags.update(
                f"{python}-{abi}-{platform}"
                for python in parts[0].split(".")
                for abi in parts[1].split(".")
                for platform in parts[2].split(".")
            )
    if tags != name.tags:
        odd = sorted(tags ^ name.tags)[:5]
        findings.warn(f"the tags of WHEEL and of the filename differ: {', '.join(shown(tag) for tag in odd)}")
