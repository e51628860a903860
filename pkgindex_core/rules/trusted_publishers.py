"""Trusted publishers: workflows that may upload to an index without a stored secret, because an issuer vouches for them. Pure.

    demo github:octo/demo//release.yml#pypi repository_id=1296269 repository_owner_id=583231
    demo ourlab:team/demo//.gitlab-ci.yml
    demo acme:team=build,branch=main

A line of the option `trusted_publishers` has a project, a publisher and claims that the token of the issuer must have. The project need not
exist yet. Names of repositories can be given away and taken again, ids cannot: with an id in the line the name is not compared. A line without
ids gets those of the first token that fits (`pinned`). The subject of a token (`sub`) is never read, since its form is for people to choose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.errors import Refused
from pkgindex_core.formats.publishers import PublisherIdentity, parse_publisher
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName, parse_project_name
from pkgindex_core.protocols.index_types import IndexOption

OPTION: Final = "trusted_publishers"
Shape = Literal["github", "gitlab", "google", "generic"]
"""How the tokens of an issuer tell the publisher."""
PINS: Final[Mapping[str, tuple[str, ...]]] = {
    "github": ("repository_id", "repository_owner_id"),
    "gitlab": ("project_id", "namespace_id"),
    "google": ("sub",),
    "generic": (),
}
"""The claims with ids, by shape."""
SUBJECTS: Final = frozenset({"repository", "project_path", "email"}.union(*PINS.values()))
"""The claims that name the publisher itself."""
_CLAIM: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_.:/-]{0,99})=([!-~]{1,500})")
_SHOWN: Final = 120


class TrustedPublisher(Struct, frozen=True, kw_only=True):
    """One line."""

    project: ProjectName
    publisher: PublisherIdentity
    claims: Mapping[str, str] = {}
    """Claims that the token must have besides."""

    def __str__(self) -> str:
        return " ".join(
            [self.project, str(self.publisher), *(f"{name}={value}" for name, value in self.claims.items())]
        )


class Mismatch(Struct, frozen=True):
    """One claim that does not fit."""

    claim: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.claim}: expected {self.expected}, found {self.found or 'none'}"


def parse_line(text: str) -> TrustedPublisher:
    """Read one line. Raises `Refused`."""
    words = text.split()
    if len(words) < 2 or len(text) > 4096:
        raise Refused(
            f"{text[:_SHOWN]!r} is no trusted publisher",
            hint="write PROJECT PUBLISHER, such as: demo github:octo/demo//release.yml#pypi",
        )
    claims = {}
    for word in words[2:]:
        found = _CLAIM.fullmatch(word)
        if found is None:
            raise Refused(f"{word[:_SHOWN]!r} is no claim", hint="write NAME=VALUE, such as repository_id=1296269")
        claims[found[1]] = found[2]
    return TrustedPublisher(
        project=parse_project_name(words[0]), publisher=parse_publisher(words[1]), claims=dict(sorted(claims.items()))
    )


def parse_lines(value: Any) -> tuple[str, ...]:
    """Read the option: a list of lines, or text. One `Refused` lists the problems of all lines."""
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list | tuple):
        raise Refused("trusted publishers are lines", hint="write a list, or text with one publisher a line")
    found: dict[str, None] = {}
    problems: list[str] = []
    for line in (str(each).strip() for each in lines):
        try:
            if line:
                found[str(parse_line(line))] = None
        except Refused as error:
            problems += error.problems
    if problems:
        raise Refused(problems, hint="a line is PROJECT PUBLISHER [CLAIM=VALUE …]")
    return tuple(found)


def publishers_of(config: IndexConfig) -> tuple[TrustedPublisher, ...]:
    """The trusted publishers of an index."""
    return tuple(parse_line(line) for line in config.options.get(OPTION, ()))


def mismatches(line: TrustedPublisher, shape: Shape, issuer: str, claims: Mapping[str, Any]) -> list[Mismatch]:
    """The claims of a token that do not fit a line. `issuer` is the URL of the issuer, whose signature was checked."""
    publisher = line.publisher
    wanted: dict[str, tuple[str, str]] = {name: (value, _text(claims, name)) for name, value in line.claims.items()}
    has_id = any(name in line.claims for name in PINS[shape][:1])
    match shape:
        case "github":
            repository = _text(claims, "repository")
            if not has_id:
                wanted["repository"] = (publisher.subject.lower(), repository.lower())
            if publisher.workflow:
                found = _text(claims, "job_workflow_ref")
                wanted["job_workflow_ref"] = _beginning(f"{repository}/.github/workflows/{publisher.workflow}@", found)
        case "gitlab":
            path = _text(claims, "project_path")
            if not has_id:
                wanted["project_path"] = (publisher.subject.lower(), path.lower())
            elif "job_project_id" in claims:  # GitLab 18.4: the project of the job, where that is not the pipeline's
                wanted["job_project_id"] = (line.claims["project_id"], _text(claims, "job_project_id"))
            if publisher.workflow:
                host = issuer.partition("://")[2].rstrip("/")
                found = _text(claims, "ci_config_ref_uri")
                wanted["ci_config_ref_uri"] = _beginning(f"{host}/{path}//{publisher.workflow}@", found)
        case "google":
            wanted["email"] = (publisher.subject, _text(claims, "email"))
            wanted["email_verified"] = ("true", _text(claims, "email_verified"))
        case "generic":
            wanted |= {name: (value, _text(claims, name)) for name, value in publisher.claims.items()}
    if publisher.environment:
        wanted["environment"] = (publisher.environment.lower(), _text(claims, "environment").lower())
    return [Mismatch(name, expected, found[:_SHOWN]) for name, (expected, found) in wanted.items() if expected != found]


def pinned(line: TrustedPublisher, shape: Shape, claims: Mapping[str, Any]) -> TrustedPublisher:
    """The line with the ids of a token that fits it; a line that has some is left as it is."""
    names = PINS[shape]
    if any(name in line.claims for name in names):
        return line
    ids = {name: value for name in names if (value := _text(claims, name))}
    return replace(line, claims=dict(sorted({**line.claims, **ids}.items())))


def published_by(line: TrustedPublisher, shape: Shape, claims: Mapping[str, Any]) -> PublisherIdentity:
    """The publisher of a token that fits a line, with its present names."""
    names = {"github": "repository", "gitlab": "project_path"}
    subject = _text(claims, names[shape]) if shape in names else line.publisher.subject
    found = replace(line.publisher, subject=subject, environment=_text(claims, "environment"))
    try:
        return parse_publisher(str(found))
    except Refused:  # an environment with blanks: people may call it as they like
        return replace(found, environment="")


def stamp_of(claims: Mapping[str, Any]) -> str:
    """The ref and the commit of the run, as far as the token tells: `refs/tags/v1 0123abcd…`."""
    words = (_text(claims, "ref")[:_SHOWN], _text(claims, "sha")[:64])
    return " ".join(word for word in words if word and word.isprintable() and " " not in word)


def _beginning(expected: str, found: str) -> tuple[str, str]:
    """A claim that has to begin with a text: equal values if it does."""
    return (expected, expected) if found.startswith(expected) and len(found) > len(expected) else (expected, found)


def _text(claims: Mapping[str, Any], name: str) -> str:
    """A claim as text; "" for what is none."""
    value = claims.get(name)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else ""


def fitting(
    lines: Sequence[TrustedPublisher], name: str, shape: Shape, issuer: str, claims: Mapping[str, Any]
) -> tuple[list[TrustedPublisher], list[tuple[TrustedPublisher, list[Mismatch]]]]:
    """The lines of the issuer called `name` that a token fits, and the others with what does not fit."""
    fits, others = [], []
    for line in lines:
        if line.publisher.kind != name:
            continue
        wrong = mismatches(line, shape, issuer, claims)
        if wrong:
            others.append((line, wrong))
        else:
            fits.append(line)
    return fits, others


TRUSTED_PUBLISHERS_OPTION: Final = IndexOption(parse=parse_lines, is_list=True)
