"""Checks and applies the bundles of a mirror on the far side of an air gap.

One file of standard-library Python (3.8 or later, POSIX). It needs no package, and nothing that the near side would have to answer.

A part is a file:

    8 bytes     b"PKGXBNDL"
    4 bytes     length of the header, big-endian
    header      JSON: the fields of `PartHeader`
    64 bytes    Ed25519 signature of the header (RFC 8032), behind the words of `SIGNED`
    zeros       up to 1024 bytes from the beginning
    payload     a slice of the stream of the bundle; the header has its sha256

The stream is the manifest, then files as they are, then compressed pages. The manifest is one line of JSON (`ManifestHead`), then one line an
operation, in the order in which they are done:

    put SHA256 SIZE r|z OFFSET STORED PATH      r: the bytes of the file. z: compressed by zlib. OFFSET is within the files or the pages
    del PATH
    then            all above is durable before anything below appears. Between two of these lines paths ascend

Nothing is changed before all parts and the whole manifest are checked. Operations can be done again, so a run that died is repeated from the
last operation that is known to be durable.

    ROOT/.pkgindex/bundles/state.json     what was applied, and what has begun
    ROOT/.pkgindex/bundles/manifest-5     the manifest of a bundle that has begun
    ROOT/.pkgindex/bundles/new/…          what is being written; moved to its path when it is whole
    ROOT/.pkgindex/bundles/lock           held while bundles are applied
"""

from __future__ import annotations

import argparse
import base64
import binascii
import errno
import fcntl
import hashlib
import heapq
import json
import os
import re
import shutil
import sys
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Tuple, Union  # noqa: UP035 - tuple[int] is not in Python 3.8

MAGIC = b"PKGXBNDL"
PREFIX = 1024
"""Bytes before the payload of a part."""
SIGNED = b"pkgindex bundle part 1\n"
"""The words before a header when it is signed, so that no signature of another kind of thing is one of a part."""
SUFFIX = ".bundle"
STATE = ".pkgindex/bundles"

_CHUNK = 1 << 20
_BATCH_FILES = 500
_BATCH_BYTES = 256 << 20
_FEW = 64
"""So many new files are synchronised one by one; of more, the whole system is."""
_GROUPS = 64
"""The most groups in a manifest."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


class BundleRefused(Exception):
    """A bundle, a part or a state is not usable. The message names it."""


# Ed25519 (RFC 8032, 5.1), verification only.

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_KEY_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""The DER encoding of a public key before its 32 bytes (RFC 8410, 4)."""

Point = Tuple[int, int, int, int]  # noqa: UP006 - Python 3.8 evaluates it. X, Y, Z and T of RFC 8032, 5.1.4


def _add(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _multiply(factor: int, point: Point) -> Point:
    product: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            product = _add(product, point)
        point = _add(point, point)
        factor >>= 1
    return product


def _point(data: bytes) -> Point | None:
    """Decode a point (RFC 8032, 5.1.3); None when the bytes encode none."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


_BASE = _point(bytes.fromhex("58" + "66" * 31))


def signature_fits(key: bytes, message: bytes, signature: bytes) -> bool:
    """Verify an Ed25519 signature (RFC 8032, 5.1.7)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = _point(key), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or _BASE is None or s >= _ORDER:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _ORDER
    left, right = _multiply(s, _BASE), _add(r, _multiply(h, a))
    x, y = left[0] * right[2] - right[0] * left[2], left[1] * right[2] - right[1] * left[2]
    return x % _P == 0 == y % _P


def read_key(place: Path) -> bytes:
    """Read a public key: PEM as OpenSSL writes it, or 64 hexadecimal digits."""
    try:
        text = place.read_text(encoding="ascii").strip()
        if "PRIVATE KEY" in text:
            raise BundleRefused(f"{place} is a private key, which stays on the near side: give the public key")
        lines = [line for line in text.splitlines() if not line.startswith("-----")]
        data = bytes.fromhex(text) if len(text) == 64 else base64.b64decode("".join(lines), validate=True)
    except (OSError, UnicodeDecodeError, ValueError, binascii.Error) as error:
        raise BundleRefused(f"{place} cannot be read as a public key: {error}") from error
    if data[:12] == _KEY_PREFIX:
        data = data[12:]
    if len(data) != 32 or _point(data) is None:
        raise BundleRefused(f"{place} is no public key of Ed25519")
    return data


# The parts of a bundle, each checked alone.


class PartHeader(NamedTuple):
    """The signed header of a part. All but the last four fields are equal in all parts of a bundle."""

    mirror: str
    bundle: int
    after: int
    """The number of the bundle before; 0 of a chain that begins."""
    previous: str
    """The sha256 of the manifest of the bundle before; empty of a chain that begins."""
    full: bool
    manifest_size: int
    manifest_sha256: str
    total: int
    """Bytes of the stream."""
    parts: int
    part: int
    """From 1."""
    offset: int
    """The place of the payload in the stream."""
    size: int
    sha256: str
    """Of the payload."""

    @property
    def shared(self) -> tuple[object, ...]:
        return self[:9]

    @property
    def bundle_name(self) -> str:
        return f"bundle {self.bundle} of mirror {self.mirror}"

    @property
    def name(self) -> str:
        return f"part {self.part} of {self.bundle_name}"


class FoundPart(NamedTuple):
    """A part whose signature fits, and its file."""

    place: Path
    header: PartHeader


def header_bytes(header: PartHeader) -> bytes:
    """The JSON of a header: one way to write it, so that equal headers have equal bytes."""
    return json.dumps(header._asdict(), sort_keys=True, separators=(",", ":")).encode()


def prefix_bytes(header: bytes, signature: bytes) -> bytes:
    """All bytes of a part before its payload."""
    return (MAGIC + len(header).to_bytes(4, "big") + header + signature).ljust(PREFIX, b"\0")


def read_part(place: Path, keys: Sequence[bytes]) -> FoundPart:
    """Read the header of a part, and check its signature and the length of the file. The payload is checked by `payload_problem`."""
    with place.open("rb") as file:
        prefix = file.read(PREFIX)
        length = os.fstat(file.fileno()).st_size
    end = 12 + int.from_bytes(prefix[8:12], "big")
    if len(prefix) < PREFIX or not prefix.startswith(MAGIC) or end + 64 > PREFIX or any(prefix[end + 64 :]):
        raise BundleRefused(f"{place.name} is no part of a bundle, or its first {PREFIX} bytes are damaged")
    text, signature = prefix[12:end], prefix[end : end + 64]
    if not any(signature_fits(key, SIGNED + text, signature) for key in keys):
        raise BundleRefused(f"{place.name} is not signed with the given key: its header is altered, or it is another's")
    header = _read_header(place.name, text)
    if length != PREFIX + header.size:
        what = "truncated" if length < PREFIX + header.size else "too long"
        raise BundleRefused(f"{header.name} is {what}: {length} of {PREFIX + header.size} bytes ({place.name})")
    return FoundPart(place, header)


def _read_header(name: str, text: bytes) -> PartHeader:
    header = PartHeader(*_values(text, PartHeader, f"the header of {name}"))
    if (
        not _NAME.fullmatch(header.mirror)
        or not (0 <= header.after < header.bundle and 1 <= header.part <= header.parts)
        or not (0 < header.manifest_size <= header.total)
        or not (header.offset >= 0 and 0 < header.size <= header.total - header.offset)
    ):
        raise BundleRefused(f"{name} has a header that makes no sense")
    return header


def _values(text: bytes, kind: type, what: str) -> list[Any]:
    """The fields of a JSON object in the order of a NamedTuple, each of its type."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleRefused(f"{what} cannot be read: {error}") from error
    types = {"str": str, "int": int, "bool": bool}
    wanted = kind.__annotations__
    values = []
    for name, annotation in wanted.items():
        value = fields.get(name) if isinstance(fields, dict) else None
        written = str(getattr(annotation, "__forward_arg__", annotation))
        if not (value is None and written.endswith("None")) and type(value) is not types[written.partition(" ")[0]]:
            raise BundleRefused(f"{what} is of another version: {name} is {value!r}")
        values.append(value)
    if len(fields) != len(wanted):
        raise BundleRefused(f"{what} is of another version: it has unknown fields")
    return values


def payload_problem(found: FoundPart) -> str:
    """Hash the payload of a part; a sentence when it is not the one of the header, else empty."""
    digest = hashlib.sha256()
    with found.place.open("rb") as file:
        file.seek(PREFIX)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() == found.header.sha256:
        return ""
    return f"the content of {found.header.name} is altered or damaged ({found.place.name})"


class FoundBundle:
    """The parts of one bundle that are there. Of a part that came several times, the first whole copy counts."""

    def __init__(self, header: PartHeader) -> None:
        self.header = header
        self._copies: dict[int, list[FoundPart]] = {}

    @property
    def name(self) -> str:
        return self.header.bundle_name

    @property
    def places(self) -> set[Path]:
        return {found.place for copies in self._copies.values() for found in copies}

    def add(self, found: FoundPart) -> None:
        self._copies.setdefault(found.header.part, []).append(found)

    def missing(self) -> str:
        """The numbers of the parts that are not there, as `2, 5-7`."""
        return written_short(gaps(1, self.header.parts, self._copies))

    def stream(self, *, checked: bool) -> Stream:
        """The stream of the parts. With `checked` their payloads are hashed first. Raises `BundleRefused` when one is missing or damaged."""
        if missing := self.missing():
            raise BundleRefused(f"{self.name} lacks part {missing} of {self.header.parts}")
        chosen = []
        for number in range(1, self.header.parts + 1):
            problems = []
            for found in self._copies[number]:
                problem = payload_problem(found) if checked or len(self._copies[number]) > 1 else ""
                if not problem:
                    chosen.append(found)
                    break
                problems.append(problem)
            else:
                raise BundleRefused("; ".join(problems))
        return Stream(chosen)


class Stream:
    """The payloads of the parts of a bundle, one behind the other."""

    def __init__(self, parts: Sequence[FoundPart]) -> None:
        end = 0
        for found in parts:
            if found.header.offset != end:
                raise BundleRefused(f"{found.header.name} does not begin where the part before it ends")
            end += found.header.size
        if end != parts[0].header.total:
            raise BundleRefused(f"the parts of {parts[0].header.bundle_name} are not the whole of it")
        self._parts = parts
        self._offsets = [found.header.offset for found in parts]
        self._file: BinaryIO | None = None
        self._open = -1

    def read(self, offset: int, size: int) -> Iterator[bytes]:
        """The bytes of a range, in pieces. A part that shrank meanwhile ends it early."""
        while size:
            number = bisect_right(self._offsets, offset) - 1
            header = self._parts[number].header
            file = self._opened(number)
            file.seek(PREFIX + offset - header.offset)
            chunk = file.read(min(size, _CHUNK, header.offset + header.size - offset))
            if not chunk:
                return
            yield chunk
            offset += len(chunk)
            size -= len(chunk)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file, self._open = None, -1

    def _opened(self, number: int) -> BinaryIO:
        if self._file is None or self._open != number:
            self.close()
            self._file, self._open = self._parts[number].place.open("rb"), number
        return self._file


class Inbox(NamedTuple):
    """The content of directories and files: bundles by number, and the problems of files that are no good parts."""

    bundles: list[FoundBundle]
    problems: list[str]


def read_inbox(places: Iterable[Path], keys: Sequence[bytes]) -> Inbox:
    """Find the parts in directories and among files. A directory is not searched below."""
    groups: dict[tuple[object, ...], FoundBundle] = {}
    problems: list[str] = []
    for place in places:
        for file in _part_files(place, problems):
            try:
                found = read_part(file, keys)
            except BundleRefused as error:
                problems.append(str(error))
            except OSError as error:
                problems.append(f"{file.name} cannot be read: {error.strerror}")
            else:
                groups.setdefault(found.header.shared, FoundBundle(found.header)).add(found)
    return Inbox(sorted(groups.values(), key=lambda each: (each.header.mirror, each.header.bundle)), problems)


def nothing_in(places: Sequence[Path]) -> str:
    """The sentence about directories without a part."""
    return f"there is no file *{SUFFIX} in {', '.join(map(str, places))}"


def _part_files(place: Path, problems: list[str]) -> list[Path]:
    if place.is_dir():
        return [each for each in sorted(place.glob(f"[!.]*{SUFFIX}")) if each.is_file()]
    if not place.is_file():
        problems.append(f"{place} does not exist")
        return []
    return [place]


def gaps(first: int, last: int, present: Iterable[int]) -> list[tuple[int, int]]:
    """The ranges of numbers from one to another that are not there. They may be large: a number may be a date."""
    found = []
    for number in [*sorted(each for each in present if first <= each <= last), last + 1]:
        if first < number:
            found.append((first, number - 1))
        first = number + 1
    return found


def written_short(ranges: Iterable[tuple[int, int]]) -> str:
    """Ranges of numbers as people write them: `2, 5-7`."""
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)


# The manifest.


class ManifestHead(NamedTuple):
    """The first line of a manifest."""

    mirror: str
    bundle: int
    after: int
    previous: str
    full: bool
    snapshot: int
    since: int
    serial: int | None
    created: str
    puts: int
    deletes: int
    raw: int
    """Bytes of the files that are stored as they are."""
    packed: int
    """Bytes of the compressed pages."""


class Put(NamedTuple):
    """A file of the tree and where its bytes are."""

    path: str
    sha256: str
    size: int
    packed: bool
    offset: int
    stored: int


class Delete(NamedTuple):
    """A file that the tree does not have any more."""

    path: str


class Barrier(NamedTuple):
    """The end of a group of operations that is durable before the next one begins."""


Operation = Union[Put, Delete, Barrier]  # noqa: UP007 - Python 3.8 evaluates it


def put_line(put: Put) -> bytes:
    kind = "z" if put.packed else "r"
    return f"put {put.sha256} {put.size} {kind} {put.offset} {put.stored} {put.path}\n".encode()


def delete_line(path: str) -> bytes:
    return f"del {path}\n".encode()


BARRIER_LINE = b"then\n"


def head_line(head: ManifestHead) -> bytes:
    return json.dumps(head._asdict(), sort_keys=True, separators=(",", ":")).encode() + b"\n"


def path_problem(path: str) -> str:
    """Why a path is not one of a file in a tree; empty when it is. Names that begin with a dot are those of programs, not of a tree."""
    pieces = path.split("/")
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    if _CONTROL.search(path):
        return "has control characters or backslashes"
    if any(not piece or piece.startswith(".") for piece in pieces):
        return "leaves the tree, or has a hidden or empty name in it"
    if len(encoded) > 4000 or any(len(piece.encode()) > 255 for piece in pieces):
        return "is too long"
    return ""


def order_of(path: str) -> str:
    """The key by which paths are sorted: a directory with all below it, in the order of the names. A walk meets files in this order."""
    return path.replace("/", "\0")


def read_manifest(file: BinaryIO) -> tuple[ManifestHead, Iterator[Operation]]:
    """Read a manifest. Raises `BundleRefused` for a line that is not one of a manifest, when it is reached."""
    head = ManifestHead(*_values(file.readline(), ManifestHead, "the head of the manifest"))
    return head, (_operation(line, head) for line in file)


def _operation(line: bytes, head: ManifestHead) -> Operation:
    if line == BARRIER_LINE:
        return Barrier()
    try:
        word, _, rest = line.decode().rstrip("\n").partition(" ")
    except UnicodeDecodeError as error:
        raise BundleRefused(f"the manifest of bundle {head.bundle} has a line that is not UTF-8") from error
    if word == "del":
        operation: Put | Delete = Delete(rest)
    else:
        fields = rest.split(" ", 5)
        right = len(fields) == 6 and all(_NUMBER.fullmatch(fields[at]) for at in (1, 3, 4))
        if word != "put" or not right or fields[2] not in {"r", "z"} or not _SHA256.fullmatch(fields[0]):
            raise BundleRefused(f"the manifest of bundle {head.bundle} has a line that is no operation: {line[:100]!r}")
        size, offset, stored = int(fields[1]), int(fields[3]), int(fields[4])
        operation = Put(fields[5], fields[0], size, fields[2] == "z", offset, stored)
        if offset + stored > (head.packed if operation.packed else head.raw):
            raise BundleRefused(f"the manifest of bundle {head.bundle} has a file that lies outside of it: {rest!r}")
    if problem := path_problem(operation.path):
        raise BundleRefused(f"the manifest of bundle {head.bundle} has a path that {problem}: {operation.path[:200]!r}")
    return operation


def check_manifest(file: BinaryIO, header: PartHeader) -> ManifestHead:
    """Read a manifest to its end. Raises `BundleRefused` when anything in it is wrong, or does not belong to the header."""
    head, operations = read_manifest(file)
    puts = deletes = groups = 0
    last = ""
    for operation in operations:
        if isinstance(operation, Barrier):
            groups, last = groups + 1, ""
            continue
        if order_of(operation.path) <= last or groups > _GROUPS:
            raise BundleRefused(f"the manifest of {header.bundle_name} is not sorted at {operation.path!r}")
        last = order_of(operation.path)
        puts += isinstance(operation, Put)
        deletes += isinstance(operation, Delete)
    told = (head.mirror, head.bundle, head.after, head.previous, head.full)
    if told != header[:5] or header.manifest_size + head.raw + head.packed != header.total:
        raise BundleRefused(f"the manifest of {header.bundle_name} is not the one that its parts belong to")
    if (puts, deletes) != (head.puts, head.deletes) or (head.full and deletes):
        raise BundleRefused(f"the manifest of {header.bundle_name} is not whole")
    return head


def copy_manifest(stream: Stream, header: PartHeader, target: BinaryIO) -> None:
    """Write the manifest of a bundle to a file. Raises `BundleRefused` when it is not the one that the header names."""
    digest = hashlib.sha256()
    for chunk in stream.read(0, header.manifest_size):
        digest.update(chunk)
        target.write(chunk)
    if digest.hexdigest() != header.manifest_sha256:
        raise BundleRefused(f"the manifest of {header.bundle_name} is altered or damaged")


# The bundles that were applied.


class AppliedState(NamedTuple):
    """The bundles that a tree has."""

    mirror: str = ""
    bundle: int = 0
    """The last one that was applied; 0: none."""
    manifest: str = ""
    """The sha256 of its manifest."""
    serial: int | None = None
    created: str = ""
    begun: int = 0
    """A bundle that was begun and not finished; 0: none."""
    begun_manifest: str = ""
    done: int = 0
    """So many of its operations are durable."""


def read_state(root: Path) -> AppliedState:
    """The state of a tree. Raises `BundleRefused` when it is damaged."""
    place = root / STATE / "state.json"
    try:
        text = place.read_bytes()
    except FileNotFoundError:
        return AppliedState()
    try:
        return AppliedState(*_values(text, AppliedState, str(place)))
    except BundleRefused as error:
        raise BundleRefused(f"{error}. Remove it, then apply a full bundle with --adopt") from error


def objection(state: AppliedState, header: PartHeader, present: Iterable[int] = ()) -> str:
    """Why a bundle cannot be applied now; empty when it can. `present`: the numbers of the bundles that are there."""
    name, number = header.bundle_name, header.bundle
    if state.mirror and header.mirror != state.mirror:
        return f"{name} is not for this tree, which has mirror {state.mirror}"
    if number <= state.bundle:
        return f"{name} is a replay: the bundles up to {state.bundle} were applied before"
    if state.begun and header.manifest_sha256 == state.begun_manifest:
        return ""
    if header.full and number > state.begun:
        return ""
    if state.begun:
        return f"bundle {state.begun} of mirror {header.mirror} was begun and is not finished; this is {number}"
    if header.after > state.bundle:
        if header.after in present:
            return f"{name} waits for bundle {header.after}"
        missing = gaps(state.bundle + 1, header.after, present)
        one = len(missing) == 1 and missing[0][0] == missing[0][1]
        return f"bundle{'' if one else 's'} {written_short(missing)} of mirror {header.mirror} {'is' if one else 'are'} missing; this is {number}"
    if header.after < state.bundle:
        return f"{name} goes on from bundle {header.after}, but bundle {state.bundle} was applied"
    if header.previous != state.manifest:
        return f"{name} goes on from another bundle {header.after} than the one that was applied"
    return ""


# Applying.


class ApplyReport(NamedTuple):
    """The outcome of a run: a sentence for each bundle."""

    applied: list[str]
    refused: list[str]
    old: list[str]
    """Bundles in directories that were applied before."""
    state: AppliedState


class Applier:
    """Applies bundles to a tree. `failpoint` is called with a name at each step, for tests."""

    def __init__(
        self,
        root: Path,
        keys: Sequence[bytes],
        *,
        adopt: bool = False,
        failpoint: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._root = root
        self._place = root / STATE
        self._new = self._place / "new"
        self._keys = keys
        self._adopt = adopt
        self.failpoint = failpoint
        self._state = AppliedState()
        self._names = 0
        self._pending = 0
        self._known: set[str] = set()
        self._touched: set[Path] = set()

    def apply_all(self, places: Sequence[Path]) -> ApplyReport:
        """Apply what fits, in the order of the chain. Raises `BundleRefused` when the tree cannot be written, and `OSError`."""
        inbox = read_inbox(places, self._keys)
        mirrors = {bundle.header.mirror for bundle in inbox.bundles}
        applied: list[str] = []
        refused = list(inbox.problems)
        with self._turn():
            if len(mirrors) > 1 and not self._state.mirror:
                raise BundleRefused(
                    f"there are bundles of several mirrors ({', '.join(sorted(mirrors))}): name one's files"
                )
            left = list(inbox.bundles)
            while (bundle := self._next(left)) is not None:
                left.remove(bundle)
                try:
                    applied.append(self._apply(bundle))
                except BundleRefused as error:
                    refused.append(str(error))
            old: list[str] = []
            present = {bundle.header.bundle for bundle in inbox.bundles}
            for bundle in left:
                replayed = self._state.mirror == bundle.header.mirror and bundle.header.bundle <= self._state.bundle
                told = old if replayed and not bundle.places & set(places) else refused
                told.append(self._why_not(bundle, present))
            return ApplyReport(applied, refused, old, self._state)

    def _next(self, bundles: Sequence[FoundBundle]) -> FoundBundle | None:
        """The bundle that comes next: the one that was begun, the one that goes on from the last, or the newest full one."""
        fitting = [each for each in bundles if not each.missing() and not objection(self._state, each.header)]
        for each in fitting:
            if not each.header.full or each.header.manifest_sha256 == self._state.begun_manifest:
                return each
        return fitting[-1] if fitting else None

    def _why_not(self, bundle: FoundBundle, present: Iterable[int]) -> str:
        if problem := objection(self._state, bundle.header, present):
            return problem
        return f"{bundle.name} lacks part {bundle.missing()} of {bundle.header.parts}"

    def _apply(self, bundle: FoundBundle) -> str:
        header = bundle.header
        if not self._state.bundle and not self._state.begun and not self._adopt:
            self._check_empty()
        resumed = self._state.begun_manifest == header.manifest_sha256
        with closing(bundle.stream(checked=not resumed)) as stream:
            manifest = self._manifest(stream, header)
            self.failpoint("bundle.checked")
            if not resumed:
                self._note(mirror=header.mirror, begun=header.bundle, begun_manifest=header.manifest_sha256, done=0)
            self.failpoint("bundle.begun")
            with manifest.open("rb") as file:
                head, operations = read_manifest(file)
                self._do(operations, head, stream, header)
            if head.full:
                self._remove_strays(manifest)
            self._settle()
            self.failpoint("bundle.settled")
            self._note(
                bundle=head.bundle,
                manifest=header.manifest_sha256,
                serial=head.serial,
                created=head.created,
                begun=0,
                begun_manifest="",
                done=0,
            )
            self.failpoint("bundle.applied")
            manifest.unlink()
        return f"{bundle.name}: {head.puts} files written, {head.deletes} removed"

    def _manifest(self, stream: Stream, header: PartHeader) -> Path:
        """Keep the manifest here and check all of it."""
        place = self._place / f"manifest-{header.bundle}"
        new = self._fresh()
        with new.open("xb") as file:
            copy_manifest(stream, header, file)
        with new.open("rb") as file:
            check_manifest(file, header)
            os.fsync(file.fileno())
        new.replace(place)
        _sync(self._place)
        return place

    def _do(self, operations: Iterator[Operation], head: ManifestHead, stream: Stream, header: PartHeader) -> None:
        batch: list[tuple[str, Path | None]] = []
        size = 0
        raw = header.manifest_size
        self._pending = 0
        for number, operation in enumerate(operations, 1):
            if number <= self._state.done:
                continue
            if isinstance(operation, Delete):
                batch.append((operation.path, None))
            elif isinstance(operation, Put) and not (head.full and self._has(operation)):
                start = raw + operation.offset + (head.raw if operation.packed else 0)
                batch.append((operation.path, self._stage(operation, stream.read(start, operation.stored))))
                size += operation.size
            if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES or isinstance(operation, Barrier):
                self._place_batch(batch)
                # These are durable when the next batch is synchronised, and not before.
                self._pending = number
                batch, size = [], 0
        self._place_batch(batch)

    def _place_batch(self, batch: list[tuple[str, Path | None]]) -> None:
        """Make new files and the names of the batch before durable, then give each new file its name."""
        self._synchronise([new for _, new in batch if new is not None])
        self.failpoint("bundle.synced")
        if self._pending:
            self._note(done=self._pending)
            self._pending = 0
        self.failpoint("bundle.noted")
        for path, new in batch:
            if new is None:
                self._delete(path)
                self.failpoint("bundle.deleted")
            else:
                self._move(new, path)
                self.failpoint("bundle.placed")

    def _settle(self) -> None:
        self._synchronise([])

    def _has(self, put: Put) -> bool:
        """Whether the tree has these bytes already. A full bundle heals a tree without writing what is right."""
        place = self._root / put.path
        try:
            self._enter(put.path, make=False)
            if place.is_symlink() or not place.is_file() or place.stat().st_size != put.size:
                return False
            digest = hashlib.sha256()
            with place.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except OSError:
            return False
        return digest.hexdigest() == put.sha256

    def _stage(self, put: Put, pieces: Iterator[bytes]) -> Path:
        """Write a file beside the tree. Raises `BundleRefused` when its bytes are not those of the manifest."""
        new = self._fresh()
        digest, size = hashlib.sha256(), 0
        with new.open("xb") as file:
            for piece in _content(put, pieces):
                digest.update(piece)
                size += len(piece)
                file.write(piece)
            os.fchmod(file.fileno(), 0o644)
        if size != put.size or digest.hexdigest() != put.sha256:
            raise BundleRefused(f"{put.path} is not the file that the manifest names: the parts were changed meanwhile")
        self.failpoint("bundle.staged")
        return new

    def _move(self, new: Path, path: str) -> None:
        target = self._enter(path, make=True)
        if target.is_dir() and not target.is_symlink():
            # The signed manifest has a file of this name, and none below it.
            target.rename(self._fresh())
            self._known.clear()
        new.replace(target)
        self._touched.add(target.parent)

    def _delete(self, path: str) -> None:
        try:
            target = self._enter(path, make=False)
            if target.is_dir() and not target.is_symlink():
                return
            target.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        self._touched.add(target.parent)
        for directory in target.parents:
            if directory == self._root:
                return
            try:
                directory.rmdir()
            except OSError:
                return  # something is left in it
            self._touched.discard(directory)
            self._touched.add(directory.parent)
            self._known.discard(directory.relative_to(self._root).as_posix())

    def _enter(self, path: str, *, make: bool) -> Path:
        """The place of a path. Raises `BundleRefused` when a directory on the way is a symlink, which could lead out of the tree."""
        above = path.rpartition("/")[0]
        if above in self._known:
            return self._root / path
        at = self._root
        directory = ""
        for piece in above.split("/") if above else ():
            directory = f"{directory}/{piece}" if directory else piece
            at = at / piece
            if directory in self._known:
                continue
            if at.is_symlink():
                raise BundleRefused(f"{at} is a symlink: a bundle is applied to a tree of directories and files only")
            if make and not at.is_dir():
                with suppress(FileNotFoundError):
                    at.unlink()  # a file that became a directory
                at.mkdir()
                at.chmod(0o755)
                self._touched.add(at.parent)
            if at.is_dir():
                self._known.add(directory)
        return at / path.rpartition("/")[2]

    def _remove_strays(self, manifest: Path) -> None:
        """Remove what a full bundle does not have, below the outermost names that it has."""
        wanted, tops = self._wanted(manifest)
        at = next(wanted, None)
        strays = []
        for path in _walk(self._root, tops):
            while at is not None and order_of(at) < order_of(path):
                at = next(wanted, None)
            if at != path:
                strays.append(path)
        for path in strays:
            self._delete(path)
            self.failpoint("bundle.stray_removed")

    def _wanted(self, manifest: Path) -> tuple[Iterator[str], set[str]]:
        """All paths of a full manifest in the order of a walk, and their outermost names.

        Paths ascend in each of a few groups, which are merged: memory does not grow with the tree.
        """
        tops: set[str] = set()
        starts: list[int] = []
        ends: list[int] = []
        with manifest.open("rb") as file:
            at = start = len(file.readline())
            for line in file:
                at += len(line)
                if line == BARRIER_LINE:
                    starts, ends = [*starts, start], [*ends, at]
                    start = at
                else:
                    tops.add(line.decode().rstrip("\n").split(" ", 6)[6].partition("/")[0])
        spans_of = [*zip(starts, ends), (start, at)]  # noqa: B905 - strict= is not in Python 3.8
        return heapq.merge(*(_paths_of(manifest, *span) for span in spans_of), key=order_of), tops

    def _check_empty(self) -> None:
        strangers = [each.name for each in self._root.iterdir() if not each.name.startswith(".")]
        if strangers:
            raise BundleRefused(
                f"{self._root} has files that no bundle brought, such as {min(strangers)}: name an empty directory,"
                " or give --adopt to let a full bundle replace them"
            )

    def _fresh(self) -> Path:
        self._names += 1
        return self._new / str(self._names)

    def _synchronise(self, files: Sequence[Path]) -> None:
        touched, self._touched = self._touched, set()
        if len(files) + len(touched) > _FEW and hasattr(os, "sync"):
            os.sync()
            return
        for place in (*files, *touched):
            _sync(place)

    def _note(self, **changes: object) -> None:
        """Change the state, durably."""
        state = self._state._replace(**changes)  # type: ignore[arg-type]  # each caller names fields of the state
        new = self._fresh()
        with new.open("xb") as file:
            file.write(json.dumps(state._asdict(), indent=1, sort_keys=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._place / "state.json")
        _sync(self._place)
        self._state = state

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._root.parent.mkdir(parents=True, exist_ok=True)
        for directory in (self._root, self._root / ".pkgindex", self._place, self._new):
            with suppress(FileExistsError):
                directory.mkdir()
                directory.chmod(0o755)  # a web server may enter, whatever the umask is
        descriptor = os.open(self._place / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in {errno.EAGAIN, errno.EACCES}:
                    raise
                raise BundleRefused(f"another process applies bundles to {self._root} now") from error
            self._sweep()
            self._state = read_state(self._root)
            try:
                yield
            finally:
                self._sweep()
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what a run left that died or was refused."""
        for leftover in self._new.iterdir():
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()


def _content(put: Put, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes of a file, given those that are stored. Raises `BundleRefused` when they cannot be unpacked."""
    try:
        yield from _unpacked(pieces, put.size) if put.packed else pieces
    except zlib.error as error:
        raise BundleRefused(f"{put.path} cannot be unpacked: {error}") from error


def _unpacked(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Decompress, and give at most one byte more than `size`."""
    packer = zlib.decompressobj()
    left = size + 1
    for piece in pieces:
        while piece and left > 0:
            data = packer.decompress(piece, min(left, _CHUNK))
            left -= len(data)
            yield data
            piece = packer.unconsumed_tail  # noqa: PLW2901 - the rest of the piece is the piece


def _paths_of(manifest: Path, start: int, end: int) -> Iterator[str]:
    """The paths of the lines between two offsets."""
    with manifest.open("rb") as file:
        file.seek(start)
        while file.tell() < end:
            line = file.readline()
            if line.startswith(b"put "):
                yield line.decode().rstrip("\n").split(" ", 6)[6]


def _walk(root: Path, tops: set[str]) -> Iterator[str]:
    """The paths of all that is no directory below some outermost names, in the order of `order_of`. Hidden names are left out."""

    def walk(directory: str, before: str, names: set[str] | None) -> Iterator[str]:
        with os.scandir(directory) as scanned:
            entries = sorted((each for each in scanned if not each.name.startswith(".")), key=lambda each: each.name)
        for entry in entries:
            if names is not None and entry.name not in names:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from walk(entry.path, f"{before}{entry.name}/", None)
            else:
                yield before + entry.name

    return walk(str(root), "", tops)


def _sync(place: Path) -> None:
    with suppress(FileNotFoundError):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# Checks and status.


class CheckedBundles(NamedTuple):
    """The outcome of a check: a sentence for each bundle and each problem."""

    good: list[str]
    problems: list[str]


def verify(places: Sequence[Path], keys: Sequence[bytes], scratch: Callable[[], BinaryIO]) -> CheckedBundles:
    """Check parts, manifests and the chain between them, without a tree. `scratch` opens a temporary file."""
    inbox = read_inbox(places, keys)
    good: list[str] = []
    problems = list(inbox.problems)
    if not inbox.bundles and not problems:
        problems.append(nothing_in(places))
    manifests = {(each.header.mirror, each.header.bundle): each.header.manifest_sha256 for each in inbox.bundles}
    for bundle in inbox.bundles:
        header = bundle.header
        before = manifests.get((header.mirror, header.after))
        try:
            if before is not None and before != header.previous and not header.full:
                raise BundleRefused(f"{bundle.name} goes on from another bundle {header.after} than the one here")
            with closing(bundle.stream(checked=True)) as stream, scratch() as file:
                copy_manifest(stream, header, file)
                file.seek(0)
                head = check_manifest(file, header)
                file.seek(0)
                _check_files(stream, header, *read_manifest(file))
        except BundleRefused as error:
            problems.append(str(error))
        else:
            follows = "full" if header.full else f"goes on from {header.after}"
            good.append(
                f"{bundle.name}: {follows}, {head.puts} files, {head.deletes} removals, {header.total} bytes"
                f" in {header.parts} part{'s' if header.parts > 1 else ''}"
            )
    return CheckedBundles(good, problems)


def _check_files(stream: Stream, header: PartHeader, head: ManifestHead, operations: Iterator[Operation]) -> None:
    for put in operations:
        if isinstance(put, Put):
            digest = hashlib.sha256()
            start = header.manifest_size + put.offset + (head.raw if put.packed else 0)
            for piece in _content(put, stream.read(start, put.stored)):
                digest.update(piece)
            if digest.hexdigest() != put.sha256:
                raise BundleRefused(f"{put.path} in {header.bundle_name} is not the file that the manifest names")


class StatusReport(NamedTuple):
    """The bundles that a tree has, and what lies in the inbox."""

    state: AppliedState
    waiting: list[str]
    """A sentence for each bundle that can be applied."""
    missing: list[str]
    """A sentence for each bundle and part that is missing before another can be applied."""
    problems: list[str]


def status(root: Path, places: Sequence[Path], keys: Sequence[bytes]) -> StatusReport:
    """Tell up to which bundle a tree is, and what is missing. Changes nothing. If the directory is not there, that is a problem."""
    state = read_state(root)
    inbox = read_inbox(places, keys)
    waiting: list[str] = []
    missing: list[str] = []
    if state.begun:
        missing.append(f"bundle {state.begun} of mirror {state.mirror} was begun and is not finished: apply it again")
    ahead = state
    present = {bundle.header.bundle for bundle in inbox.bundles}
    for bundle in inbox.bundles:
        header = bundle.header
        if state.mirror in {"", header.mirror} and header.bundle <= state.bundle:
            continue
        problem = objection(ahead, header, present)
        if lacking := bundle.missing():
            missing.append(f"{bundle.name} lacks part {lacking} of {header.parts}")
        elif problem:
            missing.append(problem)
        else:
            waiting.append(f"{bundle.name} can be applied")
            ahead = AppliedState(mirror=header.mirror, bundle=header.bundle, manifest=header.manifest_sha256)
    problems = list(inbox.problems)
    if not root.is_dir():
        problems.insert(0, f"the directory {root} is not there; the first bundle that is applied makes it")
    return StatusReport(state, waiting, missing, problems)


def status_lines(report: StatusReport) -> list[str]:
    """A status for people."""
    state = report.state
    have = "no bundle was applied"
    if state.bundle:
        serial = "" if state.serial is None else f", serial {state.serial}"
        have = f"mirror {state.mirror} is at bundle {state.bundle}, of {state.created}{serial}"
    return [have, *report.waiting, *report.missing]


def apply_lines(report: ApplyReport, places: Sequence[Path]) -> list[str]:
    """The outcome of a run for people, without what was refused."""
    lines = [*report.applied, *report.old]
    return lines if lines or report.refused else [f"nothing to apply: {nothing_in(places)}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status: 0, 1 when something was refused, 5 when the disk is full."""
    parser = argparse.ArgumentParser(description="Check and apply the bundles of a mirror behind an air gap.")
    commands = parser.add_subparsers(dest="command", required=True)
    for word, summary in (
        ("apply", "apply the bundles that fit, in order"),
        ("verify", "check bundles without a tree"),
        ("status", "tell up to which bundle a tree is, and what is missing"),
    ):
        command = commands.add_parser(word, help=summary, description=summary)
        command.add_argument("--key", action="append", type=Path, required=True, help="public key (repeatable)")
        if word != "verify":
            command.add_argument("--root", type=Path, required=True, help="directory of the tree")
        if word == "apply":
            command.add_argument("--adopt", action="store_true", help="let a full bundle replace files that are there")
        command.add_argument(
            "inbox", nargs="*" if word == "status" else "+", type=Path, help="directories and files with parts"
        )
    given = parser.parse_args(arguments)
    try:
        keys = [read_key(place) for place in given.key]
        if given.command == "status":
            report = status(given.root, given.inbox, keys)
            _say(status_lines(report), report.problems)
            return 1 if report.problems else 0
        if given.command == "verify":
            import tempfile

            checked = verify(given.inbox, keys, tempfile.TemporaryFile)
            _say(checked.good, checked.problems)
            return 1 if checked.problems or not checked.good else 0
        done = Applier(given.root, keys, adopt=given.adopt).apply_all(given.inbox)
        _say(apply_lines(done, given.inbox), done.refused)
    except BundleRefused as error:
        _say([], [str(error)])
        return 1
    except KeyboardInterrupt:
        _say([], ["interrupted; run it again to go on"])
        return 130
    except OSError as error:
        where = error.filename or vars(given).get("root") or "a temporary file"
        _say([], [f"{error.strerror}: {where}; run it again when that is mended"])
        return 5 if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} else 1
    return 1 if done.refused else 0


def _say(results: Iterable[str], problems: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in results))
    sys.stderr.write("".join(f"error: {line}\n" for line in problems))


if __name__ == "__main__":
    sys.exit(main())
