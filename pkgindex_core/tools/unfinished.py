"""The notes that a store has while it is filled. With one of them no server opens it (`services.administering.ownership`)."""

from __future__ import annotations

from typing import Final

RESTORING: Final = ("restore", "unfinished")
"""Kind and key of the note that a store has while a backup is restored into it. The value is the name of the backup."""
MIGRATING: Final = ("migrate", "unfinished")
"""Kind and key of the note that a store has until the log of another one was copied into it for the first time."""
