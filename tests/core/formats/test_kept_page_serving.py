"""A page that is kept in one piece is served as if its files were merged one by one."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.formats.kept_pages import KeptEntries, keep
from pkgindex_core.models import File, Page, PageHead, Serial
from pkgindex_core.names import IndexName
from pkgindex_core.rules.merging import merge

from .test_kept_pages import DEMO, PAGES

MIRROR, DEV = IndexName("root/pypi"), IndexName("root/dev")
RENDERERS = (JsonRenderer(), HtmlRenderer())
_HEADS = st.builds(
    PageHead,
    display_name=st.sampled_from(["", "Demo"]),
    versions=st.sampled_from([(), ("1.0.0",), ("1", "11", "0.5"), ("10.0", "3", "3.0")]),
    status=st.sampled_from(["", "archived", "quarantined"]),
)


def layers(head: PageHead, files: list[File], index: IndexName = MIRROR) -> tuple[Page, Page]:
    one_by_one = Page(index=index, project=DEMO, stamp=Serial(7), head=head, rows=tuple(map(page_row, files)))
    return one_by_one, msgspec.structs.replace(one_by_one, rows=keep(DEMO, files))


@given(_HEADS, PAGES, st.sampled_from(["../../root/pypi/", '"ü']))
def test_alone_it_is_served_byte_for_byte(head: PageHead, files: list[File], prefix: str) -> None:
    merged = [merge(DEMO, [(MIRROR, prefix, page)]) for page in layers(head, files)]
    for renderer in RENDERERS:
        expected, found = map(renderer.page, merged)
        assert found == expected
    assert merged[0].versions == merged[1].versions
    assert list(merged[0].entries) == list(merged[1].entries)
    if head.status != "quarantined":
        assert isinstance(merged[1].entries, KeptEntries)
        assert all(entry in merged[1].entries for entry in merged[0].entries)


@given(_HEADS, PAGES, PAGES)
def test_beside_others_it_is_merged_like_any_page(head: PageHead, files: list[File], others: list[File]) -> None:
    mine = layers(PageHead(), others, DEV)[0]
    merged = [merge(DEMO, [(DEV, "a/", mine), (MIRROR, "b/", page)]) for page in layers(head, files)]
    assert merged[0] == merged[1]
