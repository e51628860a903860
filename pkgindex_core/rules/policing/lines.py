"""The lines of the option `policies` of an index, and of the table `[policies]` of a server. Pure.

    RULE [off|observe|warn|block] [VALUE] [for TARGET, TARGET …]

Of the lines with one rule that cover a file the most specific decides: versions of a project before the project, before a pattern, before
all; of equal ones the later. A server's lines and an index's lines are judged apart, and the stricter ruling counts, so an index cannot
loosen what its server demands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.index_types import IndexOption
from pkgindex_core.protocols.policies import MODES, Mode
from pkgindex_core.rules.policing.kinds import KINDS
from pkgindex_core.rules.policing.targets import EVERYTHING, PolicyTarget, parse_target
from pkgindex_core.spelling import suggestion

OPTION: Final = "policies"
OFF: Final = "off"
_SHOWN: Final = 120
_LONGEST: Final = 4096
MIRRORS, HOSTED = "mirrors", "hosted"
"""Keys of the table `[policies]`, beside names and patterns of indexes."""


class PolicyLine(Struct, frozen=True, kw_only=True):
    """One line, parsed."""

    rule: str
    mode: Mode
    off: bool = False
    """Whether the rule does not hold for the targets."""
    value: Any = None
    """The value, parsed by the rule's kind; None when the line is off."""
    targets: tuple[PolicyTarget, ...] = (EVERYTHING,)
    text: str
    """The line as it was written."""


class CoveringLines(Struct, frozen=True):
    """The lines of one rule that cover a project, the most specific first."""

    lines: tuple[PolicyLine, ...]

    def every(self, version: str) -> tuple[PolicyLine, ...]:
        """All lines that cover a version."""
        return tuple(line for line in self.lines if any(target.covers_version(version) for target in line.targets))

    def decisive_of(self, version: str) -> tuple[PolicyLine, ...]:
        """The line that decides about a version, or none."""
        line = self.decisive(version)
        return () if line is None else (line,)

    def decisive(self, version: str) -> PolicyLine | None:
        """The line that decides about a version; None if none covers it."""
        for line in self.lines:
            if any(target.covers_version(version) for target in line.targets):
                return line
        return None


def policy_lines(value: Any) -> tuple[str, ...]:
    """Read the option: a list of lines, or one text. Blank lines and comments are skipped. One `Refused` lists the problems of all lines."""
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list | tuple):
        raise Refused("policies are lines", hint="write a list, or text with one policy a line, such as: cooldown 7d")
    kept = tuple(line for line in (f" {each}".split(" #", 1)[0].strip() for each in lines) if line)
    parsed_lines(kept)
    return kept


@lru_cache(maxsize=256)
def parsed_lines(lines: tuple[str, ...]) -> tuple[PolicyLine, ...]:
    """Parse lines. Raises `Refused` with a sentence for each wrong line."""
    found: list[PolicyLine] = []
    problems: list[str] = []
    for line in lines:
        try:
            found.append(_parsed(line))
        except Refused as error:
            hint = f" ({error.hint})" if error.hint else ""
            problems.extend(f"policy {line[:_SHOWN]!r}: {problem}{hint}" for problem in error.problems)
    if problems:
        raise Refused(
            problems, hint="a policy is RULE [off|observe|warn|block] VALUE [for TARGET], such as: cooldown 7d"
        )
    return tuple(found)


def _parsed(line: str) -> PolicyLine:
    if len(line) > _LONGEST:
        raise Refused(f"it is longer than {_LONGEST} characters")
    head, _, about = f"{line} ".rpartition(" for ")
    if not head:
        head, about = line, ""
    rule, _, rest = head.strip().partition(" ")
    kind = KINDS.get(rule)
    if kind is None:
        raise Refused(f"there is no rule {rule[:_SHOWN]!r}", hint=suggestion(rule, KINDS))
    word, _, behind = rest.strip().partition(" ")
    mode = kind.mode
    is_off = word == OFF
    for each in MODES:
        if word == each:
            mode = each
    if is_off or word in MODES:
        rest = behind
    elif word and not kind.value:
        raise Refused(
            f"{rule} has no value {word[:_SHOWN]!r}", hint="write off, observe, warn or block behind it, or nothing"
        )
    if not is_off and kind.value and not kind.may_lack_value and not rest.strip():
        raise Refused(f"{rule} needs a value", hint=f"such as: {rule} {kind.value}")
    targets = tuple(parse_target(each) for each in _apart(about)) or (EVERYTHING,)
    if is_off:
        if rest.strip():
            raise Refused("a rule that is off has no value")
        return PolicyLine(rule=rule, mode=mode, off=True, targets=targets, text=line)
    return PolicyLine(rule=rule, mode=mode, value=kind.parse(rest.strip()), targets=targets, text=line)


def _apart(about: str) -> list[str]:
    """The targets of a list. A comma before a comparison belongs to a set of versions: `numpy>=2,<3, acme-*`."""
    targets: list[str] = []
    for word in (each.strip() for each in about.split(",")):
        if word[:1] in {"<", ">", "=", "!", "~"} and targets:
            targets[-1] += f",{word}"
        elif word:
            targets.append(word)
    return targets


class ServerPolicies(Struct, frozen=True):
    """The table `[policies]`: lines by name or pattern of indexes, or for all `mirrors` or all `hosted` indexes."""

    table: Mapping[str, tuple[str, ...]] = {}

    @property
    def fingerprint(self) -> str:
        return repr(sorted(self.table.items())) if self.table else ""

    def of(self, config: IndexConfig) -> tuple[str, ...]:
        """The lines that hold for an index, in the order of the table."""
        found: list[str] = []
        for key, lines in self.table.items():
            if (
                (config.mirrored if key == MIRRORS else not config.mirrored)
                if key in {MIRRORS, HOSTED}
                else fnmatchcase(config.name, key)
            ):
                found += lines
        return tuple(found)


def read_server_policies(table: Mapping[str, Any]) -> ServerPolicies:
    """Read the table. Raises `Refused`."""
    read: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for key, value in table.items():
        if key not in {MIRRORS, HOSTED} and key.count("/") != 1:
            problems.append(
                f"[policies] {key[:_SHOWN]!r} is neither an index (root/pypi, team/*) nor mirrors nor hosted"
            )
            continue
        try:
            read[key] = policy_lines(value)
        except Refused as error:
            problems.extend(f"[policies] {key}: {problem}" for problem in error.problems)
    if problems:
        raise Refused(problems)
    return ServerPolicies(read)


def lines_of(config: IndexConfig) -> tuple[str, ...]:
    """The lines of an index's own option."""
    return tuple(config.options.get(OPTION, ())) if config.options else ()


def asking_book(config: IndexConfig, server: ServerPolicies) -> tuple[str, ...]:
    """The rules of an index that decide by the book of advisories."""
    lines = (*parsed_lines(server.of(config)), *parsed_lines(lines_of(config)))
    return tuple(sorted({line.rule for line in lines if not line.off and KINDS[line.rule].reads_book}))


def by_first_seen(config: IndexConfig) -> bool:
    """Whether a cooldown of the index counts the time of first seeing for all files."""
    lines = lines_of(config)
    return bool(lines) and any(getattr(line.value, "by", "") == "first-seen" for line in parsed_lines(lines))


def candidates(lines: Sequence[PolicyLine], rule: str, project: ProjectName) -> CoveringLines:
    """The lines of a rule that cover a project."""
    found: list[tuple[tuple[int, int], int, PolicyLine]] = []
    for position, line in enumerate(lines):
        if line.rule == rule:
            found += [
                (target.weight, position, _about(line, target)) for target in line.targets if target.covers(project)
            ]
    return CoveringLines(tuple(line for _, _, line in sorted(found, key=lambda each: each[:2], reverse=True)))


def _about(line: PolicyLine, target: PolicyTarget) -> PolicyLine:
    return PolicyLine(rule=line.rule, mode=line.mode, off=line.off, value=line.value, targets=(target,), text=line.text)


POLICIES_OPTION: Final = IndexOption(parse=policy_lines, types=("stage", "mirror"), is_list=True)
