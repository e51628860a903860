"""devpi 7's names for options of an index, and its rules for projects that may come from a mirror.

    devpi 7                                     here, as in devpi 6
    type=local, type=remote                     type=stage, type=mirror
    remote_url and other remote_*               mirror_url and other mirror_*; remote_refresh_delay is mirror_cache_expiry
    project_inheritance_rules=allow all         mirror_whitelist has *
    inheritance_rules=allow all, of a project   mirror_whitelist has the project
    trust_inheritance_rules_from                mirror_whitelist_inheritance: none is intersection, type:not remote is union

The columns mean the same. devpi 7 applies the rules of the queried index or, if that index trusts others, those of every hosted
index of the order, each for itself. Rules of a project come before those of its index. `allow all` is the only rule that opens
anything, so the open projects are a list of names, with `*` for all: the whitelist.

One thing differs: devpi 7 drops a project's rules with the project; an entry of the whitelist stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_core.rules.admission import EVERY_NAME
from pkgindex_core.rules.kept_options import unites_whitelists, whitelist, with_options
from pkgindex_core.rules.option_values import words

TYPES: Final = {"stage": "local", "mirror": "remote"}
"""devpi 7's names of types, by the names used here."""
INDEX_RULES: Final = "project_inheritance_rules"
PROJECT_RULES: Final = "inheritance_rules"
TRUST: Final = "trust_inheritance_rules_from"
ALLOW_ALL: Final = "allow all"
BLOCK_REMOTE: Final = "block type:remote if local_exists"
TRUST_NOT_REMOTE: Final = "type:not remote"
_TRUSTED: Final = {"none": "intersection", TRUST_NOT_REMOTE: "union"}
_SHOWN: Final = 80


def index_rules(value: Any) -> tuple[str, ...]:
    """Read `project_inheritance_rules`. devpi 7.0 knows two values, `allow all` and `block type:remote if local_exists`. Others are `Refused`."""
    rules = words(value)
    if rules not in {(ALLOW_ALL,), (BLOCK_REMOTE,)}:
        raise Refused(f"Unknown value {_shown(rules)} for {INDEX_RULES}, must be {[ALLOW_ALL]} or {[BLOCK_REMOTE]}.")
    return rules


def project_rules(value: Any) -> tuple[str, ...]:
    """Read `inheritance_rules` of a project. devpi 7.0 knows one value, `allow all`. Others are `Refused`."""
    rules = words(value)
    if rules != (ALLOW_ALL,):
        raise Refused(f"Unknown value {_shown(rules)} for {PROJECT_RULES}, must be {[ALLOW_ALL]} or left unset.")
    return rules


def trusted(value: Any) -> str:
    """Read `trust_inheritance_rules_from` as a value of `mirror_whitelist_inheritance`."""
    word = str(value).lower()
    if word not in _TRUSTED:
        raise Refused(
            f"Unknown value {word[:_SHOWN]!r} for {TRUST}, must be 'none', {TRUST_NOT_REMOTE!r} or left unset."
        )
    return _TRUSTED[word]


def with_index_rules(config: IndexConfig, rules: tuple[str, ...]) -> IndexConfig:
    """The index with these rules. Rules of single projects stay."""
    names = tuple(name for name in whitelist(config) if name != EVERY_NAME)
    return with_options(config, mirror_whitelist=(EVERY_NAME, *names) if rules == (ALLOW_ALL,) else names)


def with_open_project(config: IndexConfig, project: ProjectName, *, is_open: bool = True) -> IndexConfig:
    """The index with a rule that opens one project to mirrors, or without that rule."""
    if (project in whitelist(config)) == is_open:
        return config
    others = tuple(name for name in whitelist(config) if name != project)
    return with_options(config, mirror_whitelist=(*others, project) if is_open else others)


def rules_of_index(config: IndexConfig) -> tuple[str, ...]:
    """The rules of an index in devpi 7's words."""
    return (ALLOW_ALL,) if EVERY_NAME in whitelist(config) else (BLOCK_REMOTE,)


def trust_of_index(config: IndexConfig) -> str:
    """`trust_inheritance_rules_from` of an index."""
    return TRUST_NOT_REMOTE if unites_whitelists(config) else "none"


def project_document(config: IndexConfig, project: ProjectName, display_name: str) -> dict[str, Any]:
    """The settings of one project of an index, as devpi 7 shows them."""
    own = {PROJECT_RULES: [ALLOW_ALL]} if project in whitelist(config) else {}
    return {**own, "name": display_name}


def changed_project(
    config: IndexConfig, project: ProjectName, options: Mapping[str, Any] | Sequence[Any]
) -> Sequence[str]:
    """Translate changed options of a project into changes of its index's options.

    The options are an object, or a list of `inheritance_rules=allow all` and `inheritance_rules-=`, as in devpi 7. null drops a
    rule too.
    """
    given = options if isinstance(options, Mapping) else dict(_patch(config, project, patch) for patch in options)
    unexpected = {key: value for key, value in given.items() if key not in {"name", PROJECT_RULES}}
    problems = []
    if unexpected:
        told = ", ".join(f"{key}={value}"[:_SHOWN] for key, value in unexpected.items())
        problems.append(f"project config got unexpected keyword arguments: {told}")
    if normalized_or_none(str(given.get("name", project))) != project:
        problems.append("the 'name' of a project can't be changed")
    if problems:
        raise Refused(problems, hint=f"the option of a project is {PROJECT_RULES}, and its value {ALLOW_ALL!r}")
    is_open = project in whitelist(config)
    if PROJECT_RULES not in given:
        return ()
    wanted = given[PROJECT_RULES] is not None and bool(project_rules(given[PROJECT_RULES]))
    return () if wanted == is_open else (f"mirror_whitelist{'+' if wanted else '-'}={project}",)


def _patch(config: IndexConfig, project: ProjectName, patch: Any) -> tuple[str, Any]:
    """Read `key=value`, `key+=value`, `key-=value` or `key-=` as the key and its new value; None: no value."""
    key, sign, value = patch.partition("=") if isinstance(patch, str) else ("", "", "")
    if not sign:
        raise Refused(f"cannot read the change {str(patch)[:_SHOWN]!r}; write key=value, key+=value or key-=value")
    if not key.endswith("-"):
        return key.removesuffix("+"), value
    key = key[:-1]
    if value and (value != ALLOW_ALL or project not in whitelist(config)):
        raise Refused(f"The {key[:_SHOWN]!r} setting doesn't have value {value[:_SHOWN]!r}")
    return key, None


def _shown(rules: tuple[str, ...]) -> str:
    return str(list(rules))[:_SHOWN]
