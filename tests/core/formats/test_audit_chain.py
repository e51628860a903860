"""The digest of a stored change never changes: otherwise every chain that was kept would look broken."""

from __future__ import annotations

from typing import get_args

import pytest

from pkgindex_core import changes as kinds
from pkgindex_core.changes import Change, encode_changes
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.models import Attachment, File, IndexConfig, PageHead, Release, Serial, Token, User
from pkgindex_core.names import IndexName, ProjectName

INDEX, PROJECT, DIGEST = IndexName("anna/dev"), ProjectName("demo"), Sha256("1" * 64)
FILE = File(filename="demo-1.0.tar.gz", version="1.0", digests={"sha256": DIGEST}, size=1, upload_time=Timestamp(5))
ATTACHMENT = Attachment(
    kind="doczip", filename="demo-1.0.doc.zip", version="1.0", sha256=DIGEST, size=1, added=Timestamp(5)
)
CONFIG = IndexConfig(name=INDEX, options={"mirror_url": "https://example.org/"})
CHANGES: tuple[tuple[Change, str], ...] = (
    (kinds.PutUser(User(name="anna", password_hash="x")), "e08ea9757ea70201"),
    (kinds.DropUser("anna"), "f495e7ebda553c3e"),
    (kinds.PutToken(Token(id="t", user="anna", secret_sha256=DIGEST)), "2b63d5c1b8a8fa5d"),
    (kinds.DropToken("t"), "aa218a79ee7cc8c9"),
    (kinds.PutIndex(CONFIG), "cf74f7f77abe7e0e"),
    (kinds.DropIndex(INDEX), "6290f47974b76bac"),
    (kinds.PutProject(INDEX, PROJECT, PageHead(display_name="Demo")), "1d862404c5741bf5"),
    (kinds.DropProject(INDEX, PROJECT), "286515df5008399b"),
    (kinds.PutFile(INDEX, PROJECT, FILE, "Demo"), "c231a549681bb92e"),
    (kinds.DropFile(INDEX, PROJECT, FILE.filename), "6c640d84d88b14fc"),
    (kinds.YankFile(INDEX, PROJECT, FILE.filename, "why"), "2db3720f031a813c"),
    (kinds.PutRelease(INDEX, PROJECT, Release(version="1.0")), "256ab3a72611eefd"),
    (kinds.DropRelease(INDEX, PROJECT, "1.0"), "e98cb76bca401922"),
    (kinds.PutAttachment(INDEX, PROJECT, ATTACHMENT), "62f5b6d67b10fa27"),
    (kinds.DropAttachment(INDEX, PROJECT, ATTACHMENT.filename), "34a2b985bcdbae34"),
    (kinds.MirrorPage(INDEX, PROJECT, PageHead(), (FILE,), ("x",), stamp=Serial(3), content="c"), "8e6cfe50598d0252"),
    (kinds.DropMirrorPage(INDEX, PROJECT), "38b5d6025ab4e782"),
    (kinds.MirrorNames(INDEX, ((PROJECT, "Demo"),), validators={"etag": "x"}), "d616b9612e1455c2"),
)


@pytest.mark.parametrize(("change", "digest"), CHANGES, ids=lambda value: type(value).__name__)
def test_the_digest_of_a_change_stays(change: Change, digest: str) -> None:
    """A field that is added to a change or to its values is left out of the encoding while it has its default."""
    assert sha256_of(encode_changes((change,)))[:16] == digest


def test_every_kind_of_change_is_here() -> None:
    assert {type(change) for change, _ in CHANGES} == set(get_args(Change))
