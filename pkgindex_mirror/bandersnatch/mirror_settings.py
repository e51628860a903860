"""The values of `[mirror]` and `[s3]`: the texts of the file over the defaults, with the origin of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pkgindex_core.spelling import nearest
from pkgindex_mirror.bandersnatch.deviations import DEVIATIONS, STRICT
from pkgindex_mirror.bandersnatch.entries import read_entries
from pkgindex_mirror.bandersnatch.noticing import Noticing
from pkgindex_mirror.bandersnatch.options import (
    MIRROR_KEYS,
    MIRROR_OPTIONS,
    S3_KEYS,
    S3_OPTIONS,
    S3_PARAMETER,
    SPELLINGS,
    MirrorOption,
)
from pkgindex_mirror.bandersnatch.proxies import FROM_ENVIRONMENT, environment_proxy
from pkgindex_mirror.bandersnatch.references import fill_reference, has_reference
from pkgindex_mirror.bandersnatch.values import Level, S3Settings

COMPAT: Final = "compat"
HYPHENATED: Final = "keep-index-versions"
DELETING: Final = "delete_missing_packages"
IDLE: Final = "cleanup_todo"
DEFAULT: Final = "default"
PYPI_FILES: Final = "https://files.pythonhosted.org"
_MOST_WORKERS: Final = 10
"""The most that bandersnatch accepts."""


def read_compat(noticing: Noticing) -> frozenset[str]:
    """Read `compat`: the words of the deviations that are switched back."""
    words = read_entries(noticing.raw.find("mirror", COMPAT) or "", "words").entries
    unknown = [word for word in words if word != STRICT and word not in DEVIATIONS]
    for word in unknown:
        meant = nearest(word, [STRICT, *DEVIATIONS])
        advice = f"did you mean {meant!r}?" if meant else f"known are {', '.join([STRICT, *DEVIATIONS])}"
        noticing.error("mirror", COMPAT, f"there is no deviation {word!r}", advice)
    return frozenset(DEVIATIONS) if STRICT in words else frozenset(words) - set(unknown)


class MirrorValues:
    """The values of `[mirror]` by field, while they are read, and where each comes from."""

    def __init__(
        self, noticing: Noticing, compat: frozenset[str], environ: Mapping[str, str], *, into_index: bool = False
    ) -> None:
        """`into_index`: the mirror is an index of a server, and needs no directory."""
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self._noticing = noticing
        self._raw = noticing.raw
        self._compat = compat
        self._into_index = into_index
        for option in MIRROR_OPTIONS:
            if option.key != "proxy":
                self._read("mirror", option, self.values, self.origins)
        self._read_hyphenated()
        self._read_deleting()
        self._read_proxy(environ)
        self._check_required()
        self._check_master()
        self._check_workers()
        self._settle_dependents()
        self._fill_diff_file()

    def s3(self) -> S3Settings | None:
        """The section `[s3]`; None if the backend is another one."""
        if self.values["storage_backend"] != "s3":
            return None
        if "s3" not in self._raw.sections:
            self._noticing.note(
                "mirror", "storage-backend", "there is no section [s3]; bandersnatch needs one, though empty"
            )
        values: dict[str, Any] = {}
        for option in S3_OPTIONS:
            self._read("s3", option, values, self.origins, prefix="s3.")
        keys = {**self._raw.inherited.get("s3", {}), **self._raw.sections.get("s3", {})}
        names = {key: key.removeprefix(S3_PARAMETER) for key in keys if key.startswith(S3_PARAMETER)}
        for key in names:
            self._notice_fault("s3", key)
        return S3Settings(**values, parameters={name: keys[key].strip() for key, name in names.items()})

    def _read(
        self, section: str, option: MirrorOption, values: dict[str, Any], origins: dict[str, str], prefix: str = ""
    ) -> None:
        """Read one key. A text that is refused is an error, and the default takes its place."""
        text = self._raw.find(section, option.key)
        values[option.field] = option.kind.read(option.default) if option.default else ""
        origins[prefix + option.field] = DEFAULT
        if text is None or self._notice_fault(section, option.key):
            return
        try:
            values[option.field] = option.kind.read(text.strip())
        except ValueError as error:
            problem = "this is refused" if option.secret else str(error)
            self._noticing.error(section, option.key, problem, f"write {option.kind.shown}")
            return
        origins[prefix + option.field] = self._origin(section, option.key)

    def _origin(self, section: str, key: str) -> str:
        if key not in self._raw.sections.get(section, {}):
            return "[DEFAULT]"
        line = self._raw.lines.get((section, key))
        return f"line {line}" if line else "file"

    def _notice_fault(self, section: str, key: str) -> bool:
        fault = self._raw.faults.get((section, key))
        if fault:
            self._noticing.error(section, key, fault, "write %% for a percent sign")
        return bool(fault)

    def _read_hyphenated(self) -> None:
        """Read `keep-index-versions`, unless the other spelling is there, which bandersnatch reads."""
        text = self._raw.find("mirror", HYPHENATED)
        if text is None:
            return
        effect = "it is read here; in bandersnatch it has no effect"
        if self.origins["keep_index_versions"] != DEFAULT or "keep-index-versions" in self._compat:
            effect = "it has no effect, as in bandersnatch"
        else:
            self.values["keep_index_versions"] = self._spelling(HYPHENATED)
            self.origins["keep_index_versions"] = self._origin("mirror", HYPHENATED)
        self._noticing.warning("mirror", HYPHENATED, effect, "write keep_index_versions")

    def _read_deleting(self) -> None:
        """Read `delete_missing_packages`, and check `cleanup_todo`, which has no effect here."""
        deletes = self._spelling(DELETING)
        self._spelling(IDLE)
        if deletes and self.origins["removed"] == DEFAULT:
            self.values["removed"] = "delete"
            self.origins["removed"] = self._origin("mirror", DELETING)

    def _spelling(self, key: str) -> Any:
        """The value of a key that has no field, or its default if it is wrong."""
        values: dict[str, Any] = {}
        self._read("mirror", SPELLINGS[key], values, {})
        return values[SPELLINGS[key].field]

    def _read_proxy(self, environ: Mapping[str, str]) -> None:
        """Read `proxy`, or else the environment. A text that is no URL of a proxy is ignored, as in bandersnatch."""
        url, origin = (self._raw.find("mirror", "proxy") or "").strip(), self._origin("mirror", "proxy")
        self.values["proxy"], self.origins["proxy"] = "", DEFAULT
        if self._notice_fault("mirror", "proxy"):
            return
        if not url:
            url, variable = environment_proxy(environ)
            origin = f"{FROM_ENVIRONMENT} {variable}"
        try:
            self.values["proxy"] = MIRROR_KEYS["proxy"].kind.read(url)
            self.origins["proxy"] = origin if url else DEFAULT
        except ValueError as error:
            self._noticing.warning("mirror", "proxy", f"the proxy ({origin}) is ignored, as in bandersnatch: {error}")

    def _check_required(self) -> None:
        directory = self.values["directory"]
        if self._into_index:
            return
        if not directory:
            text = self._raw.find("mirror", "directory")
            if "mirror" not in self._raw.sections and "requirements" in self._raw.sections:
                self._noticing.error(
                    "requirements",
                    "",
                    "this is a configuration of morgan, and not of bandersnatch",
                    "see `read_morgan`",
                )
            elif "mirror" not in self._raw.sections:
                self._noticing.error(
                    "mirror", "", "there is no such section", "write [mirror], and below it directory = /srv/pypi"
                )
            elif text is None or not text.strip():
                self._noticing.error("mirror", "directory", "there is no directory", "write directory = /srv/pypi")
        elif self.values["storage_backend"] == "s3" and "://" not in directory and not directory.strip("/"):
            self._noticing.error("mirror", "directory", "there is no bucket", "write directory = /bucket/prefix")

    def _check_master(self) -> None:
        written = (self._raw.find("mirror", "master") or "").strip()
        is_http = written.startswith("http://") if "url-case" in self._compat else written.lower().startswith("http://")
        if is_http and not self.values["allow_non_https"]:
            self._noticing.error(
                "mirror", "master", "the upstream is http, and anybody on the way could replace what it sends",
                "write https://, or allow-non-https = true",
            )  # fmt: skip

    def _check_workers(self) -> None:
        if self.values["workers"] > _MOST_WORKERS:
            self._noticing.note(
                "mirror", "workers", f"bandersnatch refuses more than {_MOST_WORKERS} workers; here they are accepted"
            )

    def _settle_dependents(self) -> None:
        values = self.values
        if not values["download_mirror"] and values["download_mirror_no_fallback"]:
            self._noticing.warning(
                "mirror", "download-mirror-no-fallback", "this has no effect without download-mirror"
            )
            values["download_mirror_no_fallback"] = False
        if not values["release_files"] and not values["root_uri"] and not self._into_index:
            self._noticing.warning(
                "mirror", "release-files", f"the links of pages begin with {PYPI_FILES}, because no files are mirrored",
                f"say so with root_uri = {PYPI_FILES}",
            )  # fmt: skip
            values["root_uri"] = PYPI_FILES
            self.origins["root_uri"] = "because of release-files"

    def _fill_diff_file(self) -> None:
        written = self.values["diff_file"]
        if self._raw.form == "toml" or not has_reference(written):
            return
        filled = fill_reference(written, self._find)
        if filled is None:
            filled = f"{self.values['directory'].rstrip('/')}/mirrored-files"
            self._noticing.warning(
                "mirror", "diff-file", f"{written} has a reference to a key that is not there: the file is {filled}",
                "write {{section_key}} with a section without _ in its name",
            )  # fmt: skip
        self.values["diff_file"] = filled

    def _find(self, section: str, key: str) -> str | None:
        found = self._raw.find(section, key)
        if found is None and section == "mirror" and key in MIRROR_KEYS:
            return MIRROR_KEYS[key].default
        return found


def check_keys(noticing: Noticing) -> None:
    """Notice the keys of `[mirror]` and `[s3]` that have no meaning: one notice each."""
    known = {"mirror": {*MIRROR_KEYS, *SPELLINGS, COMPAT}, "s3": set(S3_KEYS)}
    for section, keys in known.items():
        for key in noticing.raw.sections.get(section, {}):
            if key in keys or (section == "s3" and key.startswith(S3_PARAMETER)):
                continue
            meant = nearest(key, keys)
            advice = f"did you mean {meant!r}?" if meant else "remove it"
            level: Level = "error" if noticing.raw.form == "toml" else "warning"
            noticing.add(level, section, key, "there is no such key; it has no effect", advice)
