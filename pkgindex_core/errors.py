"""The errors of this library, as types with fields from which messages are built.

HTTP statuses are not named here: the table in `pkgindex_http.errors` maps errors to them.
Expected outcomes (a file is not there, a page did not change) are values, not exceptions. An exception ends a request.
Foreign exceptions are translated where they enter, with `raise … from`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SOON: Final = 2
"""Seconds after which a client should ask again. It is short because pip waits that long, five times, without telling its user."""


class PkgIndexError(Exception):
    """The base of all errors that this library raises on purpose.

    `hint` is one sentence that tells the user what to do next; it is never part of `str(error)`.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Missing(PkgIndexError):
    """The named thing does not exist, and the index is sure of it. `message` replaces the default text "no (what) (name)"."""

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
    """The request contradicts the stored data: a name is taken, or a precondition no longer holds."""


class NamespaceTaken(Conflict):
    """The name is in a namespace of another index (PEP 752)."""


class FileTaken(Conflict):
    """The index has a file in the place of the one that is uploaded. twine and uv look for the first words of the message."""

    def __init__(self, taken: str, *, hint: str = "") -> None:
        super().__init__(f"File already exists: {taken}", hint=hint)


class RequirementFailed(Conflict):
    """A precondition of a write does not hold. `requirement` is the precondition."""

    def __init__(self, message: str, requirement: object, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.requirement = requirement


class Refused(PkgIndexError):
    """The input is invalid. `problems` lists everything that is wrong with it, not only the first problem."""

    def __init__(self, problems: str | Sequence[str], *, hint: str = "") -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("; ".join(self.problems), hint=hint)


class TooLarge(Refused):
    """The input exceeds a configured bound of `limit` bytes."""

    def __init__(self, what: str, limit: int, *, hint: str = "") -> None:
        super().__init__(f"{what} is larger than the limit of {limit} bytes", hint=hint)
        self.limit = limit


class QuotaExceeded(Refused):
    """The files of a project or an index would exceed its quota of `limit` bytes; nothing was stored."""

    def __init__(self, what: str, used: int, limit: int, *, option: str) -> None:
        super().__init__(
            f"{what} would have {used} bytes of files, and its quota is {limit} bytes ({option})",
            hint=f"delete what is not needed any more, or ask the owner of the index for a larger {option}",
        )
        self.limit = limit


class RetiredAction(Refused):
    """The form has an action that indexes no longer support."""

    def __init__(self, action: str, *, hint: str = "") -> None:
        super().__init__(f"the action {action} is no longer supported", hint=hint)
        self.action = action


class ReadOnly(Refused):
    """The type of the index takes no files. No permission allows writing to it."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(
            f"index {name} is read-only: its type is {kind}",
            hint="write to an index of the type stage that it inherits from",
        )


class ReadOnlyReplica(Refused):
    """The store is a read-only copy of that of the server at the URL `primary`."""

    def __init__(self, primary: str) -> None:
        super().__init__(
            f"this is a read-only replica of {primary}",
            hint=f"log in, upload and change things at {primary}; what is done there appears here a moment later",
        )
        self.primary = primary


class Denied(PkgIndexError):
    """The principal may not do this. `anonymous`: there were no credentials, and giving some could help."""

    def __init__(self, message: str, *, anonymous: bool, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.anonymous = anonymous


class Unavailable(PkgIndexError):
    """The answer is not known now: an upstream, a store or a disk could not be asked. It never means absent.

    `retry_after` is in whole seconds; None: waiting does not help.
    """

    def __init__(self, message: str, *, retry_after: int | None = SOON, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class BadUpstream(Unavailable):
    """The answer is not known until an operator repairs the upstream or its configuration."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, retry_after=None, hint=hint)


class Removed(Unavailable):
    """A file was removed between being found and being read. Opening it again fetches it, or finds that it is gone."""

    def __init__(self) -> None:
        super().__init__("the file was removed just now", hint="send the request again")


class StorageFull(Unavailable):
    """A disk, quota or bucket is full; nothing was stored."""


class Corrupt(PkgIndexError):
    """Stored bytes are damaged; they are not served."""


def afresh(error: PkgIndexError) -> PkgIndexError:
    """Copy an error for each task that waits for it: one object raised in many tasks would collect their tracebacks."""
    copy = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy
