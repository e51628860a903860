"""Makes entries of a catalogue of what is known of a project: the metadata of one version, and the names in its wheel. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.formats.metadata_values import CoreMetadata
from pkgindex_core.formats.versions import stable_last
from pkgindex_core.names import normalized_or_none
from pkgindex_core.protocols.catalogue import SearchEntry

_TEXT: Final = 1000
"""Most characters of one text in an entry."""
_MANY: Final = 200
"""Most classifiers and imports of an entry."""
_REQUIREMENTS: Final = 1000
_LICENCE_CLASSIFIER: Final = "License :: "
_required: Final = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)").match
_MODULES: Final = (".py", ".so", ".pyd")


class _Said(Struct, frozen=True):
    """The part of stored metadata (`formats.version_documents`) that searches use."""

    summary: str = ""
    keywords: str = ""
    classifiers: tuple[str, ...] = ()
    author: str = ""
    author_email: str = ""
    maintainer: str = ""
    maintainer_email: str = ""
    license: str = ""
    license_expression: str = ""
    requires_python: str = ""
    requires_dist: tuple[str, ...] = ()


_said_decoder: Final = msgspec.json.Decoder(_Said, strict=False)


def representing(versions: Iterable[str], is_yanked: Callable[[str], bool]) -> str:
    """The version that represents a project: the newest stable one that is not yanked, otherwise the newest. Empty: there is none."""
    known = tuple(versions)
    newest = max(known, key=stable_last, default="")
    if not newest or not is_yanked(newest):  # the usual case, for which nothing need be sorted
        return newest
    ordered = sorted(known, key=stable_last, reverse=True)
    return next((version for version in ordered if not is_yanked(version)), newest)


def of_release(entry: SearchEntry, metadata: bytes) -> SearchEntry:
    """An entry with the stored metadata of its version. Metadata that cannot be read says nothing."""
    try:
        said = _said_decoder.decode(metadata)
    except msgspec.DecodeError:
        return entry
    return _described(entry, said)


def of_metadata(entry: SearchEntry, metadata: CoreMetadata) -> SearchEntry:
    """An entry with the core metadata of its version."""
    said = _Said(
        summary=metadata.summary,
        keywords=", ".join(metadata.keywords),
        classifiers=metadata.classifiers,
        author=metadata.author,
        author_email=metadata.author_email,
        maintainer=metadata.maintainer,
        maintainer_email=metadata.maintainer_email,
        license=metadata.license,
        license_expression=metadata.license_expression,
        requires_python=metadata.requires_python,
        requires_dist=metadata.requires_dist,
    )
    # "import-name: foo; private" (PEP 794) is no name that others should import.
    imports = [each for each in (*metadata.import_names, *metadata.import_namespaces) if ";" not in each]
    return replace(_described(entry, said), imports=tuple(imports[:_MANY]))


def imported(paths: Sequence[str]) -> tuple[str, ...]:
    """The names that a wheel with these members gives to `import`: modules, and packages that lie in no other package.

    >>> imported(["cv2/__init__.py", "cv2/data/__init__.py", "six.py", "google/cloud/storage/__init__.py", "a-1.dist-info/RECORD"])
    ('cv2', 'google.cloud.storage', 'six')
    """
    placed = [_in_site_packages(path).split("/") for path in paths]
    packages = {tuple(parts[:-1]) for parts in placed if len(parts) > 1 and parts[-1].split(".")[0] == "__init__"}
    found: set[str] = set()
    for parts in placed:
        folders = tuple(parts[:-1])
        if not parts[-1].endswith(_MODULES) or not all(map(str.isidentifier, folders)):
            continue
        if not folders:
            found.add(parts[0].split(".")[0])
            continue
        root = next((folders[:end] for end in range(1, len(folders) + 1) if folders[:end] in packages), folders[:1])
        found.add(".".join(root))
    return tuple(sorted(name for name in found if name.isidentifier() or "." in name))[:_MANY]


def _in_site_packages(path: str) -> str:
    """Where a member of a wheel is installed, as far as it can be imported."""
    top, _, rest = path.partition("/")
    if top.endswith(".data"):
        scheme, _, rest = rest.partition("/")
        return rest if scheme in {"purelib", "platlib"} else ""
    return "" if top.endswith(".dist-info") else path


def _described(entry: SearchEntry, said: _Said) -> SearchEntry:
    people = (said.author, said.author_email, said.maintainer, said.maintainer_email)
    named = (found[1] for each in said.requires_dist[:_REQUIREMENTS] if (found := _required(each)))
    licences = [
        each.removeprefix(_LICENCE_CLASSIFIER) for each in said.classifiers if each.startswith(_LICENCE_CLASSIFIER)
    ]
    return replace(
        entry,
        described=True,
        summary=said.summary[:_TEXT],
        keywords=said.keywords[:_TEXT],
        classifiers=tuple(each[:_TEXT] for each in said.classifiers[:_MANY]),
        authors=", ".join(filter(None, people))[:_TEXT],
        # Many old licence fields hold a whole licence, whose first line names it.
        licence=", ".join([said.license_expression or said.license.strip().split("\n")[0], *licences]).strip(", ")[
            :_TEXT
        ],
        requires_python=said.requires_python[:_TEXT],
        depends=tuple(sorted({name for each in named if (name := normalized_or_none(each)) is not None})),
    )
