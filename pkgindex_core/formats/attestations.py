"""Attestations and provenance (PEP 740): the upload field, the statement that is signed, and the document that is served. Pure.

    upload field     JSON array of attestation objects, or of bundles of Sigstore (`gh attestation download`), which are converted
    attestation      {"version": 1, "verification_material": {"certificate", "transparency_entries"}, "envelope": {"statement", "signature"}}
    provenance       {"version": 1, "attestation_bundles": [{"publisher": {…}, "attestations": [attestation, …]}]}

Signatures are checked elsewhere (`protocols.attestations`). This module checks what the signed statement is about.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.formats.fragments import quoted
from pkgindex_core.formats.publishers import PublisherIdentity, publisher_of

MEDIA_TYPE: Final = "application/vnd.pypi.integrity.v1+json"
FIELD: Final = "attestations"
"""The field of an upload."""
KIND: Final = "provenance"
"""The kind of the attachment that has the provenance of a file."""
SUFFIX: Final = ".provenance"
"""The end of the name of that attachment, after the name of the file."""
MOST_BYTES: Final = 1024 * 1024
PREDICATES: Final = (
    "https://docs.pypi.org/attestations/publish/v1",
    "https://slsa.dev/provenance/v1",
)
"""The types of statements that are taken, those of PyPI. A file has at most one of each."""
_SHOWN: Final = 200


class Attestation(Struct, frozen=True):
    """One attestation object with what its statement says. The signature is not checked yet."""

    document: bytes
    """The JSON object as it came."""
    subject: str
    sha256: str
    predicate: str


class _Envelope(Struct, frozen=True):
    statement: str
    signature: str


class _Object(Struct, frozen=True):
    version: int
    envelope: _Envelope
    verification_material: dict[str, Any]


class _RawCertificate(Struct, frozen=True, rename="camel"):
    raw_bytes: str


class _Material(Struct, frozen=True, rename="camel"):
    certificate: _RawCertificate
    tlog_entries: list[msgspec.Raw]


class _Signature(Struct, frozen=True):
    sig: str


class _Dsse(Struct, frozen=True):
    payload: str
    signatures: list[_Signature]


class _SigstoreBundle(Struct, frozen=True, rename="camel"):
    """A bundle of Sigstore, as `gh attestation download` writes it."""

    dsse_envelope: _Dsse
    verification_material: _Material


class _Subject(Struct, frozen=True):
    name: str = ""
    digest: dict[str, str] = {}


class _Statement(Struct, frozen=True, rename="camel"):
    type_: str = msgspec.field(name="_type", default="")
    subject: list[_Subject] = []
    predicate_type: str = ""


class AttestationBundle(Struct, frozen=True):
    """The attestations of one publisher, as a provenance names it."""

    publisher: PublisherIdentity | None
    """None: it is of a kind that is not known here."""
    attestations: tuple[Attestation, ...]


class _BundleObject(Struct, frozen=True):
    publisher: Any
    attestations: list[msgspec.Raw]


class _ProvenanceObject(Struct, frozen=True):
    version: int
    attestation_bundles: list[_BundleObject]


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_bundle = msgspec.json.Decoder(_SigstoreBundle).decode
_decode_object = msgspec.json.Decoder(_Object).decode
_decode_statement = msgspec.json.Decoder(_Statement).decode
_decode_provenance = msgspec.json.Decoder(_ProvenanceObject).decode


def parse_attestations(text: str) -> tuple[Attestation, ...]:
    """Read the field of an upload. Raises `Refused` with what is wrong with it."""
    if len(text) > MOST_BYTES:
        raise Refused(f"the attestations have more than {MOST_BYTES} bytes")
    try:
        objects = _decode_list(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(
            f"the field attestations is no JSON array: {error}", hint="let twine, uv or gh write it (PEP 740)"
        ) from error
    if not objects:
        raise Refused("the field attestations is empty", hint="leave the field out for a file without attestations")
    found = tuple(_attestation(_converted(bytes(each))) for each in objects)
    predicates = [each.predicate for each in found]
    if len(set(predicates)) < len(predicates):
        raise Refused("there are two attestations of one type", hint="send one attestation of each predicateType")
    return found


def about_another_file(attestation: Attestation, filename: str, sha256: str) -> list[str]:
    """Why an attestation is not about a file, with expected and found; empty if it is."""
    problems = []
    if attestation.subject != filename and not _same_name(attestation.subject, filename):
        problems.append(f"the attestation is of another file: expected {filename}, found {attestation.subject!a}")
    if attestation.sha256 != sha256:
        problems.append(
            f"the attestation is of other bytes: expected the sha256 {sha256}, found {attestation.sha256 or 'none'}"
        )
    if attestation.predicate not in PREDICATES:
        problems.append(
            f"the type of the attestation is not known: expected {' or '.join(PREDICATES)}, found {attestation.predicate!a}"
        )
    return problems


def _same_name(one: str, other: str) -> bool:
    """Whether two filenames name the same distribution, in any spelling of project and version."""
    from packaging.utils import (  # few files are attested
        InvalidSdistFilename,
        InvalidWheelFilename,
        parse_sdist_filename,
        parse_wheel_filename,
    )

    try:
        if one.endswith(".whl"):
            return parse_wheel_filename(one) == parse_wheel_filename(other)
        return parse_sdist_filename(one) == parse_sdist_filename(other)
    except (InvalidSdistFilename, InvalidWheelFilename):
        return False


def provenance(publisher: PublisherIdentity, attestations: tuple[Attestation, ...]) -> bytes:
    """Write the provenance of a file with the attestations of one publisher."""
    bundle = {"publisher": publisher.document, "attestations": [msgspec.Raw(each.document) for each in attestations]}
    return msgspec.json.encode({"version": 1, "attestation_bundles": [bundle]})


def read_provenance(data: bytes) -> tuple[AttestationBundle, ...]:
    """Read a provenance. Raises `Refused` for what is none."""
    try:
        found = _decode_provenance(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(f"it is no provenance (PEP 740): {error}") from error
    if found.version != 1:
        raise Refused(f"expected version 1 of a provenance, found {found.version}")
    return tuple(
        AttestationBundle(publisher_of(each.publisher), tuple(_attestation(bytes(raw)) for raw in each.attestations))
        for each in found.attestation_bundles
    )


def provenance_path(project: str, version: str, filename: str) -> str:
    """The URL of a file's provenance relative to the root of its index, percent-encoded."""
    return f"+integrity/{project}/{quoted(version)}/{quoted(filename)}/provenance"


def _converted(document: bytes) -> bytes:
    """The attestation that a bundle of Sigstore stands for; other objects as they are."""
    if b'"dsseEnvelope"' not in document:
        return document
    try:
        bundle = _decode_bundle(document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(f"a bundle of Sigstore cannot be read: {error}") from error
    if len(bundle.dsse_envelope.signatures) != 1:
        raise Refused(f"expected one signature of a bundle, found {len(bundle.dsse_envelope.signatures)}")
    material = bundle.verification_material
    return msgspec.json.encode(
        {
            "version": 1,
            "verification_material": {
                "certificate": material.certificate.raw_bytes,
                "transparency_entries": material.tlog_entries,
            },
            "envelope": {
                "statement": bundle.dsse_envelope.payload,
                "signature": bundle.dsse_envelope.signatures[0].sig,
            },
        }
    )


def _attestation(document: bytes) -> Attestation:
    try:
        found = _decode_object(document)
        if found.version != 1:
            raise Refused(f"expected version 1 of an attestation, found {found.version}")
        statement = _decode_statement(base64.b64decode(found.envelope.statement, validate=True))
    except (msgspec.DecodeError, binascii.Error, UnicodeError, RecursionError) as error:
        raise Refused(f"an attestation cannot be read: {error}") from error
    if len(statement.subject) != 1:
        raise Refused(f"expected one subject of an attestation, found {len(statement.subject)}")
    subject = statement.subject[0]
    return Attestation(
        document, subject.name[:_SHOWN], subject.digest.get("sha256", "")[:_SHOWN], statement.predicate_type[:_SHOWN]
    )
