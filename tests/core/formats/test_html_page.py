"""The HTML simple API, row by row of the conformance table (HT), and parse(render(page)) = page."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.models import File, PageHead, ProjectRow, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import MergedPage, PageEntry, ProjectList
from pkgindex_core.rules.negotiation import HTML_V1, TEXT_HTML

DEMO = ProjectName("demo")
HERE, THERE = "../../", "../../../../root/pypi/"
FILE = File(filename="demo-1.0.zip", version="1.0", digests={"sha256": sha256_of(b"demo")}, size=4)

Attributes = dict[str, str | None]


class Reader(HTMLParser):
    """Reads a page as an installer does: metas, anchors, their text, and the trailing comment."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self.metas: Attributes = {}
        self.anchors: list[tuple[Attributes, str]] = []
        self.tags: list[str] = []
        self.comments: list[str] = []
        self.declarations: list[str] = []
        self.title = ""
        self._text: list[str] = []
        self.feed(raw.decode("ascii"))
        self.close()

    def handle_decl(self, decl: str) -> None:
        self.declarations.append(decl)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), "an attribute was written twice"
        if tag == "meta" and "name" in attributes:
            self.metas[attributes["name"] or ""] = attributes["content"]
        if tag == "a":
            self.anchors.append((attributes, ""))
        self._text = []

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            attributes, _ = self.anchors.pop()
            self.anchors.append((attributes, "".join(self._text)))
        if tag == "title":
            self.title = "".join(self._text)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def page(*listed: tuple[str, File], **head: str) -> MergedPage:
    return MergedPage(
        project=DEMO,
        head=PageHead(**head),  # type: ignore[arg-type]  # only text fields are given here
        versions=("1.0",),
        entries=[PageEntry(prefix, IndexName("team/dev"), page_row(file)) for prefix, file in listed],
        serial=Serial(7),
    )


def read(*listed: tuple[str, File], **head: str) -> Reader:
    return Reader(HtmlRenderer().page(page(*listed, **head)))


def attributes_of(**changes: object) -> Attributes:
    ((attributes, _),) = read((HERE, msgspec.structs.replace(FILE, **changes))).anchors
    return attributes


def listing(*names: tuple[str, str]) -> bytes:
    renderer = HtmlRenderer()
    part = ProjectList(names=[ProjectRow(ProjectName(name), display, Serial(0)) for name, display in names])
    return renderer.list_start(Serial(9)) + renderer.list_part(part, first=True) + renderer.list_end(Serial(9))


hexadecimal = st.binary(min_size=32, max_size=32).map(bytes.hex)
# What HTML can express: no controls but tab and line breaks, no surrogates, no noncharacters.
expressible = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cn"], include_characters="\t\n\r"), min_size=1, max_size=30
)
files = st.builds(
    File,
    filename=expressible,
    digests=st.one_of(
        st.just({}),
        hexadecimal.map(lambda value: {"sha256": value}),
        st.just({"md5": "0" * 32, "sha512": "1" * 128}),
        st.just({"blake2b_256": "2" * 64}),
    ),
    requires_python=st.just("") | expressible,
    yanked=st.booleans() | expressible,
    metadata_sha256=st.none() | hexadecimal.map(Sha256),
    metadata_offered=st.booleans(),
    provenance=st.sampled_from(["", "https://example.test/p?a=1&b=2", "http://example.test/p"]),
    gpg_sig=st.none() | st.booleans(),
    upload_time=st.none() | st.just(Timestamp(5)),
)


@given(
    listed=st.lists(st.tuples(st.sampled_from([HERE, THERE]), files), max_size=4),
    display_name=st.just("") | expressible,
    status=st.sampled_from(["", "active", "archived", "deprecated"]),
    status_reason=st.just("") | expressible,
)
def test_parsing_gives_back_what_was_rendered(
    listed: list[tuple[str, File]], display_name: str, status: str, status_reason: str
) -> None:
    reader = read(*listed, display_name=display_name, status=status, status_reason=status_reason)
    assert reader.metas.get("pypi:project-status", "") == status
    assert reader.metas.get("pypi:project-status-reason", "") == (status_reason if status else "")
    assert reader.title == f"Links for {display_name or 'demo'}"
    assert len(reader.anchors) == len(listed)
    signs = any(file.gpg_sig is not None for _, file in listed)
    for (attributes, text), (prefix, file) in zip(reader.anchors, listed, strict=True):
        assert text == file.filename
        url, digest = urldefrag(attributes["href"] or "")
        assert url.startswith(prefix + "+")
        assert unquote(url.rpartition("/")[2]) == file.filename
        known = [f"{name}={file.digests[name]}" for name in ("sha256", "sha512") if name in file.digests]
        assert digest == (known[0] if known else "")
        assert attributes.get("data-requires-python") == (file.requires_python or None)
        yanked = attributes.get("data-yanked")
        assert (yanked or yanked is not None) == file.yanked
        metadata = f"sha256={file.metadata_sha256}" if file.metadata_sha256 else "true"
        offered = metadata if file.metadata_sha256 or file.metadata_offered else None
        assert attributes.get("data-core-metadata") == attributes.get("data-dist-info-metadata") == offered
        assert attributes.get("data-gpg-sig") == (("true" if file.gpg_sig else "false") if signs else None)
        assert attributes.get("data-provenance") == (file.provenance if file.provenance[:6] == "https:" else None)


@given(name=st.text(max_size=20), reason=st.text(max_size=20))
def test_ht_01_any_text_leaves_one_link_a_line(name: str, reason: str) -> None:
    file = msgspec.structs.replace(FILE, yanked=reason or True, requires_python=name)
    # A row as a store could hold it: the name is what an upstream said, the link was made when it was stored.
    row = (
        msgspec.structs.replace(page_row(FILE), body=msgspec.msgpack.encode(file))
        if _encodable(name + reason)
        else None
    )
    if row is None:
        return
    raw = HtmlRenderer().page(
        msgspec.structs.replace(page(display_name=name), entries=[PageEntry(HERE, IndexName("a/b"), row)])
    )
    lines = raw.decode("ascii").splitlines()
    assert len([line for line in lines if re.fullmatch(r'<a href="[^"<>]*"[^<>]*>[^<>]*</a><br>', line)]) == 1
    assert len(Reader(raw).anchors) == 1


def _encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def test_cn_17_content_types_are_exact_and_the_bytes_are_the_same() -> None:
    renderers = HtmlRenderer(HTML_V1), HtmlRenderer(TEXT_HTML)
    assert [renderer.media_type for renderer in renderers] == ["application/vnd.pypi.simple.v1+html", "text/html"]
    assert len({renderer.page(page((HERE, FILE))) for renderer in renderers}) == 1


def test_ht_01_a_page_is_html5_with_one_anchor_a_line_and_no_base() -> None:
    raw = HtmlRenderer().page(page((HERE, FILE), (THERE, msgspec.structs.replace(FILE, filename="demo-2.zip"))))
    assert raw.startswith(b"<!DOCTYPE html>\n")
    links = [line for line in raw.decode().splitlines() if "<a" in line]
    assert len(links) == 2
    assert all(re.fullmatch(r"<a [^<>]*>[^<>]*</a><br>", line) for line in links)
    assert "base" not in Reader(raw).tags


def test_ht_01_attributes_stand_in_one_order() -> None:
    everything = {
        "requires_python": ">=3.8",
        "yanked": "broken",
        "metadata_sha256": Sha256("c" * 64),
        "gpg_sig": True,
        "provenance": "https://example.test/p",
    }
    assert list(attributes_of(**everything)) == [
        "href",
        "data-requires-python",
        "data-yanked",
        "data-dist-info-metadata",
        "data-core-metadata",
        "data-gpg-sig",
        "data-provenance",
    ]


def test_ht_02_a_list_links_every_project() -> None:
    reader = Reader(listing(("a-b", "A.B"), ("c", "")))
    assert reader.anchors == [({"href": "a-b/"}, "A.B"), ({"href": "c/"}, "c")]


def test_ht_03_the_text_of_a_link_is_the_filename() -> None:
    assert read((HERE, FILE)).anchors[0][1] == "demo-1.0.zip"


def test_ht_04_every_page_says_its_version() -> None:
    assert read().metas["pypi:repository-version"] == "1.4"
    assert Reader(listing()).metas["pypi:repository-version"] == "1.4"


def test_ht_05_a_link_has_one_fragment_with_sha256() -> None:
    href = attributes_of(filename="demo#1.zip", digests={"md5": "0" * 32, "sha256": "a" * 64})["href"] or ""
    assert href.count("#") == 1
    assert href.endswith("/demo%231.zip#sha256=" + "a" * 64)


def test_ht_05_without_sha256_the_strongest_that_clients_read() -> None:
    assert (attributes_of(digests={"md5": "0" * 32, "sha384": "1" * 96})["href"] or "").endswith("#sha384=" + "1" * 96)
    assert "#" not in (attributes_of(digests={})["href"] or "")


@pytest.mark.parametrize(
    "digests", [{"sha1": "1" * 40}, {"sha224": "1" * 56}, {"blake2b": "2" * 128}, {"blake2b_256": "2" * 64}]
)
def test_ht_05_a_digest_for_which_uv_refuses_the_whole_page_is_not_shown(digests: dict[str, str]) -> None:
    assert "#" not in (attributes_of(digests=digests)["href"] or "")
    assert (attributes_of(digests={**digests, "md5": "0" * 32})["href"] or "").endswith("#md5=" + "0" * 32)


def test_ht_06_requires_python_is_escaped_and_omitted_when_empty() -> None:
    raw = HtmlRenderer().page(page((HERE, msgspec.structs.replace(FILE, requires_python='>=3.8,<4 & "x"'))))
    assert b'data-requires-python="&gt;=3.8,&lt;4 &amp; &quot;x&quot;"' in raw
    assert "data-requires-python" not in attributes_of()


@pytest.mark.parametrize(
    ("yanked", "value"), [(True, ""), ("broken <b>", "broken <b>"), ("false", "false"), ("a\nb", "a\nb")]
)
def test_ht_07_fi_09_yanked_is_bare_or_the_reason(yanked: bool | str, value: str) -> None:
    assert attributes_of(yanked=yanked)["data-yanked"] == value


@pytest.mark.parametrize("yanked", [False, ""])
def test_ht_07_what_is_not_yanked_has_no_attribute(yanked: bool | str) -> None:
    assert "data-yanked" not in attributes_of(yanked=yanked)


def test_ht_08_metadata_under_both_names_and_only_when_offered() -> None:
    digest = "sha256=" + "c" * 64
    attributes = attributes_of(metadata_sha256=Sha256("c" * 64))
    assert attributes["data-core-metadata"] == attributes["data-dist-info-metadata"] == digest
    attributes = attributes_of(metadata_offered=True)
    assert attributes["data-core-metadata"] == attributes["data-dist-info-metadata"] == "true"
    assert not {"data-core-metadata", "data-dist-info-metadata"} & set(attributes_of())


def test_ht_09_gpg_sig_is_on_every_link_or_on_none() -> None:
    signed = msgspec.structs.replace(FILE, filename="demo-2.zip", gpg_sig=True)
    anchors = read((HERE, FILE), (HERE, signed)).anchors
    assert [attributes["data-gpg-sig"] for attributes, _ in anchors] == ["false", "true"]
    assert "data-gpg-sig" not in attributes_of()


@pytest.mark.parametrize("url", ["", "http://example.test/p", "/p", "//example.test/p", "javascript:alert(1)"])
def test_ht_10_provenance_needs_a_secure_absolute_url(url: str) -> None:
    assert "data-provenance" not in attributes_of(provenance=url)


def test_ht_10_provenance() -> None:
    assert attributes_of(provenance="https://example.test/p")["data-provenance"] == "https://example.test/p"


def test_ht_11_the_status_and_its_reason_are_metas() -> None:
    metas = read(status="deprecated", status_reason='use "other" & <more>').metas
    assert metas["pypi:project-status"] == "deprecated"
    assert metas["pypi:project-status-reason"] == 'use "other" & <more>'
    assert "pypi:project-status-reason" not in read(status="archived").metas
    assert not [name for name in read(status_reason="of nothing").metas if "status" in name]


def test_ht_12_nothing_that_is_newer_than_1_4_or_json_only() -> None:
    raw = HtmlRenderer().page(page((HERE, msgspec.structs.replace(FILE, upload_time=Timestamp(1)))))
    assert b"upload-time" not in raw
    assert b"size" not in raw
    assert b"versions" not in raw


def test_ht_13_the_serial_is_the_trailer() -> None:
    assert HtmlRenderer().page(page()).endswith(b"<!--SERIAL 7-->\n")
    assert listing().endswith(b"<!--SERIAL 9-->\n")


HOSTILE = "\"'><script>alert(1)</script><a href=x>&amp;<!--"


def test_ht_14_everything_from_outside_is_escaped() -> None:
    file = msgspec.structs.replace(
        FILE, filename=HOSTILE, requires_python=HOSTILE, yanked=HOSTILE, provenance=f"https://{HOSTILE}"
    )
    reader = read((HERE, file), display_name=HOSTILE, status="archived", status_reason=HOSTILE)
    assert "script" not in reader.tags
    assert reader.tags.count("a") == 1
    ((attributes, text),) = reader.anchors
    assert text == HOSTILE
    assert attributes["data-requires-python"] == attributes["data-yanked"] == HOSTILE
    assert reader.metas["pypi:project-status-reason"] == HOSTILE
    assert Reader(listing(("demo", HOSTILE))).anchors == [({"href": "demo/"}, HOSTILE)]


def test_ht_14_digests_that_are_none_are_not_shown() -> None:
    raw = HtmlRenderer().page(page((HERE, msgspec.structs.replace(FILE, digests={"md5": '"><script>'}))))
    assert b"<script>" not in raw
    assert b"md5" not in raw


def test_ht_14_people_and_not_crawlers_are_meant() -> None:
    assert read().metas["robots"] == "noindex"


def test_a_page_is_ascii_whatever_is_in_it() -> None:
    raw = HtmlRenderer().page(page((HERE, msgspec.structs.replace(FILE, yanked="käse \u2028 🧀")), display_name="Ü"))
    assert raw.isascii()
    assert Reader(raw).anchors[0][0]["data-yanked"] == "käse \u2028 🧀"
    assert Reader(raw).title == "Links for Ü"


@pytest.mark.parametrize(
    "char", ["\x00", "\x08", "\x0b", "\x0c", "\x1f", "\x7f", "\x80", "\x9f", "\ufffe", "\ufdd0", "\U0010ffff"]
)
def test_what_html_cannot_express_becomes_the_replacement_character(char: str) -> None:
    assert attributes_of(yanked=f"a{char}b")["data-yanked"] == "a\ufffdb"
    assert Reader(listing(("demo", f"a{char}b"))).anchors[0][1] == "a\ufffdb"


def test_lone_surrogates_do_not_crash_a_list() -> None:
    assert Reader(listing(("demo", "a\ud800b"))).anchors[0][1] == "a\ufffdb"


def test_si_07_a_project_without_files_is_a_page_without_links() -> None:
    assert read().anchors == []


def test_si_08_si_09_si_10_links_are_relative_and_end_in_the_filename() -> None:
    local = msgspec.structs.replace(FILE, filename="demo-1!1.0+cu121-py3-none-any.whl")
    (attributes, text), (other, _) = read((HERE, local), (THERE, FILE)).anchors
    url, _ = urldefrag(attributes["href"] or "")
    assert url.endswith("/demo-1!1.0+cu121-py3-none-any.whl")
    assert unquote(url.rpartition("/")[2]) == text
    assert (other["href"] or "").startswith(THERE + "+f/")
