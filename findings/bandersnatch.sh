#!/bin/sh
# bandersnatch 6.8.0 mirrors other releases from run to run, with one configuration and one upstream, if a requirements file names a project both
# with and without versions (as files that were joined often do) and another filter of releases is enabled. Its filter
# project_requirements_pinned keeps the requirements in a set, and the first one in it with that name decides whether the other filters count.
# The order of the set changes with each start of Python, unless PYTHONHASHSEED is set.
#
# Seen: releases that are left of 1.0, 2.0 and 3.0, with the lines `demo` and `demo>=1`, and latest_release with keep = 1
#   some starts of Python    3.0
#   the others               1.0 2.0 3.0
# Exit: 0 while that is so, 1 when it changed.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/environment"
"$place/environment/bin/pip" install --quiet bandersnatch==6.8.0
cd "$place"
printf 'demo\ndemo>=1\n' > requirements.txt
cat > bandersnatch.conf <<CONFIGURATION
[mirror]
directory = $place/mirror
master = https://pypi.org

[plugins]
enabled =
    project_requirements_pinned
    latest_release

[allowlist]
requirements_path = $place
requirements =
    requirements.txt

[latest_release]
keep = 1
CONFIGURATION
cat > releases.py <<'PROGRAM'
import logging
from pathlib import Path

from bandersnatch.configuration import BandersnatchConfig
from bandersnatch.filter import LoadedFilters
from bandersnatch.package import Package

logging.disable()
BandersnatchConfig(Path("bandersnatch.conf"))
demo = Package("demo")
demo._metadata = {
    "info": {"name": "demo", "version": "3.0"},
    "releases": {version: [{"filename": f"demo-{version}.tar.gz"}] for version in ("1.0", "2.0", "3.0")},
}
demo.filter_all_releases(LoadedFilters(load_all=True).filter_release_plugins())
print(*sorted(demo.releases))
PROGRAM
for seed in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    PYTHONHASHSEED=$seed "$place/environment/bin/python" releases.py
done | sort | uniq > seen
cat seen
printf '1.0 2.0 3.0\n3.0\n' | cmp - seen
