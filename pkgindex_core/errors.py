"""What can fail, as types with fields; the message is built from them.

No HTTP number appears here: `pkgindex_http.errors` owns the one table that maps these to statuses.
Expected outcomes (a file that is not there, a page that did not change) are values, not exceptions; what
is raised ends a request. Foreign exceptions are translated where they enter, with `raise … from`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SOON: Final = 2
"""Seconds after which a client should ask again. pip waits as long as it is told, five times and without a word, so it is short."""


class PkgIndexError(Exception):
    """Base of everything this library raises on purpose.

    `hint` is one sentence that tells the user what to do next; it is never part of `str(error)`.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Missing(PkgIndexError):
    """The named thing does not exist, and this index would know. `message` says it better than "no (what) (name)"."""

    def __init__(self, what: str, name: str, *, message: str = "", hint: str = "") -> None:
        super().__init__(message or f"no {what} {name!r}", hint=hint)
        self.what = what
        self.name = name


class Gone(Missing):
    """The named thing existed and was deleted; `project` had it."""

    def __init__(self, what: str, name: str, project: str, *, message: str = "", hint: str = "") -> None:
        super().__init__(what, name, message=message or f"{what} {name!r} existed and was deleted", hint=hint)
        self.project = project


class Conflict(PkgIndexError):
    """The request contradicts what is stored: a name is taken, a precondition no longer holds."""


class RequirementFailed(Conflict):
    """A precondition of a write does not hold (any more); `requirement` is the value that was handed in."""

    def __init__(self, message: str, requirement: object, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.requirement = requirement


class Refused(PkgIndexError):
    """The input is invalid. `problems` names everything that is wrong with it, not only the first."""

    def __init__(self, problems: str | Sequence[str], *, hint: str = "") -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("; ".join(self.problems), hint=hint)


class TooLarge(Refused):
    """The input exceeds a configured bound of `limit` bytes."""

    def __init__(self, what: str, limit: int, *, hint: str = "") -> None:
        super().__init__(f"{what} is larger than the limit of {limit} bytes", hint=hint)
        self.limit = limit


class ReadOnly(Refused):
    """An index whose type takes no files: there is no right to write that anybody could have."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(
            f"index {name} is read-only: its type is {kind}",
            hint="write to an index of the type stage that it inherits from",
        )


class Denied(PkgIndexError):
    """The principal may not do this. `anonymous` says whether presenting credentials could help."""

    def __init__(self, message: str, *, anonymous: bool, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.anonymous = anonymous


class Unavailable(PkgIndexError):
    """The answer is not known now: an upstream, a store or a disk could not be asked. Never means absent.

    `retry_after` is in whole seconds; None says that no waiting mends it.
    """

    def __init__(self, message: str, *, retry_after: int | None = SOON, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class BadUpstream(Unavailable):
    """The answer is not known, and stays so until somebody mends the upstream or how it is configured."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, retry_after=None, hint=hint)


class StorageFull(Unavailable):
    """A disk, quota or bucket has no room; nothing was kept."""


class Corrupt(PkgIndexError):
    """Stored bytes are not the bytes that were stored; they are not served."""


def afresh(error: PkgIndexError) -> PkgIndexError:
    """The same error as another object, for each who waits: one that is raised in many tasks would collect their tracebacks."""
    copy = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy
