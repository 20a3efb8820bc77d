"""From rows to masks: what a flag hides is never trained, and everything else is."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from luthier.config.data import DataConfig
from luthier.config.prompt import PromptConfig
from luthier.core.console import Console
from luthier.data.dataset import load_dataset
from luthier.data.flag_names import HIDDEN_IF_TRUE, TRAINED_IF_TRUE
from luthier.prompts.render import PromptRenderer

KEYS = {"messages": ("role", "content"), "conversations": ("from", "value")}


@pytest.mark.parametrize("name", [*TRAINED_IF_TRUE, *HIDDEN_IF_TRUE])
@pytest.mark.parametrize("column", KEYS)
@pytest.mark.parametrize("as_list", [False, True])
def test_what_a_flag_hides_is_never_trained(
    tmp_path: Path, tokenizer: Any, name: str, column: str, as_list: bool
) -> None:
    role, text = KEYS[column]
    hides = name in HIDDEN_IF_TRUE
    rows = []
    for n in range(20):
        said = ("user", f"Where is {n}?"), ("assistant", f"BAD {n}"), ("user", "Be exact.")
        turns: list[dict[str, Any]] = [{role: who, text: what} for who, what in said]
        turns.append({role: "assistant", text: f"In depot {n}."})
        row: dict[str, Any] = {column: turns}
        if as_list:
            row[name] = [hides, hides, hides, not hides]
        else:
            turns[1][name] = hides
        rows.append(row)
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    data = DataConfig(source=str(path))
    dataset = load_dataset(data, PromptConfig(), 0, Console(io.StringIO()))
    renderer = PromptRenderer.from_config(PromptConfig(), tokenizer, context_window=512)
    for example in dataset.train:
        tokens = renderer.training(example, completion_only_loss=True)
        ids = zip(tokens.input_ids, tokens.trained, strict=True)
        trained = tokenizer.decode([token for token, is_trained in ids if is_trained])
        assert "BAD" not in trained
        assert trained.startswith(example.references[0])
        assert "BAD" in tokenizer.decode(tokens.input_ids)
