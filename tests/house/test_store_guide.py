"""The skeleton of `apply` on the page for authors of stores does what the reference does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from pkgindex_core.changes import Change, Commit, FileAbsent, PutFile, PutIndex, PutUser, decode_changes, decode_commit
from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.engines.memory.state import StoreState, facts, written
from pkgindex_core.errors import Missing, RequirementFailed
from pkgindex_core.models import Serial
from pkgindex_core.rules.change_rules import commit_time, encoded_changes
from pkgindex_core.rules.planning import Effects, Facts, Keys, named_keys, plan
from pkgindex_core.testing.index_cases.values import DEMO, DEV, ManualClock, hosted, stage, user
from tests.house.test_documentation import ROOT, code_blocks

ONE = "demo-1.zip"
NAMES = (Commit, RequirementFailed, Serial, commit_time, encoded_changes, named_keys, plan)
"""The names that the skeleton of the page uses."""
LISTS: tuple[tuple[list[Change], list[Any]], ...] = (
    ([], []),
    ([PutUser(user("ann")), PutIndex(stage(DEV))], []),
    ([PutFile(DEV, DEMO, hosted(ONE))], [FileAbsent(DEV, ONE)]),
    ([PutFile(DEV, DEMO, hosted(ONE))], [FileAbsent(DEV, ONE)]),
    ([PutUser(user("bob")), PutFile(DEV, DEMO, hosted("demo-2.zip")), PutFile("no/index", DEMO, hosted(ONE))], []),  # type: ignore[arg-type]  # refused
    ([PutUser(user("bob"))], []),
)


class Rows:
    """Rows in memory."""

    def __init__(self) -> None:
        self.state = StoreState()
        self.lines: list[tuple[Serial, Timestamp, str, bytes]] = []

    def head(self) -> Serial:
        return self.state.serial

    def last_time(self) -> Timestamp:
        return self.lines[-1][1] if self.lines else Timestamp(0)

    def facts(self, keys: Keys, at: Timestamp) -> Facts:  # nothing mirrored expires here
        return facts(self.state, keys, lambda _config: Serial(0), {})

    def write(self, effects: Effects, serial: Serial) -> None:
        self.state = written(self.state, effects, serial)

    def log(self, *line: Any) -> None:
        self.lines.append(line)


class Skeleton:
    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.rows = Rows()

    @contextmanager
    def transaction(self) -> Iterator[Rows]:
        yield self.rows


async def outcome(apply: Any, store: object, changes: Sequence[Change], require: Sequence[Any]) -> object:
    try:
        return await apply(store, changes, who="ann", require=require)
    except (RequirementFailed, Missing) as error:
        return type(error), str(error)


def test_the_skeleton_of_a_store_commits_what_the_reference_commits() -> None:
    page = (ROOT / "pkgindex_core/STORES.md").read_text(encoding="utf-8")
    (example,) = [block for block in code_blocks(page, "py") if "def apply" in block]
    names: dict[str, Any] = {each.__name__: each for each in NAMES}
    exec(compile(example, "skeleton", "exec"), names)
    ours, reference = Skeleton(ManualClock()), MemoryIndex(ManualClock())
    for changes, require in LISTS:
        expected = asyncio.run(outcome(MemoryIndex.apply, reference, changes, require))
        assert asyncio.run(outcome(names["apply"], ours, changes, require)) == expected
        assert ours.rows.state == reference.now
    commits = asyncio.run(reference.commits(Serial(0)))
    assert [(serial, at, who, decode_changes(data)) for serial, at, who, data in ours.rows.lines] == [
        (each.serial, each.at, each.who, each.changes) for each in commits
    ]
    assert [decode_commit(msgspec.json.encode(each)) for each in commits] == list(commits)
    assert len(commits) == 3
