"""The meaning of errors of fsspec's file systems. Each client library has errors of its own, and some say less than the store did.

s3fs gives one number, EINVAL, to a range that is beyond the end, to a name that is taken and to a malformed request. The code that the
store sent is in the chain of causes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from pkgindex_core.errors import PkgIndexError, StorageFull, Unavailable

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_FINAL_NUMBERS: Final = _FULL | {errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENAMETOOLONG}
_FINAL_KINDS: Final = (PkgIndexError, FileNotFoundError, FileExistsError, PermissionError, ValueError, TypeError)
_FINAL_STATUSES: Final = range(400, 500)
_OVERLOADED: Final = {408, 409, 429}
"""Statuses below 500 that ask for another attempt."""
_TAKEN: Final = {"PreconditionFailed", "ConditionalRequestConflict"}
_HTTP_CONFLICT: Final = 412
_HTTP_RANGE: Final = 416


def failure(error: BaseException) -> Unavailable:
    """Translate a foreign error. Its text may have URLs with credentials, so only the log gets it, from the chained exception."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return StorageFull("the remote store has no room", retry_after=300, hint="free space there, or raise its quota")
    if isinstance(error, PermissionError):
        return Unavailable(
            "the remote store denies access", retry_after=2, hint="check its credentials and what they permit"
        )
    if type(error).__name__ == "NoCredentialsError":  # of botocore, which may not be installed
        return Unavailable(
            "there are no credentials for the remote store",
            hint="set the variables that its client library reads, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if isinstance(error, FileNotFoundError):
        return Unavailable(
            "the bucket or root of the remote store does not exist", hint="create it, or correct the URL"
        )
    return Unavailable(
        f"the remote store failed: {type(error).__name__}", retry_after=2, hint="see the server's log for its answer"
    )


def is_passing(error: BaseException) -> bool:
    """Whether another attempt may succeed: the store was not reached, gave no answer, or said that it failed."""
    if isinstance(error, _FINAL_KINDS) or (isinstance(error, OSError) and error.errno in _FINAL_NUMBERS):
        return False
    status = _status(error)
    return status not in _FINAL_STATUSES or status in _OVERLOADED


def is_taken(error: BaseException | None) -> bool:
    """Whether a write failed because the name is taken."""
    return any(
        isinstance(cause, FileExistsError) or _code(cause) in _TAKEN or _status(cause) == _HTTP_CONFLICT
        for cause in _causes(error)
    )


def is_beyond_the_end(error: BaseException | None) -> bool:
    """Whether an error may mean that a range is beyond the end (HTTP 416)."""
    return any(
        (isinstance(cause, OSError) and cause.errno == errno.EINVAL)
        or _status(cause) == _HTTP_RANGE
        or (isinstance(cause, ValueError) and "Content-Range" in str(cause))  # the client library of Azure
        for cause in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _code(error: BaseException) -> str:
    """The code of an error of S3."""
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""


def _status(error: BaseException) -> int:
    """The status of an error of gcsfs or of the client library of Azure; 0 if it has none."""
    for name in ("code", "status_code"):
        value = getattr(error, name, None)
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            return int(value)
    return 0
