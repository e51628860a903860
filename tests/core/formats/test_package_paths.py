"""Paths of files in PyPI's layout."""

from __future__ import annotations

from pkgindex_core.digests import Sha256
from pkgindex_core.formats.package_paths import package_directories, package_directory
from pkgindex_core.models import File

SHA256 = Sha256("0123" + "a" * 60)
BLAKE2 = "4567" + "b" * 60
UPSTREAM = f"https://files.example.test/packages/89/cd/{'e' * 60}/demo-1.0.tar.gz"


def test_a_hosted_file_has_the_digits_of_its_sha256() -> None:
    file = File(filename="demo-1.0.tar.gz", digests={"sha256": SHA256})
    assert package_directory(file) == f"packages/01/23/{'a' * 60}"


def test_a_mirrored_file_keeps_the_path_that_it_has_upstream() -> None:
    file = File(filename="demo-1.0.tar.gz", digests={"sha256": SHA256}, url=UPSTREAM)
    assert package_directory(file) == f"packages/89/cd/{'e' * 60}"
    assert package_directory(File(filename="demo-1.0.tar.gz", url=UPSTREAM)) == f"packages/89/cd/{'e' * 60}"


def test_a_file_of_another_layout_without_a_sha256_has_none() -> None:
    for url in ("https://files.example.test/demo-1.0.tar.gz", UPSTREAM.replace("/89/", "/8/"), UPSTREAM + "/more"):
        assert package_directory(File(filename="demo-1.0.tar.gz", url=url, digests={"md5": "0" * 32})) is None
    assert package_directories(File(filename="demo-1.0.tar.gz", digests={"md5": "0" * 32})) == frozenset()


def test_every_known_digest_of_256_bits_names_the_file() -> None:
    file = File(
        filename="demo-1.0.tar.gz", digests={"sha256": SHA256, "blake2b_256": BLAKE2, "md5": "0" * 32}, url=UPSTREAM
    )
    assert package_directories(file) == {
        f"packages/01/23/{'a' * 60}",
        f"packages/45/67/{'b' * 60}",
        f"packages/89/cd/{'e' * 60}",
    }
