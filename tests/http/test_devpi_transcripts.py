"""Recorded transcripts of devpi's protocol, which are played against this server (`transcripts`, `record_transcripts`)."""

from __future__ import annotations

from tests.http.transcripts import DIRECTORY, FILES, read

_DIFFERENCES = DIRECTORY / "differences.json"


def test_the_transcripts_are_complete() -> None:
    """Every exchange is named once in its file and was recorded, and every listed difference has an exchange and a reason."""
    names = set()
    for path in FILES:
        exchanges = read(path)["exchanges"]
        said = [f"{path.stem}: {exchange['says']}" for exchange in exchanges]
        assert len(set(said)) == len(said)
        assert all(exchange["answer"]["status"] for exchange in exchanges)
        names.update(said)
    listed = read(_DIFFERENCES)
    assert set(listed) <= names
    assert [name for name, entry in listed.items() if not entry["why"]] == []
