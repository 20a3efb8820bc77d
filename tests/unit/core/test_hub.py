from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from luthier.core.hub import hub_or_offline


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def silent_hub(nowhere: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a process that believes in a network."""
    environment = {**os.environ, "HF_ENDPOINT": nowhere, "HF_HOME": str(tmp_path)}
    return environment | {"HF_HUB_OFFLINE": "0", "LUTHIER_DATA": str(tmp_path)}


def test_switches_are_set_back(monkeypatch: pytest.MonkeyPatch, nowhere: str) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    seen = []

    def fail() -> None:
        with hub_or_offline():
            seen.append(constants.HF_HUB_OFFLINE)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [*seen, constants.HF_HUB_OFFLINE] == [True, False]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("evaluate smollm2-135m-instruct --tasks glue/rte", "there is no data"),
        ("models pull owner/nowhere", "the Hub cannot be reached"),
    ],
)
def test_nothing_is_tried_again_without_a_network(
    silent_hub: dict[str, str], command: str, problem: str
) -> None:
    called = subprocess.run(
        [sys.executable, "-m", "luthier", *command.split()],
        env=silent_hub,
        capture_output=True,
        text=True,
        check=False,
    )
    assert called.returncode
    assert problem in called.stderr
    assert "Retry" not in called.stderr
