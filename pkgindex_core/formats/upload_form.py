"""The form of an upload, held against the file that it came with (standards 1.7, UP; 1.8, VA-1 and VA-31).

Forms repeat what the archive says, and are sent by a dozen tools that repeat it with mistakes. The archive is what
installers will read, so it is believed; where the form disagrees about what the file *is* (name, version, kind), one of them
is a mistake that must not be published, and where it disagrees about a detail, the uploader is told. Pure: bytes were
read before (`archives`), digests are compared by whoever computed them.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal, cast, get_args

from msgspec import Struct

from pkgindex_core.digests import HEX_LENGTHS
from pkgindex_core.errors import Refused
from pkgindex_core.formats import metadata_fields
from pkgindex_core.formats.archives import Inspection
from pkgindex_core.formats.core_metadata import CoreMetadata, metadata_problems
from pkgindex_core.formats.filenames import UploadName
from pkgindex_core.formats.versions import canonical_version, is_pep440
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_core.protocols import UploadForm

UploadAction = Literal["file_upload", "doc_upload", "submit"]
"""Keep a file, keep documentation, or register metadata without either."""

_RETIRED = {
    "submit_pkg_info": "registering a project beforehand is not needed any more: upload its files",
}
_DIGEST_FIELDS = {"sha256_digest": "sha256", "blake2_256_digest": "blake2b_256", "md5_digest": "md5"}
_FILETYPES = {"wheel": "bdist_wheel", "sdist": "sdist"}
_HEX = re.compile(r"[0-9a-fA-F]+")


class UploadRules(Struct, frozen=True, kw_only=True):
    """What an index may be strict or lenient about."""

    direct_urls: bool = True
    """Take requirements of the form `name @ url` (VA-9)."""
    local_versions: bool = True
    """Take versions like `1.0+cu121` (VA-5)."""
    complete_form: bool = True
    """Want every field that PyPI wants (UP-4), although the archive says the same."""


class UploadFacts(Struct, frozen=True, kw_only=True):
    """What an upload is, after form, filename and archive were found to agree."""

    project: ProjectName
    display_name: str
    """The name as the metadata spells it."""
    version: str
    """As the filename spells it."""
    requires_python: str
    """From the archive, which is what installers read."""
    metadata: CoreMetadata
    warnings: tuple[str, ...]


class RetiredAction(Refused):
    """The client asked for something that indexes used to do and no longer do."""

    def __init__(self, action: str) -> None:
        super().__init__(f"the action {action} is no longer supported", hint=_RETIRED[action])
        self.action = action


DEFAULT_RULES = UploadRules()


def check_action(form: UploadForm) -> UploadAction:
    """What a form asks for; what no index does (any more) is refused (UP-2)."""
    problems = []
    if len(set(form.fields.get(":action", ()))) > 1:
        problems.append("the form has several values of :action; readers would differ in which one they take")
    if form.first("protocol_version") not in {"", "1"}:
        problems.append("Unknown protocol version.")
    action = form.first(":action")
    if action in _RETIRED:
        raise RetiredAction(action)
    if action not in get_args(UploadAction):
        problems.append(f"action {action[:80]!a} not supported" if action else ":action field not found")
    if problems:
        raise Refused(problems, hint="send :action=file_upload and protocol_version=1")
    return cast("UploadAction", action)


def expected_digests(form: UploadForm) -> dict[str, str]:
    """The digests that the form says the file has: hexadecimal, lower case, by algorithm (UP-5).

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
    rules: UploadRules = DEFAULT_RULES,
) -> UploadFacts:
    """Hold form, filename and archive against each other; refuse with everything that is wrong.

    `warnings` are those of form and metadata; the archive's own are in `inspection`.
    """
    metadata, found = metadata_problems(
        inspection.metadata, direct_urls=rules.direct_urls, local_versions=rules.local_versions
    )
    problems = list(found)
    problems += metadata_fields.license_problems(metadata, inspection.names, inspection.license_root)
    problems += _filename_problems(filename, name, metadata)
    problems += form_problems(form, name, metadata.version, rules)
    if problems:
        raise Refused(
            list(dict.fromkeys(problems)),
            hint="the archive is what counts: correct the project's metadata, build it again and upload that",
        )
    return UploadFacts(
        project=name.project,
        display_name=metadata.name,
        version=name.version,
        requires_python=metadata.requires_python,
        metadata=metadata,
        warnings=(*metadata_fields.field_warnings(metadata), *_form_warnings(form, metadata)),
    )


def field_values(form: UploadForm, *names: str) -> tuple[str, ...]:
    """Every value of a field under any of its names, without those that say nothing (UP-6, UP-7).

    Forms call one field by several names: `import_name` and `import_names`, `classifier` and `classifiers`.
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
    # PyPI's documentation asks for URL-safe base64 in md5_digest, and every client sends hexadecimal digits.
    if algorithm == "md5" and value.isascii() and len(value) in {22, 24}:
        try:
            raw = base64.b64decode(value.rstrip("=") + "==", altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        return raw.hex() if len(raw) == length // 2 else None
    return None


def _filename_problems(filename: str, name: UploadName, metadata: CoreMetadata) -> list[str]:
    """VA-28, and the same for source distributions: what the file is called and what it says it is."""
    problems = []
    if filename != name.filename:
        problems.append(f"the file is called {name.filename!a} and {filename[:200]!a}")
    inner = normalized_or_none(metadata.name)
    if inner is not None and inner != name.project:
        problems.append(f"the filename is of the project {name.project}, the metadata inside of {inner}")
    if is_pep440(metadata.version) and not _same_version(metadata.version, name.version):
        problems.append(f"the filename is of version {name.version}, the metadata inside of {metadata.version}")
    return problems


def form_problems(
    form: UploadForm, name: UploadName, version: str = "", rules: UploadRules = DEFAULT_RULES
) -> list[str]:
    """What is wrong with the form alone, held against the filename; `version` is the archive's where it is known."""
    problems = []
    if rules.complete_form:
        wanted = ["name", "version", "metadata_version", "filetype"]
        if name.kind == "wheel":
            wanted.append("pyversion")
        problems += [f"the form has no field {field}" for field in wanted if not form.first(field)]
    for field in ("name", "version", "filetype", "metadata_version", "pyversion", "requires_python"):
        values = {value.strip() for value in form.fields.get(field, ())}
        if len(values) > 1:
            problems.append(f"the form has several values of {field}; readers would differ in which one they take")
    said = form.first("name")
    if said and normalized_or_none(said) != name.project:
        problems.append(f"filename {name.filename!a} does not match project name {said[:80]!a}")
    said = form.first("version")
    if said and not _same_version(said, version or name.version):
        problems.append(
            f"filename {name.filename!a} does not contain version {said[:80]!a}: it is of {version or name.version}"
        )
    said = form.first("filetype")
    if said and said != _FILETYPES[name.kind]:
        problems.append(f"the form says filetype {said[:80]!a}, the file is a {_FILETYPES[name.kind]}")
    said = form.first("pyversion")
    if said and (said == "source") != (name.kind == "sdist"):
        problems.append(f"the form says pyversion {said[:80]!a}, the file is a {_FILETYPES[name.kind]}")
    return problems


def _form_warnings(form: UploadForm, metadata: CoreMetadata) -> list[str]:
    """Where the form says something else about a detail; the archive's word is published."""
    warnings = []
    said = form.first("requires_python")
    # uv sends the field empty when there is none, and some clients leave it out.
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


def _same_version(one: str, other: str) -> bool:
    return canonical_version(one) == canonical_version(other)


def _squeezed(specifier: str) -> frozenset[str]:
    return frozenset("".join(part.split()) for part in specifier.split(",") if part.strip())
