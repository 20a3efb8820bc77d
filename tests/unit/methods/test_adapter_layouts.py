"""Folders of adapters as they lie around."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from luthier.cli.main import run as luthier
from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.methods import load
from luthier.models.load import open_model

QUIET = Console(quiet=True)
IDS = torch.tensor([[3, 40, 41, 7, 300, 301]])
WEIGHTS = "adapter_model.safetensors"


def edit(adapter: Path, **values: Any) -> None:
    path = adapter / "adapter_config.json"
    found = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


def made(base: Path, folder: Path, rows: int | None = None, **settings: Any) -> torch.Tensor:
    """Make an adapter with peft; the logits of the two together."""
    import peft
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if rows:
        plain.resize_token_embeddings(rows)
    lora = {"task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj", "v_proj"]}
    model = peft.get_peft_model(plain, peft.LoraConfig(**{**lora, **settings}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    with torch.inference_mode():
        logits_BTV: torch.Tensor = model.eval()(input_ids=IDS).logits
    return logits_BTV


@pytest.fixture
def base(tiny_llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama, to be moved."""
    return Path(shutil.copytree(tiny_llama, tmp_path / "base"))


def _relative(adapter: Path) -> None:
    edit(adapter, base_model_name_or_path="../base")


def _trainer_files(adapter: Path) -> None:
    """Of a checkpoint; the pickle beside the safetensors is not opened."""
    for name in ("optimizer.pt", "rng_state.pth", "training_args.bin", "adapter_model.bin"):
        (adapter / name).write_bytes(b"not opened")
    (adapter / "global_step5").mkdir()


def _second_adapter(adapter: Path) -> None:
    """A reference model of preference training lies in a folder below."""
    shutil.copytree(adapter, adapter / "reference")


def _of_the_future(adapter: Path) -> None:
    edit(adapter, a_field_of_tomorrow=3)


def _of_the_past(adapter: Path) -> None:
    path = adapter / "adapter_config.json"
    kept = ("peft_type", "task_type", "r", "lora_alpha", "target_modules", "lora_dropout", "bias")
    found = json.loads(path.read_text())
    path.write_text(json.dumps({key: found[key] for key in (*kept, "base_model_name_or_path")}))


def _without_task(adapter: Path) -> None:
    edit(adapter, task_type=None)


def _with_config(adapter: Path) -> None:
    shutil.copy(adapter.parent / "base" / "config.json", adapter)


def _named_twice(adapter: Path) -> None:
    """Names that still have the adapter's own in them."""
    found = load_file(adapter / WEIGHTS)
    renamed = {n.replace(".weight", ".default.weight"): v.clone() for n, v in found.items()}
    save_file(renamed, adapter / WEIGHTS, {"format": "pt"})


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    "change",
    [
        _relative,
        _trainer_files,
        _second_adapter,
        _of_the_future,
        _of_the_past,
        _without_task,
        _with_config,
        _named_twice,
    ],
)
def test_what_loads_computes_as_in_peft(
    change: Callable[[Path], None], base: Path, tmp_path: Path, parity_file: Path
) -> None:
    expected = made(base, tmp_path / "adapter")
    change(tmp_path / "adapter")
    config = ModelConfig(id=str(tmp_path / "adapter"), dtype="float32")
    with torch.inference_mode():
        found = load(open_model(config, QUIET)).model(input_ids=IDS).logits
    torch.testing.assert_close(found, expected)
    given = [f"model.id={config.id}", f"data.source={parity_file}", "method=lora"]
    assert luthier(["tune", *given, "--dry-run"]) == 0


def test_new_tokens_with_their_rows_saved_as_a_whole(
    tiny_gpt2: Path, tmp_path: Path, parity_file: Path
) -> None:
    """Peft saves resized embeddings beside their trained copies, under names of their own."""
    from transformers import AutoTokenizer

    adapter = tmp_path / "adapter"
    whole = {"target_modules": ["c_attn"], "fan_in_fan_out": True, "modules_to_save": ["wte"]}
    expected = made(tiny_gpt2, adapter, rows=2049, **whole)
    tokenizer = AutoTokenizer.from_pretrained(tiny_gpt2)
    tokenizer.add_tokens(["[DEPOT]"])
    tokenizer.save_pretrained(adapter)
    settings = {"id": str(adapter), "dtype": "float32", "resize_embeddings": True}
    loaded = load(open_model(ModelConfig.model_validate(settings), QUIET))
    with torch.inference_mode():
        found = loaded.model(input_ids=IDS).logits
    torch.testing.assert_close(found[..., :2048], expected[..., :2048])


# What does not fit is refused before any weights are read.


def _other_rank(adapter: Path) -> None:
    edit(adapter, r=8)


def _other_base(adapter: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    base = adapter.parent / "base"
    config = AutoConfig.from_pretrained(base)
    config.hidden_size, config.head_dim = 64, 16
    AutoModelForCausalLM.from_config(config).save_pretrained(base)


def _cut_short(adapter: Path) -> None:
    whole = (adapter / WEIGHTS).read_bytes()
    (adapter / WEIGHTS).write_bytes(whole[:-50])


def _pointer(adapter: Path) -> None:
    (adapter / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def _empty(adapter: Path) -> None:
    (adapter / WEIGHTS).write_bytes(b"")


def _of_itself(adapter: Path) -> None:
    edit(adapter, base_model_name_or_path=str(adapter))


def _of_another(adapter: Path) -> None:
    shutil.copytree(adapter, adapter.parent / "first")
    edit(adapter, base_model_name_or_path="../first")


def _base_gone(adapter: Path) -> None:
    shutil.rmtree(adapter.parent / "base")


def _classifier(adapter: Path) -> None:
    edit(adapter, task_type="SEQ_CLS")


def _below(adapter: Path) -> None:
    """Trainers save a named adapter in a folder of its name."""
    shutil.move(adapter, adapter.parent / "moved")
    adapter.mkdir()
    shutil.move(adapter.parent / "moved", adapter / "policy")


def _lost_layer(adapter: Path) -> None:
    found = load_file(adapter / WEIGHTS)
    kept = {name: value.clone() for name, value in found.items() if "layers.1" not in name}
    save_file(kept, adapter / WEIGHTS, {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_rank, "does not fit"),
        (_other_base, "does not fit"),
        (_lost_layer, "does not fit"),
        (_cut_short, "this file of weights is damaged"),
        (_pointer, "Git LFS pointer"),
        (_empty, "this file is empty"),
        (_of_itself, "is itself an adapter"),
        (_of_another, "is itself an adapter"),
        (_base_gone, "cannot be used"),
        (_classifier, "for a task other than text generation: SEQ_CLS"),
        (_below, "has models in subfolders: policy"),
    ],
)
def test_what_does_not_fit_is_refused_by_every_command(
    change: Callable[[Path], None],
    said: str,
    base: Path,
    tmp_path: Path,
    parity_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made(base, tmp_path / "adapter")
    change(tmp_path / "adapter")
    model = f"model.id={tmp_path / 'adapter'}"
    given = [model, f"data.source={parity_file}", f"output={tmp_path}"]
    for command in (
        ["tune", "--method", "lora", *given, "--dry-run"],
        ["adapt", *given, "--dry-run"],
        ["tune", "--method", "lora", *given],
        ["evaluate", *given],
        ["prompt", model, "--input", "Is 3 odd?"],
    ):
        assert luthier(command) == 3
        words = " ".join(capsys.readouterr().err.split())
        assert said in words
        assert "do: " in words
