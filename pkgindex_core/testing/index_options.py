"""The contract suites of `IndexType` and `IndexOption`.

class TestMyOption(IndexOptionContract):
    key = "uploads_per_day"
    accepts = (20, "20")                # as text and as JSON
    refuses = ("many", -1)
    def make(self): return IndexOption(parse=whole_number)

class TestMyType(IndexTypeContract):
    kind = "shelf"
    def make(self): return IndexType(mirrored=True)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import msgspec
from msgspec.structs import replace

from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig, plain
from pkgindex_core.protocols import IndexOption, IndexType
from pkgindex_core.rules.index_options import BUILTIN_OPTIONS, BUILTIN_TYPES, IndexOptions
from pkgindex_core.testing.index_cases.values import DEV
from pkgindex_core.testing.samples import TREE, is_a_sentence

GARBAGE: Final[tuple[Any, ...]] = (
    "",
    " ",
    ",",
    "\0",
    "lone \ud800 surrogate",
    "x" * 70_000,
    "http://ann:s3cret@[",
    -1,
    0,
    10**400,
    1.5,
    True,
    [],
    {},
    [[]],
    [{"a": [None]}],
    {"a": {"b": 1}},
    [None],
    ["", " "],
    [1, "two", 3.0],
)
"""Values that a client may send: text, and any JSON except null, which drops the option."""
_SECRET: Final = "s3cret-of-ann"


class IndexOptionContract:
    """Subclass, name it `Test…`, and set what the option accepts and refuses."""

    key: ClassVar[str]
    """The name of the option."""
    accepts: ClassVar[tuple[Any, ...]]
    """Values that are accepted, as text and as JSON."""
    refuses: ClassVar[tuple[Any, ...]] = ()
    """Values that are refused; empty only for an option that accepts everything."""
    needs: ClassVar[Mapping[str, Any]] = {}
    """Other options that an index of its type needs."""

    def make(self) -> IndexOption:
        raise NotImplementedError

    def others(self) -> Mapping[str, IndexOption]:
        """Further options of the plugin that its indexes need or that this option mentions."""
        return {}

    def types(self) -> Mapping[str, IndexType]:
        """The index types that the plugin adds, by the value of `type=`. Needed if `IndexOption.types` names one that is not built in."""
        return {}

    def as_text(self, value: Any) -> str:
        """A value as written on a command line. Override it if the option has a spelling of its own."""
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    @property
    def options(self) -> IndexOptions:
        """The built-in options, and this one."""
        built_in = {name: option for name, (_, option) in BUILTIN_OPTIONS.items()}
        types = {name: kind for name, (_, kind) in BUILTIN_TYPES.items()}
        return IndexOptions({**types, **self.types()}, {**built_in, **self.others(), self.key: self.make()})

    def made(self, **given: Any) -> IndexConfig:
        """A new index of the option's first type."""
        return self.options.made(DEV, {"type": self.make().types[0], **self.needs, **given}, TREE)

    def test_what_it_takes_is_kept_as_json(self) -> None:
        """A value is equal after it was stored and read again."""
        option = self.make()
        for given in self.accepts:
            value = option.parse(given)
            assert isinstance(value, tuple) or not option.is_list
            assert msgspec.json.decode(msgspec.json.encode(value)) == plain(value)
            config = self.made(**{self.key: given})
            assert msgspec.json.decode(msgspec.json.encode(config), type=IndexConfig) == config

    def test_a_value_is_read_back_as_it_was_kept(self) -> None:
        """From JSON and from text: writing back what is shown changes nothing."""
        option = self.make()
        for given in self.accepts:
            value = option.parse(given)
            told = value if option.read is None else option.read(self.made(**{self.key: given}))
            assert option.parse(msgspec.json.decode(msgspec.json.encode(told))) == value
            assert option.parse(self.as_text(told)) == value

    def test_a_document_that_is_written_back_changes_nothing(self) -> None:
        for given in self.accepts:
            config = self.made(**{self.key: given})
            shown = msgspec.json.decode(msgspec.json.encode(self.options.document(config)))
            assert self.options.changed(config, shown, TREE) == config

    def test_garbage_is_refused_or_means_something(self) -> None:
        """The result is a JSON value or `Refused`, never another error."""
        option = self.make()
        for given in GARBAGE:
            value = outcome(option.parse, given)
            if isinstance(value, Refused):
                assert value.problems
                continue
            encoded = msgspec.json.encode(value)
            assert len(encoded) < 1_000_000
            assert msgspec.json.decode(encoded) == plain(value)

    def test_what_it_refuses_is_refused_with_a_sentence(self) -> None:
        option = self.make()
        for given in self.refuses:
            refused = outcome(option.parse, given)
            assert isinstance(refused, Refused), f"{given!r} was accepted"
            assert all(is_a_sentence(problem) for problem in refused.problems)

    def test_a_default_is_a_value_that_it_takes(self) -> None:
        option = self.make()
        if option.default is not None:
            default = option.default(DEV)
            assert plain(option.parse(default)) == plain(default)

    def test_a_secret_is_not_repeated(self) -> None:
        option = self.make()
        if not option.secret:
            return
        for given in (_SECRET, f"ftp://ann:{_SECRET}@example.org", f"http://ann:{_SECRET}@["):
            made = outcome(lambda given=given: self.made(**{self.key: given}))
            said = f"{made} {made.hint}" if isinstance(made, Refused) else str(self.options.document(made))
            assert _SECRET not in said


class IndexTypeContract:
    """Subclass, name it `Test…`, and make the type."""

    kind: ClassVar[str]
    """The value of `type=`."""
    given: ClassVar[Mapping[str, Any]] = {}
    """The options that an index of the type needs."""

    def make(self) -> IndexType:
        raise NotImplementedError

    def options_of_the_plugin(self) -> Mapping[str, IndexOption]:
        """The options that the plugin adds, by key."""
        return {}

    @property
    def options(self) -> IndexOptions:
        types = {name: kind for name, (_, kind) in BUILTIN_TYPES.items()} | {self.kind: self.make()}
        built_in = {name: option for name, (_, option) in BUILTIN_OPTIONS.items()}
        return IndexOptions(types, {**built_in, **self.options_of_the_plugin()})

    def made(self) -> IndexConfig:
        return self.options.made(DEV, {"type": self.kind, **self.given}, TREE)

    def test_an_index_knows_what_its_type_means_without_the_plugin(self) -> None:
        """The properties of the type are stored in the configuration of the index."""
        declared, config = self.make(), self.made()
        assert config.type == self.kind
        assert config.mirrored is declared.mirrored
        assert config.read_only is (declared.mirrored or not declared.takes_uploads)
        assert msgspec.json.decode(msgspec.json.encode(config), type=IndexConfig) == config

    def test_what_is_mirrored_inherits_nothing(self) -> None:
        declared = self.make()
        shown = self.options.document(self.made())
        assert ("bases" in shown) is (declared.has_bases and not declared.mirrored)

    def test_its_options_are_those_of_a_type_that_everybody_has(self) -> None:
        assert self.make().options_of in BUILTIN_TYPES

    def test_a_document_that_is_written_back_changes_nothing(self) -> None:
        config = self.made()
        shown = msgspec.json.decode(msgspec.json.encode(self.options.document(config)))
        assert self.options.changed(config, shown, TREE) == config

    def test_the_type_of_an_index_never_changes(self) -> None:
        other = replace(self.made(), type="stage" if self.kind != "stage" else "mirror")
        assert isinstance(outcome(self.options.changed, other, {"type": self.kind}, TREE), Refused)


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call, or the `Refused` that it raises."""
    try:
        return call(*arguments)
    except Refused as refused:
        return refused
