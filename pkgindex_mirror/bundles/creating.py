"""Creates bundles: decides where the chain goes on, makes the manifest, writes the parts, and notes what was sent.

A bundle is noted before its parts get their names: a number that may have left this side is never given to another bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.errors import Corrupt, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_mirror.bundles.keys import BundleSigner
from pkgindex_mirror.bundles.ledger import BundleLedger, SentBundle, SentBundles
from pkgindex_mirror.bundles.parts import part_count, write_parts
from pkgindex_mirror.bundles.planning import BundlePlan, Progress, make_plan
from pkgindex_mirror.snapshots.places import make_directory, remove_tree, synchronise
from pkgindex_mirror.snapshots.taking import Snapshots
from pkgindex_mirror.snapshots.words import parse_word


class BundleOrder(Struct, frozen=True, kw_only=True):
    """The wishes for a bundle."""

    out: Path
    part_size: int
    mirror: str = ""
    """The name of the mirror on both sides. Fixed by the first bundle."""
    since: str = ""
    """The snapshot that the far side has; by default the one of the last bundle."""
    to: str = "latest"
    full: bool = False
    number: int = 0
    """The number of a bundle that begins a chain again; 0: the next one."""
    again: int = 0
    """Create this bundle once more; 0: a new one."""
    diff_file: Path | None = None


class CreatedBundle(Struct, frozen=True, kw_only=True):
    """A bundle that was written."""

    sent: SentBundle
    mirror: str
    puts: int
    deletes: int
    files: tuple[str, ...]
    """The paths of its parts."""


def create_bundle(
    snapshots: Snapshots, names: Mapping[str, int], signer: BundleSigner, order: BundleOrder, progress: Progress
) -> CreatedBundle:
    """Create a bundle. Called with the lock of the snapshots held; `names` are the published ones.

    Raises `Refused` when the wishes contradict the chain, `StorageFull`, and `OSError`.
    """
    ledger = BundleLedger(snapshots.places)
    told = ledger.read()
    mirror = _mirror(told, order, snapshots)
    wanted = told.get(order.again) if order.again else _next(told, snapshots, names, order)
    wanted = replace(wanted, part_size=order.part_size or wanted.part_size)
    if not order.out.is_dir():
        raise Refused(f"{order.out} is no directory", hint="make it first")
    scratch = snapshots.places.new / "bundle"
    make_directory(scratch)
    try:
        head = snapshots.head(wanted.snapshot)
        if wanted.since:
            snapshots.head(wanted.since)
        plan = make_plan(snapshots, wanted, mirror, head, scratch=scratch, progress=progress)
        failpoint("bundle.planned")
        if wanted.manifest not in {"", plan.manifest_sha256}:
            raise Corrupt(
                f"bundle {wanted.bundle} comes out differently than before",
                hint="another version of Python or zlib compresses differently; create a new bundle, or a full one",
            )
        sent = replace(
            wanted,
            manifest=plan.manifest_sha256,
            parts=part_count(plan.total, wanted.part_size),
            bytes=plan.total,
        )
        written = write_parts(plan, snapshots, signer, order.out, wanted.part_size, progress)
        told = replace(told, mirror=mirror).having(sent)
        ledger.write(told)
        failpoint("bundle.recorded")
        for hidden, final in written:
            hidden.replace(final)
            failpoint("bundle.part_placed")
        synchronise([order.out])
        sent = replace(sent, complete=True)
        ledger.write(told.having(sent))
        if order.diff_file is not None:
            write_diff_file(plan, snapshots.places.root, order.diff_file)
    finally:
        remove_tree(scratch)
    return CreatedBundle(
        sent=sent,
        mirror=mirror,
        puts=plan.head.puts,
        deletes=plan.head.deletes,
        files=tuple(str(final) for _, final in written),
    )


def write_diff_file(plan: BundlePlan, root: Path, target: Path) -> None:
    """Write the list that bandersnatch writes: the absolute path of each new or changed file, a line each."""
    place = target / "mirrored-files" if target.is_dir() else target
    with plan.changed.open("rb") as changed, place.open("wb") as listing:
        for line in changed:
            listing.write(bytes(root) + b"/" + line)


def _mirror(told: SentBundles, order: BundleOrder, snapshots: Snapshots) -> str:
    if told.mirror and order.mirror not in {"", told.mirror}:
        raise Refused(
            f"the bundles of this tree are those of mirror {told.mirror}", hint="leave --mirror out, or give this name"
        )
    return parse_word(told.mirror or order.mirror or snapshots.places.root.name, "name of a mirror")


def _next(told: SentBundles, snapshots: Snapshots, names: Mapping[str, int], order: BundleOrder) -> SentBundle:
    """The bundle to make: where it goes on, and up to which snapshot."""
    to = snapshots.find(order.to, names).number
    last = told.last
    if last is not None and not last.complete and not order.full:
        raise Refused(
            f"bundle {last.bundle} was begun and is not complete",
            hint=f"finish it with --again {last.bundle}, in the same directory; or begin again with --full",
        )
    if last is None and order.since:
        raise Refused("no bundle was created of this mirror yet", hint="the first one is full: leave --since out")
    number = order.number or (last.bundle + 1 if last is not None else 1)
    if last is not None and number <= last.bundle:
        raise Refused(f"bundle {last.bundle} was created already", hint="leave --number out, or use --again")
    if last is None or order.full:
        after, previous = (last.bundle, last.manifest) if last is not None else (0, "")
        return _wanted(order, number, after, previous, since=0, to=to)
    base = last if not order.since else told.ending_at(since := snapshots.find(order.since, names).number)
    if base is None:
        known = ", ".join(str(each.snapshot) for each in told.bundles)
        raise Refused(
            f"no bundle brought the far side to snapshot {since}", hint=f"bundles ended at these snapshots: {known}"
        )
    if base.snapshot == to:
        raise Refused(f"there is nothing newer than snapshot {to}", hint="take a snapshot first: `snapshot create`")
    return _wanted(order, number, base.bundle, base.manifest, since=base.snapshot, to=to)


def _wanted(order: BundleOrder, number: int, after: int, previous: str, *, since: int, to: int) -> SentBundle:
    return SentBundle(
        bundle=number,
        after=after,
        previous=previous,
        manifest="",
        full=not since,
        since=since,
        snapshot=to,
        part_size=order.part_size,
        parts=0,
        bytes=0,
    )
