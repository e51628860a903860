"""Publishers of files: a repository with its workflow, or an account. Pure.

    github:octo/demo//release.yml#production     repository, workflow file, environment
    gitlab:group/team/demo//.gitlab-ci.yml       the same at GitLab
    google:publisher@project.iam.gserviceaccount.com
    ourlab:team/demo//.gitlab-ci.yml             an issuer of the operator that tells repositories
    acme:repo=demo,branch=main                   one that tells other claims

A text without workflow or environment fits every one. In provenance (PEP 740) a publisher is a JSON object with PyPI's keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from pkgindex_core.errors import Refused

GITHUB: Final = "github"
GITLAB: Final = "gitlab"
GOOGLE: Final = "google"
_SHOWN: Final = 120
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
_PART: Final = re.compile(r"[A-Za-z0-9_.~-]+")
_PLAIN: Final = re.compile(r"[!-~]+")
_KINDS: Final[Mapping[str, str]] = {GITHUB: "GitHub", GITLAB: "GitLab", GOOGLE: "Google"}
"""PyPI's names of the kinds."""
_WORKFLOW_KEYS: Final = {GITHUB: "workflow", GITLAB: "workflow_filepath"}
_HINT: Final = "write github:OWNER/REPOSITORY//WORKFLOW.yml#ENVIRONMENT, gitlab:GROUP/PROJECT//.gitlab-ci.yml, google:ADDRESS or ISSUER:CLAIM=VALUE,…; workflow and environment may be left out"


class PublisherIdentity(Struct, frozen=True, kw_only=True):
    """One publisher, or a pattern for some. Empty fields are unknown in a found publisher, and fit all in a wanted one."""

    kind: str
    """`github`, `gitlab`, `google`, or the name of an issuer of the operator."""
    subject: str
    """`OWNER/REPOSITORY`, an address, or claims as `NAME=VALUE,NAME=VALUE`."""
    workflow: str = ""
    """The file of the workflow: at GitHub its name below `.github/workflows`, at GitLab its path."""
    environment: str = ""

    def __str__(self) -> str:
        workflow = f"//{self.workflow}" if self.workflow else ""
        return f"{self.kind}:{self.subject}{workflow}" + (f"#{self.environment}" if self.environment else "")

    @property
    def has_repository(self) -> bool:
        """Whether it is a repository, and not an account or claims."""
        return self.kind != GOOGLE and "=" not in self.subject.partition("/")[0]

    @property
    def claims(self) -> dict[str, str]:
        """The claims of an issuer of the operator."""
        pairs = (each.partition("=") for each in self.subject.split(","))
        return {name: value for name, _, value in pairs}

    def differences(self, found: PublisherIdentity) -> list[str]:
        """The differences of a found publisher, one text each with expected and found; empty if it fits."""
        if found.kind != self.kind:
            return [f"expected the publisher {self}, found {found}"]
        pairs = [
            ("repository" if self.has_repository else "subject", self.subject, found.subject),
            ("workflow", self.workflow, found.workflow),
            ("environment", self.environment, found.environment),
        ]
        return [
            f"expected the {what} {wanted}, found {got or 'none'}"
            for what, wanted, got in pairs
            if wanted and not _same(what, wanted, got)
        ]

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object in a provenance."""
        kind = _KINDS.get(self.kind, self.kind)
        if self.kind == GOOGLE:
            return {"kind": kind, "email": self.subject}
        if not self.has_repository:
            return {"kind": kind, "claims": self.claims}
        return {
            "kind": kind,
            "repository": self.subject,
            _WORKFLOW_KEYS.get(self.kind, "workflow"): self.workflow or None,
            "environment": self.environment or None,
        }


def _same(what: str, wanted: str, got: str) -> bool:
    """Names of repositories and environments are the same in any case, others are not."""
    return wanted == got or (what in {"repository", "environment"} and wanted.lower() == got.lower())


def parse_publisher(text: str) -> PublisherIdentity:
    """Read the text of a publisher.

    >>> parse_publisher("github:octo/demo//release.yml").workflow
    'release.yml'
    """
    kind, colon, rest = text.strip().partition(":")
    if not colon or not _NAME.fullmatch(kind) or not rest or not _PLAIN.fullmatch(rest) or len(rest) > 1000:
        raise Refused(f"{text[:_SHOWN]!r} names no publisher", hint=_HINT)
    if kind == GOOGLE:
        return PublisherIdentity(kind=kind, subject=rest)
    if "=" in rest.partition("/")[0]:
        names = [each.partition("=") for each in rest.split(",")]
        if not all(name and equals and value for name, equals, value in names):
            raise Refused(f"{text[:_SHOWN]!r} names no claims of the issuer {kind}", hint=_HINT)
        return PublisherIdentity(kind=kind, subject=rest)
    rest, _, environment = rest.partition("#")
    repository, _, workflow = rest.partition("//")
    parts = repository.split("/")
    if len(parts) < 2 or (kind == GITHUB and len(parts) != 2) or not all(map(_PART.fullmatch, parts)):
        raise Refused(f"{text[:_SHOWN]!r} names no repository", hint=_HINT)
    return PublisherIdentity(kind=kind, subject=repository, workflow=workflow, environment=environment)


def parse_publishers(text: str) -> tuple[PublisherIdentity, ...]:
    """Read publishers with blanks between them."""
    words = text.split()
    if not words:
        raise Refused("no publisher is named", hint=_HINT)
    return tuple(parse_publisher(each) for each in words)


def publisher_of(document: Any) -> PublisherIdentity | None:
    """The publisher of a provenance's object; None for kinds and objects that are not known here."""
    if not isinstance(document, Mapping):
        return None
    known = {theirs: ours for ours, theirs in _KINDS.items()}
    kind = known.get(str(document.get("kind", "")))
    if kind is None:
        return None
    said = document.get("email") if kind == GOOGLE else document.get("repository")
    workflow = document.get(_WORKFLOW_KEYS.get(kind, ""))
    environment = document.get("environment")
    text = f"{kind}:{said}" + (f"//{workflow}" if workflow else "") + (f"#{environment}" if environment else "")
    try:
        return parse_publisher(text)
    except Refused:
        return None
