"""What changes mean: `plan` turns a list of them into what a store has to write. An engine loads facts and writes effects."""

from pkgindex_core.rules.planning.effects import Effects, Emptied, NamesEdit, PageEdit
from pkgindex_core.rules.planning.facts import Facts, Keys, StandingRow, StoredFile, named_keys
from pkgindex_core.rules.planning.plan import plan

__all__ = [
    "Effects",
    "Emptied",
    "Facts",
    "Keys",
    "NamesEdit",
    "PageEdit",
    "StandingRow",
    "StoredFile",
    "named_keys",
    "plan",
]
