"""Code and pickles that lie in a run that somebody sent are not opened, whatever asks for them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.security.test_stored_permissions import LORA, with_code

from luthier.cli.main import run as luthier

COMMANDS = [
    ("evaluate", LORA),
    ("forgetting", LORA),
    ("prompt", "--run", LORA, "--num", "1"),
    ("predict", LORA, "{run}/manifest.json"),
    ("merge", LORA),
    ("push", LORA, "ada/router", "--dry-run", "--base", "ada/tiny"),
    ("report", "{run}"),
    ("resume", "{run}"),
]
PICKLES = (
    "adapter_model.bin", "pytorch_model.bin", "training_args.bin", "optimizer.pt",
    "scheduler.pt", "rng_state.pth", "train_state.pt", "tokenizer.pkl",
)  # fmt: skip


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, written: Path) -> None:
        self._written = written

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self._written, "it ran")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_code_beside_the_weights_is_not_run(
    command: Sequence[str], copied: Path, tmp_path: Path
) -> None:
    """The permission in config.json or tokenizer_config.json counts as little as config.yaml's."""
    written = tmp_path / "written"
    for model in copied.rglob("model"):
        with_code(model, written)
        for name in ("config.json", "tokenizer_config.json", "adapter_config.json"):
            path = model / name
            values = json.loads(path.read_text()) if path.is_file() else {}
            mapped = values.get("auto_map", {}) | {"AutoTokenizer": ["evil.C", "evil.C"]}
            asked = {"trust_remote_code": True, "auto_map": mapped, "tokenizer_class": "C"}
            path.write_text(json.dumps({**values, **asked}))
    code = luthier([part.format(run=copied) for part in command])
    assert code in (0, 2, 3)
    assert not written.exists()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("replaced", [False, True], ids=["beside", "instead"])
def test_no_pickle_of_a_run_is_opened(
    command: Sequence[str], replaced: bool, copied: Path, tmp_path: Path
) -> None:
    written = tmp_path / "written"
    for folder in [path for path in copied.rglob("*") if path.is_dir()] + [copied]:
        for name in PICKLES:
            (folder / name).write_bytes(pickle.dumps(Bomb(written)))
    for weights in copied.rglob("*.safetensors") if replaced else ():
        weights.unlink()
    assert luthier([part.format(run=copied) for part in command]) in (0, 2, 3)
    assert not written.exists()
    pickle.loads((copied / PICKLES[0]).read_bytes())
    assert written.exists()  # the bomb works
