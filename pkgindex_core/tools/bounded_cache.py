"""A cache with a limit: the least recently used values go first.

The cache does not know whether a value is current. Either the key names everything that the value depends on, or the caller
checks the value.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Keeps values up to a limit of their number, or of their total `size_of`, such as bytes."""

    def __init__(self, limit: int, *, size_of: Callable[[Value], int] = lambda _: 1) -> None:
        self.limit = limit
        self._size_of = size_of
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self.size = 0
        """The size of all values, in the unit of the limit."""

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        """Return the value and mark it as the most recently used; None when it is not kept."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def items(self) -> list[tuple[Key, Value]]:
        """Return all values, the least recently used first. Does not mark them as used."""
        return list(self._values.items())

    def put(self, key: Key, value: Value) -> None:
        """Keep a value in place of an earlier one under this key. A value larger than the limit is not kept."""
        self.drop(key)
        size = self._size_of(value)
        if size > self.limit:
            return
        self._values[key] = value
        self.size += size
        while self.size > self.limit:
            _, dropped = self._values.popitem(last=False)
            self.size -= self._size_of(dropped)

    def drop(self, key: Key) -> None:
        """Remove the value under this key, if there is one."""
        value = self._values.pop(key, None)
        if value is not None:
            self.size -= self._size_of(value)


class NamedCache(NamedTuple):
    """A cache, as `/+metrics` shows it. Caches of one name are added up."""

    name: str
    cache: BoundedCache[Any, Any]
    unit: str = "entries"
    """That of `size` and `limit`."""


@runtime_checkable
class Caching(Protocol):
    """A part of an engine, such as a source of a plugin, that tells its caches."""

    def caches(self) -> Sequence[NamedCache]:
        """The caches that it has now."""
        ...
