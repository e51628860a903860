"""Plugins are collected once, in an order that nothing accidental changes, and whatever is wrong is said at once."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core import builtin, installed
from pkgindex_core.clock import SystemClock
from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.hookspecs import Context, Provider, hookimpl
from pkgindex_core.plugins import HOOKS, LoadedProvider, load_plugins
from pkgindex_core.rules.index_options import BUILTIN_OPTIONS
from pkgindex_core.rules.policing.kinds import KINDS


class Made:
    """What a test's provider makes: remembers what it was made with."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name = name
        *self.url, self.context = arguments

    def __getattr__(self, name: str) -> None:
        """Has the methods of every role."""


async def in_vain(_context: Context) -> None:
    """A factory that makes nothing."""


def offering(hook: str, *names: str, failure: Exception | None = None) -> object:
    """A plugin object with one hook that offers providers of these names."""

    def make(name: str, *arguments: Any) -> Made:
        if failure:
            raise failure
        return Made(name, *arguments)

    async def make_later(name: str, *arguments: Any) -> Made:
        return make(name, *arguments)

    maker = make_later if hook.endswith(("_stores", "_sources")) else make

    def implementation() -> Iterable[Provider[Any]]:
        return [Provider(name=name, summary=f"the {name} one", make=partial(maker, name)) for name in names]

    implementation.__name__ = hook
    module = types.ModuleType("offering_" + "_".join(names).replace("/", "_"))
    module.__file__ = f"plugins/{module.__name__}.py"
    setattr(module, hook, hookimpl(implementation))
    return module


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    with ThreadPoolExecutor(1) as workers:
        yield Context(data=tmp_path, clock=SystemClock(), workers=workers)


def install(site: Path, distribution: str, entries: dict[str, str], *, version: str = "1.0", code: str = "") -> None:
    """Put a distribution with entry points into a directory, as an installer would."""
    module = distribution.replace("-", "_")
    (site / f"{module}.py").write_text(code)
    information = site / f"{module}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
    (information / "entry_points.txt").write_text(f"[pkgindex]\n{lines}")


A_CHECK = """
from pkgindex_core.hookspecs import Provider, hookimpl

@hookimpl
def pkgindex_upload_checks():
    return [Provider(name="{name}", summary="", make=lambda context: None)]
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on the search path that is the only place where distributions are found."""
    monkeypatch.syspath_prepend(str(tmp_path))
    everything = installed.entry_points

    def here(group: str) -> list[installed.EntryPoint]:
        return [each for each in everything(group) if Path(each.place) == tmp_path]

    monkeypatch.setattr(installed, "entry_points", here)
    return tmp_path


def problems(*extra: object, entry_points: bool = False) -> list[str]:
    with pytest.raises(Refused) as refused:
        load_plugins(extra=extra, entry_points=entry_points)
    assert refused.value.hint
    return list(refused.value.problems)


class TestBuiltIn:
    """What comes with the library goes through the same hooks as anybody's."""

    def test_offers_what_the_design_promises(self):
        loaded = load_plugins(entry_points=False).describe()
        assert {(one.hook, one.name) for one in loaded} == {
            ("pkgindex_index_stores", "sqlite"),
            ("pkgindex_index_stores", "memory"),
            ("pkgindex_index_stores", "postgres"),
            ("pkgindex_index_stores", "postgresql"),
            ("pkgindex_blob_stores", "file"),
            ("pkgindex_blob_stores", "memory"),
            ("pkgindex_blob_stores", "fsspec"),
            ("pkgindex_catalogues", "sqlite"),
            ("pkgindex_catalogues", "memory"),
            ("pkgindex_authenticators", "users"),
            ("pkgindex_authenticators", "htpasswd"),
            ("pkgindex_authenticators", "ldap"),
            ("pkgindex_admission_policies", "first_mirror"),
            ("pkgindex_admission_policies", "available_mirrors"),
            ("pkgindex_admission_policies", "mirror_whitelist"),
            ("pkgindex_renderers", "application/vnd.pypi.simple.v1+json"),
            ("pkgindex_renderers", "application/vnd.pypi.simple.v1+html"),
            ("pkgindex_renderers", "text/html"),
            ("pkgindex_index_types", "stage"),
            ("pkgindex_index_types", "mirror"),
            ("pkgindex_index_types", "constrained"),
            ("pkgindex_index_types", "directory"),
            ("pkgindex_index_types", "routes"),
            ("pkgindex_index_options", "roots"),
            ("pkgindex_index_options", "routes"),
            ("pkgindex_index_options", "namespaces"),
            ("pkgindex_index_options", "trusted_publishers"),
            ("pkgindex_followers", "audit"),
            ("pkgindex_sources", "directory"),
            ("pkgindex_sources", "routes"),
            ("pkgindex_page_filters", "constrained"),
            *(("pkgindex_page_filters", rule) for rule, kind in KINDS.items() if not kind.only_uploads),
            ("pkgindex_index_options", "constraints"),
            ("pkgindex_index_options", "policies"),
            *(("pkgindex_index_options", name) for name in BUILTIN_OPTIONS),
        }

    def test_says_where_it_was_loaded_from(self):
        for one in load_plugins(entry_points=False).describe():
            assert (one.plugin, one.distribution) == ("builtin", "pkgindex")
            assert Path(one.path).samefile(builtin.__file__)
            assert one.summary

    def test_every_provider_names_something_that_can_be_imported(self):
        offered = [p for hook in HOOKS for p in getattr(builtin, hook, list)()]
        assert len(offered) == len(load_plugins(entry_points=False).describe())
        for provider in offered:
            module, _, attribute = provider.make.__qualname__.partition(":")
            assert hasattr(import_module(module), attribute), provider.make.__qualname__


class TestStores:
    """Who opens a store is chosen by the scheme of its URL."""

    @pytest.mark.parametrize("hook", ["index", "blob"])
    @pytest.mark.parametrize("url", ["vault://host/place", "VAULT://host/place"])
    async def test_a_plugins_store_is_opened_with_the_whole_url(self, hook: str, url: str, context: Context):
        plugins = load_plugins(extra=[offering(f"pkgindex_{hook}_stores", "vault")], entry_points=False)
        store = await getattr(plugins, f"{hook}_store")(url).make(url, context)
        assert store.url == [url]

    @pytest.mark.parametrize(
        ("url", "problem", "hint"),
        [
            ("sqlit://x", "no index store for the scheme 'sqlit'", "did you mean 'sqlite'?"),
            (
                "mongodb://u:hush@h/d",
                "no index store for the scheme 'mongodb'",
                "known are memory, postgres, postgresql, sqlite",
            ),
            ("/srv/hush", "the value for the index store is not a URL", "write it like sqlite:///srv/index.sqlite"),
            ("://hush", "the value for the index store is not a URL", "write it like sqlite:///srv/index.sqlite"),
        ],
    )
    def test_an_unknown_index_store_is_refused_with_the_nearest(self, url: str, problem: str, hint: str):
        with pytest.raises(Refused) as refused:
            load_plugins(entry_points=False).index_store(url)
        assert refused.value.problems == (problem,)  # and not the rest of the URL, which may hold a password
        assert refused.value.hint == hint

    @pytest.mark.parametrize("url", ["s3://bucket/prefix", "simplecache::s3://bucket"])
    def test_blob_stores_that_nobody_offers_go_to_fsspec(self, url: str):
        assert load_plugins(entry_points=False).blob_store(url).name == "fsspec"

    def test_a_windows_path_is_not_taken_for_a_url(self):
        with pytest.raises(Refused, match="is not a URL") as refused:
            load_plugins(entry_points=False).blob_store("C:\\blobs")
        assert refused.value.hint == "write it like file:///srv/blobs"


class TestMaking:
    def test_an_unknown_admission_policy_is_refused_with_the_nearest(self):
        plugins = load_plugins(extra=[offering("pkgindex_admission_policies", "pins")], entry_points=False)
        assert plugins.admission("pins").name == "pins"
        with pytest.raises(Refused, match="no admission policy 'mirror-whitelist'") as refused:
            plugins.admission("mirror-whitelist")
        assert refused.value.hint == "did you mean 'mirror_whitelist'?"

    async def test_every_role_is_made_with_its_own_settings(self, context: Context):
        hooks = ["authenticators", "page_filters", "renderers", "upload_checks", "sources"]
        tables = {hook: {"for": hook} for hook in hooks[1:]}
        offered = [offering(f"pkgindex_{hook}", hook) for hook in hooks]
        kind = offering("pkgindex_index_types", "sources")
        plugins = load_plugins(extra=[*offered, kind], entry_points=False, settings=tables)
        offers = {
            "authenticators": plugins.authenticators()[-1],
            "page_filters": plugins.page_filters()[-1],
            "renderers": plugins.renderers()["renderers"],
            "upload_checks": plugins.upload_checks()[-1],
            "sources": plugins.sources()["sources"],
        }
        for hook, provider in offers.items():
            made = provider.make(context)
            one = await made if hook == "sources" else made
            assert (provider.name, one.name) == (hook, hook)
            assert one.context == replace(context, settings=tables.get(hook, {}))

    def test_authenticators_are_asked_built_in_first_then_by_name(self):
        late, early = (offering("pkgindex_authenticators", name) for name in ("zeta", "alpha"))
        plugins = load_plugins(extra=[late, early], entry_points=False)
        assert [one.name for one in plugins.authenticators()] == ["users", "htpasswd", "ldap", "alpha", "zeta"]

    @pytest.mark.parametrize("hook", ["pkgindex_page_filters", "pkgindex_sources"])
    async def test_a_factory_that_fails_is_named_with_the_cause(self, hook: str, context: Context):
        odd, kind = offering(hook, "odd", failure=OSError("no such list")), offering("pkgindex_index_types", "odd")
        plugins = load_plugins(extra=[odd, kind], entry_points=False)
        *_, provider = (*plugins.sources().values(), *plugins.page_filters())
        if hook == "pkgindex_sources":
            provider = plugins.sources()["odd"]
        with pytest.raises(Refused, match=r"plugin 'offering_odd' \(.*\) cannot make 'odd': OSError: no such list"):
            await provider.make(context)

    @pytest.mark.parametrize(
        ("hook", "make", "problem"),
        [
            ("pkgindex_sources", lambda _context: Made("x", None), "make must be a coroutine function"),
            ("pkgindex_index_types", in_vain, "make is a coroutine function, and this hook does not await it"),
            (
                "pkgindex_page_filters",
                lambda _context: "not a filter",
                "it made a str, which lacks applies, by_release",
            ),
            ("pkgindex_publishers", in_vain, "it made a NoneType, which lacks close, push, takes of Publisher"),
            ("pkgindex_index_options", lambda _context: None, "it made a NoneType, which is not a IndexOption"),
            ("pkgindex_templates", lambda _context: 7, "it made a int, which is not a Path"),
        ],
    )
    async def test_an_object_of_another_shape_is_refused_when_it_is_made(
        self, hook: str, make: Any, problem: str, context: Context
    ):
        plugin = types.SimpleNamespace()
        setattr(plugin, hook, hookimpl(specname=hook)(lambda: [Provider(name="odd", summary="odd", make=make)]))
        kinds = [offering("pkgindex_index_types", "odd")] if hook == "pkgindex_sources" else []
        plugins = load_plugins(extra=[plugin, *kinds], entry_points=False)
        provider = next(found for loaded, found in plugins._found if (loaded.hook, loaded.name) == (hook, "odd"))
        with pytest.raises(Refused, match=f"cannot make 'odd': TypeError: {problem}") as refused:
            await provider.make(context)
        assert "disabled_plugins" in (refused.value.hint or "")

    def test_an_authenticator_that_is_turned_off_is_none(self, context: Context):
        plugin = types.SimpleNamespace()
        offer = [Provider(name="odd", summary="odd", make=lambda _context: None)]
        plugin.pkgindex_authenticators = hookimpl(specname="pkgindex_authenticators")(lambda: offer)
        assert load_plugins(extra=[plugin], entry_points=False).authenticators()[-1].make(context) is None

    def test_a_factory_that_knows_what_is_wrong_is_believed(self, context: Context):
        known = Unavailable("the list server sleeps")
        plugins = load_plugins(extra=[offering("pkgindex_page_filters", "odd", failure=known)], entry_points=False)
        with pytest.raises(Unavailable) as raised:
            plugins.page_filters()[-1].make(context)
        assert raised.value is known

    def test_a_table_for_nobody_is_refused_with_the_nearest(self):
        extra = [offering("pkgindex_page_filters", "curfew")]
        with pytest.raises(Refused) as refused:
            load_plugins(extra=extra, entry_points=False, settings={"curfw": {"days": 3}})
        assert refused.value.problems == ("[plugins.curfw]: no plugin offers 'curfw'; did you mean 'curfew'?",)


class TestEntryPoints:
    def test_an_installed_plugin_is_loaded_and_traced_to_its_distribution(self, site: Path):
        install(site, "acme-rules", {"rules": "acme_rules"}, version="2.5", code=A_CHECK.format(name="acme"))
        (loaded,) = [one for one in load_plugins().describe() if one.distribution != "pkgindex"]
        assert loaded == LoadedProvider(
            hook="pkgindex_upload_checks",
            name="acme",
            summary="",
            plugin="rules",
            distribution="acme-rules",
            version="2.5",
            path=str(site / "acme_rules.py"),
        )

    def test_two_distributions_may_call_their_entry_points_alike(self, site: Path):
        install(site, "acme-b", {"plugin": "acme_b"}, code=A_CHECK.format(name="b"))
        install(site, "acme-a", {"plugin": "acme_a"}, code=A_CHECK.format(name="a"))
        assert [one.name for one in load_plugins().describe() if one.hook == "pkgindex_upload_checks"] == ["a", "b"]

    def test_a_disabled_distribution_is_not_even_imported(self, site: Path):
        install(site, "acme-broken", {"plugin": "acme_broken"}, code="raise RuntimeError")
        assert {one.distribution for one in load_plugins(disabled=["Acme_Broken"]).describe()} == {"pkgindex"}

    def test_a_plugin_that_cannot_be_imported_is_named_with_the_cause(self, site: Path):
        install(site, "acme-broken", {"plugin": "acme_broken"}, version="3", code="import no_such_module_anywhere")
        (problem,) = problems(entry_points=True)
        assert problem == (
            "plugin 'plugin' (acme-broken 3; acme_broken) cannot be imported: "
            "ModuleNotFoundError: No module named 'no_such_module_anywhere'"
        )

    def test_two_providers_of_one_name_are_refused_and_both_named(self, site: Path):
        install(site, "acme-one", {"first": "acme_one"}, version="1", code=A_CHECK.format(name="same"))
        install(site, "acme-two", {"second": "acme_two"}, version="2", code=A_CHECK.format(name="same"))
        (problem,) = problems(entry_points=True)
        assert problem == (
            "pkgindex_upload_checks: 'same' is offered by "
            f"plugin 'first' (acme-one 1; {site / 'acme_one.py'}) and by "
            f"plugin 'second' (acme-two 2; {site / 'acme_two.py'})"
        )


class TestWhatIsWrong:
    def test_a_built_in_name_cannot_be_taken_over(self):
        (problem,) = problems(offering("pkgindex_blob_stores", "file"))
        assert "'file' is offered by plugin 'builtin' (pkgindex" in problem
        assert "and by plugin 'offering_file' (handed in by the program" in problem

    def test_one_name_in_two_hooks_is_fine(self):
        both = [offering(hook, "same") for hook in ("pkgindex_page_filters", "pkgindex_upload_checks")]
        assert [one.name for one in load_plugins(extra=both, entry_points=False).describe()].count("same") == 2

    def test_a_source_for_a_type_that_no_plugin_offers_is_refused(self):
        source, kind = offering("pkgindex_sources", "mirorr"), offering("pkgindex_index_types", "mirorr")
        load_plugins(extra=[source, kind], entry_points=False)
        with pytest.raises(
            Refused, match=r"has a source for the index type 'mirorr', which no plugin offers; .*mirror"
        ):
            load_plugins(extra=[source], entry_points=False)

    def test_everything_is_told_at_once(self):
        assert len(problems(offering("pkgindex_blob_stores", "file"), offering("pkgindex_renderers", "text/html"))) == 2

    def test_a_hook_nobody_has_is_refused_with_the_nearest(self):
        (problem,) = problems(offering("pkgindex_upload_check", "x"))
        assert problem.endswith("is not a hook; did you mean 'pkgindex_upload_checks'?")

    def test_a_hook_with_other_arguments_is_refused(self):
        class Wrong:
            @hookimpl
            def pkgindex_renderers(self, colour):
                return []

        (problem,) = problems(Wrong())
        assert "does not fit its hook" in problem
        assert "colour" in problem

    def test_a_hook_that_raises_is_refused_with_the_cause(self):
        class Wrong:
            @hookimpl
            def pkgindex_renderers(self):
                raise KeyError("lost")

        (problem,) = problems(Wrong())
        assert problem.endswith("failed in pkgindex_renderers: KeyError: 'lost'")

    def test_a_wrapper_is_refused(self):
        class Wrong:
            @hookimpl(wrapper=True)
            def pkgindex_renderers(self):
                return (yield)

        (problem,) = problems(Wrong())
        assert "has a wrapper of pkgindex_renderers" in problem

    def test_what_is_no_provider_is_refused(self):
        class Wrong:
            @hookimpl
            def pkgindex_renderers(self):
                return ["text/html"]

        (problem,) = problems(Wrong())
        assert "offers 'text/html' in pkgindex_renderers, which is not a Provider" in problem

    @pytest.mark.parametrize(
        ("hook", "name"), [("pkgindex_blob_stores", "S 3"), ("pkgindex_index_stores", ""), ("pkgindex_renderers", "")]
    )
    def test_a_name_that_nothing_could_ask_for_is_refused(self, hook: str, name: str):
        (problem,) = problems(offering(hook, name))
        assert f"a provider called {name!r} in {hook}" in problem

    def test_the_same_object_twice_is_refused(self):
        plugin = offering("pkgindex_page_filters", "twice")
        (problem,) = problems(plugin, plugin)
        assert "is the same object as plugin 'offering_twice'" in problem


def test_loading_twice_gives_two_independent_collections():
    """No global manager: what one program hands in, another does not see."""
    with_extra = load_plugins(extra=[offering("pkgindex_page_filters", "mine")], entry_points=False)
    without = load_plugins(entry_points=False)
    assert {one.name for one in with_extra.describe()} - {one.name for one in without.describe()} == {"mine"}
