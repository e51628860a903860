"""Sends a large file to S3 in parts.

    begin ─► part, part … ─► complete
               └ fails, or the sender is cancelled ─► abort

S3 keeps, and charges for, the parts of an upload that is neither completed nor aborted. s3fs aborts one that fails and leaves one that is
cancelled (seen with 2026.9.0). Here only a killed process leaves one, which a later sweep aborts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Final

PART_BYTES: Final = 8 << 20
"""The size of a part. S3 takes 10,000 parts: 80 GB."""

_ABORT_SECONDS: Final = 4.0

Request = Callable[..., Awaitable[Any]]
"""Sends a request: the name of a method of S3, and its parameters."""


async def send_in_parts(request: Request, file: Path, place: tuple[str, str], said: Mapping[str, Any]) -> None:
    """Send a local file to a bucket and key. `said`: parameters of the new object."""
    bucket, key = place
    begun = await request("create_multipart_upload", Bucket=bucket, Key=key, **said)
    upload = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
    try:
        with file.open("rb") as source:
            sent = await _send(request, source, upload)
        await request("complete_multipart_upload", **upload, MultipartUpload={"Parts": sent})
    except BaseException:
        with suppress(Exception):
            async with asyncio.timeout(_ABORT_SECONDS):
                await request("abort_multipart_upload", **upload)
        raise


async def _send(request: Request, source: BinaryIO, upload: Mapping[str, Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    for number in count(1):
        data = source.read(PART_BYTES)
        if not data:
            break
        answer = await request("upload_part", **upload, PartNumber=number, Body=data)
        sent.append({"PartNumber": number, "ETag": answer["ETag"]})
    return sent


async def abort_old_uploads(request: Request, below: tuple[str, str], horizon: float) -> int:
    """Abort uploads of keys below a bucket and prefix that were begun before `horizon`, in seconds since the epoch; return their number."""
    bucket, prefix = below
    aborted = 0
    # At most a thousand are listed; the next sweep sees the others.
    listed = await request("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
    for upload in listed.get("Uploads", []):
        if upload["Key"].startswith(prefix) and upload["Initiated"].timestamp() <= horizon:
            with suppress(FileNotFoundError):
                await request("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                aborted += 1
    return aborted
