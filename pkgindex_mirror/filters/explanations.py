"""Explains the choice of files: for each file of a project, that it is kept, or the filter that leaves it out and why."""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.formats.versions import version_key
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.filters.filtering import Chosen
from pkgindex_mirror.syncing.values import Listed, Refusal, UpstreamProject


class FileVerdict(Struct, frozen=True):
    """Whether a file is kept, and if not, why not."""

    filename: str
    refusal: Refusal | None = None


class FilterExplanation(Struct, frozen=True, kw_only=True):
    """Why the files of one project are kept or left out."""

    project: ProjectName
    refusal: Refusal | None = None
    """Why no file of the project is looked at; None when its files are."""
    failure: str = ""
    """Why the project cannot be judged; empty when it can be."""
    files: tuple[FileVerdict, ...] = ()
    """In the order of their versions, then of their names. Of a refused project, each has the refusal of the project."""

    @property
    def kept(self) -> int:
        """The number of files that are kept."""
        return sum(each.refusal is None for each in self.files)

    def text(self) -> str:
        """The explanation for people: a line for the project, and one for each file."""
        if self.failure:
            return _printable(f"{self.project}: cannot be judged: {self.failure}") + "\n"
        if self.refusal is not None:
            return _printable(f"{self.project}: left out by {self.refusal.filter}: {self.refusal.reason}") + "\n"
        lines = [f"{self.project}: {self.kept} of {len(self.files)} files are kept"]
        lines += [
            f"  kept      {each.filename}"
            if each.refusal is None
            else f"  left out  {each.filename}  ({each.refusal.filter}: {each.refusal.reason})"
            for each in self.files
        ]
        return "\n".join(map(_printable, lines)) + "\n"


def explanation(project: UpstreamProject, chosen: Chosen) -> FilterExplanation:
    """Explain the choice for one project, through all stages."""
    try:
        refusal = chosen.name(Listed(project.name, project.raw)) or chosen.project(project)
        refused = {} if refusal else chosen.files(project)[1]
    except PkgIndexError as error:
        return FilterExplanation(project=project.name, failure=str(error))
    ordered = sorted(project.files, key=_order)
    files = tuple(FileVerdict(each.filename, refusal or refused.get(each.filename)) for each in ordered)
    return FilterExplanation(project=project.name, refusal=refusal, files=files)


def _order(file: File) -> tuple[object, ...]:
    return (version_key(file.version), file.filename)


def _printable(line: str) -> str:
    """A line with the control characters of an upstream's texts spelled out, so that a terminal does not obey them."""
    return line if line.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
