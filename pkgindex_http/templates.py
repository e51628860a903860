"""Renders pages for people from templates. A plugin's template replaces the server's template of the same name.

The template engine is loaded, and a template compiled, at the first request for such a page. Pages for installers are not made from
templates: `pkgindex_core.formats` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pkgindex_core.errors import Refused
from pkgindex_core.hookspecs import Context
from pkgindex_core.plugins import Plugins
from pkgindex_core.tools.workers import in_worker
from pkgindex_http.assets import asset
from pkgindex_http.wire.replies import HTML, SECURITY_HEADERS, Reply

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": HTML,
    "Cache-Control": "no-store",
    "Vary": "Accept, Authorization, Cookie",
    **SECURITY_HEADERS,
    # These pages may have a form, which a sandbox would disable.
    "Content-Security-Policy": SECURITY_HEADERS["Content-Security-Policy"].replace("; sandbox", "")
    + "; form-action 'self'",
}


class Templates:
    """Renders pages. Values are escaped, and a missing value is an error."""

    def __init__(self, plugins: Plugins, context: Context) -> None:
        found = [(loaded, Path(provider.make(context))) for loaded, provider in plugins.templates()]
        problems = [f"{loaded.source}: {path} is not a directory" for loaded, path in found if not path.is_dir()]
        if problems:
            raise Refused(
                problems, hint="upgrade the distribution that is named, or list it in the option disabled_plugins"
            )
        self._directories = [path for _, path in found]
        self._workers = context.workers
        self._compiled: dict[str, Template] = {}

    async def page(self, name: str, /, **values: Any) -> Reply:
        """The page of a template with these values. It depends on the user, so it is not cached."""
        template = self._compiled.get(name)
        if template is None:
            template = await in_worker(self._workers, partial(self._compile, name))
            self._compiled[name] = template
        return Reply(headers=_HEADERS, body=template.render(values).encode())

    def _compile(self, name: str) -> Template:
        return self._environment.get_template(name)

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined

        # A plugin's `page.html` can extend the server's as `native/page.html`.
        native = PrefixLoader({"native": FileSystemLoader(self._directories[-1])})
        environment = Environment(
            loader=ChoiceLoader([FileSystemLoader(self._directories), native]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            auto_reload=False,
            cache_size=-1,
        )
        environment.globals["asset"] = asset
        return environment
