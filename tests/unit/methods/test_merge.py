"""An adapter in the weights answers as it did beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.cli.main import run as luthier
from luthier.config import LoraConfig
from luthier.core.errors import DataError, UsageError
from luthier.core.method_facts import FACTS, METHOD_NAMES
from luthier.methods.adapted import is_adapter
from luthier.methods.lora import LoraMethod
from luthier.methods.merge import merge, require_mergeable

PROBES = [list(range(3, 20)), list(range(40, 47))]
MERGEABLE = [name for name in METHOD_NAMES if FACTS[name].mergeable]
WHOLE = [name for name in METHOD_NAMES if FACTS[name].trains_base and name not in MERGEABLE]
ADDED = [name for name in METHOD_NAMES if name not in (*WHOLE, *MERGEABLE)]


@pytest.mark.sample(3)
@pytest.mark.parametrize("method", MERGEABLE)
@pytest.mark.parametrize("model", ["tiny_llama", "tiny_t5"])
def test_merged_is_unmerged(
    model: str, method: str, small_tune: Any, load: Any, request: pytest.FixtureRequest
) -> None:
    tuned, _, _ = small_tune(model, method)
    base = load(request.getfixturevalue(model))
    merged = merge(tuned, PROBES)
    assert merged.difference <= 1e-4 < merged.tolerance < 1e-3
    assert merged.positions == sum(map(len, PROBES))
    assert not is_adapter(merged.loaded)
    weights = base.model.state_dict()
    after = merged.loaded.model.state_dict()
    assert after.keys() == weights.keys()
    assert any(not torch.equal(after[name], value) for name, value in weights.items())


@pytest.mark.parametrize("method", ADDED)
def test_what_no_weight_can_hold_is_refused(method: Any, small_tune: Any) -> None:
    tuned, _, _ = small_tune("tiny_llama", method)
    with pytest.raises(UsageError, match="cannot be merged"):
        merge(tuned, PROBES)
    with pytest.raises(UsageError, match=f"{method} cannot be merged"):
        require_mergeable(method)


@pytest.mark.parametrize("method", ["full", "last-layers"])
def test_a_whole_model_has_nothing_to_merge(method: Any, small_tune: Any) -> None:
    tuned, _, _ = small_tune("tiny_llama", method)
    with pytest.raises(UsageError, match="no adapter"):
        merge(tuned, PROBES)
    with pytest.raises(UsageError, match="no adapter"):
        require_mergeable(method)


def test_a_merge_that_changes_the_answers_is_found(small_tune: Any) -> None:
    """An update that the forward pass does not use: merged, it shows."""
    tuned, _, _ = small_tune("tiny_llama", "lora")
    layer = next(m for name, m in tuned.model.named_modules() if name.endswith("q_proj"))
    layer.forward = layer.base_layer.forward
    with pytest.raises(DataError, match="differ by"):
        merge(tuned, PROBES)


def test_rounding_allows_more_in_short_types(small_tune: Any) -> None:
    tuned, _, _ = small_tune("tiny_llama", "lora", dtype="bfloat16")
    merged = merge(tuned, PROBES)
    assert 1e-4 < merged.difference <= merged.tolerance < 0.1


def test_the_command(tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [f'{{"prompt": "say {n}", "completion": "{n} it is"}}\n' for n in range(40)]
    data.write_text("".join(rows), encoding="utf-8")
    settings = [
        f"model.id={tiny_llama}",
        f"data.source={data}",
        f"output={tmp_path}",
        "name=run",
        "data.test_fraction=0.1",
        "train.epochs=0.3",
        "evaluate.general_text=null",
    ]
    assert luthier(["merge", str(tmp_path)]) == 3
    assert "not a run directory" in capsys.readouterr().err
    assert luthier(["tune", *settings]) == 0
    capsys.readouterr()
    assert luthier(["merge", str(tmp_path / "run")]) == 0
    assert "Merged:" in capsys.readouterr().out
    assert (tmp_path / "run" / "merged" / "model.safetensors").is_file()
    assert not (tmp_path / "run" / "merged" / "adapter_config.json").exists()


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_one_end_of_tied_embeddings_cannot_be_merged(
    target: str, small_tune: Any, load: Any, tiny_llama: Path, tmp_path: Path
) -> None:
    model = load(tiny_llama).model
    model.config.tie_word_embeddings = True
    model.tie_weights()
    folder = tmp_path / "tied"
    model.save_pretrained(folder)
    load(tiny_llama).tokenizer.save_pretrained(folder)
    tied = load(folder)
    settings = LoraConfig(targets=("q_proj", target))
    adapted = replace(tied, model=LoraMethod(settings).prepare(tied))
    with pytest.raises(UsageError, match="input and output embeddings are tied"):
        merge(adapted, PROBES)
