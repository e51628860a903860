"""The fields of core metadata as one value. `core_metadata` reads it, `metadata_fields` checks it."""

from __future__ import annotations

from msgspec import Struct


class CoreMetadata(Struct, frozen=True, kw_only=True):
    """The known fields of core metadata; empty: the field is missing.

    Of repeated single fields the first one counts. `UNKNOWN`, which old build tools wrote for an empty field, is empty.
    """

    metadata_version: str = ""
    name: str = ""
    """As spelled."""
    version: str = ""
    summary: str = ""
    description: str = ""
    description_content_type: str = ""
    keywords: tuple[str, ...] = ()
    home_page: str = ""
    download_url: str = ""
    author: str = ""
    author_email: str = ""
    maintainer: str = ""
    maintainer_email: str = ""
    license: str = ""
    license_expression: str = ""
    license_files: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    supported_platforms: tuple[str, ...] = ()
    requires_python: str = ""
    requires_dist: tuple[str, ...] = ()
    requires_external: tuple[str, ...] = ()
    provides_extra: tuple[str, ...] = ()
    provides_dist: tuple[str, ...] = ()
    obsoletes_dist: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    obsoletes: tuple[str, ...] = ()
    project_urls: tuple[tuple[str, str], ...] = ()
    """(label, URL) in order."""
    dynamic: tuple[str, ...] = ()
    import_names: tuple[str, ...] = ()
    import_namespaces: tuple[str, ...] = ()
