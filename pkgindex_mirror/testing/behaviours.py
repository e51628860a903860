"""Misbehaviours of upstreams. Each function makes one for `ScriptedUpstream.script`."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Mapping

from pkgindex_mirror.testing.upstream import Answer, Asked, Behaviour, Raw

FOREVER = float("inf")


def status(code: int, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Behaviour:
    """Answer with a status."""
    return lambda _asked, _answer: Answer(status=code, headers=dict(headers or {}), body=body)


def says(content_type: str, body: bytes, *, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer 200 with this body."""
    return lambda _asked, _answer: Answer(headers={"Content-Type": content_type, **(headers or {})}, body=body)


def with_headers(**headers: str) -> Behaviour:
    """Answer as usual with further headers; `_` stands for `-`."""
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _asked, answer: Answer(status=answer.status, headers={**answer.headers, **extra}, body=answer.body)


def with_body(change: Callable[[bytes], bytes]) -> Behaviour:
    """Answer as usual with a changed body."""
    return lambda _asked, answer: Answer(status=answer.status, headers=answer.headers, body=change(answer.body))


def redirect(to: str, code: int = 302) -> Behaviour:
    return lambda _asked, _answer: Answer(status=code, headers={"Location": to})


def redirect_to_itself(code: int = 302) -> Behaviour:
    return lambda asked, _answer: Answer(status=code, headers={"Location": asked.path})


def truncated(at: float = 0.5, *, length: bool = True) -> Behaviour:
    """Close the connection after a part of the body, with or without a Content-Length."""

    def behave(_asked: Asked, answer: Answer) -> Raw:
        cut = math.ceil(len(answer.body) * at)
        return Raw(pieces=[_head(answer, len(answer.body) if length else None), answer.body[:cut]])

    return behave


def cut_chunked(at: float = 0.5) -> Behaviour:
    """Close the connection inside a chunked body, without its last chunk."""

    def behave(_asked: Asked, answer: Answer) -> Raw:
        part = answer.body[: math.ceil(len(answer.body) * at)]
        chunk = b"%x\r\n%s\r\n" % (len(part), part)
        return Raw(pieces=[_head(answer, None, {"Transfer-Encoding": "chunked"}), chunk])

    return behave


def reset(at: float = 0.5) -> Behaviour:
    """Reset the connection inside the body; at 0, before any answer."""

    def behave(_asked: Asked, answer: Answer) -> Raw:
        if at == 0:
            return Raw(pieces=[], end="reset")
        cut = math.ceil(len(answer.body) * at)
        return Raw(pieces=[_head(answer, len(answer.body)), answer.body[:cut], 0.02], end="reset")

    return behave


def length_off_by(by: int) -> Behaviour:
    """Send a Content-Length that is wrong by `by` bytes."""
    return lambda _asked, answer: Raw(pieces=[_head(answer, max(len(answer.body) + by, 0)), answer.body])


def silent() -> Behaviour:
    """Read the request and never answer."""
    return lambda _asked, _answer: Raw(pieces=[FOREVER])


def silent_after(at: float = 0.5) -> Behaviour:
    """Send a part of the body, and then nothing more."""

    def behave(_asked: Asked, answer: Answer) -> Raw:
        cut = math.ceil(len(answer.body) * at)
        return Raw(pieces=[_head(answer, len(answer.body)), answer.body[:cut], FOREVER])

    return behave


def late(pause: float) -> Behaviour:
    """Answer as usual after a pause, in seconds."""
    return lambda _asked, answer: Raw(pieces=[pause, _head(answer, len(answer.body)), answer.body])


def dripping_head(pause: float) -> Behaviour:
    """Send the head byte by byte."""

    def behave(_asked: Asked, answer: Answer) -> Raw:
        pieces: list[bytes | float] = []
        for byte in _head(answer, len(answer.body)):
            pieces += [bytes([byte]), pause]
        return Raw(pieces=[*pieces, answer.body])

    return behave


def dripping_body(pause: float, size: int = 1) -> Behaviour:
    """Send the body a few bytes at a time."""

    def behave(_asked: Asked, answer: Answer) -> Raw:
        pieces: list[bytes | float] = [_head(answer, len(answer.body))]
        for start in range(0, len(answer.body), size):
            pieces += [answer.body[start : start + size], pause]
        return Raw(pieces=pieces)

    return behave


def gzipped(level: int = 6) -> Behaviour:
    """Answer as usual, compressed."""

    def behave(_asked: Asked, answer: Answer) -> Answer:
        headers = {**answer.headers, "Content-Encoding": "gzip"}
        return Answer(status=answer.status, headers=headers, body=gzip.compress(answer.body, level))

    return behave


def garbage() -> Behaviour:
    """Answer with bytes that are no HTTP."""
    return lambda _asked, _answer: Raw(pieces=[b"\x16\x03\x01\x00\xff\r\n\r\n"])


def until_close() -> Behaviour:
    """Send a whole body without length and chunks, and close the connection, as HTTP/1.0 servers do."""
    return lambda _asked, answer: Raw(pieces=[_head(answer, None), answer.body])


def _head(answer: Answer, length: int | None, more: Mapping[str, str] | None = None) -> bytes:
    headers = {**answer.headers, **(more or {})}
    if length is not None:
        headers["Content-Length"] = str(length)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Scripted\r\n{lines}Connection: close\r\n\r\n".encode("latin-1")
