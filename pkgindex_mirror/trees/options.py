"""The options of a mirror's tree: its layout, and what its pages say."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Struct

from pkgindex_core.digests import PUBLISHED_IN_JSON
from pkgindex_core.errors import Refused

DIGEST_NAMES: Final = ("sha256", *PUBLISHED_IN_JSON)
"""The digests that pages can have."""

Compare = Literal["hash", "stat"]
SimpleFormat = Literal["ALL", "HTML", "JSON"]


class TreeOptions(Struct, frozen=True, kw_only=True):
    """The options, under the names that bandersnatch's `[mirror]` section has for them."""

    hash_index: bool = False
    """Pages lie in `simple/<first character>/<name>/`. The web server has to rewrite `simple/<name>/`."""
    root_uri: str = ""
    """An absolute URL to be put before `/packages/…` in links. Empty: links are relative."""
    simple_format: SimpleFormat = "ALL"
    digest_name: str = "sha256"
    """The digest in links, for files that have it. Downloads are always compared with sha256, if their page has that."""
    keep_index_versions: int = 0
    """The number of older pages to keep for each project."""
    json: bool = False
    """Keep the JSON documents of projects (`web/json`, `web/pypi`)."""
    release_files: bool = True
    """Keep files. Without them, links lead to the files of the upstream."""
    core_metadata: bool = True
    """Keep the metadata files beside wheels, and say so in pages."""
    compare_method: Compare = "hash"
    """How a file that is there without a record of it is compared: by its digest, or by size and modification time."""

    cleanup: bool = False
    """Remove the pages that bandersnatch before version 4 wrote under the names as the upstream spells them."""
    manage_permissions: bool = True
    """Give files and directories the modes 0644 and 0755, whatever the umask is. Otherwise the file system decides."""
    remember_changes: bool = False
    """Remember the paths that runs write, for `diff_file`."""

    @property
    def pages(self) -> str:
        """A text that differs when pages have other bytes or other places."""
        return msgspec.json.encode(
            [
                self.hash_index,
                self.root_uri,
                self.simple_format,
                self.digest_name,
                self.release_files,
                self.core_metadata,
                self.keep_index_versions > 0,
                self.json,
            ]
        ).decode()

    @property
    def has_html(self) -> bool:
        return self.simple_format != "JSON"

    @property
    def has_json(self) -> bool:
        return self.simple_format != "HTML"


def require_usable(options: TreeOptions) -> None:
    """Refuse options that no tree can have."""
    problems = []
    if options.digest_name not in DIGEST_NAMES:
        problems.append(f"digest_name {options.digest_name!r} is no digest that pages can have")
    if options.keep_index_versions < 0:
        problems.append("keep_index_versions is below 0")
    if problems:
        raise Refused(problems, hint=f"digest_name is one of {', '.join(DIGEST_NAMES)}")
