"""The benchmarks still run, and their instruments tell the truth."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace

from benchmarks import fixtures, load, machine, plots, rounds, tables
from benchmarks.__main__ import QUESTIONS
from benchmarks.peers import Target, environments
from benchmarks.peers.registry import NginxRegistry


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n")
            return
        if self.path == "/until-closed":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"to the end")
            return
        if self.headers.get("If-None-Match") == '"1"':
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(404 if self.path == "/absent" else 200)
        self.send_header("Content-Length", "4")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(b"body")

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _serving() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _series(row: str, column: rounds.Column, values: list[float]) -> rounds.Series:
    samples = [
        rounds.Sample(
            round=at,
            found=load.Found(requests=int(value), seconds=1.0, bytes=0, p50_ms=1e3 / value, p99_ms=2e3 / value),
            cpu_ms=0.5,
            memory_mib=None,
            body_bytes=10,
        )
        for at, value in enumerate(values)
    ]
    return rounds.Series(row=row, column=column, samples=samples)


@pytest.mark.timeout(300)  # thirteen questions, each with servers of its own
def test_every_question_is_answered_once_on_a_small_scale(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks", "smoke"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for question in QUESTIONS:
        assert f"## {question}" in done.stdout
    rows = [line for line in done.stdout.splitlines() if line.startswith("| pkgindex")]
    # Four tables of pages, of a hosted and a mirrored project; the 304s of both; files; uploads into two projects; a growing project;
    # two tables of inherited pages; the requests of devpi list (and its commands, where the client is installed); the start;
    # a first page; three ways to publish; starts over a directory, and answers from one; uv through a cache, a large file, and uv with a far registry;
    # a list of projects; uploads by commands; three tables of pages for people; a mirror, and one with a long list (where nginx can send the registry).
    mirrors = 0 if NginxRegistry(root).missing() else 2
    client = 0 if environments.missing("devpi-client") else 1
    assert len(rows) == 4 * 2 + 2 + 1 + 2 + 1 + 2 + (1 + client) + 1 + 1 + 3 + 2 + 3 + 1 + 1 + 3 + mirrors
    assert not any("| - |" in row for row in rows), "something was left out"
    assert "left out" not in done.stderr


@pytest.mark.parametrize(
    ("path", "body"), [("/", b"body"), ("/chunked", b"hello world"), ("/until-closed", b"to the end")]
)
def test_an_answer_is_read_to_its_end_however_that_is_marked(path: str, body: bytes) -> None:
    with _serving() as port:
        answer = load.fetch(load.Request(port=port, path=path))
    assert (answer.status, answer.body) == (200, body)


def test_a_wrong_status_is_a_failure_not_a_figure() -> None:
    with _serving() as port, pytest.raises(load.Failed, match="404 instead of 200"):
        load.fetch(load.Request(port=port, path="/absent"))


def test_our_own_driver_counts_answers_and_refuses_wrong_ones() -> None:
    driver = load.choose_driver(own=True)
    with _serving() as port:
        found = driver.run(load.Request(port=port, path="/"), connections=2, seconds=0.2)
        assert found.requests >= 2
        assert 0 < found.p50_ms <= found.p99_ms
        again = driver.run(load.Request(port=port, path="/").asking_again('"1"'), connections=1, seconds=0.1)
        assert again.requests >= 1
        with pytest.raises(load.Failed, match="404"):
            driver.run(load.Request(port=port, path="/absent"), connections=1, seconds=0.1)


@pytest.mark.skipif(not machine.PROC.exists(), reason="CPU time is read from /proc")
def test_cpu_time_counts_what_a_process_and_its_children_spend() -> None:
    busy = "import subprocess, sys, time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); time.sleep(60)"
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}])"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True) as parent:
        try:
            assert parent.stdout is not None
            parent.stdout.readline()
            spent = machine.cpu_seconds(parent.pid)
            assert spent is not None
            assert spent >= 0.29
            assert (machine.memory_mib(parent.pid) or 0) > 1
        finally:
            os.killpg(parent.pid, 9)


def test_rounds_interleave_and_take_turns_to_begin() -> None:
    column = rounds.Column(table="t", title="c", connections=1)
    target = Target(label="", pid=0, request=load.Request(port=1, path="/"))
    cells = [rounds.Cell(row=row, column=column, target=target) for row in "abc"]
    orders = ["".join(cell.row for cell in rounds._turns(cells, number)) for number in range(3)]
    assert orders == ["abc", "bca", "cab"]


def test_ratios_are_taken_inside_a_round_and_latencies_turned_round() -> None:
    rate = rounds.Column(table="t", title="c", connections=1)
    ours, peer = _series("us", rate, [100, 50, 10]), _series("peer", rate, [10, 5, 5])
    assert ours.advantage_over(peer) == 10  # 100/10, 50/5, 10/5: the noisy third round does not decide
    assert ours.cheaper_than(peer) == 1  # both spend half a millisecond
    latency = rounds.Column(table="t", title="c", connections=1, shows="p50")
    assert _series("us", latency, [100]).advantage_over(_series("peer", latency, [10])) == pytest.approx(10)
    once = rounds.Column(table="t", title="c", connections=1, shows="took")
    assert _series("us", once, [100]).advantage_over(_series("peer", once, [10])) == pytest.approx(10)


def test_a_plot_has_a_bar_for_each_row_of_each_column() -> None:
    pages = rounds.Column(table="Pages", title="10 files", connections=32)
    memory = rounds.Column(table="Memory", title="<after>", connections=1, shows="count")
    series = [_series("pkgindex", pages, [100.0]), _series("peer", pages, [10.0]), _series("pkgindex", memory, [7.0])]
    series[1] = replace(series[1], samples=[replace(series[1].samples[0], cpu_ms=50.0)])
    report = tables.Report(
        question="pages",
        machine=machine.describe(),
        driver="a test",
        rounds=1,
        seconds=1,
        versions={},
        left_out={},
        series=series,
    )
    drawing = ET.fromstring(plots.drawn(report))
    bars = [each for each in drawing if each.tag.endswith("rect")]
    texts = [each.text for each in drawing if each.tag.endswith("text")]
    assert texts == [
        "Pages: 10 files, ms of CPU (less is better)",
        *("pkgindex", "0.50", "peer", "50.0"),
        "Memory: <after>, number (less is better)",
        *("pkgindex", "7.00"),
    ]
    assert [each.get("class") for each in bars] == ["own", "peer", "own"]
    assert 0 < float(bars[0].get("width", "")) < float(bars[1].get("width", ""))


def test_a_table_shows_medians_spread_cost_ratio_and_what_a_peer_cannot_do() -> None:
    first, second = (rounds.Column(table="t", title=title, connections=1) for title in ("first", "second"))
    report = tables.Report(
        question="q",
        machine=machine.describe(),
        driver="wrk",
        rounds=3,
        seconds=2,
        versions={"pkgindex": "0"},
        left_out={"nginx": "not installed"},
        series=[
            _series("us", first, [1000, 2000, 3000]),
            _series("us", second, [1, 1, 1]),
            _series("peer", first, [100, 200, 300]),
        ],
    )
    text = tables.markdown(report)
    assert "| us | 2,000 (1,000-3,000), 0.50 ms CPU | 1.00 (1.00-1.00), 0.50 ms CPU |" in text
    assert "| peer | 200 (100-300), 0.50 ms CPU, **10.0x**, CPU 1.00x | - |" in text
    assert "Left out: nginx (not installed)." in text


def test_the_data_are_the_same_every_time(tmp_path: Path) -> None:
    made = [fixtures.make_site(tmp_path / name, sizes=(2,), large_bytes=20_000) for name in ("a", "b")]
    assert made[0].manifest == made[1].manifest
    entry, path = made[0].file("file-small")
    assert abs(path.stat().st_size - fixtures.SMALL_BYTES) < 1_000
    assert entry.sha256 == made[1].file("file-small")[0].sha256
    before = time.time_ns()
    again = fixtures.make_site(tmp_path / "a", sizes=(2,), large_bytes=20_000)
    assert again.manifest == made[0].manifest
    assert path.stat().st_mtime_ns < before, "data that are there are not made again"


def test_a_peer_that_is_not_installed_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    assert "benchmarks setup" in environments.missing("devpi-server")
