"""What every test may use: `tally`, by which a test shows its counts in the run's output.

    def test_every_crash_state(tally):
        …
        tally("crash states", states)

The totals of all tests, workers of a parallel run included, stand at the end of the run under "tallies". A
count travels with the test's report (`user_properties`), so it also lands in a JUnit file.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# `benchmarks` is run from the source tree, never installed.
if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.chromium import chromium
from tests.database_server import DatabaseServer, programs

__all__ = ["chromium"]

Tally = Callable[[str, int], None]

# A time limit for one example says more about the machine than about the code; pytest-timeout bounds the whole test.
# CI tries the same examples each time, so that a change is judged by what it changes. Everywhere else they are new ones each time.
settings.register_profile("pkgindex", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("pkgindex")

# The contract suites are shipped in the library; their assertions explain themselves only if rewritten.
pytest.register_assert_rewrite("pkgindex_core.testing")


@pytest.fixture(autouse=True)
def _same_log_level() -> Iterator[None]:
    """Undo the level of the log that a command sets, if a test runs it in this process."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Add to a named total that is printed when the run ends: `tally("crash states", 512)`."""

    def add(label: str, count: int) -> None:
        request.node.user_properties.append(("tally", (label, count)))

    return add


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    """A PostgreSQL server that runs. A test takes a schema or a database of its own, and leaves the server running."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    server = DatabaseServer(found)
    try:
        server.start()
        yield server
    finally:
        server.remove()


class _Tallies:
    """Sums what the reports carry. Workers have one too, but only the process with the terminal prints it."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.tests: dict[str, set[str]] = defaultdict(set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "teardown":  # the last report of a test carries everything that was added
            return
        for kind, value in report.user_properties:
            if kind == "tally" and isinstance(value, (tuple, list)):
                label, count = value
                self.totals[str(label)] += int(count)
                self.tests[str(label)].add(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.totals:
            return
        terminalreporter.section("tallies")
        width = max(len(f"{count:,}") for count in self.totals.values())
        for label, count in sorted(self.totals.items()):
            tests = len(self.tests[label])
            terminalreporter.write_line(f"{count:>{width},}  {label}  ({tests} test{'s' if tests > 1 else ''})")


def pytest_configure(config: pytest.Config) -> None:
    # A shell has its background jobs ignore Ctrl-C, and so would the programs that tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(_Tallies(), "tallies")
