"""The verdicts of bandersnatch's filters that were recorded are those of a real bandersnatch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.running import run
from tests.mirror.filters import plugin_cases
from tests.mirror.filters.test_bandersnatch_plugins import RECORDED

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


async def test_the_recorded_verdicts_are_those_of_bandersnatch(bandersnatch: Path) -> None:
    ran = await run(bandersnatch.with_name("python"), Path(plugin_cases.__file__).with_name("record_verdicts.py"))
    ((version, verdicts),) = json.loads(ran.output).items()
    assert version in RECORDED, f"add the verdicts of {version} to recorded_verdicts.json"
    assert verdicts == RECORDED[version]
