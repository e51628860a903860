#!/usr/bin/env bash
# aiobotocore 3.10.0 with aiohttp 3.14.5 (as s3fs 2026.9.0 installs them): `put_object` of any size, 1 KiB too, never ends against an S3 server
# that accepts the connection and does not answer, although connect_timeout and read_timeout are set and retries are off.
# botocore adds `Expect: 100-continue` to every PUT with a body. aiohttp then waits for "100 Continue" before it sends the body,
# without a time-out: the read time-out begins after the body. Reads of the same client end after read_timeout.
# Exits non-zero when that changes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q aiobotocore==3.10.0 aiohttp==3.14.5
"$work/venv/bin/python" -W ignore - <<'PY'
import asyncio, time
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.handlers import add_expect_header

async def main():
    received = bytearray()
    async def swallow(reader, writer):
        while data := await reader.read(65536):
            received.extend(data)
    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    config = AioConfig(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})
    async with get_session().create_client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s", config=config
    ) as client:
        async def outcome(**question):
            received.clear()
            begun = time.monotonic()
            try:
                async with asyncio.timeout(15):
                    await (client.put_object if "Body" in question else client.head_object)(Bucket="b", Key="k", **question)
            except TimeoutError:
                result = "still waiting"
            except Exception as error:
                result = type(error).__name__
            print(f"{time.monotonic() - begun:5.1f} s  {result}, {len(received)} bytes received")
            return result
        print("HEAD:"); head = await outcome()
        print("PUT of 1 KiB:"); put = await outcome(Body=b"a" * 1024)
        assert b"Expect: 100-continue" in received
        client.meta.events.unregister("before-call.s3", add_expect_header)
        print("PUT of 1 KiB without Expect:"); plain = await outcome(Body=b"a" * 1024)
    assert (head, put, plain) == ("ReadTimeoutError", "still waiting", "ReadTimeoutError"), (head, put, plain)

asyncio.run(main())
PY
