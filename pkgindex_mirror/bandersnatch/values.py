"""The configuration of a mirror as values: what `reading` makes of a file, and what a run is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from pkgindex_mirror.bandersnatch.plugins import OWN_KEYS, OWN_SECTION

Level = Literal["note", "warning", "error"]
SimpleFormat = Literal["ALL", "HTML", "JSON"]
CompareMethod = Literal["hash", "stat"]
StorageBackend = Literal["filesystem", "s3"]
RemovedPolicy = Literal["keep", "hide", "delete"]
_MOST_DIGITS: Final = 18


class ConfigurationNotice(Struct, frozen=True, order=True):
    """One thing to know about a configuration. With an error among them nothing is mirrored."""

    level: Level
    where: str
    """The place in the file, such as `line 7, [mirror] workers`."""
    problem: str
    """A sentence without its place."""
    advice: str = ""
    """A sentence that tells what to do."""

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


class Sections(Mapping[str, Mapping[str, str]]):
    """The settings of filters: texts by section and key, as bandersnatch has them.

    Lists have one entry a line, also where the file has them on one line. Sections and keys of old versions have their new names.
    """

    __slots__ = ("_sections",)

    def __init__(self, sections: Mapping[str, Mapping[str, str]]) -> None:
        self._sections = {name: dict(keys) for name, keys in sections.items()}

    def __getitem__(self, section: str) -> Mapping[str, str]:
        return self._sections[section]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sections)

    def __len__(self) -> int:
        return len(self._sections)

    def __repr__(self) -> str:
        return f"Sections({self._sections!r})"

    def text(self, section: str, key: str) -> str:
        """The text of a key without blanks around it; empty when there is none."""
        return self._sections.get(section, {}).get(key, "").strip()

    def lines(self, section: str, key: str) -> tuple[str, ...]:
        """The entries of a list, without blanks around them, empty lines and lines that are comments."""
        stripped = (line.strip() for line in self.text(section, key).split("\n"))
        return tuple(line for line in stripped if line and not line.startswith("#"))


class S3Settings(Struct, frozen=True, kw_only=True):
    """The section `[s3]`: how to reach the bucket. Empty texts are those of the environment, as botocore reads it."""

    region_name: str = ""
    aws_access_key_id: str = ""
    aws_secret_access_key: str = ""
    endpoint_url: str = ""
    signature_version: str = ""
    verify_concurrency: int = 50
    """Questions to the bucket at a time while verifying."""
    max_attempts: int = 10
    """Tries of a request."""
    parameters: Mapping[str, str] = {}
    """The keys `config_param_NAME`, without their prefix: arguments of writing requests, such as `ServerSideEncryption`."""

    def __repr__(self) -> str:
        return f"S3Settings({self.endpoint_url or self.region_name!r})"


class MirrorConfiguration(Struct, frozen=True, kw_only=True):
    """The effective configuration of a mirror: the file over the defaults, with old names mapped to new ones.

    The fields of `[mirror]` are named as its keys. `options` says what each of them means. Two configurations are equal if a run
    with one does the same as a run with the other.
    """

    directory: str
    """A path, or any URL of fsspec. With the backend `s3`: `/bucket/prefix`. See `url`."""
    storage_backend: StorageBackend = "filesystem"
    storage_filesystem_manage_permissions: bool = True
    master: str = "https://pypi.org"
    """Without a slash at its end."""
    allow_non_https: bool = False
    proxy: str = ""
    """http, https, socks4 or socks5, of the file or else of the environment; empty: none."""
    timeout: float = 10.0
    """Seconds to connect, and seconds between two pieces of an answer; 0: no limit."""
    global_timeout: float = 1800.0
    """Seconds for a whole request."""
    workers: int = 3
    verifiers: int = 3
    download_mirror: str = ""
    """A URL from which files are tried first; empty: none."""
    download_mirror_no_fallback: bool = False
    """Never true without a `download_mirror`."""
    json: bool = False
    release_files: bool = True
    core_metadata: bool = True
    root_uri: str = ""
    """The text before `/packages/…` in the URLs of files; empty: relative URLs."""
    simple_format: SimpleFormat = "ALL"
    hash_index: bool = False
    keep_index_versions: int = 0
    cleanup: bool = False
    compare_method: CompareMethod = "hash"
    digest_name: str = "sha256"
    stop_on_error: bool = False
    diff_file: str = ""
    """The path with its reference filled in; empty: none. A directory gets a file `mirrored-files`."""
    diff_append_epoch: bool = False
    log_config: str = ""
    """The path of a configuration of Python's logging (`logging.config.fileConfig`); empty: none."""
    closure: str = ""
    """The path of a closure's file (`closing.closure.read_closure`), to which the mirror keeps; empty: none."""
    removed: RemovedPolicy = "keep"
    """The policy for projects that the upstream does not have any more."""
    removed_after_days: float = 0.0
    """Days that a project must have been away before `removed` happens to it."""
    shrink_limit: float = 10.0
    """The percentage of the mirrored projects that may vanish from the upstream's list at once. A list with fewer is not believed."""
    file_policies: tuple[str, ...] = ("* immediate",)
    """Patterns of normalised names, each with a blank and the policy of the files of such projects: `nvidia-* on-demand`."""
    s3: S3Settings | None = None
    """None unless the backend is `s3`."""
    plugins: tuple[str, ...] = ()
    """The enabled filters in the order of the file, by their present names."""
    sections: Sections = Sections({})
    """All sections but `mirror`, `plugins` and `s3`, also those of plugins that others wrote."""
    compat: frozenset[str] = frozenset()
    """The words of `deviations.DEVIATIONS` for which the mirror does as bandersnatch."""

    def __repr__(self) -> str:
        return f"MirrorConfiguration({self.directory!r})"  # a URL of the others may have a password

    @property
    def url(self) -> str:
        """The root of the tree as a URL of fsspec, without a slash at its end: `file:///srv/pypi`, `s3://bucket/prefix`."""
        if "://" in self.directory:
            return self.directory.rstrip("/")
        if self.storage_backend == "s3":
            return f"s3://{self.directory.strip('/')}"
        return Path(self.directory).absolute().as_uri()

    @property
    def own_filters(self) -> Mapping[str, int | str | tuple[str, ...]]:
        """The settings of the filters that bandersnatch does not have, as a TOML table would have them."""
        return {
            key: plain(self.sections.text(OWN_SECTION, key))
            if OWN_KEYS.get(key, "text") == "text"
            else self.sections.lines(OWN_SECTION, key)
            for key in self.sections.get(OWN_SECTION, {})
        }

    def does_as_bandersnatch(self, deviation: str) -> bool:
        """Whether a deviation is switched back. `deviation` is a word of `DEVIATIONS`."""
        return deviation in self.compat


def plain(text: str) -> int | str:
    """A text of a file as TOML would have it: a whole number, unless it is longer than those that TOML has for sure."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else text
