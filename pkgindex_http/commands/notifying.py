"""Tells a service manager the state of the server (systemd's sd_notify(3)). Without one nothing is told."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


def notify(*lines: str) -> None:
    """Send lines such as `READY=1`. A service manager that does not read them changes nothing."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    address = f"\0{place[1:]}" if place.startswith("@") else place
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.sendto("\n".join(lines).encode(), address)


def notify_reloading() -> None:
    """Tell that new settings or certificates are being read. `READY=1` ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float | None:
    """How often `WATCHDOG=1` is due: twice in the time that the service manager waits. None if it does not wait for it."""
    limit, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit.isdecimal() or not int(limit) or pid not in {"", str(os.getpid())}:
        return None
    return int(limit) / 2_000_000
