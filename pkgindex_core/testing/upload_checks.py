"""The contract suite of `UploadCheck`.

class TestMyCheck(UploadCheckContract):
    refuses = build_wheel("demo", "1.0.dev1")          # an upload that it refuses, and one that it lets pass
    passes = build_wheel("demo", "1.0")
    def make(self): return MyCheck()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final

from pkgindex_core.models import File
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import InspectedUpload, UploadCheck, UploadForm
from pkgindex_core.testing.faults import everything_under
from pkgindex_core.testing.index_cases.values import DEMO, DEV
from pkgindex_core.testing.needed import pytest
from pkgindex_core.testing.samples import is_a_sentence
from pkgindex_core.testing.uploads import upload_fields
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel

_ODD: Final = (
    build_sdist("demo", "1.0"),
    build_wheel("demo", "1.0", metadata_extra="Summary: ünïcode\nKeywords: \n"),
    build_wheel("demo", "1!1.0.post1+local.7", requires_dist=["other>=1; python_version<'4'"]),
    build_wheel("demo", "2.0", files={}, description="<script>" * 100),
)


def inspected(
    built: BuiltFile, directory: Path, *, index: IndexName = DEV, form: UploadForm | None = None
) -> InspectedUpload:
    """The upload of a file as a check gets it, spooled into a directory."""
    path = directory / f"{built.sha256}.part"
    path.write_bytes(built.data)
    fields = upload_fields(built)
    file = File(filename=built.filename, version=fields["version"], digests={"sha256": built.sha256}, size=built.size)
    return InspectedUpload(
        index=index,
        project=DEMO,
        file=file,
        form=UploadForm(fields={name: (value,) for name, value in fields.items()}) if form is None else form,
        metadata=built.metadata,
        path=path,
    )


class UploadCheckContract:
    """Subclass, name it `Test…`, and set `refuses` and `passes`."""

    refuses: ClassVar[BuiltFile]
    """An upload of the project `demo` that is refused."""
    passes: ClassVar[BuiltFile]
    """An upload of the project `demo` that passes."""
    directory: Path

    def make(self) -> UploadCheck:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _a_spool(self, tmp_path: Path) -> Iterator[None]:
        """Check at the end of each test that nothing was written."""
        self.directory = tmp_path / "spool"
        self.directory.mkdir()
        self.uploads = {built.sha256: inspected(built, self.directory) for built in (self.refuses, self.passes, *_ODD)}
        before = everything_under(tmp_path)
        yield
        assert everything_under(tmp_path) == before, "a check must not write"

    def findings(self, check: UploadCheck, upload: InspectedUpload) -> Sequence[str]:
        """The findings of a check: a list of sentences."""
        found = check.problems(upload)
        assert isinstance(found, list | tuple), "findings are a list of sentences, not a text"
        assert all(is_a_sentence(problem) for problem in found)
        return tuple(found)

    def test_one_upload_is_refused_with_reasons_and_another_passes(self) -> None:
        check = self.make()
        assert self.findings(check, self.uploads[self.refuses.sha256])
        assert self.findings(check, self.uploads[self.passes.sha256]) == ()

    def test_the_same_upload_has_the_same_findings(self) -> None:
        """Whatever the check has seen before. Odd uploads raise nothing."""
        check = self.make()
        first = [self.findings(check, upload) for upload in self.uploads.values()]
        assert [self.findings(check, upload) for upload in self.uploads.values()] == first
        assert [self.findings(self.make(), upload) for upload in self.uploads.values()] == first

    def test_a_form_may_say_nothing(self) -> None:
        for built in (self.refuses, self.passes, *_ODD):
            self.findings(self.make(), inspected(built, self.directory, form=UploadForm(fields={})))

    def test_several_uploads_are_checked_at_once(self) -> None:
        """In worker threads, by one check."""
        check, many = self.make(), [*self.uploads.values()] * 20
        expected = [self.findings(check, upload) for upload in many]
        with ThreadPoolExecutor(4) as workers:
            assert list(workers.map(lambda upload: self.findings(check, upload), many)) == expected
