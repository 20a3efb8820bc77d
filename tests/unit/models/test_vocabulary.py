"""Tokens without a row of the embedding are refused, or given one on request."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests import parcels
from tests.wrappers import WRAPPERS, lively

from luthier.cli.main import run as luthier
from luthier.config import LoraConfig, ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.methods import load, load_adapted, save_adapted
from luthier.methods.lora import LoraMethod
from luthier.methods.merge import merge
from luthier.models.load import ModelHandle, open_model
from luthier.models.vocabulary import rows_needed

QUIET = Console(quiet=True)
ADDED = ("[DEPOT]", "[SHELF]", "[CRATE]")


def opened(folder: Path, console: Console = QUIET, **settings: Any) -> ModelHandle:
    return open_model(ModelConfig(id=str(folder), dtype="float32", **settings), console)


@pytest.fixture
def make_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A tiny model whose tokenizer has been given more tokens: ``make_folder("tiny_llama", 2)``."""

    def make(base: str, tokens: int, **special: Any) -> Path:
        from transformers import AutoTokenizer

        source, folder = request.getfixturevalue(base), tmp_path / base
        load(opened(source)).model.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(source, **special)
        tokenizer.add_tokens(list(ADDED[:tokens]))
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def beyond(make_folder: Any) -> Path:
    """A Llama of 2,048 rows with tokens 2,048 and 2,049."""
    return Path(make_folder("tiny_llama", 2))


@pytest.mark.parametrize(("base", "rows"), [("tiny_llama", 2048), ("tiny_gpt2", 2048)])
@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_tokens_without_a_row_are_refused(
    base: str, rows: int, tokens: int, make_folder: Any
) -> None:
    folder = make_folder(base, tokens)
    with pytest.raises(DataError) as caught:
        opened(folder)
    assert f"token ids up to {rows + tokens - 1}" in caught.value.problem
    assert f"{rows} rows" in caught.value.problem
    assert all(repr(name) in caught.value.problem for name in ADDED[:tokens])
    assert "model.resize_embeddings=true" in caught.value.fix


def test_the_tokens_of_an_encoder_decoder(make_folder: Any) -> None:
    needed = rows_needed(opened(make_folder("tiny_t5", 0)).tokenizer)
    tokens = 1000 - needed + 1
    folder = make_folder("tiny_t5", 0)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"[T{number}]" for number in range(tokens)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(DataError, match=r"token ids up to 1000, .* 1000 rows"):
        opened(folder)
    model = load(opened(folder, resize_embeddings=True)).model
    assert model.get_input_embeddings().weight.shape[0] == 1001


def test_special_tokens_count_too(make_folder: Any) -> None:
    folder = make_folder("tiny_llama", 0, additional_special_tokens=["<|depot|>"])
    with pytest.raises(DataError, match=r"'<\|depot\|>' have no row"):
        opened(folder)


def test_a_gap_in_the_ids_is_no_room(make_folder: Any) -> None:
    """There are as many tokens as rows, and the largest id is larger than that."""
    folder = make_folder("tiny_llama", 0)
    path = folder / "tokenizer.json"
    rules = json.loads(path.read_text())
    pieces = rules["model"]["vocab"]
    pieces[max(pieces, key=pieces.__getitem__)] = 2100
    path.write_text(json.dumps(rules))
    with pytest.raises(DataError, match="token ids up to 2100"):
        opened(folder)


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_a_padded_vocabulary_is_left_as_it_is(make_folder: Any) -> None:
    folder = make_folder("tiny_llama", 0)
    model = load(opened(folder)).model
    model.resize_token_embeddings(2112)
    model.save_pretrained(folder)
    handle = opened(folder, resize_embeddings=True)
    assert handle.rows is None
    assert load(handle).model.get_input_embeddings().weight.shape[0] == 2112


def test_the_stand_in_of_an_image_needs_no_row(make_folder: Any) -> None:
    """Gemma 3 1B reads only text, and its tokenizer has one token more than its embedding."""
    folder = make_folder("tiny_llama", 0, extra_special_tokens={"image_token": "<image_soft>"})
    handle = opened(folder)
    assert len(handle.tokenizer) == 2049
    assert handle.rows is None


@pytest.mark.parametrize(
    "command",
    [
        ["tune", "--method", "lora", "--dry-run"],
        ["tune", "--method", "lora"],
        ["data", "show"],
        ["evaluate"],
        ["prompt"],
        ["adapt", "--dry-run"],
    ],
    ids=" ".join,
)
def test_every_command_refuses_before_any_weight(
    command: list[str], beyond: Path, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = beyond / "model.safetensors"
    content = weights.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    # Numbers that are none: nobody gets as far as these.
    weights.write_bytes(content[:header] + b"\xff" * (len(content) - header))
    data = parcels.written(in_tmp_path, 40, "In [DEPOT] {}.")
    assert luthier([*command, "--model", str(beyond), "--data", str(data)]) == 3
    said = capsys.readouterr().err
    assert "token ids up to 2049" in said
    assert "2048 rows" in said
    assert "model.resize_embeddings=true" in said


def test_rows_are_added_on_request_and_said(beyond: Path, load_plain: Any) -> None:
    screen = io.StringIO()
    handle = opened(beyond, Console(screen), resize_embeddings=True)
    said = " ".join(screen.getvalue().split())
    assert "2 rows are added to the embedding of 2048, for '[DEPOT]', '[SHELF]'" in said
    assert "are meaningless until trained" in said
    model = load(handle).model
    assert model.config.vocab_size == 2050
    assert handle.description["vocab_size"] == 2050
    weight = model.get_input_embeddings().weight
    assert model.lm_head.weight is weight
    before = load_plain(beyond)
    assert torch.equal(weight[:2048], before)
    for row in weight[2048:]:
        torch.testing.assert_close(row, before.mean(0), atol=1e-3, rtol=0)


@pytest.fixture
def load_plain() -> Any:
    """The stored embedding of a folder."""
    return lambda folder: load_file(folder / "model.safetensors")["model.embed_tokens.weight"]


def test_the_added_rows_are_the_same_each_time(beyond: Path) -> None:
    torch.manual_seed(1)
    first = load(opened(beyond, resize_embeddings=True)).model.state_dict()
    state = torch.get_rng_state()
    second = load(opened(beyond, resize_embeddings=True)).model.state_dict()
    assert torch.equal(torch.get_rng_state(), state)  # and nobody's draws change
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_resized_model_is_saved_and_loaded(beyond: Path, tmp_path: Path) -> None:
    model = load(opened(beyond, resize_embeddings=True))
    save_adapted(model, tmp_path / "saved")
    again = load_adapted(tmp_path / "saved", ModelConfig(id=str(beyond), dtype="float32"), QUIET)
    expected = model.model.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in again.model.state_dict().items())
    assert opened(tmp_path / "saved").rows is None


def test_an_adapter_beside_added_rows(beyond: Path, tmp_path: Path) -> None:
    base = ModelConfig(id=str(beyond), dtype="float32", resize_embeddings=True)
    loaded = load(open_model(base, QUIET))
    adapted = dataclasses.replace(loaded, model=LoraMethod(LoraConfig(rank=2)).prepare(loaded))
    with torch.no_grad():
        for name, parameter in adapted.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    save_adapted(adapted, tmp_path / "adapter")
    ids = torch.tensor([[5, 2048, 2049, 7]])
    again = load_adapted(tmp_path / "adapter", base, QUIET)
    with torch.inference_mode():
        expected = adapted.model.eval()(ids).logits
        torch.testing.assert_close(again.model(ids).logits, expected)
    merged = merge(again, [[5, 2048, 2049, 7]])
    save_adapted(merged.loaded, tmp_path / "merged")
    whole = load(opened(tmp_path / "merged"))
    with torch.inference_mode():
        torch.testing.assert_close(whole.model(ids).logits, expected, atol=1e-4, rtol=1e-4)


def test_tuning_with_added_rows(
    beyond: Path, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan counts the new rows, full trains them, and the tuned model needs no setting."""
    data = parcels.written(in_tmp_path, 20, "[DEPOT] {}")
    settings = ("methods.full.learning_rate=0.01", "model.resize_embeddings=true")
    assert parcels.tuned(beyond, data, "full", *settings) == 0
    record = json.loads(capsys.readouterr().out)
    whole = load(opened(Path("runs/run/model")))
    assert record["trained_parameters"] == sum(p.numel() for p in whole.model.parameters())
    start = load(opened(beyond, resize_embeddings=True)).model.get_input_embeddings().weight
    trained = whole.model.get_input_embeddings().weight
    assert trained.shape == start.shape
    assert not torch.equal(trained[2048], start[2048])
    assert luthier(["evaluate", "runs/run"]) == 0


@pytest.mark.parametrize("wrapper", ["llava", "gemma3", "qwen2_5_vl", "idefics3", "llama4"])
def test_rows_inside_a_vision_language_model(
    wrapper: str, tmp_path: Path, small_tokenizer: Any
) -> None:
    """The rows that its text_config states are those that count, and those that are added to."""
    lively(WRAPPERS[wrapper]).save_pretrained(tmp_path)
    small_tokenizer.save_pretrained(tmp_path)
    tokenizer = _tokenizer(tmp_path)
    tokenizer.add_tokens(list(ADDED))
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"token ids up to 2050, .* 2048 rows"):
        opened(tmp_path)
    handle = opened(tmp_path, resize_embeddings=True)
    assert handle.description["text_config"]["vocab_size"] == 2051
    ids_1T = torch.tensor([[5, 2050]])
    logits = load(handle).model(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T)).logits
    assert logits.shape == (1, 2, 2051)
