"""Cases for each filter plugin of bandersnatch: settings and a project. No verdicts: `recorded_verdicts.json` has what bandersnatch says.

Needs only the standard library, since `record_verdicts.py` runs it beside bandersnatch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Entry = dict[str, Any]
_ENDINGS = {
    ".whl": "bdist_wheel",
    ".tar.gz": "sdist",
    ".zip": "sdist",
    ".egg": "bdist_egg",
    ".exe": "bdist_wininst",
    ".msi": "bdist_msi",
    ".rpm": "bdist_rpm",
    ".dmg": "bdist_dmg",
}


@dataclass(frozen=True)
class Case:
    name: str
    enabled: str
    """Words, with blanks between them."""
    sections: dict[str, dict[str, str]]
    document: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    """Requirement files, beside which the plugin runs."""
    differs: str = ""
    """The word of the deviation by which our verdict is another one; empty: it is the same."""
    ours: Any = None
    """Our verdict if it differs: the filenames that are kept, or `refused` for settings that are refused."""
    always: bool = False
    """The difference stays with `compat = strict` too, and `differs` is a sentence."""


def project(name: str, releases: dict[str, list[str | tuple[str, Entry]]], **info: Any) -> dict[str, Any]:
    """A JSON document. A file is a name, or a name and fields of its entry. Releases are sorted as indexes sort them."""
    entries = {version: [_entry(each, version) for each in releases[version]] for version in sorted(releases)}
    newest = max(releases, default="", key=lambda each: [int(part) for part in each.split(".") if part.isdigit()])
    return {"info": {"name": name, "version": newest, **info}, "releases": entries, "last_serial": 1, "urls": []}


def _entry(file: str | tuple[str, Entry], version: str) -> Entry:
    filename, fields = (file, {}) if isinstance(file, str) else file
    # Names such as demo-1.0.win32.zip are those of dumb archives.
    kind = (
        "bdist_dumb"
        if ".win32.zip" in filename
        else next((kind for ending, kind in _ENDINGS.items() if filename.endswith(ending)), "bdist_dumb")
    )
    return {
        "filename": filename,
        "packagetype": kind,
        "python_version": "source",
        "requires_python": None,
        "size": 1000,
        "upload_time_iso_8601": "2020-01-01T00:00:00.000000Z",
        "yanked": False,
        "yanked_reason": None,
        **fields,
    }


def simple(name: str, *versions: str, **info: Any) -> dict[str, Any]:
    """A project with one source distribution for each version."""
    return project(name, {version: [f"{name}-{version}.tar.gz"] for version in versions}, **info)


def wheels(*tags: str) -> dict[str, Any]:
    """The project `demo` with one release: wheels with these tags, or whole filenames."""
    files: list[str | tuple[str, Entry]] = [tag if tag.startswith("demo-") else f"demo-1.0-{tag}.whl" for tag in tags]
    return project("demo", {"1.0": files})


DEMO = simple("demo", "1.0", "1.1", "2.0")
ALPHA = simple("Alpha.One", "1.0")
ALLOW = "allowlist_project"
NAMES = [
    Case("allowlist: a listed name", ALLOW, {"allowlist": {"packages": "\ndemo\nother"}}, DEMO),
    Case("allowlist: another name", ALLOW, {"allowlist": {"packages": "\nother"}}, DEMO),
    Case("allowlist: the upstream's spelling", ALLOW, {"allowlist": {"packages": "\nalpha-one"}}, ALPHA),
    Case("allowlist: another spelling", ALLOW, {"allowlist": {"packages": "\nALPHA_one"}}, ALPHA),
    Case("allowlist: a specifier", ALLOW, {"allowlist": {"packages": "\ndemo>=7"}}, DEMO),
    Case("allowlist: an extra and a marker", ALLOW, {"allowlist": {"packages": "\ndemo[x]; python_version<'3'"}}, DEMO),
    Case("allowlist: comments", ALLOW, {"allowlist": {"packages": "\n# demo\nother # demo"}}, DEMO),
    Case("allowlist: a comment behind a name", ALLOW, {"allowlist": {"packages": "\ndemo # ours"}}, DEMO),
    Case("allowlist: empty", ALLOW, {"allowlist": {"packages": ""}}, DEMO, differs="empty-allowlist", ours="refused"),
    Case("allowlist: missing", ALLOW, {}, DEMO, differs="empty-allowlist", ours="refused"),
    Case("allowlist: no requirement", ALLOW, {"allowlist": {"packages": "\ndemo ok"}}, DEMO),
    Case("blocklist: a listed name", "blocklist_project", {"blocklist": {"packages": "\ndemo"}}, DEMO),
    Case("blocklist: another name", "blocklist_project", {"blocklist": {"packages": "\nother"}}, DEMO),
    Case("blocklist: another spelling", "blocklist_project", {"blocklist": {"packages": "\nalpha_ONE"}}, ALPHA),
    Case("blocklist: a specifier is for releases", "blocklist_project", {"blocklist": {"packages": "\ndemo>1"}}, DEMO),
    Case("blocklist: an extra is for releases", "blocklist_project", {"blocklist": {"packages": "\ndemo[x]"}}, DEMO),
    Case(
        "blocklist: a marker is for releases",
        "blocklist_project",
        {"blocklist": {"packages": "\ndemo; python_version<'3'"}},
        DEMO,
    ),
    Case("blocklist: missing", "blocklist_project", {}, DEMO),
    Case(
        "blocklist: a comment behind a name",
        "blocklist_project",
        {"blocklist": {"packages": "\ndemo # bad"}},
        DEMO,
        differs="bandersnatch fails at comments behind names here, although not in the allowlist",
        ours=[],
        always=True,
    ),
    Case(
        "both lists",
        "allowlist_project blocklist_project",
        {"allowlist": {"packages": "\ndemo"}, "blocklist": {"packages": "\ndemo"}},
        DEMO,
    ),
    Case("regex: the beginning", "regex_project", {"filter_regex": {"packages": "\nde"}}, DEMO),
    Case("regex: not the beginning", "regex_project", {"filter_regex": {"packages": "\nemo"}}, DEMO),
    Case("regex: several", "regex_project", {"filter_regex": {"packages": "\nx+\n.*mo$"}}, DEMO),
    Case("regex: the upstream's spelling", "regex_project", {"filter_regex": {"packages": "\nAlpha\\."}}, ALPHA),
    Case(
        "regex: the normalised spelling",
        "regex_project",
        {"filter_regex": {"packages": "\nalpha-"}},
        ALPHA,
        differs="raw-names",
        ours=[],
    ),
    Case("regex: missing", "regex_project", {}, DEMO),
    Case("regex: broken", "regex_project", {"filter_regex": {"packages": "\n("}}, DEMO),
]

REQUIRE = "project_requirements"
FILES = {"requirements_path": ".", "requirements": "\nreq.txt"}
PINNED = "project_requirements_pinned"
HASHED = b"demo==1.1 \\\n    --hash=sha256:" + b"a" * 64 + b"\n"
REQUIREMENTS = [
    Case("requirements: a listed name", REQUIRE, {"allowlist": FILES}, DEMO, {"req.txt": b"# x\nDemo==1.0  # y\n"}),
    Case("requirements: another name", REQUIRE, {"allowlist": FILES}, DEMO, {"req.txt": b"other\n"}),
    Case("requirements: a marker", REQUIRE, {"allowlist": FILES}, DEMO, {"req.txt": b"demo; python_version<'3'\n"}),
    Case("requirements: an index", REQUIRE, {"allowlist": FILES}, DEMO, {"req.txt": b"-i https://x.example\nother\n"}),
    Case(
        "requirements: a file with a mark", REQUIRE, {"allowlist": FILES}, DEMO, {"req.txt": "demo\n".encode("utf-16")}
    ),
    Case(
        "requirements: a file with a coding",
        REQUIRE,
        {"allowlist": FILES},
        DEMO,
        {"req.txt": b"# -*- coding: latin-1 -*-\n# \xe4\ndemo\n"},
    ),
    Case(
        "requirements: a URL",
        REQUIRE,
        {"allowlist": FILES},
        DEMO,
        {"req.txt": b"demo @ https://x.example/demo.whl\nother\n"},
        differs="requirement-files",
        ours=[],
    ),
    Case(
        "requirements: several files",
        REQUIRE,
        {"allowlist": {"requirements_path": ".", "requirements": "\na*.txt # all\nb.txt"}},
        DEMO,
        {"a1.txt": b"x\n", "a2.txt": b"demo\n", "b.txt": b"y\n"},
    ),
    Case(
        "requirements: no file fits",
        REQUIRE,
        {"allowlist": {"requirements_path": ".", "requirements": "\na*.txt"}},
        DEMO,
        differs="empty-allowlist",
        ours="refused",
    ),
    Case("requirements: a missing file", REQUIRE, {"allowlist": FILES}, DEMO),
    Case(
        "requirements: hashes",
        REQUIRE,
        {"allowlist": FILES},
        DEMO,
        {"req.txt": HASHED},
        differs="requirement-files",
        ours=["demo-1.0.tar.gz", "demo-1.1.tar.gz", "demo-2.0.tar.gz"],
    ),
    Case(
        "requirements: another file",
        REQUIRE,
        {"allowlist": FILES},
        DEMO,
        {"req.txt": b"-r more.txt\nother\n", "more.txt": b"demo\n"},
        differs="requirement-files",
        ours=["demo-1.0.tar.gz", "demo-1.1.tar.gz", "demo-2.0.tar.gz"],
    ),
    Case(
        "requirements: constraints name nothing",
        REQUIRE,
        {"allowlist": FILES},
        DEMO,
        {"req.txt": b"-c more.txt\nother\n", "more.txt": b"demo\n"},
    ),
    Case(
        "requirements: both kinds of lists",
        "allowlist_project project_requirements",
        {"allowlist": {**FILES, "packages": "\nother"}},
        DEMO,
        {"req.txt": b"demo\n"},
    ),
    Case("pinned: a version", PINNED, {"allowlist": FILES}, DEMO, {"req.txt": b"demo==1.1\n"}),
    Case("pinned: a range", PINNED, {"allowlist": FILES}, DEMO, {"req.txt": b"demo<2\n"}),
    Case("pinned: a bare name", PINNED, {"allowlist": FILES}, DEMO, {"req.txt": b"demo\n"}),
    Case("pinned: another name", PINNED, {"allowlist": FILES}, DEMO, {"req.txt": b"other==1\n"}),
    Case(
        "pinned: pre-releases", PINNED, {"allowlist": FILES}, simple("demo", "1.0", "2.0rc1"), {"req.txt": b"demo>1\n"}
    ),
    Case(
        "pinned: alone",
        f"{PINNED} latest_release prerelease_release",
        {"allowlist": FILES, "latest_release": {"keep": "1"}},
        simple("demo", "1.0rc1", "1.1", "2.0"),
        {"req.txt": b"demo==1.0rc1\n"},
    ),
    Case(
        "pinned: a bare name is not alone",
        f"{PINNED} latest_release",
        {"allowlist": FILES, "latest_release": {"keep": "1"}},
        DEMO,
        {"req.txt": b"demo\n"},
    ),
    Case(
        "pinned: hashes",
        PINNED,
        {"allowlist": FILES},
        DEMO,
        {"req.txt": HASHED},
        differs="requirement-files",
        ours=["demo-1.1.tar.gz"],
    ),
    Case(
        "pinned: constraints",
        PINNED,
        {"allowlist": FILES},
        DEMO,
        {"req.txt": b"-c more.txt\ndemo>1\n", "more.txt": b"demo<2\n"},
        differs="requirement-files",
        ours=["demo-1.1.tar.gz"],
    ),
    Case("pinned: no files", PINNED, {}, DEMO, differs="empty-allowlist", ours="refused"),
]

META = "regex_project_metadata"
INFO = simple(
    "demo",
    "1.0",
    classifiers=["Topic :: A", "Topic :: B"],
    license="MIT",
    keywords=None,
    summary="",
    extra={"deep": "x"},
    numbers=[1, True],
)


def meta(name: str, key: str, *patterns: str, **fields: Any) -> Case:
    return Case(f"metadata: {name}", META, {META: {key: "".join(f"\n{each}" for each in patterns)}}, INFO, **fields)


METADATA = [
    meta("any, one matches", "info.classifiers", ".*A$", "x"),
    meta("any, none matches", "info.classifiers", "x"),
    meta("the beginning counts", "info.classifiers", "A"),
    meta("a text", "info.license", "MIT|BSD"),
    meta("a tagged text", "any:info.license", "BSD"),
    meta("all match", "all:info.classifiers", ".*A$", ".*B$"),
    meta("one of all does not", "all:info.classifiers", ".*A$", ".*C$"),
    meta("none matches", "none:info.classifiers", "x", "y"),
    meta("one of none does", "none:info.classifiers", "x", ".*A$"),
    meta("null passes", "info.keywords", "x"),
    meta("null passes all", "all:info.keywords", "x"),
    meta("a missing key passes", "info.nothing.deeper", "x"),
    meta("null does not pass", "not-null:info.keywords", "x"),
    meta("null does not pass all", "not-null:all:info.keywords", "x"),
    meta("null and none", "none:info.keywords", "x", differs="none-null", ours=["demo-1.0.tar.gz"]),
    meta("null and none, said", "match-null:none:info.keywords", "x", differs="none-null", ours=["demo-1.0.tar.gz"]),
    meta("null and none, not null", "not-null:none:info.keywords", "x"),
    meta("the last tag counts", "not-null:match-null:info.keywords", "x"),
    meta("an unknown tag", "some:info.license", "MIT"),
    meta("an empty text is no null", "not-null:info.summary", ".*"),
    meta("an empty text does not match", "info.summary", "x"),
    meta("an empty text and none", "none:info.summary", "x"),
    meta("deep", "info.extra.deep", "x"),
    meta("no patterns", "info.license"),
    meta("no patterns at null", "info.keywords"),
    meta("no patterns of all", "all:info.license"),
    meta("no patterns of none", "none:info.license"),
    meta("no patterns of none at null", "none:info.keywords"),
    meta(
        "numbers",
        "info.numbers",
        "1$",
        differs="bandersnatch fails at values that are no texts",
        always=True,
        ours=["demo-1.0.tar.gz"],
    ),
    Case("metadata: two keys", META, {META: {"info.license": "\nMIT", "info.classifiers": "\nx"}}, INFO),
    Case("metadata: no section", META, {}, INFO),
    Case("metadata: releases", META, {META: {"releases.7": "\nx"}}, INFO),
    Case("metadata: broken", META, {META: {"info.license": "\n("}}, INFO),
    Case("metadata: anywhere", META, {META: {"search": "true", "info.classifiers": "\nB"}}, INFO),
    Case("metadata: not anywhere", META, {META: {"search": "off", "info.classifiers": "\nB"}}, INFO),
    Case(
        "metadata: perhaps anywhere",
        META,
        {META: {"search": "perhaps", "info.classifiers": "\nB"}},
        INFO,
        differs="ignored-filters",
        ours="refused",
    ),
]

SIZE, COUNT = "size_project_metadata", "versions_count_project_metadata"
HEAVY = project(
    "demo",
    {
        "1.0": [("demo-1.0.tar.gz", {"size": 600}), ("demo-1.0-py3-none-any.whl", {"size": 424})],
        "2.0": [("demo-2.0.tar.gz", {"size": 1024})],
        "3.0": [],
    },
)


def size(name: str, limit: str, **fields: Any) -> Case:
    return Case(f"size: {name}", SIZE, {SIZE: {"max_package_size": limit}}, HEAVY, **fields)


SIZES = [
    size("just as large", "2048"),
    size("too large", "2047"),
    size("kilobytes are binary", "2 KB"),
    size("a short unit", "2k"),
    size("kibibytes", "2KiB"),
    size("too many kibibytes", "1.99 KiB"),
    size("a fraction", "0.001 MB"),
    size("a word", "1 megabyte"),
    size("bytes", "2048 bytes"),
    size("zero", "0"),
    size("no size", "large", differs="ignored-filters", ours="refused"),
    size("two sizes", "1 K 2", differs="ignored-filters", ours="refused"),
    Case("size: no section", SIZE, {}, HEAVY),
    Case(
        "size: in the allowlist", SIZE, {SIZE: {"max_package_size": "1"}, "allowlist": {"packages": "\ndemo>=1"}}, HEAVY
    ),
    Case(
        "size: not in the allowlist", SIZE, {SIZE: {"max_package_size": "1"}, "allowlist": {"packages": "\nx"}}, HEAVY
    ),
    Case(
        "size: in the allowlist, which is enabled",
        f"{ALLOW} {SIZE}",
        {SIZE: {"max_package_size": "1"}, "allowlist": {"packages": "\ndemo"}},
        HEAVY,
    ),
]
COUNTS = [
    Case("count: as many as the least", COUNT, {COUNT: {"min_versions": "3"}}, HEAVY),
    Case("count: fewer", COUNT, {COUNT: {"min_versions": "4"}}, HEAVY),
    Case("count: as many as the most", COUNT, {COUNT: {"max_versions": "3"}}, HEAVY),
    Case("count: more", COUNT, {COUNT: {"max_versions": "2"}}, HEAVY),
    Case("count: nothing said", COUNT, {COUNT: {}}, HEAVY),
    Case("count: no section", COUNT, {}, HEAVY),
    Case("count: no number", COUNT, {COUNT: {"max_versions": "two"}}, HEAVY, differs="ignored-filters", ours="refused"),
    Case(
        "count: contradiction",
        COUNT,
        {COUNT: {"min_versions": "2", "max_versions": "1"}},
        HEAVY,
        differs="ignored-filters",
        ours="refused",
    ),
    Case("count: in the allowlist", COUNT, {COUNT: {"max_versions": "1"}, "allowlist": {"packages": "\nDemo"}}, HEAVY),
]

MANY = wheels(
    "py2.py3-none-any",
    "py3-none-any",
    "cp37-cp37m-win32",
    "cp37-cp37m-win_amd64",
    "cp37-abi3-win_arm64",
    "cp37-cp37m-macosx_10_9_x86_64",
    "cp310-cp310-macosx_11_0_arm64",
    "cp37.cp38-none-any",
    "cp310-cp310-manylinux1_i686",
    "cp310-cp310-manylinux2014_x86_64",
    "cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64",
    "cp310-cp310-manylinux_2_28_aarch64",
    "cp310-cp310-musllinux_1_1_x86_64",
    "cp310-cp310-linux_armv7l",
    "pp37-pypy37_pp73-any",
    "demo-1.0.tar.gz",
    "demo-1.0.win32.exe",
    "demo-1.0.win-amd64-py3.7.exe",
    "demo-1.0.win32-py2.7.msi",
    "demo-1.0.linux-x86_64.tar.bz2",
    "demo-1.0.macosx-10.9-x86_64.dmg",
    "demo-1.0-py3.7.egg",
    "demo-1.0-py2.7-win32.egg",
    "demo-1.0-1.noarch.rpm",
    "demo-1.0.freebsd-12-amd64.tar.bz2",
    "demo-1.0-py3.7-linux-x86_64.egg",
    "demo-1.0.win32.zip",
)


def platform(words: str, **fields: Any) -> Case:
    return Case(
        f"platform: {words or 'nothing'}", "exclude_platform", {"blocklist": {"platforms": words}}, MANY, **fields
    )


ALL_OF_MANY = [entry["filename"] for entry in MANY["releases"]["1.0"]]
PLATFORMS = [
    *map(
        platform,
        (
            "windows",
            "win",
            "WINDOWS",
            "macos",
            "macosx",
            "freebsd",
            "linux",
            "windows macos freebsd linux",
            "\nwin\nmacos",
        ),
    ),
    *map(platform, ("py2", "py3", "py2.7", "py3.7", "py3.10", "py3.14", "py2.7 py3.7")),
    *map(
        platform,
        ("win_amd64", ".win32", "-win32", "win-amd64", "manylinux2014_x86_64", "linux_armv7l", "manylinux1_i686"),
    ),
    *map(platform, ("bsd", "lin", "x", "e", "")),
    platform("py3.99"),
    platform(
        "manylinux_2_28_aarch64", differs="ignored-filters", ours=[each for each in ALL_OF_MANY if "_2_28_" not in each]
    ),
    platform("solaris", differs="ignored-filters", ours="refused"),
    Case("platform: no section", "exclude_platform", {}, MANY),
]

FILE_META, RANGE = "regex_release_file_metadata", "version_range_release_file_metadata"
KINDS = project(
    "demo",
    {
        "1.0": [
            ("demo-1.0.tar.gz", {"requires_python": ""}),
            ("demo-1.0-py3-none-any.whl", {"requires_python": ">=3.6"}),
        ],
        "2.0": [
            ("demo-2.0-py3-none-any.whl", {"requires_python": ">=3.9,<3.12"}),
            ("demo-2.0.zip", {"requires_python": "==2.7"}),
        ],
        "3.0": ["demo-3.0.tar.gz"],
    },
    classifiers=["A"],
)


def files(name: str, section: str, key: str, *lines: str, **fields: Any) -> Case:
    return Case(name, section, {section: {key: "".join(f"\n{each}" for each in lines)}}, KINDS, **fields)


FILE_METADATA = [
    files("file: a package type", FILE_META, "any:release_file.packagetype", "sdist", "bdist_wheel$"),
    files("file: only wheels", FILE_META, "any:release_file.packagetype", "bdist_wheel"),
    files("file: no wheels", FILE_META, "none:release_file.packagetype", "bdist"),
    files("file: a name", FILE_META, "release_file.filename", ".*-py3-"),
    files("file: the release", FILE_META, "release", "[12]"),
    files("file: the project", FILE_META, "info.classifiers", "B"),
    files(
        "file: null",
        FILE_META,
        "not-null:release_file.requires_python",
        ".*",
        differs="pages",
        ours=["demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl", "demo-2.0.zip"],
    ),
    files(
        "file: null passes",
        FILE_META,
        "release_file.requires_python",
        ">",
        differs="pages",
        ours=["demo-1.0.tar.gz", "demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl", "demo-3.0.tar.gz"],
    ),
    Case("file: no section", FILE_META, {}, KINDS),
    Case("file: anywhere", FILE_META, {FILE_META: {"search": "yes", "release_file.filename": "\nnone-any"}}, KINDS),
    files("range: one version", RANGE, "any:release_file.requires_python", "3.11"),
    files("range: several versions", RANGE, "any:release_file.requires_python", "2.7", "3.12"),
    files("range: a pre-release", RANGE, "release_file.requires_python", "3.12a1"),
    files(
        "range: null does not pass",
        RANGE,
        "not-null:info.name",
        "3.7",
        differs="invalid-versions",
        ours=[entry["filename"] for entries in KINDS["releases"].values() for entry in entries],
    ),
    files(
        "range: an empty text and not null",
        RANGE,
        "not-null:release_file.yanked_reason.x",
        "3.7",
        differs="bandersnatch fails at null",
        ours=[],
        always=True,
    ),
    files("range: no versions", RANGE, "release_file.requires_python"),
    files("range: no version", RANGE, "release_file.requires_python", "x y"),
    Case("range: no section", RANGE, {}, KINDS),
    Case(
        "range: unreadable",
        RANGE,
        {RANGE: {"release_file.requires_python": "\n3.7"}},
        project("demo", {"1.0": [("demo-1.0.tar.gz", {"requires_python": ">=3.6.*"})]}),
        differs="invalid-versions",
        ours=["demo-1.0.tar.gz"],
    ),
    Case(
        "range: an empty text passes although not null",
        RANGE,
        {RANGE: {"not-null:release_file.requires_python": "\n3.7"}},
        project("demo", {"1.0": [("demo-1.0.tar.gz", {"requires_python": ""})]}),
        differs="pages",
        ours=[],
    ),
]

LATEST = "latest_release"
MIXED = simple("demo", "1.0", "1.1", "2.0", "3.0rc1", "3.0rc2", version="2.0")
OLD = simple("demo", "0.1-bulbasaur", "1.0", "2.0", version="2.0")
TWO_TIMES = project(
    "demo",
    {
        "1.0": [
            ("demo-1.0.tar.gz", {"upload_time_iso_8601": "2025-01-01T00:00:00.000000Z"}),
            ("demo-1.0-py3-none-any.whl", {"upload_time_iso_8601": "2021-01-01T00:00:00.000000Z"}),
        ],
        "2.0": [("demo-2.0.tar.gz", {"upload_time_iso_8601": "2023-01-01T00:00:00.000000Z"})],
        "3.0": [("demo-3.0.tar.gz", {"upload_time_iso_8601": "2022-01-01T00:00:00.000000Z"})],
    },
)
LEFT_TIMES = project(
    "demo",
    {
        "1.0": [
            ("demo-1.0-cp312-cp312-win32.whl", {"upload_time_iso_8601": "2025-01-01T00:00:00.000000Z"}),
            ("demo-1.0.tar.gz", {"upload_time_iso_8601": "2021-01-01T00:00:00.000000Z"}),
        ],
        "2.0": [("demo-2.0.tar.gz", {"upload_time_iso_8601": "2023-01-01T00:00:00.000000Z"})],
        "3.0": [("demo-3.0.tar.gz", {"upload_time_iso_8601": "2022-01-01T00:00:00.000000Z"})],
    },
)
TIMES = project(
    "demo",
    {
        "1.0": [("demo-1.0.tar.gz", {"upload_time_iso_8601": "2024-01-01T00:00:00.000000Z"})],
        "1.1": [("demo-1.1.tar.gz", {"upload_time_iso_8601": "2025-01-01T00:00:00.000000Z"})],
        "2.0": [("demo-2.0.tar.gz", {"upload_time_iso_8601": "2023-01-01T00:00:00.000000Z"})],
        "3.0": [],
    },
    version="2.0",
)


def listed(name: str, packages: str, document: dict[str, Any] = DEMO, **fields: Any) -> Case:
    return Case(f"allowed: {name}", "allowlist_release", {"allowlist": {"packages": packages}}, document, **fields)


def blocked(name: str, packages: str, document: dict[str, Any] = DEMO, **fields: Any) -> Case:
    return Case(f"blocked: {name}", "blocklist_release", {"blocklist": {"packages": packages}}, document, **fields)


def latest(name: str, keep: str, document: dict[str, Any], also: str = "", sort_by: str = "", **fields: Any) -> Case:
    section = {"keep": keep, **({"sort_by": sort_by} if sort_by else {})}
    return Case(f"latest: {name}", f"{LATEST} {also}".strip(), {LATEST: section}, document, **fields)


RELEASES = [
    listed("a specifier", "\ndemo>=1.1"),
    listed("two lines", "\ndemo==1.0\ndemo==2.0"),
    listed("a bare name", "\ndemo"),
    listed("another project", "\nother"),
    listed("another spelling", "\nAlpha_one==1", ALPHA),
    listed("pre-releases", "\ndemo>=2", MIXED),
    listed("no version", "\ndemo", OLD),
    listed("an exclusion", "\ndemo!=1.1"),
    listed("a comment", "\ndemo<2 # old"),
    listed("an option", "\n-x\ndemo<2"),
    Case("allowed: nothing", "allowlist_release", {}, DEMO, differs="empty-allowlist", ours="refused"),
    blocked("a specifier", "\ndemo>=1.1"),
    blocked("two lines", "\ndemo==1.0\ndemo==2.0"),
    blocked("a bare name", "\ndemo"),
    blocked("pre-releases", "\ndemo>=2", MIXED),
    blocked("no version", "\ndemo", OLD),
    blocked("another project", "\nother"),
    Case(
        "pre-releases: all spellings",
        "prerelease_release",
        {},
        simple(
            "demo",
            "1.0",
            "1.0rc1",
            "1.0a1",
            "1.0alpha9",
            "1.0b2",
            "1.0beta9",
            "1.0.dev3",
            "2.0c1",
            "1.0-pre",
            "1.0.post1",
            "1.0a",
            "1.0rc1.post2",
            "1.0a10+x1",
            version="1.0",
        ),
    ),
    Case("pre-releases: of a project", "prerelease_release", {"filter_prerelease": {"packages": "\ndemo"}}, MIXED),
    Case("pre-releases: of another", "prerelease_release", {"filter_prerelease": {"packages": "\nother"}}, MIXED),
    Case(
        "pre-releases: another spelling",
        "prerelease_release",
        {"filter_prerelease": {"packages": "\nAlpha.One"}},
        simple("Alpha.One", "1.0", "2.0rc1"),
        differs="raw-names",
        ours=["Alpha.One-1.0.tar.gz"],
    ),
    Case("regex: versions", "regex_release", {"filter_regex": {"releases": "\n.+rc\n1\\.0$"}}, MIXED),
    Case("regex: no versions", "regex_release", {}, MIXED),
    latest("one", "1", DEMO),
    latest("two", "2", DEMO),
    latest("as many as there are", "3", DEMO),
    latest("more than there are", "5", DEMO),
    latest("pre-releases count", "2", MIXED),
    latest("pre-releases and one", "1", MIXED),
    latest("with the filter of pre-releases", "2", MIXED, "prerelease_release"),
    latest("with pre-releases alone", "2", simple("demo", "1.0rc1", "1.0rc2", "1.0rc3", version="1.0rc3")),
    latest(
        "the present version is older",
        "2",
        simple("demo", "1.0", "2.0", "3.0", "4.0", version="1.0"),
        differs="pages",
        ours=["demo-3.0.tar.gz", "demo-4.0.tar.gz"],
    ),
    latest(
        "the present version is gone",
        "2",
        simple("demo", "1.0", "2.0", "3.0", version="9.0"),
        differs="pages",
        ours=["demo-2.0.tar.gz", "demo-3.0.tar.gz"],
    ),
    latest("ten is above nine", "1", simple("demo", "1.9", "1.10", version="1.10")),
    latest("zero", "0", DEMO),
    latest("no version", "1", OLD),
    latest(
        "no version, but all are kept",
        "9",
        OLD,
        differs="invalid-versions",
        ours=["demo-0.1-bulbasaur.tar.gz", "demo-1.0.tar.gz", "demo-2.0.tar.gz"],
    ),
    latest("by time", "2", TIMES, sort_by="time"),
    latest("by time, one", "1", TIMES, sort_by="time"),
    latest("by the time of the first file", "2", TWO_TIMES, sort_by="time"),
    Case(
        "latest: by the times of the files that are left",
        f"{LATEST} exclude_platform",
        {LATEST: {"keep": "2", "sort_by": "time"}, "blocklist": {"platforms": "windows"}},
        LEFT_TIMES,
    ),
    latest("by an unknown order", "1", DEMO, sort_by="size", differs="ignored-filters", ours="refused"),
    latest("below zero", "-1", DEMO),
    latest("no number", "two", DEMO, differs="ignored-filters", ours="refused"),
    Case("latest: no section", LATEST, {}, DEMO),
    Case(
        "latest: behind the filter of files",
        f"{LATEST} exclude_platform",
        {LATEST: {"keep": "1"}, "blocklist": {"platforms": "windows"}},
        project("demo", {"1.0": ["demo-1.0.tar.gz"], "2.0": ["demo-2.0-cp312-cp312-win_amd64.whl"]}, version="1.0"),
    ),
    Case("enabled: nothing known", "no_such_filter", {}, DEMO, differs="unknown-plugins", ours="refused"),
    Case("enabled: nothing", "", {}, DEMO),
    Case("enabled: all", "all", {LATEST: {"keep": "1"}}, DEMO, differs="all-plugins", ours=["demo-2.0.tar.gz"]),
]

CASES = [*NAMES, *REQUIREMENTS, *METADATA, *SIZES, *COUNTS, *PLATFORMS, *FILE_METADATA, *RELEASES]
