"""Upstream pages as values: what is read, what is left out, what is no page at all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.documents.page_fields import filename_problem
from pkgindex_mirror.documents.pages import PageListing, api_version, read_page

DEMO = ProjectName("demo")
JSON = "application/vnd.pypi.simple.v1+json"
URL = "https://index.example.org/simple/demo/"
SHA = "ab" * 32
LISTINGS = Path(__file__).parents[1] / "golden" / "listings"


def entry(**says: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"filename": "demo-1.0.tar.gz", "url": "../../f/demo-1.0.tar.gz", "hashes": {"sha256": SHA}}
    return usual | {key.replace("_", "-"): value for key, value in says.items()}


def page(*entries: Any, **says: Any) -> PageListing | UnreadablePage:
    document = {"meta": {"api-version": "1.4"}, "name": "demo", "files": list(entries)} | says
    return read_page(json.dumps(document).encode(), JSON, URL, DEMO)


def listed(*entries: Any, **says: Any) -> PageListing:
    listing = page(*entries, **says)
    assert isinstance(listing, PageListing), listing
    return listing


def only(**says: Any) -> File:
    (file,) = listed(entry(**says)).files
    return file


def html(body: str, head: str = '<meta name="pypi:repository-version" content="1.4">') -> PageListing | UnreadablePage:
    document = f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>"
    return read_page(document.encode(), "text/html", URL, DEMO)


def html_files(body: str, head: str = '<meta name="pypi:repository-version" content="1.4">') -> tuple[File, ...]:
    listing = html(body, head)
    assert isinstance(listing, PageListing), listing
    return tuple(listing.files)


class TestJson:
    @pytest.mark.parametrize(
        ("said", "read"),
        [(True, True), (False, False), ("why", "why"), ("false", "false"), ("", False), (None, False), (3, False)],
    )
    def test_yanked(self, said: Any, read: Any) -> None:
        assert only(yanked=said).yanked == read

    @pytest.mark.parametrize("key", ["core-metadata", "dist-info-metadata", "data-dist-info-metadata"])
    def test_every_spelling_of_the_sidecar_is_read(self, key: str) -> None:
        (file,) = listed(entry(filename="demo-1.0-py3-none-any.whl") | {key: {"sha256": SHA}}).files
        assert (file.metadata_sha256, file.metadata_offered) == (SHA, False)

    @pytest.mark.parametrize("said", [True, False, None, {}, {"md5": "x"}, {"sha256": "short"}, {"sha256": 3}, "yes"])
    def test_a_wheel_always_offers_its_sidecar(self, said: Any) -> None:
        file = only(filename="demo-1.0-py3-none-any.whl", core_metadata=said)
        assert (file.metadata_sha256, file.metadata_offered) == (None, True)

    @pytest.mark.parametrize(("said", "offered"), [(True, True), (False, False), (None, False)])
    def test_an_sdist_offers_what_is_announced(self, said: Any, offered: bool) -> None:
        assert only(core_metadata=said).metadata_offered is offered

    @pytest.mark.parametrize(
        ("said", "read"),
        [(3, 3), (0, 0), (3.0, 3), (-1, None), (3.5, None), (True, None), ("3", None), (2**70, None), (None, None)],
    )
    def test_size(self, said: Any, read: int | None) -> None:
        assert only(size=said).size == read

    @pytest.mark.parametrize(
        ("said", "read"),
        [
            ("2026-01-02T03:04:05.678900Z", 1_767_323_045_678_900),
            ("2026-01-02T03:04:05+00:00", 1_767_323_045_000_000),
            ("2026-01-02T03:04:05", 1_767_323_045_000_000),
            ("9999-12-31T23:59:59Z", None),
            ("yesterday", None),
            (3, None),
            (None, None),
        ],
    )
    def test_upload_time(self, said: Any, read: int | None) -> None:
        assert only(upload_time=said).upload_time == read

    def test_hashes_of_any_algorithm_sha256_first(self) -> None:
        file = only(hashes={"md5": "AB" * 16, "sha256": SHA.upper(), "blake2b_256": SHA, "odd": "1", "sha1": 3})
        assert list(file.digests.items()) == [("sha256", SHA), ("blake2b_256", SHA), ("md5", "ab" * 16)]

    def test_blake2b_is_kept_by_its_length(self) -> None:
        assert only(hashes={"blake2b": SHA + SHA}).digests == {"blake2b": SHA + SHA}
        assert only(hashes={"blake2b": SHA}).digests == {"blake2b_256": SHA}

    @pytest.mark.parametrize(
        ("said", "read"),
        [
            ("https://example.org/p", "https://example.org/p"),
            ("http://example.org/p", ""),
            ("/p", ""),
            (None, ""),
            ("https://user:pw@example.org/p", "https://example.org/p"),
        ],
    )
    def test_provenance_is_a_secure_url(self, said: Any, read: str) -> None:
        assert only(provenance=said).provenance == read

    @pytest.mark.parametrize(
        ("said", "read"),
        [
            ("../../f/x.zip", "https://index.example.org/f/x.zip"),
            ("x.zip", "https://index.example.org/simple/demo/x.zip"),
            ("//files.example.org/x.zip", "https://files.example.org/x.zip"),
            ("https://files.example.org/a%2Bb.zip?k=v#sha256=1", "https://files.example.org/a%2Bb.zip?k=v"),
            ("https://user:secret@files.example.org:8443/x.zip", "https://files.example.org:8443/x.zip"),
            ("https://files.example.org/a b.zip", "https://files.example.org/a%20b.zip"),
        ],
    )
    def test_urls_become_absolute_without_userinfo(self, said: str, read: str) -> None:
        assert only(url=said).url == read

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            ("file:///etc/passwd", "no http(s) URL, but file:"),
            ("ftp://example.org/x", "no http(s) URL, but ftp:"),
            ("javascript:x", "no http(s) URL, but javascript:"),
            ("https://", "no valid host or port"),
            ("https://host:99999/x", "no valid host or port"),
            ("https://host:0/x", "no valid host or port"),
            ("https://[::1/x", "cannot be read"),
            ("https://a\nb/x", "control characters or blanks"),
            ("https://a/" + "x" * 5000, "longer than 4096"),
            (None, "has no URL"),
            (3, "has no URL"),
        ],
    )
    def test_a_file_that_nobody_could_fetch_is_left_out(self, said: Any, reason: str) -> None:
        listing = listed(entry(url=said), entry(filename="demo-2.0.tar.gz"))
        assert [file.filename for file in listing.files] == ["demo-2.0.tar.gz"]
        assert reason in listing.notes[0]

    @pytest.mark.parametrize(
        "name",
        ["", None, 3, "a/b.zip", "a\\b.zip", "a\x00.zip", "a\nb.zip", "..", ".hidden", " a.zip", "a.zip ", "\ud800.zip", "x" * 300],
    )  # fmt: skip
    def test_a_filename_that_could_do_harm_is_left_out(self, name: Any) -> None:
        assert filename_problem(name)
        listing = listed(entry(filename=name), entry())
        assert [file.filename for file in listing.files] == ["demo-1.0.tar.gz"]
        assert len(listing.notes) == 1

    def test_of_two_files_of_one_name_the_first_counts(self) -> None:
        listing = listed(entry(size=1), entry(size=2))
        assert [file.size for file in listing.files] == [1]
        assert "listed twice" in listing.notes[0]

    def test_a_page_without_files_is_a_page(self) -> None:
        assert len(listed().files) == 0

    def test_versions_are_kept_once_and_odd_ones_too(self) -> None:
        assert listed(versions=["1.0", "2004d", "1.0", 3, "", None]).versions == ("1.0", "2004d")

    @pytest.mark.parametrize(
        ("says", "status", "reason"),
        [
            ({"project-status": {"status": "archived", "reason": "old"}}, "archived", "old"),
            ({"meta": {"project-status": {"status": "deprecated"}}}, "deprecated", ""),
            ({"project-status": {"status": "haunted"}}, "", ""),
            ({"project-status": "archived"}, "", ""),
            ({"project-status": None}, "", ""),
        ],
    )
    def test_status(self, says: dict[str, Any], status: str, reason: str) -> None:
        listing = listed(entry(), **says)
        assert (listing.status, listing.status_reason) == (status, reason)

    def test_the_display_name_is_the_upstreams_if_it_is_the_projects(self) -> None:
        assert listed(name="DEMO").display_name == "DEMO"
        assert listed(name="other").display_name == "demo"
        assert listed(name=None).display_name == "demo"

    def test_legacy_files_have_versions(self) -> None:
        names = ["demo-1.0.win32.exe", "demo-1.1-py2.7.egg", "demo-1.2.tar.bz2", "nonsense"]
        versions = [file.version for file in listed(*(entry(filename=name) for name in names)).files]
        assert versions == ["1.0", "1.1", "1.2", ""]

    @pytest.mark.parametrize("version", ["2.0", "0.9", "10.1"])
    def test_another_major_version_is_unreadable(self, version: str) -> None:
        found = page(entry(), meta={"api-version": version})
        assert isinstance(found, UnreadablePage)
        assert version in found.reason

    def test_a_thousand_bad_entries_do_not_fill_the_log(self) -> None:
        assert len(listed(*([{}] * 1000)).notes) == 21


class TestHtml:
    def test_what_an_anchor_says(self) -> None:
        (file,) = html_files(
            f'<a href="../../f/demo-1.0-py3-none-any.whl#sha256={SHA}" data-requires-python="&gt;=3.8" data-yanked="a &amp; b" '
            f'data-core-metadata="sha256={SHA}" data-gpg-sig="false" data-provenance="https://example.org/p">demo</a>'
        )
        assert file == File(
            filename="demo-1.0-py3-none-any.whl",
            version="1.0",
            digests={"sha256": SHA},
            requires_python=">=3.8",
            yanked="a & b",
            metadata_sha256=file.metadata_sha256,
            provenance="https://example.org/p",
            gpg_sig=False,
            url="https://index.example.org/f/demo-1.0-py3-none-any.whl",
        )
        assert file.metadata_sha256 == SHA

    @pytest.mark.parametrize(
        ("attribute", "yanked"),
        [("", False), ("data-yanked", True), ('data-yanked=""', True), ('data-yanked="false"', "false")],
    )
    def test_the_attribute_alone_yanks(self, attribute: str, yanked: Any) -> None:
        (file,) = html_files(f'<a href="demo-1.0.zip" {attribute}>demo-1.0.zip</a>')
        assert file.yanked == yanked

    @pytest.mark.parametrize(
        ("written", "filename"),
        [
            ("<A HREF='demo-1.zip'>demo-1.zip</A>", "demo-1.zip"),
            ("<a\n  class=x\n  href=demo-1.zip>demo-1.zip</a>", "demo-1.zip"),
            ("<a href = demo-1.zip>x", "demo-1.zip"),
            ("<a title=it's href=demo-1.zip>x</a><i title='", "demo-1.zip"),
            ('<a title="a > b" href="demo-1.zip"><b>demo-1.zip</b></a>', "demo-1.zip"),
            ('<a data-x=">" href="demo-1.zip">x</a>', "demo-1.zip"),
            ('<a href="/d?id=4">demo-1.zip</a>', "demo-1.zip"),
            ('<a href="/d?id=4"><b>demo-1.zip</b> <i>new</i></a><a href="/">up</a>', ""),
            ('<a href="/d?id=4"><b>demo-1.zip</b></a>', "demo-1.zip"),
            ('<a href="demo-1.zip"/>', "demo-1.zip"),
            ("<a/href=demo-1.zip>", "demo-1.zip"),
            ('<a href="demo-1.zip" href="other-1.zip">x', "demo-1.zip"),
            ('<a href="demo%2B1.zip">x</a>', "demo+1.zip"),
            ('<a href="d%C3%A9mo-1.zip">x</a>', "démo-1.zip"),
            ('<a href=" demo-\n1.zip\t">x</a>', "demo-1.zip"),
            ('<a href="files\\demo-1.zip">x</a>', "demo-1.zip"),
            ('<a href="demo-1&#46;zip">x</a>', "demo-1.zip"),
            ('<a href="demo-1.zip?x=1&copy=2">x</a>', "demo-1.zip"),
            ('<a href="demo-1.tar.lzma">x</a>', "demo-1.tar.lzma"),
            ('<a href="demo-1.txz">x</a>', "demo-1.txz"),
            ('<!--><a href="demo-1.zip">x</a>-->', "demo-1.zip"),
            ('<!---><a href="demo-1.zip">x</a>-->', "demo-1.zip"),
            ('<!-- <a href="demo-0.zip">x</a> --!><a href="demo-1.zip">x</a>', "demo-1.zip"),
            ("<!-- a > b --><a href=demo-1.zip>", "demo-1.zip"),
            ('<!x "><a href="demo-1.zip">', "demo-1.zip"),
            ('<? php ?></ x><a href="demo-1.zip">', "demo-1.zip"),
            ("< a href=demo-0.zip><a href=demo-1.zip>", "demo-1.zip"),
            ('<script>x = "<a href=demo-0.zip>"</script><a href="demo-1.zip">', "demo-1.zip"),
            ('<TEXTAREA><a href=demo-0.zip></textarea ><a href="demo-1.zip">', "demo-1.zip"),
            ('<title>no end<a href="demo-1.zip">', "demo-1.zip"),
            ('<noscript><a href="demo-1.zip"></noscript>', "demo-1.zip"),
            ('<img title="<a href=demo-0.zip>"><a href="demo-1.zip">', "demo-1.zip"),
            ('<table><tr><td><a href="demo-1.zip"><td>', "demo-1.zip"),
            ('<area href="demo-0.zip"><link href="demo-0.zip"><abbr href="demo-0.zip">', ""),
            ('<!-- <a href="demo-0.zip">demo-0.zip</a> -->', ""),
            ('<a name="demo-0.zip">', ""),
        ],
    )
    def test_a_link_is_what_a_browser_takes_for_one(self, written: str, filename: str) -> None:
        assert [file.filename for file in html_files(written)] == ([filename] if filename else [])

    def test_other_links_are_no_files_and_are_named(self) -> None:
        listing = html(
            '<a href="../">up</a><a href="?C=N;O=D">Name</a><a href="sub/">sub/</a><a href="#top">top</a><a name="x">y</a>'
            '<a href="a.zip">a</a><a href="SHA256SUMS">sums</a><a href="https://user:secret@example.org/about?k=v">us</a>'
        )
        assert isinstance(listing, PageListing)
        assert [file.filename for file in listing.files] == ["a.zip"]
        (note,) = listing.notes
        assert "https://index.example.org/simple/demo/SHA256SUMS" in note
        assert "https://example.org/about" in note
        assert "secret" not in note

    @pytest.mark.parametrize(
        ("written", "reason"),
        [
            ('<a href="ftp://host/demo-1.zip">x</a>', "no http(s) URL, but ftp:"),
            ('<a href="a%2Fdemo-1.zip">x</a>', "has a slash"),
            ('<a href="demo-1.zip#sha256=short">x</a>', "without its digest"),
            ('<a href="demo-1.zip">x</a><a href="/f/demo-1.zip">x</a>', "listed twice"),
            ('<a href="demo-1.zip">x</a><!-- <a href="demo-2.zip">x</a>', "a comment never ends"),
            ('<a href="demo-1.zip">x</a><a href="demo-2.zip>x</a>', "the tag <a> never ends"),
        ],
    )
    def test_no_link_is_dropped_in_silence(self, written: str, reason: str) -> None:
        listing = html("<a href='demo-0.zip'>x</a>" + written)
        assert isinstance(listing, PageListing)
        (note,) = listing.notes
        assert reason in note

    def test_the_same_link_twice_is_one_file(self) -> None:
        """Apache's icons are links too."""
        listing = html('<a href="demo-1.zip"><img src="i"></a> <a href="demo-1.zip">demo-1.zip</a>')
        assert isinstance(listing, PageListing)
        assert (len(listing.files), listing.notes) == (1, ())

    @pytest.mark.parametrize(
        ("fragment", "read"),
        [
            (f"#SHA256={SHA.upper()}", {"sha256": SHA}),
            (f"#egg=demo-1&sha256={SHA}", {"sha256": SHA}),
            (f"#md5={'0' * 32}&subdirectory=x", {"md5": "0" * 32}),
            ("#egg=demo", {}),
            ("#top", {}),
            ("", {}),
        ],
    )
    def test_digests_in_fragments(self, fragment: str, read: dict[str, str]) -> None:
        listing = html(f'<a href="demo-1.zip{fragment}">x</a>')
        assert isinstance(listing, PageListing)
        assert ([file.digests for file in listing.files], listing.notes) == ([read], ())

    @pytest.mark.parametrize(
        ("head", "url"),
        [
            ('<base href="/elsewhere/">', "https://index.example.org/elsewhere/demo-1.zip"),
            ('<base href="../files/">', "https://index.example.org/simple/files/demo-1.zip"),
            (
                '<base target="_blank"><base href="//cdn.example.org/x/index.html">',
                "https://cdn.example.org/x/demo-1.zip",
            ),
            ('<base href="/first/"><base href="/second/">', "https://index.example.org/first/demo-1.zip"),
            ('<base href="data:,">', "https://index.example.org/simple/demo/demo-1.zip"),
            ("<base href>", "https://index.example.org/simple/demo/demo-1.zip"),
        ],
    )
    def test_base_counts(self, head: str, url: str) -> None:
        for document in (f'{head}<a href="demo-1.zip">x</a>', f'<a href="demo-1.zip">x</a>{head}'):
            (file,) = html_files(document)
            assert file.url == url

    def test_status_and_version_of_the_page(self) -> None:
        listing = html(
            "",
            '<meta name="pypi:repository-version" content="1.4"><meta name="pypi:project-status" content="quarantined">'
            '<meta name="pypi:project-status-reason" content="mal&quot;ware">',
        )
        assert isinstance(listing, PageListing)
        assert (len(listing.files), listing.status, listing.status_reason) == (0, "quarantined", 'mal"ware')
        refused = html("", '<meta name="pypi:repository-version" content="2.0">')
        assert isinstance(refused, UnreadablePage)

    @pytest.mark.parametrize(
        "document",
        [
            "<html><body><h1>Sign in</h1></body></html>",
            "<html><head><title>502 Bad Gateway</title></head></html>",
            "<!doctype html><html><body><a href='/login'>log in</a></body></html>",
            "<html><title>demo</title><body>404: there is no project demo here</body></html>",
            "<html><body><form action='/login'><input name=user></form></body></html>",
            "<html><head><script>location = '/login'</script></head><body></body></html>",
            "<html><head><meta http-equiv=refresh content='0; url=/login'></head></html>",
            "<html><body>This is the home page of a hotel</body></html>",
            "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
            "hello",
            "",
        ],
    )
    def test_what_is_no_package_page(self, document: str) -> None:
        assert isinstance(read_page(document.encode(), "text/html", URL, DEMO), UnreadablePage)

    @pytest.mark.parametrize(
        "document",
        [
            "<html><head><title>Links for demo</title></head><body></body></html>",
            "<!DOCTYPE html><html><body><h1>Links for demo</h1></body></html>",
            "<html><h1>Index of /simple/demo</h1></html>",
            '<a href="demo-1.zip">demo-1.zip</a>',
            "<html><body><h1>Links for demo</h1><a href='demo-1.zip'>demo-1.zip</a>",
            (
                '<html lang="en"><head><title>Links to demo</title><meta name="api-version" value="2"/></head><body>'
                "<h1>Links to demo</h1></body></html>"
            ),
            "<html><head><title>demo</title></head><body><input><script>x</script></body></html>",
            "<!DOCTYPE html><title>Files of demo</title><p>none yet",
            "<!DOCTYPE html><title>My packages</title><body></body>",
            "<html><body></body></html>",
            "<!DOCTYPE html>",
            "<pre><a href='../'>../</a></pre>",
            (
                "<title>Index of simple/demo</title><h1>Index of simple/demo</h1><pre>Name Last modified Size</pre><hr>"
                "<address>Artifactory/7.104 Server at example.org</address>"
            ),
        ],
    )
    def test_what_is_one_although_it_says_little(self, document: str) -> None:
        assert isinstance(read_page(document.encode(), "text/html", URL, DEMO), PageListing)

    @pytest.mark.parametrize(
        ("document", "certain"),
        [
            ('<meta name="pypi:repository-version" content="1.4">', True),
            ("<title>Links for demo</title>", True),
            ("<title>Index of /simple/demo/</title><pre><a href='../'>../</a></pre>", True),
            ("<h1>Directory listing for</h1><h1>/simple/demo/</h1>", True),
            ("<title>Index of /</title><pre></pre>", False),
            ("<title>demo</title><div id=root></div><script src=app.js></script>", False),
            ("<!DOCTYPE html><title>My packages</title><body></body>", False),
            ("<html><body></body></html>", False),
            ('<meta name="pypi:repository-version" content="1.4"><!-- <a href="demo-1.zip">demo-1.zip</a>', False),
        ],
    )
    def test_a_page_without_files_is_certain_when_it_lists_this_project(self, document: str, certain: bool) -> None:
        listing = read_page(document.encode(), "text/html", URL, DEMO)
        assert isinstance(listing, PageListing)
        assert (len(listing.files), not listing.doubt) == (0, certain)

    def test_a_page_with_files_leaves_no_doubt(self) -> None:
        listing = read_page(b"<a href='demo-1.zip'>demo-1.zip</a>", "text/html", URL, DEMO)
        assert isinstance(listing, PageListing)
        assert listing.doubt == ""

    def test_the_charset_is_utf8_or_the_declared_one(self) -> None:
        text = '<a href="demo-1.zip" data-yanked="naïve">demo-1.zip</a>'
        for encoding, declared in (
            ("utf-8", "latin-1"),
            ("latin-1", "latin-1"),
            ("utf-8-sig", ""),
            ("latin-1", "bogus"),
            ("latin-1", "hex"),
            ("cp1252", "windows-1252"),
            ("utf-16", "utf-16"),
            ("utf-16", ""),
            ("utf-16-le", "utf-16le"),
        ):
            found = read_page(text.encode(encoding), f"text/html; charset={declared}", URL, DEMO)
            assert isinstance(found, PageListing)
            assert next(iter(found.files)).yanked == "naïve", (encoding, declared)

    def test_the_page_may_declare_its_charset(self) -> None:
        text = '<meta charset="iso-8859-2"><a href="demo-1.zip" data-yanked="łatka">demo-1.zip</a>'
        found = read_page(text.encode("iso-8859-2"), "text/html", URL, DEMO)
        assert isinstance(found, PageListing)
        assert next(iter(found.files)).yanked == "łatka"

    @pytest.mark.parametrize(
        "hostile",
        [
            lambda size: "<script>" * size,
            lambda size: "<title>" * size + ">",
            lambda size: "<a x='" * size + ">",
            lambda size: "<x" + " y" * (5 * size) + ">",
            lambda size: "<a>" * size,
            lambda size: "&" * (5 * size) + "<a href='" + "&" * size + "'>",
            lambda size: "<a " * (2 * size),
            lambda size: '<a href="' * size,
            lambda size: "<a '" * (2 * size),
            lambda size: "<!--" * (2 * size),
            lambda size: "<" * (5 * size),
            lambda size: "<a x=" + "y" * (5 * size),
        ],
    )
    def test_the_time_for_hostile_html_grows_with_its_size(self, hostile: Callable[[int], str]) -> None:
        """Four times the size takes about four times the time; if the time grew by the square it would be 16."""

        def seconds(size: int) -> float:
            text = hostile(size)
            begun = time.process_time()
            html(text)
            return time.process_time() - begun

        # A tag that does not end is read again with each part, until it is too long: below that size the time does grow by the square.
        assert seconds(100_000) < 12 * max(seconds(25_000), seconds(25_000), 0.002)


def test_the_version_a_page_says_it_speaks() -> None:
    assert api_version(b'{"meta": {"api-version": "1.3"}}', JSON) == "1.3"
    assert api_version(b'<meta name="pypi:repository-version" content="1.1">', "text/html") == "1.1"
    assert api_version(b"{}", JSON) is None
    assert api_version(b"<html>", "text/html") is None


LISTED = {
    "demo 2.0.zip",
    "demo-1!3.0.tar.bz2",
    "demo-1.0+local.1-py3-none-any.whl",
    "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64.whl",
    "demo-1.0.tar.gz",
    "démo&<1>.zip",
}


@pytest.mark.parametrize("server", ["nginx", "apache", "apache-fancy", "caddy", "python"])
def test_directory_listings_of_real_servers(server: str) -> None:
    """Recorded from nginx, Apache, Caddy and http.server, with and without files (`tests/golden/README.md`)."""
    full, empty = ((LISTINGS / f"{server}-{what}.html").read_bytes() for what in ("demo", "empty"))
    listing = read_page(full, "text/html", URL, DEMO)
    assert isinstance(listing, PageListing)
    assert {file.filename for file in listing.files} == LISTED
    assert all(file.url.startswith(URL) for file in listing.files)
    (note,) = listing.notes
    assert "SHA256SUMS" in note
    nothing = read_page(empty, "text/html", URL.replace("demo", "empty"), ProjectName("empty"))
    assert isinstance(nothing, PageListing)
    assert (len(nothing.files), [note for note in nothing.notes if "caddyserver" not in note]) == (0, [])


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "filename", "url", "hashes", "size", "upload-time", "yanked", "requires-python", "core-metadata", "gpg-sig", "provenance",
    "dist-info-metadata", "data-dist-info-metadata",
]  # fmt: skip


@settings(max_examples=40)  # generating is slow, not reading
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), anything)), anything, anything, anything)
def test_one_bad_entry_never_costs_the_page(entries: list[Any], name: Any, versions: Any, status: Any) -> None:
    """Law: whatever else the page says, the good file is read."""
    listing = listed(entry(), *entries, name=name, versions=versions, **{"project-status": status})
    assert "demo-1.0.tar.gz" in {file.filename for file in listing.files}
    for file in listing.files:
        assert not filename_problem(file.filename)
        assert file.url.startswith(("https://", "http://"))
        assert "@" not in file.url.partition("//")[2].partition("/")[0]


@given(st.binary(max_size=300), st.sampled_from([JSON, "text/html", "text/html; charset=utf-16", ""]))
def test_no_bytes_make_the_reader_fail(body: bytes, content_type: str) -> None:
    for start in (b"", b"{", b"<html>", b'{"files":['):
        assert isinstance(read_page(start + body, content_type, URL, DEMO), PageListing | UnreadablePage)


@pytest.mark.parametrize(("said", "kept"), [(True, None), (False, False), (None, None), ("yes", None)])
def test_fi_08_a_signature_that_is_not_served_is_not_promised(said: object, kept: bool | None) -> None:
    body = json.dumps(
        {
            "meta": {"api-version": "1.4"},
            "name": "demo",
            "files": [{"filename": "demo-1.0.tar.gz", "url": "demo-1.0.tar.gz", "hashes": {}, "gpg-sig": said}],
        }
    ).encode()
    listing = read_page(body, JSON, "https://example.test/simple/demo/", ProjectName("demo"))
    assert isinstance(listing, PageListing)
    assert next(iter(listing.files)).gpg_sig is kept
