"""A source distribution with its real provenance, recorded from the public index.

`tests/data/pypi_attestations-0.0.19.tar.gz` is that of the project pypi-attestations (Apache-2.0), and the file beside it is the provenance that
the index served for it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from tests.http.forms import Part, digests

DATA: Final = Path(__file__).parent / "data"
FILENAME: Final = "pypi_attestations-0.0.19.tar.gz"
PUBLISHER: Final = "github:trailofbits/pypi-attestations//release.yml"
SDIST: Final = (DATA / FILENAME).read_bytes()
SHA256: Final = hashlib.sha256(SDIST).hexdigest()
PROVENANCE: Final = (DATA / f"{FILENAME}.provenance").read_bytes()
ATTESTATION: Final[dict[str, Any]] = json.loads(PROVENANCE)["attestation_bundles"][0]["attestations"][0]


def attested_parts(attestations: str | None, *, filename: str = FILENAME, data: bytes = SDIST) -> list[Part]:
    """The form of an upload of the file, with the field `attestations`."""
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": "pypi-attestations",
        "version": "0.0.19",
        "filetype": "sdist",
        "pyversion": "source",
        "sha256_digest": digests(data)["sha256_digest"],
        **({"attestations": attestations} if attestations is not None else {}),
    }
    return [*((name, None, value.encode()) for name, value in fields.items()), ("content", filename, data)]
