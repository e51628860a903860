"""Converts options that a client sends to an index's configuration, and a configuration to a document.

Pure: knows the declared types and options (`protocols.index_types`), never a store. Messages are devpi's. All problems are
reported together, and then nothing is changed.

A document always shows options that have a default, other options when they are set, and secrets never. A change affects only
the given options, so that hidden and unknown ones are not lost when a document is written back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import fields, replace

from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig, Tree
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.index_types import IndexOption, IndexType
from pkgindex_core.rules import devpi7_options, kept_options
from pkgindex_core.rules import option_values as values
from pkgindex_core.rules.policing import exemptions, own_advisories
from pkgindex_core.spelling import nearest, suggestion
from pkgindex_core.urls import masked

DROP: Final = object()
"""As a value: drop the option. null means the same for a known option."""
LEGACY: Final = frozenset({"bases", "acl_upload", "mirror_whitelist", "pypi_whitelist"})
"""Options of old devpi versions. They are accepted and ignored for types that do not have them."""
STORED_BYTES: Final = "stored_bytes"
"""The key of the bytes of all files, in the document of an index."""
_NOT_OPTIONS: Final = frozenset({"type", "projects", STORED_BYTES})
"""Keys of a document that are accepted, but cannot be changed as options."""
_BEQUEATHED: Final = frozenset(
    {
        "bases",
        "mirror_whitelist",
        "mirror_whitelist_inheritance",
        devpi7_options.INDEX_RULES,
        devpi7_options.TRUST,
    }
)
"""Options of types that have bases."""
_OF_UPLOADS: Final = frozenset({"acl_upload", "acl_toxresult_upload", "upload_rules"})
"""Options of types that take uploads."""
_GUARDED: Final = frozenset(
    {
        *("name", "type", "read_only", "mirrored", "files_elsewhere", "mirror_credentials", "options"),
        *(exemptions.KEPT_AS, own_advisories.KEPT_AS),
    }
)
"""Fields of a configuration, and keys of its options, that no option sets by its name: their readers trust what they find."""
_INDEX_FIELDS: Final = {field.name: field.default for field in fields(IndexConfig) if field.name not in _GUARDED}
_UNSET: Final = {**_INDEX_FIELDS, **kept_options.DEFAULTS}
"""The values of built-in options that are not set."""
_SHOWN: Final = 200

BUILTIN_TYPES: Final[Mapping[str, tuple[str, IndexType]]] = {
    "stage": ("takes uploads and inherits from its bases", IndexType()),
    "mirror": (
        "a read-through cache of another index",
        IndexType(takes_uploads=False, has_bases=False, mirrored=True, options_of="mirror"),
    ),
}

_SPELLINGS: Final[Mapping[str, str]] = {theirs: ours for ours, theirs in devpi7_options.TYPES.items()}
"""Types by devpi 7's names."""

_ALL = ("stage", "mirror")
BUILTIN_OPTIONS: Final[Mapping[str, tuple[str, IndexOption]]] = {
    "volatile": (
        "whether files may be overwritten and deleted",
        IndexOption(parse=values.boolean, types=_ALL, default=lambda _: True),
    ),
    "bases": (
        "indexes to inherit from, most important first",
        IndexOption(parse=values.base_names, default=lambda _: (), is_list=True),
    ),
    "acl_read": ("who may see it", IndexOption(parse=values.principals, types=_ALL, is_list=True)),
    "acl_download": (
        "who may fetch files, where that are others than those who may see it",
        IndexOption(parse=values.principals, types=_ALL, is_list=True),
    ),
    "acl_upload": (
        "who may upload, delete and yank",
        IndexOption(parse=values.principals, default=lambda name: (name.partition("/")[0],), is_list=True),
    ),
    "acl_toxresult_upload": (
        "who may add test results",
        IndexOption(parse=values.principals, default=lambda _: _INDEX_FIELDS["acl_toxresult_upload"], is_list=True),
    ),
    "upload_rules": (
        "lenient takes what PyPI refuses unless it is dangerous, with a warning; pypi refuses it",
        IndexOption(parse=values.upload_rules),
    ),
    "max_file_bytes": (
        "the most bytes of a file that is uploaded, such as 200MiB; 0 sets no bound of this index",
        IndexOption(parse=values.amount),
    ),
    "max_project_bytes": (
        "the most bytes of all files of a project; uploads and pushes beyond it are refused",
        IndexOption(parse=values.amount),
    ),
    "max_index_bytes": (
        "the most bytes of all files of the index; uploads and pushes beyond it are refused",
        IndexOption(parse=values.amount),
    ),
    "retain_releases": (
        "how many of the newest final releases of each project are kept; `pkgindex-serve retain` tells what goes",
        IndexOption(parse=values.releases),
    ),
    "retain_prereleases": (
        "how many of the newest pre-releases of each project are kept",
        IndexOption(parse=values.releases),
    ),
    "retain_age": (
        "seconds for which releases are kept after their upload, or a number with s, m, h, d or w",
        IndexOption(parse=values.age),
    ),
    "retain_always": (
        "projects, and releases as PROJECT==VERSION, that no retention rule removes",
        IndexOption(parse=values.pins, is_list=True),
    ),
    "mirror_whitelist": (
        "projects that may come from a mirror although a hosted index has them; * for all",
        IndexOption(parse=values.project_names, default=lambda _: (), is_list=True),
    ),
    "mirror_whitelist_inheritance": (
        "how whitelists combine: intersection or union",
        IndexOption(parse=values.inheritance, default=lambda _: "intersection"),
    ),
    "mirror_url": (
        "the upstream simple index",
        IndexOption(parse=values.mirror_url, types=("mirror",), required=True, write=values.with_mirror_url),
    ),
    "mirror_cache_expiry": (
        "seconds for which a page counts as fresh",
        IndexOption(parse=values.expiry, types=("mirror",)),
    ),
    "mirror_history": (
        "seconds for which pages can be read as of a past commit, or a number with s, m, h, d or w; 0 keeps no past",
        IndexOption(parse=values.history, types=("mirror",)),
    ),
    "mirror_use_external_urls": (
        "whether clients are sent to the upstream for files that are not kept here",
        IndexOption(parse=values.boolean, types=("mirror",)),
    ),
    "mirror_no_project_list": (
        "whether the upstream is never asked for its list of projects",
        IndexOption(parse=values.boolean, types=("mirror",)),
    ),
    "mirror_ignore_serial_header": (
        "whether a page with a lower serial than the stored one is taken",
        IndexOption(parse=values.boolean, types=("mirror",)),
    ),
    "mirror_sizes": (
        "of how many files of a page without sizes the upstream is asked for the size, the newest first; 0 asks for none",
        IndexOption(parse=values.sizes, types=("mirror",)),
    ),
    "absent_statuses": (
        "HTTP statuses of the upstream that mean that it has no such project; the default is 404 and 410",
        IndexOption(parse=values.absent_statuses, types=("mirror",), is_list=True),
    ),
    "upload_time": (
        "first-seen gives files without an upload time the time at which they were first listed here; upstream gives them none",
        IndexOption(parse=values.upload_time, types=("mirror",)),
    ),
    "mirror_web_url_fmt": (
        "the URL of a web page about a project, with {name} for its name",
        IndexOption(parse=values.web_url, types=("mirror",)),
    ),
    "mirror_provides_core_metadata": (
        "accepted for devpi and ignored: metadata is always offered",
        IndexOption(parse=values.boolean, types=("mirror",), write=lambda config, _: config),
    ),
    "project_inheritance_rules": (
        "devpi 7's words for * in mirror_whitelist: `allow all` or `block type:remote if local_exists`",
        IndexOption(
            parse=devpi7_options.index_rules,
            default=lambda _: (devpi7_options.BLOCK_REMOTE,),
            is_list=True,
            write=devpi7_options.with_index_rules,
            read=devpi7_options.rules_of_index,
            spells="mirror_whitelist",
        ),
    ),
    "trust_inheritance_rules_from": (
        "devpi 7's words for mirror_whitelist_inheritance: none (intersection) or type:not remote (union)",
        IndexOption(
            parse=devpi7_options.trusted,
            read=devpi7_options.trust_of_index,
            spells="mirror_whitelist_inheritance",
        ),
    ),
    "remote_url": (
        "devpi 7's name of mirror_url",
        IndexOption(
            parse=values.mirror_url, types=("mirror",), required=True, write=values.with_mirror_url, spells="mirror_url"
        ),
    ),
    "remote_refresh_delay": (
        "devpi 7's name of mirror_cache_expiry",
        IndexOption(parse=values.expiry, types=("mirror",), spells="mirror_cache_expiry"),
    ),
    "remote_use_external_urls": (
        "devpi 7's name of mirror_use_external_urls",
        IndexOption(parse=values.boolean, types=("mirror",), spells="mirror_use_external_urls"),
    ),
    "remote_no_project_list": (
        "devpi 7's name of mirror_no_project_list",
        IndexOption(parse=values.boolean, types=("mirror",), spells="mirror_no_project_list"),
    ),
    "remote_web_url_fmt": (
        "devpi 7's name of mirror_web_url_fmt",
        IndexOption(parse=values.web_url, types=("mirror",), spells="mirror_web_url_fmt"),
    ),
    "title": ("one line for people", IndexOption(parse=values.text, types=_ALL)),
    "description": ("text for people", IndexOption(parse=values.text, types=_ALL)),
    "custom_data": ("anything", IndexOption(parse=values.anything, types=_ALL)),
}


class IndexOptions:
    """The declared types and options, by name.

    `defaults` replaces some defaults. `most_entries` bounds lists; a longer one may only shrink.
    """

    def __init__(
        self,
        types: Mapping[str, IndexType],
        options: Mapping[str, IndexOption],
        defaults: Mapping[str, Any] | None = None,
        *,
        most_entries: int = 5000,
    ) -> None:
        taken = sorted(_GUARDED.intersection(options))
        if taken:
            raise Refused([f"no index option can be called {name!r}" for name in taken])
        self.types = types
        self._options = options
        self._defaults = defaults or {}
        self._most_entries = most_entries

    def made(self, name: IndexName, given: Mapping[str, Any], tree: Tree) -> IndexConfig:
        """A new index with these options (and `type`) and the defaults of the others."""
        kind = _kind(given.get("type", "stage"), self.types)
        if kind not in self.types:
            raise Refused(f"unknown index type {kind[:_SHOWN]!r}", hint=suggestion(kind, self.types))
        config = self.blank(name, kind)
        options = self._options_of(kind)
        for key, option in options.items():
            if option.default is not None and not option.spells:
                config = _written(config, key, option, self._defaults.get(key, option.default(name)))
        return self._changed(config, given, tree)

    def blank(self, name: IndexName, kind: str) -> IndexConfig:
        """An index of a type with nothing set. An index of an unknown type can only be read."""
        declared = self.types.get(kind, IndexType(takes_uploads=False))
        read_only = declared.mirrored or not declared.takes_uploads
        return IndexConfig(
            name=name,
            type=kind,
            read_only=read_only,
            mirrored=declared.mirrored,
            files_elsewhere=declared.files_elsewhere,
        )

    def changed(self, config: IndexConfig, given: Mapping[str, Any], tree: Tree) -> IndexConfig:
        """The index with these options changed or dropped (see `DROP`)."""
        if _kind(given.get("type", config.type), self.types) != config.type:
            raise Refused("the 'type' of an index can't be changed", hint="make another index")
        return self._changed(config, given, tree)

    def patched(self, config: IndexConfig, patches: Sequence[Any], tree: Tree) -> IndexConfig:
        """The index after patches of the forms `key=value`, `key+=value`, `key-=value` and `key-=`, in the order given."""
        given: dict[str, Any] = {}
        problems: list[str] = []
        hint = ""
        for patch in patches:
            try:
                key, value = self._patch(config, given, patch)
            except Refused as error:
                problems.extend(error.problems)
                hint = error.hint
                continue
            given[key] = value
        if problems:
            raise Refused(problems, hint=hint)
        return self.changed(config, given, tree)

    def kind(self, said: str) -> str:
        """Translate devpi 7's name of a type; other names are returned unchanged."""
        return _kind(said, self.types)

    def taken_over(self, config: IndexConfig, given: Mapping[str, Any]) -> tuple[IndexConfig, list[str]]:
        """The index with another program's options, as far as they are valid, and a sentence about each that was left out.

        Invalid entries of a list are left out, since a shorter list permits less. Bases may be missing. Options that no type has are kept,
        for a plugin that may know them later. Raises `Refused` for an unreadable option that restricts the index, such as constraints.
        """
        options = self._options_of(config.type)
        remarks: list[str] = []
        for key, value in given.items():
            option = options.get(key)
            if option is None:
                if key in LEGACY or key in _NOT_OPTIONS:
                    continue
                if key in _GUARDED or key in self._options or key in kept_options.DEFAULTS:
                    # An unread value must not be kept where readers trust the value.
                    remarks.append(f"{key} is not an option of an index of type {config.type}; it was left out")
                else:
                    config = replace(config, options={**config.options, key: _as_json(value)})
                    remarks.append(f"{key} is an unknown option; it is kept in case a plugin knows it")
                continue
            try:
                config = _written(config, key, option, _parsed(key, option, value, remarks))
            except Refused as error:
                if (option.spells or key) not in _UNSET and option.default is not None:
                    raise Refused(f"its {key} cannot be read: {'; '.join(error.problems)}") from error
                remarks.append(f"{key} was left out: {'; '.join(error.problems)}")
        return config, remarks

    def document(self, config: IndexConfig, *, of_devpi_7: bool = False, private: bool = True) -> dict[str, Any]:
        """The document of an index, for principals that may only read it without `private` options. Without projects and secrets.

        Options have the names of devpi 6, or those of devpi 7.
        """
        options = self._options_of(config.type)
        renamed = {option.spells for option in options.values()}
        kind = devpi7_options.TYPES.get(config.type, config.type) if of_devpi_7 else config.type
        shown: dict[str, Any] = {"type": kind, "volatile": config.volatile}
        for key, option in options.items():
            if option.secret or (option.private and not private) or (key in renamed if of_devpi_7 else option.spells):
                continue
            kept_as = option.spells or key
            if option.default is not None or _value(config, kept_as) != _UNSET.get(kept_as):
                shown[key] = _as_json(_told(config, key, option))
        return shown

    def without_secrets(self, config: IndexConfig) -> IndexConfig:
        """The configuration without the values that are never shown."""
        hidden = {"mirror_credentials"} | {
            option.spells or key for key, option in self._options.items() if option.secret
        }
        return replace(config, options={key: value for key, value in config.options.items() if key not in hidden})

    def has_private(self, config: IndexConfig) -> bool:
        """Whether an index has options that only those may see who may change it."""
        return any(option.private and (option.spells or key) in config.options for key, option in self._options.items())

    def _options_of(self, kind: str) -> dict[str, IndexOption]:
        """The options of a type, by key; for an unknown type, those of a stage."""
        declared = self.types.get(kind, IndexType())
        wanted = {kind, declared.options_of}
        inherits = declared.has_bases and not declared.mirrored
        return {
            key: option
            for key, option in self._options.items()
            if wanted.intersection(option.types)
            and (inherits or key not in _BEQUEATHED)
            and not (declared.mirrored and key in _OF_UPLOADS)
        }

    def _changed(self, config: IndexConfig, given: Mapping[str, Any], tree: Tree) -> IndexConfig:
        options = self._options_of(config.type)
        problems: list[str] = []
        unexpected: dict[str, Any] = {}
        hint = ""
        changed = config
        for key, value in given.items():
            option = options.get(key)
            if option is not None and option.spells in given:
                problems.append(f"{option.spells} and {key} are two names of one option: give one of them")
                continue
            try:
                if value is DROP or (value is None and option is not None):
                    changed = _dropped(changed, key, option)
                elif option is not None:
                    self._bounded(key, option, value, _told(config, key, option))
                    changed = _written(changed, key, option, option.parse(value))
                elif key not in _NOT_OPTIONS and key not in LEGACY:
                    unexpected[key] = value
            except Refused as error:
                spelled = option.spells if option is not None else ""
                problems.extend(text.replace(spelled, key) if spelled else text for text in error.problems)
                hint = f"{key}: {error.hint}" if error.hint else f"this is about the option {key}"
        named = {option.spells or key for key, option in options.items() if key in given}
        problems.extend(
            f"base index {base!r} does not exist"
            for base in changed.bases
            if base not in config.bases and base not in tree.indexes
        )
        problems.extend(
            f"an index of type {config.type} needs the option {key}"
            for key, option in options.items()
            if option.required and not option.spells and key not in named and not _value(changed, key)
        )
        if unexpected:
            told = ", ".join(f"{key[:_SHOWN]}={masked(str(value))[:_SHOWN]}" for key, value in unexpected.items())
            # devpi's client shows no hints, so the suggestion is part of the message.
            first = next(iter(unexpected))
            meant = f" ({suggestion(first, options)})" if nearest(first, options) else ""
            problems.append(f"indexconfig got unexpected keyword arguments: {told}{meant}")
            hint = "" if meant else suggestion(first, options)
        if problems:
            raise Refused(problems, hint=hint)
        return changed

    def _bounded(self, key: str, option: IndexOption, value: Any, before: Any) -> None:
        """Refuse a list that is too long and does not shrink, before it is parsed, which takes time."""
        if not option.is_list:
            return
        count = values.entry_count(value)
        if count > self._most_entries and count >= len(before or ()):
            raise Refused(
                f"the list {key!r} has {count} entries; {self._most_entries} are possible",
                hint="list a `:group` instead of its members; the administrator's setting is max_list_entries",
            )

    def _patch(self, config: IndexConfig, given: Mapping[str, Any], patch: Any) -> tuple[str, Any]:
        """Read one patch as the option's key and its new value."""
        options = self._options_of(config.type)
        if not isinstance(patch, str) or ("=" not in patch and patch in options):
            raise Refused(
                f"cannot read the change {masked(str(patch))[:_SHOWN]!r}; write key=value, key+=value or key-=value"
            )
        key, _, word = patch.partition("=")
        operation = key[-1:]
        if operation not in {"+", "-"}:
            return key, word
        key = key[:-1]
        if operation == "-" and not word:
            return key, DROP
        option = options.get(key)
        if option is None:
            return key, word  # an unknown option, which is refused later together with others
        if not option.is_list:
            raise Refused(f"the '{key}' setting is not a list; write {key}=VALUE")
        before = given.get(key, _told(config, key, option))
        present = option.parse(() if before is DROP or before is None else before)
        self._bounded(key, option, word, ())
        parts = option.parse(word)
        if operation == "+":
            return key, (*present, *(part for part in parts if part not in present))
        missing = [part for part in parts if part not in present]
        if missing:
            raise Refused(f"The '{key}' setting doesn't have value '{word[:_SHOWN]}'")
        return key, tuple(part for part in present if part not in parts)


def _kind(said: Any, types: Mapping[str, IndexType]) -> str:
    kind = str(said)
    return kind if kind in types else _SPELLINGS.get(kind, kind)


def _value(config: IndexConfig, key: str) -> Any:
    return getattr(config, key) if key in _INDEX_FIELDS else config.options.get(key, _UNSET.get(key))


def _told(config: IndexConfig, key: str, option: IndexOption) -> Any:
    """The value of an option as a document shows it."""
    return option.read(config) if option.read is not None else _value(config, option.spells or key)


def _written(config: IndexConfig, key: str, option: IndexOption, value: Any) -> IndexConfig:
    if option.write is not None:
        return option.write(config, value)
    key = option.spells or key
    if key in _INDEX_FIELDS:
        return replace(config, **{key: value})
    return kept_options.with_options(config, **{key: _as_json(value)})


def _parsed(key: str, option: IndexOption, value: Any, remarks: list[str]) -> Any:
    """Parse a value; of a built-in list, keep the valid words."""
    try:
        return option.parse(value)
    except Refused:
        if not option.is_list or key not in _UNSET:
            raise
    kept: list[Any] = []
    for word in values.words(value):
        try:
            kept.extend(option.parse((word,)))
        except Refused as error:
            remarks.append(f"{word[:_SHOWN]!r} was left out of {key}: {'; '.join(error.problems)}")
    return tuple(dict.fromkeys(kept))


def _dropped(config: IndexConfig, key: str, option: IndexOption | None) -> IndexConfig:
    """The index without the option. Unknown options can be dropped too, for leftovers of plugins."""
    if option is not None and (option.default is not None or option.required):
        raise Refused("Default values can't be removed.")
    if option is not None and option.spells:
        key = option.spells
    if option is not None and key in _INDEX_FIELDS:
        return replace(config, **{key: _INDEX_FIELDS[key]})
    return replace(config, options={name: value for name, value in config.options.items() if name != key})


def _as_json(value: Any) -> Any:
    """A value after a round trip through JSON, so that stored and parsed values compare equal."""
    return msgspec.json.decode(msgspec.json.encode(value))
