"""Models as they lie around, tuned and measured by the command."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.families import family
from tests.wrappers import WRAPPERS, lively

from luthier.config import Decoding
from luthier.core.errors import UsageError
from luthier.inference import ScoreRequest
from luthier.inference.local.engine import LocalEngine
from luthier.models.load import LoadedModel

Call = Callable[..., Any]
QUICK = (
    *("model.dtype=float32", "train.epochs=1", "train.batch_size=8", "train.compile=false"),
    *("evaluate.general_text=null", "evaluate.max_new_tokens=4"),
)
# All but the first are recurrent, hybrid, or have windows.
KINDS = (
    *("llama", "mistral", "gemma3_text", "qwen3_next", "mamba", "mamba2", "rwkv", "lfm2", "jamba"),
    *("falcon_h1", "recurrent_gemma"),
)


def drawn(chance: random.Random, length: int) -> list[int]:
    return [chance.randrange(3, 120) for _ in range(length)]


@pytest.mark.sample(4)
@pytest.mark.parametrize("kind", KINDS)
def test_ragged_batches_answer_as_whole_texts_do(kind: str) -> None:
    """Half of the prompts begin alike, for longer than a window; the others share nothing."""
    changed = {"sliding_window": 16} if kind in ("mistral", "gemma3_text") else {}
    loaded = family(kind, **changed)
    chance = random.Random(0)
    prefix = drawn(chance, 30)
    prompts = [prefix + drawn(chance, length) for length in (9, 10, 12, 21)]
    prompts += [drawn(chance, length) for length in (20, 33, 47, 60)]
    expected = [whole_text_answer(loaded, prompt, 4) for prompt in prompts]
    assert len(set(expected)) > 4
    for batch_tokens in (16384, 1):
        engine = LocalEngine(loaded, batch_tokens)
        answers = engine.generate(prompts, Decoding(max_new_tokens=4))
        assert [answer.ids for answer in answers] == expected
        requests = [ScoreRequest(tuple(prompt[:-3]), tuple(prompt[-3:])) for prompt in prompts]
        for prompt, score in zip(prompts, engine.score(requests), strict=True):
            assert score.logprob == pytest.approx(whole_text_score(loaded, prompt, 3), abs=1e-3)


@torch.inference_mode()
def logits_of(loaded: LoadedModel, ids: list[int]) -> torch.Tensor:
    logits_TV: torch.Tensor = loaded.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return logits_TV.log_softmax(-1)


def whole_text_answer(loaded: LoadedModel, prompt: list[int], count: int) -> tuple[int, ...]:
    """A greedy answer without any cache: the definition. It ends before the end token."""
    ids = list(prompt)
    for _ in range(count):
        token = int(logits_of(loaded, ids)[-1].argmax())
        if token == loaded.model.config.eos_token_id:
            break
        ids.append(token)
    return tuple(ids[len(prompt) :])


def whole_text_score(loaded: LoadedModel, ids: list[int], last: int) -> float:
    logits_TV = logits_of(loaded, ids)
    places = range(len(ids) - last, len(ids))
    return sum(float(logits_TV[place - 1, ids[place]]) for place in places)


@pytest.fixture(scope="module")
def rows(inputs: Path) -> str:
    return str(inputs / "thinking" / "plain.jsonl")


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Any:
    """The folder of a vision-language model without a processor."""
    root = tmp_path_factory.mktemp("wrapped")

    def make(name: str) -> str:
        if not (root / name).is_dir():
            lively(WRAPPERS[name]).save_pretrained(root / name)
            small_tokenizer.save_pretrained(root / name)
        return str(root / name)

    return make


@pytest.fixture(scope="module")
def mamba(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> str:
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "mamba"
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    config = MambaConfig(vocab_size=2048, hidden_size=32, num_hidden_layers=2, state_size=8, **ids)
    MambaForCausalLM(config).save_pretrained(folder)
    small_tokenizer.save_pretrained(folder)
    return str(folder)


def test_safetensors_beside_the_index_of_other_weights(
    call: Call, tiny_llama: Path, tmp_path: Path, rows: str, load: Any
) -> None:
    folder = tmp_path / "both"
    loaded = load(tiny_llama)
    loaded.model.save_pretrained(folder, max_shard_size="100KB")
    loaded.tokenizer.save_pretrained(folder)
    assert (folder / "model.safetensors.index.json").is_file()
    entry = {"model.embed_tokens.weight": "pytorch_model-00001-of-00002.bin"}
    index = {"metadata": {"total_size": 1}, "weight_map": entry}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    shown = call("data", "show", "--model", str(folder), "--data", rows)
    assert shown.code == 0, shown.err
    found = load(folder).model.state_dict()
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(found[name], value)


def test_a_target_that_matches_nothing_is_refused(call: Call, tiny_llama: Path, rows: str) -> None:
    asked = ("inspect", "--model", str(tiny_llama), "--method", "lora", "--data", rows)
    outcome = call(*asked, "methods.lora.targets=[q_proj,gate_projj]")
    assert outcome.code == UsageError.exit_code
    assert "no module's name ends with 'gate_projj'" in outcome.err
    assert "did you mean 'gate_proj'" in outcome.err


def test_all_linear_leaves_out_what_kernels_read(
    call: Call, mamba: str, rows: str, in_tmp_path: Path
) -> None:
    asked = ("tune", "--model", mamba, "--method", "lora", "--name", "mb", "--data", rows)
    outcome = call(*asked, *QUICK)
    assert outcome.code == 0, outcome.err
    names = load_file(in_tmp_path / "runs/mb/model/adapter_model.safetensors")
    assert names
    assert not [name for name in names if "out_proj" in name or "conv1d" in name]
    measured = call("evaluate", "runs/mb", "--shots", "0")
    assert measured.code == 0, measured.err


def test_text_alone_leaves_the_part_that_sees_alone(call: Call, wrapped: Any, rows: str) -> None:
    asked = ("inspect", "--model", wrapped("gemma3"), "--method", "lora")
    outcome = call(*asked, "--data", rows, "--json", "model.dtype=float32")
    assert outcome.code == 0, outcome.err
    assert "language_model.layers" in outcome.out
    trained = [group["pattern"] for group in outcome.document["groups"]]
    assert trained
    assert all("language_model.layers" in name for name in trained)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava"])
def test_a_vision_language_model_is_tuned_on_text(
    name: str, call: Call, wrapped: Any, rows: str, in_tmp_path: Path
) -> None:
    asked = ("tune", "--model", wrapped(name), "--method", "lora", "--name", "v", "--data", rows)
    checked = call(*asked, "--dry-run", *QUICK)
    assert checked.code == 0, checked.err
    assert "Everything that can be checked before training is in order" in checked.out
    tuned = call(*asked, *QUICK)
    assert tuned.code == 0, tuned.err
    names = load_file(in_tmp_path / "runs/v/model/adapter_model.safetensors")
    assert names
    assert not [name for name in names if "vision" in name or "visual" in name]


def test_an_adapter_is_trained_further_on_other_rows_and_measured(
    call: Call, tiny_llama: Path, rows: str, inputs: Path, in_tmp_path: Path
) -> None:
    asked = ("tune", "--method", "lora", *QUICK)
    assert call(*asked, "--model", str(tiny_llama), "--name", "first", "--data", rows).code == 0
    before = in_tmp_path / "first-model"
    shutil.copytree("runs/first/model", before)
    other = str(inputs / "rows/added-tokens.jsonl")
    further = call(*asked, "--model", "runs/first/model", "--name", "on", "--data", other)
    assert further.code == 0, further.err
    assert "continues with the adapter runs/first/model: rank 8, alpha 16" in further.err
    old = load_file(before / "adapter_model.safetensors")
    new = load_file("runs/on/model/adapter_model.safetensors")
    assert old.keys() == new.keys()  # still one adapter
    assert any(not torch.equal(old[name], new[name]) for name in old)
    for name, tensor in load_file("runs/first/model/adapter_model.safetensors").items():
        assert torch.equal(old[name], tensor)  # the first one stays as it was
    stored = json.loads(Path("runs/on/model/adapter_config.json").read_text())
    assert stored["base_model_name_or_path"] == str(tiny_llama)
    quick = ("model.dtype=float32", "evaluate.general_text=null", "evaluate.max_new_tokens=4")
    measured = call("evaluate", "runs/first/model", "--data", rows, "--shots", "0", *quick)
    assert measured.code == 0, measured.err
    assert "chrf" in measured.out
