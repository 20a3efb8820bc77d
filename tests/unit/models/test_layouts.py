"""Folders as they lie around compute what they hold, or each command says why they are refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.families import COMMON, ENCODER_DECODERS, family
from tests.layouts import LAYOUTS, Layout, changed, edit, tensors, write
from tests.wrappers import WRAPPERS

from luthier.cli.main import run as luthier
from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, LuthierError, UsageError
from luthier.methods import load, save_adapted
from luthier.models.kinds import model_class
from luthier.models.load import LoadedModel, open_model
from luthier.models.quantised import is_quantised
from luthier.models.resolve import ModelFolder
from luthier.models.tensors import check_tensors

QUIET = Console(quiet=True)
IDS = torch.tensor([[1, 40, 41, 7, 300, 301]])
BY_NAME = {layout.name: layout for layout in LAYOUTS}

# Of those that load, the ones that could still go wrong on the way.
USED = (
    "checkpoint of a trainer",
    "links of the Hub's cache",
    "parts",
    "tied, stored as the output layer",
    "tied by the config, different in the file",
    "compiled in parallel",
    "a pickle, allowed",
    "no generation config",
    "sampling settings that contradict",
    "pad id −1",
    "code beside a known kind",
    "four bits",
    "eight bits",
    "fp8",
    "no pad",
    "padding on the left",
    "rows padded",
    "a token too many, resized",
)


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama whose logits differ by token, as fresh weights are too small for."""
    copied = Path(shutil.copytree(tiny_llama, tmp_path / "models" / "model"))
    torch.manual_seed(1)
    write(copied, {name: torch.randn_like(one) * 0.2 for name, one in tensors(copied).items()})
    return copied


def opened(folder: Path, settings: dict[str, Any] | None = None) -> LoadedModel:
    named = {key.removeprefix("model."): value for key, value in (settings or {}).items()}
    config = ModelConfig.model_validate({"id": str(folder), "dtype": "float32"} | named)
    return load(open_model(config, QUIET))


def answers(folder: Path, settings: dict[str, Any] | None = None) -> torch.Tensor:
    with torch.inference_mode():
        logits_BTV: torch.Tensor = opened(folder, settings).model(input_ids=IDS).logits
    return logits_BTV[..., :2048]


def arguments(folder: Path, layout: Layout, parity: Path) -> list[str]:
    settings = {
        "model.id": folder,
        "model.dtype": "float32",
        "data.source": parity,
        "train.max_steps": 2,
        "evaluate.max_new_tokens": 2,
        "evaluate.resamples": 100,
        "output": folder.parent.parent / "runs",
        **{key: str(value).lower() for key, value in layout.settings.items()},
    }
    return [f"{key}={value}" for key, value in settings.items()]


@pytest.mark.sample(16)
@pytest.mark.parametrize("layout", [one for one in LAYOUTS if one.refused is None], ids=str)
def test_what_loads_computes_what_the_files_hold(
    layout: Layout, folder: Path, parity_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = answers(folder)
    layout.change(folder)
    found = answers(folder, layout.settings)
    assert found.isfinite().all()
    if layout.same:
        torch.testing.assert_close(found, before)
    assert luthier(["tune", *arguments(folder, layout, parity_file), "--dry-run"]) == 0
    assert not (folder / "it-ran").exists()
    capsys.readouterr()


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", USED)
@pytest.mark.usefixtures("one_thread")
def test_what_loads_can_be_tuned_measured_and_asked(
    name: str, folder: Path, parity_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = BY_NAME[name]
    layout.change(folder)
    given = arguments(folder, layout, parity_file)
    models = [one for one in given if one.startswith(("model.", "evaluate.max"))]
    assert luthier(["tune", "--method", "lora", "--name", "run", *given]) == 0
    powers = [one for one in given if one.startswith(("model.allow", "model.trust"))]
    assert luthier(["evaluate", str(folder.parent.parent / "runs" / "run"), *powers]) == 0
    assert luthier(["evaluate", *given]) == 0
    assert luthier(["prompt", *models, "--input", "Is 3 odd?"]) == 0
    capsys.readouterr()


@pytest.mark.sample(14)
@pytest.mark.parametrize("layout", [one for one in LAYOUTS if one.refused], ids=str)
def test_what_is_refused_is_so_by_every_command(
    layout: Layout, folder: Path, parity_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout.change(folder)
    given = arguments(folder, layout, parity_file)
    asked = [*(one for one in given if one.startswith("model.")), "--input", "Is 3 odd?"]
    for command in (
        ["tune", *given, "--dry-run"],
        ["adapt", *given, "--dry-run"],
        ["tune", *given],
        ["evaluate", *given],
        ["prompt", *asked],
    ):
        assert luthier(command) in (2, 3)
        said = " ".join(capsys.readouterr().err.split())
        assert re.search(str(layout.refused), said), said
        assert "do: " in said
    assert not (folder / "it-ran").exists()


# Full tuning writes a whole model, which has to be one again.


@pytest.mark.parametrize(
    "name",
    [
        "tied, stored as the output layer",
        "tied by the config, different in the file",
        "compiled",
        "sampling settings that contradict",
        "fp8",
        "rows padded",
        "a token too many, resized",
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_a_tuned_model_is_whole(
    name: str, folder: Path, parity_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForCausalLM

    layout = BY_NAME[name]
    layout.change(folder)
    given = arguments(folder, layout, parity_file)
    assert luthier(["tune", "--method", "full", "--name", "run", *given]) == 0
    saved = folder.parent.parent / "runs" / "run" / "model"
    model, found = AutoModelForCausalLM.from_pretrained(saved, output_loading_info=True)
    assert not any(found.values())
    with torch.inference_mode():
        expected = model.eval()(input_ids=IDS).logits[..., :2048]
    torch.testing.assert_close(answers(saved), expected)
    capsys.readouterr()


# The check takes no model's own files for another's.


@pytest.mark.parametrize("kind", [*COMMON, *ENCODER_DECODERS])
def test_what_transformers_saves_is_whole(kind: str, tmp_path: Path) -> None:
    family(kind, encoder_decoder=kind in ENCODER_DECODERS).model.save_pretrained(tmp_path)
    _check_saved(tmp_path)


@pytest.mark.parametrize("kind", WRAPPERS)
def test_so_is_a_vision_language_model(kind: str, tmp_path: Path) -> None:
    WRAPPERS[kind]().save_pretrained(tmp_path)
    _check_saved(tmp_path)


def _check_saved(folder: Path) -> None:
    """Whole, it is found to be so; without one tensor, it is not."""
    from transformers import AutoConfig

    settings = AutoConfig.from_pretrained(folder)
    auto_class = model_class(settings, str(folder))
    model = ModelFolder("saved", folder, "", "", weights=tuple(folder.glob("*.safetensors")))
    check_tensors(settings, auto_class, model, QUIET)
    values = tensors(folder)
    del values[max(name for name in values if "norm" in name.lower() or "ln" in name.lower())]
    write(folder, values)
    with pytest.raises(DataError, match="not in its files"):
        check_tensors(settings, auto_class, model, QUIET)


# What is not seen in a folder by itself.


def test_a_shape_is_told_apart_by_the_dry_run(folder: Path) -> None:
    BY_NAME["a tensor of another shape"].change(folder)
    with pytest.raises(DataError, match=r"is \[4, 4\] in the files .* \[64, 32\] by config"):
        open_model(ModelConfig(id=str(folder)), QUIET)


def test_more_layers_than_could_be_made_are_refused_at_once(folder: Path) -> None:
    edit(folder, num_hidden_layers=10**9)
    with pytest.raises(DataError, match="num_hidden_layers is 1,000,000,000"):
        open_model(ModelConfig(id=str(folder)), QUIET)


def test_tensors_that_are_no_part_of_the_model_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value head, as reinforcement learning leaves it."""
    write(folder, tensors(folder) | {"v_head.summary.weight": torch.zeros(1, 32)})
    open_model(ModelConfig(id=str(folder)), Console())
    said = " ".join(capsys.readouterr().err.split())
    assert "not used, being no part of the model: v_head.summary.weight" in said


def test_nothing_is_read_from_a_file_of_weights_to_check_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The values could be anything: only names and shapes are looked at."""
    values = {name: torch.full_like(one, float("nan")) for name, one in tensors(folder).items()}
    write(folder, values)
    open_model(ModelConfig(id=str(folder)), QUIET)


def test_weights_stored_in_four_bits_are_not_trained_whole(
    folder: Path, parity_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    BY_NAME["four bits"].change(folder)
    given = arguments(folder, BY_NAME["four bits"], parity_file)
    for more in ([], ["--dry-run"]):
        assert luthier(["tune", "--method", "full", *given, *more]) == 2
        assert "nf4 weights cannot be trained" in " ".join(capsys.readouterr().err.split())


def test_weights_stored_in_four_bits_are_quantised_when_loaded(folder: Path) -> None:
    BY_NAME["four bits"].change(folder)
    found = opened(folder)
    assert is_quantised(found.model)
    assert found.stamp.dtype == "nf4"
    with pytest.raises(UsageError, match="stored in nf4 and cannot be loaded in int8"):
        opened(folder, {"quantisation": "int8"})


def test_fp8_weights_are_decoded_by_their_scales(folder: Path) -> None:
    """A block's numbers times its scale, as the format says."""
    BY_NAME["fp8"].change(folder)
    values = tensors(folder)
    scales = {name for name in values if name.endswith("_scale_inv")}
    for name in scales:
        values[name] = torch.full_like(values[name], 0.5)
    write(folder, values)
    found = opened(folder).model.state_dict()
    for name in scales:
        weight = name.removesuffix("_scale_inv")
        torch.testing.assert_close(found[weight], values[weight].float() * 0.5)
    assert scales


def test_a_tokenizer_from_elsewhere(folder: Path, tiny_llama: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink()
    found = opened(folder, {"tokenizer": str(tiny_llama)})
    assert found.tokenizer.get_vocab() == opened(tiny_llama).tokenizer.get_vocab()
    with pytest.raises(DataError, match="model 'nowhere' not found"):
        opened(folder, {"tokenizer": "nowhere"})


@pytest.mark.parametrize(
    "change",
    [
        changed(hidden_size=-32),
        changed(vocab_size="many"),
        changed(num_attention_heads=0),
        changed(rope_parameters={"rope_type": "of tomorrow"}),
        changed(hidden_act="of tomorrow"),
        changed(quantization_config=3),
        changed(pad_token_id="none"),
    ],
)
def test_settings_that_make_no_sense_are_no_traceback(change: Any, folder: Path) -> None:
    change(folder)
    with pytest.raises(LuthierError):
        opened(folder)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.usefixtures("one_thread")
def test_a_run_keeps_the_tokenizer_from_elsewhere(
    method: str, folder: Path, tiny_llama: Path, parity_file: Path
) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink()
    given = arguments(folder, BY_NAME["plain"], parity_file)
    named = f"model.tokenizer={tiny_llama}"
    assert luthier(["tune", "--method", method, "--name", "run", *given, named]) == 0
    run = folder.parent.parent / "runs" / "run"
    assert luthier(["evaluate", str(run)]) == 0
    assert (run / "model" / "tokenizer.json").is_file()


def test_mxfp4_weights_are_decoded_and_saved_as_plain_ones(
    small_tokenizer: Any, tmp_path: Path
) -> None:
    """GPT-OSS is published so: two numbers of four bits a byte, and an exponent for each 32."""
    from transformers import GptOssConfig, GptOssForCausalLM

    config = GptOssConfig(
        vocab_size=2048,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=8,
        max_position_embeddings=256,
        pad_token_id=2,
        eos_token_id=2,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    torch.manual_seed(0)
    folder = tmp_path / "model"
    GptOssForCausalLM(config).save_pretrained(folder)
    small_tokenizer.save_pretrained(folder)
    values, plain = tensors(folder), {}
    table = torch.tensor([0.0, 0.5, 1, 1.5, 2, 3, 4, 6])
    table = torch.cat([table, -table])
    for name in [name for name in values if name.endswith("_proj") and "experts" in name]:
        experts, columns, rows = values.pop(name).shape
        blocks = torch.randint(0, 256, (experts, rows, columns // 32, 16), dtype=torch.uint8)
        scales = torch.randint(118, 122, blocks.shape[:3], dtype=torch.uint8)
        values |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
        pairs = torch.stack([table[(blocks & 15).long()], table[(blocks >> 4).long()]], -1)
        numbers = pairs.flatten(-2) * 2.0 ** (scales.int() - 127)[..., None]
        plain[name] = numbers.flatten(-2).transpose(1, 2)
    write(folder, values)
    edit(folder, quantization_config={"quant_method": "mxfp4"})
    loaded = opened(folder)
    found = loaded.model.state_dict()
    for name, expected in plain.items():
        torch.testing.assert_close(found[name], expected)
    save_adapted(loaded, tmp_path / "saved")
    again = opened(tmp_path / "saved").model.state_dict()
    for name, value in found.items():
        assert torch.equal(again[name], value), name


def test_a_tokenizer_whose_kind_is_guessed_is_warned_of(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "tokenizer_config.json").unlink()
    open_model(ModelConfig(id=str(folder)), Console())
    assert "no tokenizer_config.json" in " ".join(capsys.readouterr().err.split())


def test_a_sentencepiece_model_by_itself(folder: Path, tmp_path: Path) -> None:
    """A tokenizer.model with its settings, and no tokenizer.json."""
    from pydoc_data.topics import topics

    import sentencepiece

    text = tmp_path / "text.txt"
    text.write_text("\n".join(topics[name] for name in sorted(topics)[:20]), encoding="utf-8")
    trained = tmp_path / "tokenizer"
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(trained),
        vocab_size=512,
        model_type="bpe",
        byte_fallback=True,
        minloglevel=2,
    )
    (folder / "tokenizer.json").unlink()
    trained.with_suffix(".model").rename(folder / "tokenizer.model")
    settings = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"unk_token": "<unk>"}))
    own = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    asked = "Which statement binds names?"
    tokenizer = open_model(ModelConfig(id=str(folder)), QUIET).tokenizer
    assert tokenizer(asked, add_special_tokens=False)["input_ids"] == own.encode(asked)
