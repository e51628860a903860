"""Rules that allow or refuse a change, with the errors of refused ones.

Pure. `planning` works out the effects of allowed changes. `engines.behind` asks these rules before it shows a page.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pkgindex_core.changes import (
    AttachmentAbsent,
    Change,
    Commit,
    FileAbsent,
    IndexAbsent,
    IndexIs,
    IndexPresent,
    MirrorPage,
    NoteIs,
    ProjectAt,
    Requirement,
    UserAbsent,
    UserIs,
    WithinQuotas,
    encode_changes,
)
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256, parse_sha256
from pkgindex_core.errors import Conflict, Corrupt, Missing, Refused, RequirementFailed
from pkgindex_core.formats.kept_pages import KeptRows, page_content
from pkgindex_core.models import Attachment, File, IndexConfig, PageHead, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.stamping import stamp_after


def encoded_changes(changes: Sequence[Change]) -> bytes:
    """Encode changes for the log. Refuse values that could not be read back (lone surrogates, integers beyond 64 bits)."""
    try:
        return encode_changes(tuple(changes))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Refused(f"the change cannot be stored: {error}") from error


def commit_time(now: Timestamp, last: Timestamp) -> Timestamp:
    """The time of a commit, never before the last one: otherwise "as of a date" would not name one serial."""
    return max(now, last)


def take_uploads(config: IndexConfig | None, name: IndexName) -> IndexConfig:
    """Refuse a change of hosted projects in an index that is not hosted."""
    if config is None:
        raise Missing("index", name)
    if config.mirrored:
        raise Conflict(f"index {name!r} is a mirror: its projects come from its upstream", hint="use a stage index")
    return config


def take_mirrored(config: IndexConfig | None, name: IndexName) -> IndexConfig:
    """Refuse a change of mirrored projects in an index that is not a mirror."""
    if config is None:
        raise Missing("index", name)
    if not config.mirrored:
        raise Conflict(f"index {name!r} is not a mirror: it holds uploads")
    return config


def kept_rows(stored: KeptRows | None, change: MirrorPage) -> KeptRows | None:
    """The page in one piece after a change; None when its files are stored one by one.

    A page in one piece stays so after a difference, unless it becomes long or the difference comes in parts.
    """
    if not change.kept:
        if stored is None or not (change.put or change.drop):
            return stored
        edited = stored.edited(change.project, change.put, change.drop) if change.part == "whole" else None
        return edited if edited is not None and edited.is_ordinary else None
    if change.put or change.drop or change.part != "whole":
        raise Refused(f"the page of {change.project!r} comes in one piece and as a difference", hint="send either")
    try:
        return KeptRows(change.kept)
    except Corrupt as error:
        raise Refused(f"the page of {change.project!r} cannot be stored: {error.message}") from error


def page_name(
    change: MirrorPage, serial: Serial, before: tuple[int, str], *, unseen: bool, head: PageHead, rows: KeptRows | None
) -> tuple[Serial, str]:
    """The stamp and the content name of a page after a change.

    `before`: those before the change. `unseen`: the change alters nothing that is shown. `head` and `rows`: the new page, if it is
    in one piece.
    """
    stamp, content = Serial(before[0]), before[1]
    if not unseen:
        stamp = stamp_after(serial, stamp)
        content = page_content(head, rows) if rows is not None and not change.content else ""
    return change.stamp or stamp, change.content or content


def keep_type(old: IndexConfig | None, new: IndexConfig) -> None:
    if old is None or (old.type, old.mirrored) == (new.type, new.mirrored):
        return
    before, after = (f"{config.type!r}{' (mirrored)' * config.mirrored}" for config in (old, new))
    raise Conflict(
        f"index {new.name!r} is of type {before} and cannot become {after}",
        hint="delete the index and create it again, or choose another name",
    )


def hosted_digest(file: File) -> Sha256:
    """The sha256 of a hosted file, which names its blob, tombstone and URL. Refuses a missing or malformed one, also of the sidecar."""
    digest = file.sha256
    if digest is None or parse_sha256(digest) != digest:
        raise Refused(f"the hosted file {file.filename!r} needs a sha256 of 64 lower-case hexadecimal digits")
    if file.metadata_sha256 and parse_sha256(file.metadata_sha256) != file.metadata_sha256:
        raise Refused(f"the metadata digest of {file.filename!r} is not 64 lower-case hexadecimal digits")
    return digest


def attachment_digest(attachment: Attachment) -> Sha256:
    """The sha256 of an attachment's blob. Refuses a malformed one."""
    digest = parse_sha256(attachment.sha256)
    if digest is None or digest != attachment.sha256:
        raise Refused(f"the attachment {attachment.filename!r} needs a sha256 of 64 lower-case hexadecimal digits")
    return digest


def successor(head: Serial, last: Timestamp, commit: Commit) -> None:
    """Refuse a replayed commit that does not follow the head."""
    if commit.serial != head + 1:
        raise Conflict(
            f"commit {commit.serial} does not follow the head, which is {head}",
            hint="replay into an empty store, or from the commit behind its head",
        )
    if commit.at < last:
        raise Conflict(f"commit {commit.serial} is older than the one before it")


def one_project(filename: str, wanted: ProjectName, holder: ProjectName, index: IndexName) -> None:
    """Refuse a filename that belongs to another project of the index, also of a deleted file."""
    if holder != wanted:
        raise Conflict(f"file {filename!r} belongs to project {holder!r} in {index}, not to {wanted!r}")


def user_is_free(name: str, owned: Sequence[IndexName]) -> None:
    if owned:
        raise Conflict(f"user {name!r} still owns {', '.join(sorted(owned))}", hint="delete those indexes first")


def looks_the_same(old: PageHead, new: PageHead) -> bool:
    """Whether two heads differ only in fields that are never shown: the validators, and the time of the fetch.

    Revalidation must not change the stamp of a page; otherwise every ETag would change with every expiry.
    """
    return msgspec.structs.replace(new, fetched=old.fetched, validators=old.validators) == old


def failed(requirement: Requirement) -> RequirementFailed:
    """The error for a precondition that does not hold."""
    match requirement:
        case FileAbsent():
            text = f"file {requirement.filename!r} already exists in {requirement.index} or was deleted from it"
        case AttachmentAbsent():
            text = f"{requirement.filename!r} of {requirement.project!r} already exists in {requirement.index}"
        case ProjectAt():
            text = f"project {requirement.project!r} in {requirement.index} has changed meanwhile"
        case UserAbsent():
            text = f"user {requirement.name!r} already exists"
        case IndexAbsent():
            text = f"index {requirement.name!r} already exists"
        case IndexPresent():
            text = f"index {requirement.name!r} does not exist"
        case UserIs():
            text = f"user {requirement.user.name!r} has changed meanwhile"
        case IndexIs():
            text = f"index {requirement.config.name!r} has changed meanwhile"
        case NoteIs():
            text = f"the note {requirement.key!r} has changed meanwhile"
        case WithinQuotas():
            text = f"index {requirement.index!r} is above a quota"
    return RequirementFailed(text, requirement)
