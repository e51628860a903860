"""aiohttp without its client, until somebody wants that. Each case is a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def told(program: str, *, first_on_path: Path | None = None) -> Any:
    """What a program prints, as JSON."""
    path = f"import sys; sys.path.insert(0, {str(first_on_path)!r})\n" if first_on_path else ""
    done = subprocess.run([sys.executable, "-c", path + program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_server_is_loaded_without_the_client():
    loaded = told(
        "import json, sys\n"
        "from pkgindex_http.listening.server_half import load_server\n"
        "load_server()\n"
        "from pkgindex_http.wire import web\n"
        "from aiohttp.http import HttpVersion11\n"
        "print(json.dumps([web.Server.__module__, *(name for name in sys.modules if name.startswith('aiohttp'))]))"
    )
    assert loaded[0] == "aiohttp.web_server"
    assert not {"aiohttp.client", "aiohttp.connector", "aiohttp.web", "aiohttp.web_app"} & set(loaded)


def test_a_name_of_the_package_makes_it_what_it_always_is():
    program = (
        "import json, types\n"
        "{first}\n"
        "import aiohttp\n"
        "assert aiohttp.ClientSession.__module__ == 'aiohttp.client'\n"
        "public = sorted(name for name in vars(aiohttp) if not name.startswith('_'))\n"
        "print(json.dumps([type(aiohttp) is types.ModuleType, aiohttp.__version__, sorted(aiohttp.__all__), public]))"
    )
    usual = told(program.format(first="from aiohttp import web_server"))
    assert (
        told(program.format(first="from pkgindex_http.listening.server_half import load_server; load_server()"))
        == usual
    )


def test_a_module_that_imports_all_names_gets_them():
    program = (
        "import json\n"
        "{first}\n"
        "names = {{}}\n"
        "exec('from aiohttp import *', names)\n"
        "print(json.dumps(sorted(name for name in names if name != '__builtins__')))"
    )
    usual = told(program.format(first=""))
    assert (
        told(program.format(first="from pkgindex_http.listening.server_half import load_server; load_server()"))
        == usual
    )


def test_a_plugin_gets_the_rest_of_the_server():
    assert told(
        "import json\n"
        "from pkgindex_http.listening.server_half import load_server\n"
        "load_server()\n"
        "from pkgindex_http.wire import web as part\n"
        "from aiohttp import web\n"
        "print(json.dumps([*(getattr(web, name) is getattr(part, name) for name in part.__all__), web.Application.__name__]))"
    ) == [True] * 6 + ["Application"]


def test_an_unknown_name_is_an_attribute_error():
    assert told(
        "import json\n"
        "from pkgindex_http.listening.server_half import load_server\n"
        "load_server()\n"
        "import aiohttp\n"
        "print(json.dumps([hasattr(aiohttp, 'NoSuchName'), hasattr(aiohttp, '__no_such_name__')]))"
    ) == [False, False]


def test_threads_that_want_the_client_at_once_get_all_of_it():
    assert told(
        "import json\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from pkgindex_http.listening.server_half import load_client, load_server\n"
        "load_server()\n"
        "import aiohttp\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    asked = [pool.submit(load_client), *(pool.submit(lambda: aiohttp.TCPConnector.__name__) for _ in range(3))]\n"
        "print(json.dumps([each.result() for each in asked]))"
    ) == [None, "TCPConnector", "TCPConnector", "TCPConnector"]


def test_another_aiohttp_is_loaded_as_a_whole(tmp_path: Path):
    package = tmp_path / "aiohttp"
    package.mkdir()
    (package / "__init__.py").write_text("__secret__ = 1\nfrom . import web\n")
    (package / "web.py").write_text("from . import __secret__\nSERVER = __secret__\n")
    assert told(
        "import json\n"
        "from pkgindex_http.listening.server_half import load_client, load_server\n"
        "load_server()\n"
        "from aiohttp import web\n"
        "load_client()\n"
        "print(json.dumps(web.SERVER))",
        first_on_path=tmp_path,
    ) == 1  # fmt: skip


def test_an_aiohttp_that_is_loaded_already_stays():
    assert told(
        "import aiohttp, json, sys\n"
        "from pkgindex_http.listening.server_half import load_client, load_server\n"
        "load_server()\n"
        "load_client()\n"
        "print(json.dumps(sys.modules['aiohttp'] is aiohttp))"
    ) is True  # fmt: skip
