"""`python -m benchmarks`: see README.md.

python -m benchmarks setup                      install the peers into environments of their own
python -m benchmarks all [--rounds 5]           every question; tables on stdout, progress on stderr
python -m benchmarks pages | not_modified | files | uploads | growing_project | inheritance | devpi_list | cold_start
                                                | publishing | directory | read_through | far_registry | mirrors | stores
                                                | file_ways | web_pages | project_list | upload_clients
python -m benchmarks first_page [--tree PATH]   this tree beside another checkout
python -m benchmarks tables                     the tables and plots of the last runs again
python -m benchmarks smoke                      everything once, ourselves only, small: does it still run?
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import (
    cold_start,
    devpi_list,
    directory,
    file_ways,
    files,
    first_page,
    fixtures,
    growing_project,
    inheritance,
    mirrors,
    not_modified,
    pages,
    plots,
    project_list,
    publishing,
    read_through,
    recording,
    stores,
    tables,
    upload_clients,
    uploads,
    web_pages,
)
from benchmarks.load import choose_driver
from benchmarks.peers import environments
from benchmarks.plan import Plan

QUESTIONS = {
    "pages": pages.run,
    "not_modified": not_modified.run,
    "files": files.run,
    "uploads": uploads.run,
    "upload_clients": upload_clients.run,
    "growing_project": growing_project.run,
    "inheritance": inheritance.run,
    "devpi_list": devpi_list.run,
    "cold_start": cold_start.run,
    "first_page": first_page.run,
    "publishing": publishing.run,
    "directory": directory.run,
    "read_through": read_through.run,
    "far_registry": read_through.run_far,
    "mirrors": mirrors.run,
    "stores": stores.run,
    "file_ways": file_ways.run,
    "web_pages": web_pages.run,
    "project_list": project_list.run,
}

_RESULTS = environments.CACHE / "results"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["setup", "all", "tables", "smoke", *QUESTIONS])
    parser.add_argument("--rounds", type=int, default=3, help="how often each cell is measured  [default: 3]")
    parser.add_argument("--seconds", type=float, default=2, help="seconds of each measurement  [default: 2]")
    parser.add_argument("--own-driver", action="store_true", help="do not use wrk, even if it is installed")
    parser.add_argument("--without-peers", action="store_true", help="measure only pkgindex")
    parser.add_argument(
        "--tree",
        type=Path,
        action="append",
        default=[],
        help="another checkout to measure beside this one (first_page)",
    )
    parser.add_argument(
        "--registry",
        default="",
        help="the simple index of a real registry, instead of what was recorded (read_through)",
    )
    parser.add_argument(
        "--mirrored",
        type=int,
        default=1_000,
        help="projects of the registry that is mirrored  [default: 1000] (mirrors)",
    )
    parser.add_argument(
        "--names",
        type=int,
        default=886_000,
        help="names of the list of an upstream  [default: 886000] (project_list, mirrors)",
    )
    arguments = parser.parse_args()
    if arguments.what == "setup":
        environments.set_up()
    elif arguments.what == "tables":
        kept = {report.question: report for report in tables.saved(_RESULTS)}
        for report in kept.values():
            plots.save(report, _RESULTS)
        for question in QUESTIONS:
            if question in kept:
                print(f"## {question}\n\n{tables.markdown(kept[question])}")
    elif arguments.what == "smoke":
        smoke()
    else:
        questions = list(QUESTIONS) if arguments.what == "all" else [arguments.what]
        for question in questions:
            plan = Plan(
                site=fixtures.make_site(environments.CACHE / "site"),
                place=environments.CACHE / "run",
                driver=choose_driver(own=arguments.own_driver),
                rounds=arguments.rounds,
                seconds=arguments.seconds,
                peers=not arguments.without_peers,
                registry=arguments.registry,
                trees=tuple(tree.resolve() for tree in arguments.tree),
                mirrored_projects=arguments.mirrored,
                mirrored_files=arguments.mirrored * 79 // 10,
                listed_names=arguments.names,
            )
            report = QUESTIONS[question](plan)
            place = tables.save(report, _RESULTS)
            plots.save(report, _RESULTS)
            print(f"## {question}\n\n{tables.markdown(report)}", flush=True)
            print(f"every sample: {place}", file=sys.stderr)


def smoke() -> None:
    """Every question once, with little data: it proves that the benchmarks run, and measures nothing."""
    directory = Path(tempfile.mkdtemp(prefix="pkgindex-benchmark-"))
    try:
        site = fixtures.make_site(directory / "site", sizes=(10,), large_bytes=1_000_000)
        kept = recording.make_small(directory / "recording")
        for question, run in QUESTIONS.items():
            driver = choose_driver(own=True)
            place = directory / "run"
            plan = Plan(
                site=site,
                place=place,
                driver=driver,
                rounds=1,
                seconds=0.1,
                peers=False,
                uploads=3,
                projects=3,
                versions_of_one=8,
                first_pages=2,
                published_files=40,
                wheels=20,
                mirrored_projects=3,
                mirrored_files=8,
                listed_names=100,
                many_projects=300,
                recordings=kept.root,
                large_bytes=1_000_000,
            )
            print(f"## {question}\n\n{tables.markdown(run(plan))}", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
