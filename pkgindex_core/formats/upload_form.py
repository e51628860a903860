"""Compares the form of an upload with its file (PyPI's upload API, which no standard describes).

Forms repeat the metadata of the archive, and a dozen tools make mistakes in it. Installers read the archive, so the archive
counts. If the form differs in name, version or kind, the upload is refused. If it differs in a detail, the uploader gets a
warning. Pure: `archives` reads the bytes before, and callers compare digests.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final, Literal, cast, get_args

from msgspec import Struct

from pkgindex_core.digests import HEX_LENGTHS
from pkgindex_core.errors import Refused, RetiredAction
from pkgindex_core.formats import metadata_fields, version_documents
from pkgindex_core.formats.archives.bounds import Inspection
from pkgindex_core.formats.core_metadata import check_metadata
from pkgindex_core.formats.filenames import UploadKind, UploadName
from pkgindex_core.formats.metadata_values import CoreMetadata
from pkgindex_core.formats.upload_rules import PYPI, Findings, Unusual, UploadRules
from pkgindex_core.formats.versions import is_pep440, same_version
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_core.protocols import UploadForm

UploadAction = Literal["file_upload", "doc_upload", "submit"]
"""Upload a file, upload documentation, or register metadata."""

_FORM_HINT = "correct the form so that it agrees with the file"
_RETIRED = {
    "submit_pkg_info": "registering a project beforehand is not needed any more: upload its files",
}
_DIGEST_FIELDS = {"sha256_digest": "sha256", "blake2_256_digest": "blake2b_256", "md5_digest": "md5"}
FILETYPES: Final[Mapping[UploadKind, tuple[str, ...]]] = {
    "wheel": ("bdist_wheel",),
    "sdist": ("sdist",),
    "egg": ("bdist_egg",),
    # twine decides by the ending alone.
    "dumb": ("bdist_dumb", "sdist"),
    "wininst": ("bdist_wininst",),
    "msi": ("bdist_msi",),
    "rpm": ("bdist_rpm",),
}
"""The words in a form for each kind of file, the usual word first. For other kinds any word is accepted."""
_KNOWN_FIELDS: Final = frozenset(
    {
        *version_documents.KEYS,
        *(alias for aliases in version_documents.ALIASES.values() for alias in aliases),
        *_DIGEST_FIELDS,
        *(":action", "protocol_version", "filetype", "pyversion", "attestations", "gpg_signature"),
        *("import_name", "import_names", "import_namespace", "import_namespaces", "license_files"),
    }
)
_HEX = re.compile(r"[0-9a-fA-F]+")


class UploadFacts(Struct, frozen=True, kw_only=True):
    """The facts on which form, filename and archive agree."""

    project: ProjectName
    display_name: str
    """The name as the metadata spells it."""
    version: str
    """As the filename spells it, or as the metadata does if it does not follow PEP 440."""
    requires_python: str
    """From the archive, since installers read it."""
    metadata: CoreMetadata
    warnings: tuple[str, ...]


def check_action(form: UploadForm) -> UploadAction:
    """The action of a form. Retired actions are refused, as on PyPI (410)."""
    problems = []
    if len(set(form.fields.get(":action", ()))) > 1:
        problems.append("the form has several values of :action, and may have only one")
    if form.first("protocol_version") not in {"", "1"}:
        problems.append("Unknown protocol version.")
    action = form.first(":action")
    if action in _RETIRED:
        raise RetiredAction(action, hint=_RETIRED[action])
    if action not in get_args(UploadAction):
        problems.append(f"action {action[:80]!a} not supported" if action else ":action field not found")
    if problems:
        raise Refused(problems, hint="send :action=file_upload and protocol_version=1")
    return cast("UploadAction", action)


def expected_digests(form: UploadForm) -> dict[str, str]:
    """The digests in the form: hexadecimal, lower case, by algorithm.

    May be empty: devpi's client sends none.
    """
    expected = {}
    problems = []
    for field, algorithm in _DIGEST_FIELDS.items():
        value = form.first(field)
        if not value:
            continue
        digits = _hexadecimal(value, algorithm)
        if digits is None:
            problems.append(f"{field} is not {HEX_LENGTHS[algorithm]} hexadecimal digits: {value[:80]!a}")
        else:
            expected[algorithm] = digits
    if problems:
        raise Refused(problems, hint="leave a digest out rather than sending a wrong one")
    return expected


def check_upload(
    form: UploadForm,
    filename: str,
    name: UploadName,
    inspection: Inspection,
    rules: UploadRules = PYPI,
) -> UploadFacts:
    """Compare form, filename and archive. Raises `Refused` with all problems.

    `warnings` are those of form and metadata; those of the archive are in `inspection`.
    """
    findings = Findings(rules)
    if inspection.metadata is None:
        metadata = CoreMetadata(name=form.first("name") or name.name_part, version=name.version)
    else:
        metadata = check_metadata(inspection.metadata, findings, installed_by=name.kind == "wheel")
        for problem in metadata_fields.license_problems(metadata, inspection.names, inspection.license_root):
            findings.unusual(Unusual.DETAIL, problem)
    _check_filename(filename, name, metadata, findings)
    of_the_archive = findings.problems
    check_form(form, name, metadata.version, findings)
    if inspection.metadata is not None:
        for warning in _differing_details(form, metadata):
            findings.warn(warning)
    findings.raise_problems(
        "the archive is what counts: correct the project's metadata, build it again and upload that"
        if of_the_archive
        else _FORM_HINT
    )
    return UploadFacts(
        project=name.project,
        display_name=metadata.name,
        version=name.version if is_pep440(name.version) else metadata.version,
        requires_python=metadata.requires_python if metadata_fields.is_specifier(metadata.requires_python) else "",
        metadata=metadata,
        warnings=findings.warnings,
    )


def dropped_parts(form: UploadForm, *, signed: bool) -> tuple[str, ...]:
    """The parts of a form that are not kept, one sentence each. `signed`: the form has a signature file."""
    dropped = []
    if signed or form.first("gpg_signature"):
        dropped.append("the signature was ignored: this server keeps none, as PyPI since 2023")
    unknown = sorted(set(form.fields) - _KNOWN_FIELDS)
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        shown = ", ".join(ascii(field[:80]) for field in unknown[:5])
        dropped.append(f"fields that this server does not know were ignored: {shown}{more}")
    return tuple(dropped)


def field_values(form: UploadForm, *names: str) -> tuple[str, ...]:
    """All values of a field under any of its names, without empty ones and `UNKNOWN`.

    Forms have several names of one field: `import_name` and `import_names`, `classifier` and `classifiers`.
    """
    return tuple(
        value
        for name in names
        for value in (raw.strip() for raw in form.fields.get(name, ()))
        if value and value != "UNKNOWN"
    )


def _hexadecimal(value: str, algorithm: str) -> str | None:
    length = HEX_LENGTHS[algorithm]
    if len(value) == length and _HEX.fullmatch(value):
        return value.lower()
    # PyPI's documentation requires URL-safe base64 in md5_digest, but every client sends hexadecimal digits.
    if algorithm == "md5" and value.isascii() and len(value) in {22, 24}:
        try:
            raw = base64.b64decode(value.rstrip("=") + "==", altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        return raw.hex() if len(raw) == length // 2 else None
    return None


def _check_filename(filename: str, name: UploadName, metadata: CoreMetadata, findings: Findings) -> None:
    """Refuse a file whose name or version differs from its metadata, for every kind of file. PyPI requires it for wheels."""
    if filename != name.filename:
        findings.refuse(f"the file is called {name.filename!a} and {filename[:200]!a}")
    inner = normalized_or_none(metadata.name)
    if inner is not None and inner != name.project:
        findings.refuse(f"the filename is of the project {name.project}, the metadata inside of {inner}")
    if metadata.version and not same_version(metadata.version, name.version):
        findings.refuse(f"the filename is of version {name.version}, the metadata inside of {metadata.version[:80]}")


def check_form(form: UploadForm, name: UploadName, version: str, findings: Findings) -> None:
    """Compare the form with the filename only; `version` is that of the archive if it is known."""
    wanted = ["name", "version", "metadata_version", "filetype", *(["pyversion"] if name.kind == "wheel" else [])]
    missing = [field for field in wanted if not form.first(field)]
    if missing:
        findings.unusual(Unusual.FORM, f"the form has no field {', '.join(missing)}")
    for field in ("name", "version", "filetype", "metadata_version", "pyversion", "requires_python"):
        values = {value.strip() for value in form.fields.get(field, ())}
        if len(values) > 1:
            findings.refuse(f"the form has several values of {field}, and may have only one")
    said = form.first("name")
    if said and normalized_or_none(said) != name.project:
        findings.refuse(f"filename {name.filename!a} does not match project name {said[:80]!a}")
    said = form.first("version")
    if said and not same_version(said, version or name.version):
        findings.refuse(
            f"filename {name.filename!a} does not contain version {said[:80]!a}: it is of {version or name.version}"
        )
    filetypes = FILETYPES.get(name.kind, ())
    said = form.first("filetype")
    if said and filetypes and said not in filetypes:
        findings.refuse(f"the form says filetype {said[:80]!a}, the file is a {filetypes[0]}")
    said = form.first("pyversion")
    if said and name.kind in {"wheel", "sdist"} and (said == "source") != (name.kind == "sdist"):
        findings.refuse(f"the form says pyversion {said[:80]!a}, the file is a {filetypes[0]}")


def _differing_details(form: UploadForm, metadata: CoreMetadata) -> list[str]:
    """Warn about details that differ between form and archive. The archive's are published."""
    warnings = []
    said = form.first("requires_python")
    # Without a value uv sends an empty field, and some clients leave it out.
    if said and _squeezed(said) != _squeezed(metadata.requires_python):
        actual = f"{metadata.requires_python!a}" if metadata.requires_python else "none"
        warnings.append(f"the form says requires-python {said[:80]!a}, the file {actual}; the file's is published")
    said_requirements = field_values(form, "requires_dist")
    if said_requirements and len(said_requirements) != len(metadata.requires_dist):
        warnings.append(
            f"the form has {len(said_requirements)} requirements, the file {len(metadata.requires_dist)}; "
            "the file's are published"
        )
    said_imports = field_values(form, "import_name", "import_names")
    if said_imports and set(said_imports) != set(metadata.import_names):
        warnings.append("the form names other imports than the file; the file's are published")
    return warnings


def _squeezed(specifier: str) -> frozenset[str]:
    return frozenset("".join(part.split()) for part in specifier.split(",") if part.strip())
