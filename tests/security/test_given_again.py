"""A run goes on once what it asks for is given again: permissions are no part of what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.security.test_stored_permissions import changed, said

import luthier as package
from luthier.cli.main import run as luthier
from luthier.config import load_config
from luthier.core.console import Console

QUIET = Console(quiet=True)
GIVEN = {
    "model.trust_remote_code": True,
    "model.allow_pickle": True,
    "model.endpoint.api_key_env": "NO_SUCH_KEY",
}
CODE = "from transformers import LlamaForCausalLM\n\n\nclass M(LlamaForCausalLM):\n    pass\n"


@pytest.fixture
def settings(quick_settings: dict[str, Any], tiny_llama: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        **quick_settings,
        "model.id": str(tiny_llama),
        "adapt.rungs": ["zero-shot", "lora"],
        "train.epochs": 1,
        "method": "lora",
        "output": str(tmp_path / "runs"),
        "name": "made",
    }


def interrupted(kind: str, settings: dict[str, Any]) -> Path:
    """A run whose last records are not there, as where it was stopped before they were written."""
    run: Path = (package.tune if kind == "tune" else package.adapt)(None, settings, QUIET).run.path
    for name in ("training.json", "ladder.json"):
        (run / name).unlink(missing_ok=True)
    return run


def places(run: Path) -> list[str]:
    """What a run that was changed by hand is given as well: it might be anybody's."""
    config = load_config(run / "config.yaml")
    return [f"model.id={config.model.id}", f"data.source={config.data.source}"]


@pytest.mark.sample(2)
@pytest.mark.parametrize("kind", ["tune", "adapt"])
@pytest.mark.parametrize("key", GIVEN)
def test_a_run_goes_on_once_its_permission_is_given(
    key: str, kind: str, settings: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    run = interrupted(kind, settings)
    given = places(run)
    changed(run, key, GIVEN[key])
    assert luthier(["resume", str(run), *given]) == 2
    assert f'field"{key}"' in said(capfd)
    typed = f"{key}={json.dumps(GIVEN[key]).lower() if GIVEN[key] is True else GIVEN[key]}"
    assert luthier(["resume", str(run), *given, typed]) == 0, said(capfd)
    assert (run / ("training.json" if kind == "tune" else "ladder.json")).is_file()


def test_a_run_goes_on_without_its_permission(settings: dict[str, Any]) -> None:
    run = interrupted("tune", settings | {"model.trust_remote_code": True})
    assert luthier(["resume", str(run)]) == 2
    assert luthier(["resume", str(run), "model.trust_remote_code=false"]) == 0


def test_a_run_can_be_extended_once_its_permission_is_given(settings: dict[str, Any]) -> None:
    run = package.tune(None, settings, QUIET).run.path
    changed(run, "model.allow_pickle", True)
    given = [*places(run), "model.allow_pickle=true"]
    assert luthier(["extend", str(run), "--epochs", "1", *given]) == 0
    assert len((run / "extensions.jsonl").read_text().splitlines()) == 1


def test_other_code_is_another_model(
    settings: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The permission is no part of a run; what runs with it is."""
    model = Path(shutil.copytree(settings["model.id"], tmp_path / "own"))
    config = json.loads((model / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "mine.M"}
    (model / "config.json").write_text(json.dumps(config))
    (model / "mine.py").write_text(CODE)
    allowed = {"model.id": str(model), "model.trust_remote_code": True}
    run = interrupted("tune", settings | allowed)
    for without in (False, True):
        if not without:
            (model / "mine.py").write_text(CODE + "# another\n")
        given = f"model.trust_remote_code={'false' if without else 'true'}"
        assert luthier(["resume", str(run), given]) == 2
        told = said(capfd)
        assert "anotherconfiguration,modelordata" in told
        assert "code" in told
    (model / "mine.py").write_text(CODE)
    assert luthier(["resume", str(run), "model.trust_remote_code=true"]) == 0, said(capfd)
