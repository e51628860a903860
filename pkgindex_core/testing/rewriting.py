"""Makes pytest explain failing assertions of the suites. The package imports this before its other modules.

pytest rewrites the assertions of modules that are registered before their import. Without pytest this does nothing.
"""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path

_PACKAGE = __name__.rpartition(".")[0]

if pytest := sys.modules.get("pytest"):
    names = [f"{_PACKAGE}.{each.name}" for each in pkgutil.iter_modules([str(Path(__file__).parent)])]
    pytest.register_assert_rewrite(*(name for name in names if name != __name__))
