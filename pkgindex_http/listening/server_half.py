"""Loads aiohttp's server without its client, which is only needed for requests to upstreams.

`import aiohttp` loads the client first, which reads all certificates twice and takes a fifth of a start. This module registers the
package `aiohttp` without running its own code, so that `aiohttp.web_server` loads only its own imports. The code of the package runs
at the first use of a name that it defines, such as `aiohttp.ClientSession`.

Only `pkgindex-serve run` calls this, before other code has loaded aiohttp. An aiohttp of another structure is loaded as a whole.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from types import ModuleType

from pkgindex_core.installed import installed_version

_PACKAGE = "aiohttp"
_running = threading.RLock()


class _Postponed(ModuleType):
    """The package before its own code ran."""

    def __getattr__(self, name: str) -> object:
        # Called for a submodule that is not loaded, or for a name that the package's code defines.
        if name == "__version__":  # for the Server header in aiohttp.http
            return installed_version(_PACKAGE)
        if name.startswith("__") and name != "__all__":  # `import *` asks for that
            raise AttributeError(name)
        if importlib.util.find_spec(f"{_PACKAGE}.{name}") is not None:
            return importlib.import_module(f"{_PACKAGE}.{name}")
        load_client()
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}") from None


def load_server() -> None:
    """Load `aiohttp.web_server` without the client, unless aiohttp is loaded already."""
    spec = importlib.util.find_spec(_PACKAGE) if _PACKAGE not in sys.modules else None
    if spec is None:
        return
    package = importlib.util.module_from_spec(spec)
    package.__class__ = _Postponed
    sys.modules[_PACKAGE] = package
    try:
        importlib.import_module(f"{_PACKAGE}.web_server")
    except ImportError:  # another aiohttp, whose server needs more of the package
        for name in [each for each in sys.modules if each == _PACKAGE or each.startswith(f"{_PACKAGE}.")]:
            del sys.modules[name]


def load_client() -> None:
    """Load the client by running the package's own code, if that has not run. Blocks for some 50 ms, mostly for certificates."""
    with _running:
        package: ModuleType | None = sys.modules.get(_PACKAGE)
        if not isinstance(package, _Postponed) or "_begun" in package.__dict__:
            return  # the code ran, or it runs now in this thread and uses a name that it has not defined yet
        package.__dict__["_begun"] = True
        try:
            loader = package.__spec__.loader if package.__spec__ is not None else None
            assert loader is not None, "`load_server` found the package by its loader"
            loader.exec_module(package)
            ModuleType.__setattr__(package, "__class__", ModuleType)
        finally:
            del package.__dict__["_begun"]
