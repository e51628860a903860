"""Checks the values of core-metadata fields (core metadata specification, and PyPI's rules for uploads).

Works on fields that were read already. Each check reports problems in sentences that name the field. Only three fields are
mandatory. Every check is bounded: lengths are checked before grammars. `check_fields` decides which findings are dangerous
and which are unusual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from packaging.licenses import canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pkgindex_core.formats.metadata_values import CoreMetadata
from pkgindex_core.formats.upload_rules import Findings, Unusual, UploadRules
from pkgindex_core.formats.versions import LEGACY_MARKS, is_pep440
from pkgindex_core.names import normalized_or_none

# 2.0 was withdrawn, although setuptools wrote it for a while; 2.6 is PEP 808.
VERSIONS = ("1.0", "1.1", "1.2", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6")

SINGLE = (
    "metadata-version",
    "name",
    "version",
    "summary",
    "description",
    "description-content-type",
    "keywords",
    "home-page",
    "download-url",
    "author",
    "author-email",
    "maintainer",
    "maintainer-email",
    "license",
    "license-expression",
    "requires-python",
)
"""Fields that may stand once."""
DECIDING = frozenset({"metadata-version", "name", "version", "requires-python"})
"""The fields by which installers decide what a file is and whether to install it."""

REPEATED = (
    "classifier",
    "dynamic",
    "import-name",
    "import-namespace",
    "license-file",
    "obsoletes",
    "obsoletes-dist",
    "platform",
    "project-url",
    "provides",
    "provides-dist",
    "provides-extra",
    "requires",
    "requires-dist",
    "requires-external",
    "supported-platform",
)

SUMMARY_LIMIT = 512
LABEL_LIMIT = 32
LINE_LIMIT = 4000
"""Characters of a requirement, specifier, licence expression or URL."""
ADDRESSES_LIMIT = 20_000
"""The most characters of a list of mail addresses. Some projects name all their authors."""
REQUIREMENTS_LIMIT = 5000


def check_fields(metadata: CoreMetadata, findings: Findings) -> None:
    """Report everything that is dangerous, unusual or odd about the fields."""
    _check_identity(metadata, findings)
    for problem in _dangers(metadata, findings.rules):
        findings.refuse(problem)
    for kind, texts in (
        (Unusual.DETAIL, _summary(metadata.summary)),
        (Unusual.DETAIL, _addresses("author-email", metadata.author_email)),
        (Unusual.DETAIL, _addresses("maintainer-email", metadata.maintainer_email)),
        (Unusual.DETAIL, _content_type(metadata.description_content_type)),
        (Unusual.DETAIL, _urls(metadata)),
        (Unusual.REQUIRES_PYTHON, _requires_python(metadata.requires_python)),
        (Unusual.REQUIREMENT, _requirements(metadata)),
        (Unusual.DETAIL, _names(metadata)),
        (Unusual.DETAIL, _licences(metadata)),
    ):
        for text in texts:
            findings.unusual(kind, text)
    for classifier in metadata.classifiers[:REQUIREMENTS_LIMIT]:
        # PyPI refuses unknown classifiers. People use the unknown `Private ::` so that PyPI refuses the upload.
        if " :: " not in classifier:
            findings.warn(f"{_short(classifier)} does not look like a classifier")
    if metadata.description and not metadata.description_content_type and _MARKDOWN.search(metadata.description):
        findings.warn(
            "the description looks like Markdown, but without description-content-type it is taken for reStructuredText"
        )


def license_problems(metadata: CoreMetadata, names: frozenset[str], root: str) -> Iterator[str]:
    """Report licence files that the archive does not have at the place of PEP 639.

    Before metadata 2.4 the field was an extension of setuptools, with other places.
    """
    if _since_2_4(metadata):
        for path in metadata.license_files:
            if f"{root}{path}" not in names:
                yield f"the licence file {_short(path)} is not in the archive; expected {_short(root + path)}"


def _check_identity(metadata: CoreMetadata, findings: Findings) -> None:
    version = metadata.metadata_version
    if not version:
        findings.unusual(Unusual.METADATA_VERSION, "the metadata has no metadata-version")
    elif version not in VERSIONS:
        known = ", ".join(VERSIONS)
        findings.unusual(Unusual.METADATA_VERSION, f"the metadata-version {_short(version)} is not one of {known}")
    if not metadata.name:
        findings.refuse("the metadata has no name")
    elif normalized_or_none(metadata.name) is None:
        findings.refuse(f"the name {_short(metadata.name)} is not a project name")
    if not metadata.version:
        findings.refuse("the metadata has no version")
    elif not is_pep440(metadata.version):
        text = f"the version {_short(metadata.version)} is not a version (PEP 440)"
        if LEGACY_MARKS.fullmatch(metadata.version):
            findings.unusual(Unusual.VERSION, text)
        else:
            findings.refuse(text)
    elif "+" in metadata.version and not findings.rules.local_versions:
        findings.refuse(f"the version {_short(metadata.version)} has a local part, which this index does not take")


def _dangers(metadata: CoreMetadata, rules: UploadRules) -> Iterator[str]:
    """Dangerous values: too many requirements, paths out of the archive, URLs that run code, and direct URLs if they are not allowed."""
    if len(metadata.requires_dist) > REQUIREMENTS_LIMIT:
        yield f"the metadata has {len(metadata.requires_dist)} requirements; the limit is {REQUIREMENTS_LIMIT}"
    for url in (metadata.home_page, metadata.download_url, *(url for _, url in metadata.project_urls)):
        if _SCRIPT_URL.match(url):
            yield f"the address {_short(url)} would run code when opened"
    if _since_2_4(metadata):
        for path in metadata.license_files:
            parts = path.split("/")
            if path.startswith("/") or ".." in parts or "" in parts or any(mark in path for mark in "\\*?:[]"):
                yield f"license-file {_short(path)} is not a plain relative path"
    if not rules.direct_urls:
        yield from _direct_urls(metadata)


def _summary(summary: str) -> Iterator[str]:
    if len(summary) > SUMMARY_LIMIT:
        yield f"the summary has {len(summary)} characters; the limit is {SUMMARY_LIMIT}"
    if _LINE_END.search(summary):
        yield "the summary has several lines; it must be one"


def _addresses(field: str, value: str) -> Iterator[str]:
    """Check `Name <a@b>, c@d`. Not parsed by the standard library, which recurses once for every parenthesis."""
    if not value:
        return
    if len(value) > ADDRESSES_LIMIT:
        yield f"{field} has {len(value)} characters; the limit is {ADDRESSES_LIMIT}"
        return
    found = False
    for piece in _QUOTED_OR_COMMENT.sub("", value).split(","):
        if "@" not in piece:
            continue  # half of a name such as `Doe, John <j@d.org>`, which many write unquoted
        _, bracket, rest = piece.partition("<")
        address = rest.partition(">")[0].strip() if bracket else piece.strip()
        found = True
        if not _ADDRESS.fullmatch(address):
            yield f"{field} has {_short(address)}, which is not a mail address"
    if not found:
        yield f"{field} {_short(value)} has no mail address"


def _content_type(value: str) -> Iterator[str]:
    if not value:
        return
    media_type, *parameters = (part.strip() for part in value.split(";"))
    if len(value) > LINE_LIMIT or media_type.lower() not in {"text/plain", "text/x-rst", "text/markdown"}:
        yield f"description-content-type {_short(value)} is none of text/plain, text/x-rst and text/markdown"
        return
    for parameter in parameters:
        key, _, setting = parameter.partition("=")
        setting = setting.strip().strip('"')
        if key.strip().lower() == "charset" and setting.lower() != "utf-8":
            yield f"description-content-type names the charset {_short(setting)}; it must be UTF-8"
        if key.strip().lower() == "variant" and setting not in {"GFM", "CommonMark"}:
            yield f"description-content-type names the variant {_short(setting)}; GFM and CommonMark are known"


def _urls(metadata: CoreMetadata) -> Iterator[str]:
    for field, url in (("home-page", metadata.home_page), ("download-url", metadata.download_url)):
        if url and not _is_web_url(url):
            yield f"{field} {_short(url)} is not an http or https URL"
    for label, url in metadata.project_urls:
        if not label:
            yield f"project-url {_short(url)} has no label"
        elif len(label) > LABEL_LIMIT:
            yield f"the label {_short(label)} of a project-url is longer than {LABEL_LIMIT} characters"
        if not url:
            yield f"project-url {_short(label)} has no URL"
        elif not _is_web_url(url):
            yield f"project-url {_short(url)} is not an http or https URL"


def _is_web_url(url: str) -> bool:
    if len(url) > LINE_LIMIT or _NOT_IN_URL.search(url):
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a malformed port
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def _requires_python(specifier: str) -> Iterator[str]:
    if specifier and not is_specifier(specifier):
        yield f"requires-python {_short(specifier)} is not a version specifier (PEP 440)"


def _requirements(metadata: CoreMetadata) -> Iterator[str]:
    for text in metadata.requires_dist[:REQUIREMENTS_LIMIT]:
        if _requirement(text) is None:
            yield f"requires-dist {_short(text)} is not a requirement (PEP 508)"


def _direct_urls(metadata: CoreMetadata) -> Iterator[str]:
    for text in metadata.requires_dist[:REQUIREMENTS_LIMIT]:
        requirement = _requirement(text)
        if requirement is not None and requirement.url:
            yield f"requires-dist {_short(text)} is a direct URL, which this index does not take"
    for field, values in (("provides-dist", metadata.provides_dist), ("obsoletes-dist", metadata.obsoletes_dist)):
        for value in values:
            if "@" in value.partition(";")[0]:
                yield f"{field} {_short(value)} is a direct URL, which this index does not take"


def _names(metadata: CoreMetadata) -> Iterator[str]:
    for extra in metadata.provides_extra:
        if normalized_or_none(extra) is None:
            yield f"provides-extra {_short(extra)} is not a name"
    for field in metadata.dynamic:
        if field.lower() in {"name", "version", "metadata-version"}:
            yield f"{field.lower()} may not be dynamic"
        elif field.lower() not in _KNOWN:
            yield f"dynamic names {_short(field)}, which is not a field"


def _requirement(text: str) -> Requirement | None:
    if len(text) > LINE_LIMIT:
        return None
    try:
        return Requirement(text)
    except (ValueError, RecursionError):  # a marker may be nested very deeply
        return None


def is_specifier(text: str) -> bool:
    """Whether this is a version specifier, as in Requires-Python."""
    if len(text) > LINE_LIMIT:
        return False
    try:
        SpecifierSet(text)
    except ValueError:
        return False
    return True


def _licences(metadata: CoreMetadata) -> Iterator[str]:
    if metadata.license and metadata.license_expression:
        yield "the metadata has both license and license-expression; keep the expression (PEP 639)"
    if metadata.license_expression and not _is_licence_expression(metadata.license_expression):
        yield f"license-expression {_short(metadata.license_expression)} is not a valid SPDX expression"


def _is_licence_expression(text: str) -> bool:
    # packaging uses Python's parser for parentheses, which fails in several ways on a few hundred of them.
    if len(text) > LINE_LIMIT or text.count("(") > 50:
        return False
    try:
        canonicalize_license_expression(text)
    except ValueError:
        return False
    return True


def _since_2_4(metadata: CoreMetadata) -> bool:
    return metadata.metadata_version in VERSIONS[VERSIONS.index("2.4") :]


def _short(value: str) -> str:
    return ascii(value if len(value) <= 100 else value[:97] + "...")


_KNOWN = frozenset({*SINGLE, *REPEATED})
_LINE_END = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_ADDRESS = re.compile(r"[^@\s<>\"(),:;\x00-\x20]+@[^@\s<>\"(),:;\x00-\x20]+")
_QUOTED_OR_COMMENT = re.compile(r'"[^"]*"|\([^()]*\)')
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f<>\"\\^`{|}]")
_SCRIPT_URL = re.compile(r"[\x00-\x20]*(?:javascript|data|vbscript)[\x00-\x20]*:", re.IGNORECASE)
_MARKDOWN = re.compile(r"\A\s*#{1,6} \S", re.MULTILINE)
