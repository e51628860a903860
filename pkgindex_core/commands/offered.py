"""The commands of a program by word: its own, and those of plugins. A command is loaded when it is used.

Plugins are loaded for help, for completion, and for a word that is not one of the program's own commands, so the program's own commands
start without them. If a plugin cannot be loaded only its own commands are missing, and `problems` tells why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from types import ModuleType
from typing import Any

from pkgindex_core.hookspecs import CommandProvider


class OfferedCommands(Mapping[str, Any]):
    """Commands of click by word, in the form that a group of click reads."""

    def __init__(self, program: str, own: ModuleType, *, disabled: Callable[[], Collection[str]]) -> None:
        """`own` is the plugin of the program. `disabled` returns distributions whose plugins are not loaded; it is called when needed."""
        self._program = program
        self._plugin = own
        self._disabled = disabled
        self._own = self._by_word(own.pkgindex_commands())
        self._made: dict[str, Any] = {}

    def __getitem__(self, word: str) -> Any:
        if word not in self._made:
            provider = self._own.get(word) or self.providers[word]
            self._made[word] = provider.make()
        return self._made[word]

    def __iter__(self) -> Iterator[str]:
        return iter(self.providers)

    def __len__(self) -> int:
        return len(self.providers)

    @property
    def providers(self) -> Mapping[str, CommandProvider]:
        """The providers of all commands by word, the program's own first. No command is loaded."""
        return self._found[0]

    @property
    def problems(self) -> Collection[str]:
        """The problems of plugins, each with its distribution."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[Mapping[str, CommandProvider], Collection[str]]:
        from pkgindex_core.plugins import survey_plugins

        plugins, problems = survey_plugins(
            program=self._plugin, disabled=self._disabled(), hooks=("pkgindex_commands",)
        )
        return self._own | {
            word: each for word, each in self._by_word(plugins.commands()).items() if word not in self._own
        }, problems

    def _by_word(self, providers: Iterable[CommandProvider]) -> dict[str, CommandProvider]:
        words = ((provider.name.partition(" "), provider) for provider in providers)
        return {word: provider for (program, _, word), provider in words if program == self._program}
