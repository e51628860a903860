"""Runs the own tests of devpi's client, which lie in its source distribution, against this server.

    .venv/bin/python -m tests.clients.devpi_suite /tmp/devpi/bin devpi_client-7.3.0 [pytest's arguments]

How the environment and the sources are made: `tests/README.md`. The suite starts servers itself, with the first `devpi-init` and `devpi-server` of the path. Here those are two scripts, which start
`pkgindex-serve` as open as devpi is: root has an empty password, and everybody may make users.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

_VERSION: Final = "6.20.3"
"""What the server says to be: the suite knows by it what to expect."""

_INIT: Final = "#!/bin/sh\nexit 0\n"
_SERVER: Final = """#!{python}
import os, sys
words = sys.argv[1:]
if "--version" in words:
    print("{version}")
elif "-h" not in words:
    given = dict(zip(words, words[1:]))
    os.execv("{command}", ["pkgindex-serve", "run", "--data", given["--serverdir"], "--host", given["--host"],
        "--port", given["--port"], "--config", "{config}", "--root-password", "", "--open-registration"])
"""
_CONFIG: Final = """access_log = false
[plugins.mirror]
allow_networks = ["0.0.0.0/0", "::/0"]  # upstreams of the suite are on this machine
"""


def run(commands: Path, suite: Path, words: list[str]) -> int:
    """Run the suite with the Python of `commands`; return pytest's status."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        ours = Path(sys.executable).with_name("pkgindex-serve")
        config = place / "pkgindex.toml"
        config.write_text(_CONFIG)
        server = _SERVER.format(python=sys.executable, version=_VERSION, command=ours, config=config)
        for name, text in (("devpi-init", _INIT), ("devpi-server", server)):
            script = place / name
            script.write_text(text)
            script.chmod(0o755)
        path = os.pathsep.join([str(place), str(commands), os.environ["PATH"]])
        ran = subprocess.run(
            [commands / "python", "-m", "pytest", *words, "testing"],
            cwd=suite,
            env={**os.environ, "PATH": path},
            check=False,
        )
    return ran.returncode


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]).absolute(), Path(sys.argv[2]), sys.argv[3:]))
