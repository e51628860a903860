"""The contract suite of `Renderer`.

class TestMyRenderer(RendererContract):
    def make(self): return MyRenderer()
    def read_page(self, data): ...        # back doors: what an independent reader of the format finds,
    def read_list(self, data): ...        # so that the renderer does not prove itself
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urldefrag

from msgspec.structs import replace

from pkgindex_core.formats.kept_pages import KeptEntries, keep
from pkgindex_core.models import PageHead, ProjectRow, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import MergedPage, ProjectList, Renderer
from pkgindex_core.testing.index_cases.values import DEMO, DEV
from pkgindex_core.testing.samples import HERE, ODD_FILES, is_a_sentence, sample_file, sample_page

_FILES: Final = tuple(file for file in ODD_FILES if file.filename)
_HOSTILE: Final = "</title></head><script>alert(1)</script>\"'&lt;, \\ 日本"
_ROWS: Final = tuple(
    ProjectRow(ProjectName(name), display, Serial(number))
    for number, (name, display) in enumerate([("demo", "Demo"), ("other", ""), ("third", _HOSTILE)])
)
_SHOWN: Final = ["Demo", "other", _HOSTILE]


class RendererContract:
    """Subclass, name it `Test…`, and read what the renderer writes."""

    def make(self) -> Renderer:
        raise NotImplementedError

    def read_page(self, data: bytes) -> Sequence[tuple[str, str]]:
        """The filename and the URL of each link of a page, in the page's order."""
        raise NotImplementedError

    def read_list(self, data: bytes) -> Sequence[str]:
        """The display names of the projects of a list, in the list's order."""
        raise NotImplementedError

    def files_of(self, page: MergedPage) -> list[tuple[str, str]]:
        """The filename of each link, and its URL without the fragment."""
        return [(name, urldefrag(url).url) for name, url in self.read_page(self.make().page(page))]

    def listed(self, *parts: Sequence[ProjectRow]) -> list[str]:
        """The projects that a reader finds in a list written in these parts."""
        renderer = self.make()
        data = [renderer.list_start(Serial(9))]
        written = 0
        for names in parts:
            data.append(renderer.list_part(ProjectList(names=names), first=not written))
            written += len(names)
        data.append(renderer.list_end(Serial(9)))
        assert all(isinstance(piece, bytes) for piece in data)
        return list(self.read_list(b"".join(data)))

    def test_it_says_what_it_writes(self) -> None:
        renderer, again = self.make(), self.make()
        assert renderer.media_type.isascii()
        assert "/" in renderer.media_type
        assert is_a_sentence(renderer.media_type)
        assert is_a_sentence(renderer.fingerprint)
        assert (renderer.media_type, renderer.fingerprint) == (again.media_type, again.fingerprint)

    def test_every_file_is_found_whatever_it_is_called(self) -> None:
        """In the page's order, each with its name and with a URL below the prefix that ends in the name."""
        found = self.files_of(sample_page(_FILES))
        assert [name for name, _ in found] == [file.filename for file in _FILES]
        for name, url in found:
            assert url.startswith(HERE)
            assert unquote(url).endswith(f"/{name}")
            assert "\n" not in url

    def test_the_same_page_is_the_same_bytes(self) -> None:
        """In each process, since the name of a cached page is made of its sources only."""
        renderer, page = self.make(), sample_page(_FILES)
        first = renderer.page(page)
        assert isinstance(first, bytes)
        assert renderer.page(page) == self.make().page(page) == first

    def test_what_strangers_wrote_stays_text(self) -> None:
        plain, said = sample_page(_FILES), PageHead(display_name=_HOSTILE, status="archived", status_reason=_HOSTILE)
        assert self.files_of(replace(plain, head=said)) == self.files_of(plain)

    def test_a_page_can_be_empty(self) -> None:
        assert self.files_of(sample_page(())) == []

    def test_a_long_page_is_whole(self) -> None:
        names = [f"demo-{number}.zip" for number in range(5000)]
        found = self.files_of(sample_page(sample_file(name, name[5:-4]) for name in names))
        assert [name for name, _ in found] == names

    def test_files_of_several_indexes_keep_their_ways(self) -> None:
        ours, theirs = sample_page(_FILES[:2]), sample_page(_FILES[2:4], prefix="../../../../root/pypi/")
        both = self.files_of(replace(ours, entries=[*ours.entries, *theirs.entries]))
        assert both == [*self.files_of(ours), *self.files_of(theirs)]
        assert [url.startswith("../../../../root/pypi/") for _, url in both] == [False, False, True, True]

    def test_a_page_that_is_kept_in_one_piece_says_the_same(self) -> None:
        """Its entries are a `KeptEntries`. A renderer may treat it as any other collection."""
        files = sorted(
            (sample_file("demo-1.0.zip"), sample_file("demo-2.0.zip", "2.0")), key=lambda file: file.filename
        )
        plain = sample_page(files)
        kept = replace(plain, entries=KeptEntries(HERE, DEV, keep(DEMO, files)))
        assert self.files_of(kept) == self.files_of(plain)

    def test_a_list_is_the_same_in_one_part_and_in_many(self) -> None:
        assert self.listed(_ROWS) == _SHOWN
        assert self.listed(*([row] for row in _ROWS)) == _SHOWN
        assert self.listed([], _ROWS[:1], [], _ROWS[1:], []) == _SHOWN

    def test_a_list_can_be_empty(self) -> None:
        assert self.listed() == []
        assert self.listed([]) == []
