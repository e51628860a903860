"""URLs of strangers: what is stored, shown and compared."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_mirror import urls

plain = st.from_regex(urls._CLEAN, fullmatch=True)


@given(plain)
def test_the_short_cut_is_no_other_way(url: str) -> None:
    """Law: what the short cut lets through is what taking apart and joining would give."""
    parts = urls._split(url)
    assert parts is not None
    assert parts._replace(fragment="").geturl() == url
    assert urls.cleaned(url) == url


@given(st.integers(0, 70_000))
def test_the_short_cut_takes_every_valid_port(port: int) -> None:
    assert bool(urls.plain_start(f"http://a.example:{port}/f")) == (0 < port < 65_536)


links = st.lists(
    st.sampled_from(["..", ".", "", "a", "f", "x.whl", "a%2Fb", " ", "\n", "é", "?", "#", ":", "@", ";p", "//", "http:", "https://h:8"])
).map("/".join)  # fmt: skip


@given(links | links.map(lambda link: link.replace("/", "", 1)), plain)
def test_links_beside_others_are_joined_as_any(link: str, base: str) -> None:
    assert urls.cleaned(link, base) == urls._cleaned(link, base)


@given(st.text(max_size=60), plain)
def test_a_cleaned_url_is_safe_and_stays_as_it_is(text: str, base: str) -> None:
    for url in (text, f"https://{text}", f"http://example.org/{text}", f"https://u:p@example.org{text}"):
        cleaned = urls.cleaned(url, base)
        if cleaned is None:
            continue
        parts = urlsplit(cleaned)
        assert parts.scheme in {"http", "https"}
        assert parts.hostname
        assert parts.username is parts.password is None
        assert not parts.fragment
        assert cleaned.isprintable()
        assert urls.cleaned(cleaned) == cleaned
        assert urls.shown(cleaned).partition("?")[0] == cleaned.partition("?")[0]


@pytest.mark.parametrize(
    "link",
    [
        "a/../" * 2000 + "demo-1.zip",
        "x" * 9000 + "/demo-1.zip",
        "https://host/" + "\u20ac" * 3000,
        "/" + "\u20ac" * 3000,
    ],
    ids=["short once joined", "beside others", "absolute", "relative"],
)
def test_a_link_of_too_many_bytes_is_refused_before_it_is_taken_apart(link: str) -> None:
    urls._directory.cache_clear()
    assert urls.cleaned(link, "https://index.example.org/simple/demo/") is None
    assert urls.problem(link, "https://index.example.org/simple/demo/") == "its URL is longer than 8000 bytes"
    assert urls._directory.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://example.org/x", "https://example.org:443"),
        ("https://example.org:443/x", "https://example.org:443"),
        ("http://example.org/x", "http://example.org:80"),
        ("http://EXAMPLE.org:8080/x", "http://example.org:8080"),
        ("http://[::1]:3141/x", "http://::1:3141"),
    ],
)
def test_origins(url: str, origin: str) -> None:
    assert urls.origin(url) == origin


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@example.org/x?token=secret#secret", "https://example.org/x"),
        ("https://example.org:8443/x", "https://example.org:8443/x"),
        ("nonsense", "(a URL that cannot be read)"),
        ("https://user:sec\nret@example.org/", "(a URL that cannot be read)"),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    assert urls.shown(url) == shown


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/a/demo%2B1-1.0.zip?x=/y#sha256=0", "demo+1-1.0.zip"),
        ("demo.zip", "demo.zip"),
        ("https://example.org/", ""),
        ("https://example.org/a%2Fb", "a/b"),
    ],
)
def test_the_last_segment_is_decoded_once(url: str, name: str) -> None:
    assert urls.last_segment(url) == name


def test_a_companion_stands_behind_the_path() -> None:
    assert urls.with_suffix("https://example.org/a.whl", ".metadata") == "https://example.org/a.whl.metadata"
    assert urls.with_suffix("https://example.org/a.whl?k=v", ".metadata") == "https://example.org/a.whl.metadata?k=v"
