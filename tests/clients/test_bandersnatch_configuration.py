"""A real bandersnatch and this mirror make the same of a bandersnatch.conf."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.errors import Refused
from pkgindex_mirror.bandersnatch.enabling import InstalledPlugins
from pkgindex_mirror.bandersnatch.reading import examine_configuration
from tests.clients.running import run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

TELL = """
import configparser, json, logging, os, sys
from pathlib import Path
from bandersnatch.configuration import BandersnatchConfig, validate_config_values
from bandersnatch.filter import LoadedFilters

logging.disable(logging.CRITICAL)

def tell(path):
    try:
        found = BandersnatchConfig(Path(path))
        values = validate_config_values(found)
        filters = [plugin.name for plugins in LoadedFilters(load_all=True).loaded_filter_plugins.values() for plugin in plugins]
        get = lambda read, key, **named: read("mirror", key, **named)
        print(path, json.dumps({
            "directory": get(found.get, "directory"),
            "master": get(found.get, "master"),
            "proxy": get(found.get, "proxy"),
            "timeout": get(found.getfloat, "timeout"),
            "global_timeout": get(found.getfloat, "global-timeout") or 18000.0,
            "workers": get(found.getint, "workers"),
            "verifiers": get(found.getint, "verifiers"),
            "allow_non_https": get(found.getboolean, "allow-non-https"),
            "stop_on_error": get(found.getboolean, "stop-on-error"),
            "hash_index": get(found.getboolean, "hash-index"),
            "keep_index_versions": get(found.getint, "keep_index_versions", fallback=0),
            "log_config": get(found.get, "log-config"),
            "json": values.json_save,
            "root_uri": values.root_uri,
            "diff_file": values.diff_file_path,
            "diff_append_epoch": values.diff_append_epoch,
            "digest_name": str(values.digest_name),
            "storage_backend": values.storage_backend_name,
            "cleanup": values.cleanup,
            "release_files": values.release_files_save,
            "compare_method": values.compare_method,
            "download_mirror": values.download_mirror,
            "download_mirror_no_fallback": values.download_mirror_no_fallback,
            "simple_format": values.simple_format.name,
            "plugins": sorted(filters),
        }))
    except (configparser.Error, ValueError, KeyError, TypeError):
        print(path, json.dumps(None))

for path in sys.argv[1:]:  # a process for each: bandersnatch has one configuration in a process
    if child := os.fork():
        os.waitpid(child, 0)
    else:
        tell(path)
        sys.stdout.flush()
        os._exit(0)
"""

FILES = {
    "least": "[mirror]\ndirectory = /srv/pypi\n",
    "values": (
        "[mirror]\ndirectory=/srv/pypi\njson = YES\nworkers = 7\ntimeout = 2.5\nglobal-timeout = 0\nsimple-format = json\n"
        "digest_name = MD5\ncompare-method = stat\nkeep_index_versions = 4\nhash-index = on\ncleanup = 1\nstop-on-error = True\n"
        "proxy = http://proxy:1\nlog-config = /a;b\nverifiers=1\nallow-non-https = true\nmaster = http://localhost\n"
    ),
    "reference": "[mirror]\ndirectory = /srv\ndiff-file = {{ mirror _ directory }}/new\ndiff-append-epoch = true\n",
    "reference to a default": "[mirror]\ndirectory = /srv\ndiff-file = {{mirror_storage-backend}}\n",
    "reference to another section": "[mirror]\ndirectory = /srv\ndiff-file = {{other_a_b}}\n[other]\na_b = /x\n",
    "reference to nothing": "[mirror]\ndirectory = /srv\ndiff-file = {{a_b}}/x\n",
    "reference to a short section": "[mirror]\ndirectory = /srv\ndiff-file = {{b_a}}\n[b]\na = 1\n",
    "two references": "[mirror]\ndirectory = /srv\ndiff-file = {{mirror_directory}}/{{mirror_directory}}\n",
    "pages only": "[mirror]\ndirectory = /srv\nrelease-files = false\n",
    "no fallback": "[mirror]\ndirectory = /srv\ndownload-mirror-no-fallback = true\n",
    "no fallback from a mirror": (
        "[mirror]\ndirectory = /srv\ndownload-mirror-no-fallback = true\ndownload-mirror = https://near.example\n"
    ),
    "interpolation": "[mirror]\ndirectory = /srv\nlog-config = %(directory)s/100%%\n",
    "interpolation of a default": "[mirror]\ndirectory = /srv\ndownload-mirror = %(master)s/near\n",
    "defaults of all sections": "[DEFAULT]\nkeep_index_versions = 3\njson = true\n[mirror]\ndirectory = /srv\n",
    "a key in capitals": "[mirror]\ndirectory = /srv\nJSON = true\n",
    "comments": "; a\n[mirror]\n# b\ndirectory = /srv\n",
    "filters": (
        "[mirror]\ndirectory = /srv\n[plugins]\nenabled =\n    allowlist_project\n    # latest_release\n    prerelease_release\n"
        "[allowlist]\npackages =\n    demo\n"
    ),
    "unread percent sign": "[mirror]\ndirectory = /srv\nunknown = 5%\n",
    "lone percent sign": "[mirror]\ndirectory = /srv\ndiff-file = 5%\n",
    "colon": "[mirror]\ndirectory: /srv\n",
    "no section": "directory = /srv\n",
    "twice": "[mirror]\ndirectory = /srv\njson = true\njson = true\n",
    "section twice": "[mirror]\ndirectory = /srv\n[mirror]\n",
    "no truth": "[mirror]\ndirectory = /srv\njson = perhaps\n",
    "no number": "[mirror]\ndirectory = /srv\nworkers = few\n",
    "no format": "[mirror]\ndirectory = /srv\nsimple-format = XML\n",
    "no comparison": "[mirror]\ndirectory = /srv\ncompare-method = size\n",
}  # fmt: skip


def ours(path: Path, fields: list[str]) -> dict[str, Any] | None:
    """The same as `TELL` prints; None for a file with errors."""
    try:
        found = examine_configuration(path, {}, installed=InstalledPlugins())
    except Refused:
        return None
    if found.errors:
        return None
    values = {field: getattr(found.configuration, field) for field in fields}
    return {**values, "plugins": sorted(found.configuration.plugins)}


async def test_both_make_the_same_of_a_file(bandersnatch: Path, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{number}.conf" for number, name in enumerate(FILES)}
    for name, path in paths.items():
        path.write_text(FILES[name])
    ran = await run(bandersnatch.with_name("python"), "-c", TELL, *paths.values())
    assert ran.status == 0, ran.output
    told = dict(line.split(" ", 1) for line in ran.output.splitlines())
    theirs = {name: json.loads(told[str(path)]) for name, path in paths.items()}
    mine = {name: ours(path, list(theirs[name] or {})) for name, path in paths.items()}
    assert mine == theirs
    assert 0 < sum(each is None for each in theirs.values()) < len(FILES), "some files are right and some are wrong"
