"""No config of a model or adapter makes a library fetch, import or run anything, or fill memory.

The models are opened in a process that has a package ``kernels``, which transformers asks for code
of the Hub, and whose Hub is a server here: both record each call.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.cli.main import run as luthier
from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.methods import load
from luthier.models.foreign_config import cleaned
from luthier.models.load import open_model

EVIL = "evil/kernel"
KERNELS = """
import os
__version__ = "0.18.2"
def _called(name):
    def call(*given, **named):
        with open(os.environ["CALLS"], "a") as file:
            file.write(f"{name} {given!r}\\n")
        raise RuntimeError("stop")
    return call
class _Class:
    def __init__(self, *given, **named): pass
    def __call__(self, *given, **named): return lambda one: one
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    if name.startswith(("get_", "load", "install", "snap")):
        return _called(name)
    return (lambda *given, **named: lambda one: one) if name[0].islower() else _Class
"""
# Fields that are left out: the model is the same without them.
LEFT_OUT: dict[str, dict[str, Any]] = {
    "attention": {"attn_implementation": EVIL},
    "attention, private": {"_attn_implementation": EVIL},
    "attention, internal": {"_attn_implementation_internal": EVIL},
    "attention of a revision": {"attn_implementation": f"{EVIL}@main:forward"},
    "attention, paged": {"_attn_implementation": f"paged|{EVIL}"},
    "attention of parts": {"attn_implementation": {"": EVIL, "text_config": EVIL}},
    "flash attention": {"_attn_implementation": "flash_attention_2"},
    "experts": {"experts_implementation": "sonicmoe"},
    "experts, private": {"_experts_implementation": "deepgemm"},
    "attention of a layer": {"per_layer_config": {"0": {"_attn_implementation": EVIL}}},
    "a method": {"to_dict": 1},
    "another method": {"get_text_config": "x", "validate": None},
    "names of attributes": {"attribute_map": {"hidden_size": "to_dict"}},
    "plans": {"base_model_tp_plan": {"layers.*": "evil"}},
    "labels": {"num_labels": 60_000, "id2label": {"0": "a"}, "label2id": {"a": 0}},
    "kernels": {"use_kernels": True, "kernel_config": {"RMSNorm": EVIL}},
}
REFUSED: dict[str, dict[str, Any]] = {
    "another file": {"configuration_files": ["config.4.0.0.json"]},
    "fused modules": {"fusion_config": {"patch_embeddings": True}},
    "weights of a part": {"text_config": {"transformers_weights": "pytorch_model.bin"}},
    "quantised part": {"text_config": {"quantization_config": {"quant_method": "mxfp4"}}},
    "timm's Hub": {"vision_config": {"architecture": "hf-hub:evil/model"}},
    "timm's folder": {"vision_config": {"backbone": "local-dir:/elsewhere"}},
    "timm's checkpoint": {"vision_config": {"model_args": {"checkpoint_path": "x.pth"}}},
    "pretrained part": {"vision_config": {"use_pretrained_backbone": True}},
    "not a valid dtype": {"dtype": "load"},
    "no type, in a part": {"text_config": {"torch_dtype": "hub"}},
    "a thousand million labels": {"num_labels": 10**9},
    "labels of a part": {"text_config": {"num_labels": 10**9}},
    "dense layers": {"first_k_dense_replace": 10**9},
    "many entries": {"id2label": {str(number): "a" for number in range(2**16 + 1)}},
    "quantised by a package": {"quantization_config": {"quant_method": "evil"}},
}
SOFT = {
    "peft_type": "PROMPT_TUNING",
    "task_type": "CAUSAL_LM",
    "num_virtual_tokens": 2,
    "token_dim": 32,
    "num_transformer_submodules": 1,
    "num_attention_heads": 4,
    "num_layers": 2,
}
LORA = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj"]}
BACKTRACKS = "(.*)*" * 7 + "x!"
ADAPTERS: dict[str, dict[str, Any]] = {
    "code": LORA | {"megatron_config": {"a": 1}, "megatron_core": "evil"},
    "adapters elsewhere": LORA | {"peft_type": "XLORA", "adapters": {"a": EVIL}},
    "another model": LORA | {"peft_type": "SHADOW", "shadow_model": EVIL},
    "hidden pattern": LORA | {"target_modules": BACKTRACKS},
    "pattern of ranks": LORA | {"rank_pattern": {BACKTRACKS: 2}},
    "pattern of what is left out": LORA | {"exclude_modules": BACKTRACKS},
    "pattern of what is saved": LORA | {"modules_to_save": [BACKTRACKS]},
    "pattern of layers": LORA | {"layers_pattern": BACKTRACKS, "layers_to_transform": [0]},
    "copies of layers": LORA | {"layer_replication": [[0, 1]] * 100_000},
    "a range of layers": LORA | {"layer_replication": [[0, 10**6]]},
    "rounds": LORA | {"init_lora_weights": "pissa_niter_1000000"},
    "rank": LORA | {"r": 10**7},
    "rank of a pattern": LORA | {"rank_pattern": {"q_proj": 10**7}},
    "scale": LORA | {"lora_alpha": 1e308},
    "values of other tasks": SOFT
    | {
        "peft_type": "MULTITASK_PROMPT_TUNING",
        "prompt_tuning_init": "EXACT_SOURCE_TASK",
        "prompt_tuning_init_state_dict_path": "evil.bin",
    },
    "virtual tokens": SOFT | {"num_virtual_tokens": 10**6},
}  # fmt: skip


def changed(source: Path, to: Path, values: dict[str, Any]) -> Path:
    """A copy of a model with other values in its ``config.json``."""
    folder = Path(shutil.copytree(source, to))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
    return folder


def adapter(folder: Path, settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Path:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def lora_tensors() -> dict[str, torch.Tensor]:
    return {
        f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{part}.weight": values
        for layer in range(2)
        for part, values in (("A", torch.ones(2, 32)), ("B", torch.ones(32, 2)))
    }


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A server that records what is asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_nothing_is_fetched_or_imported(
    tiny_llama: Path, tmp_path: Path, hub: tuple[str, list[str]]
) -> None:
    """Each of many fields, in a process that would fetch code of the Hub and import it."""
    models = tmp_path / "models"
    given: dict[str, tuple[Path, Path | None]] = {
        f"{kind}: {name}": (changed(tiny_llama, models / f"{kind}{number}", values), None)
        for kind, fields in (("kept", LEFT_OUT), ("refused", REFUSED))
        for number, (name, values) in enumerate(fields.items())
    }
    first = {
        "prompt_tuning_init": "TEXT",
        "prompt_tuning_init_text": "a",
        "tokenizer_name_or_path": EVIL,
        "inference_mode": False,
        "base_model_name_or_path": EVIL,
    }
    soft = adapter(models / "soft", SOFT | first, {"prompt_embeddings": torch.ones(2, 32)})
    given["kept: a soft prompt's first values"] = (soft, tiny_llama)
    for number, (name, settings) in enumerate(ADAPTERS.items()):
        folder = adapter(models / f"adapter{number}", settings, lora_tensors())
        given[f"refused: adapter, {name}"] = (folder, tiny_llama)
    package = tmp_path / "packages"
    (package / "kernels").mkdir(parents=True)
    (package / "kernels" / "__init__.py").write_text(KERNELS)
    (package / "kernels-0.18.2.dist-info").mkdir()
    (package / "kernels-0.18.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: kernels\nVersion: 0.18.2\n"
    )
    calls, (url, asked) = tmp_path / "calls", hub
    paths = [str(package), *sys.path]
    told = {"PYTHONPATH": os.pathsep.join(paths), "CALLS": str(calls), "HF_ENDPOINT": url}
    told |= {"HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hub")}
    asked_for = "".join(
        json.dumps([str(folder), str(base) if base else None]) + "\n"
        for folder, base in given.values()
    )
    unguarded = [str(given["kept: attention"][0]), str(tmp_path / "unguarded")]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.security.hostile_configs", *unguarded],
        input=asked_for, env=os.environ | told, capture_output=True, text=True, timeout=300,
        cwd=Path(__file__).parents[2],
        check=False,
    )  # fmt: skip
    first_line, *lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert first_line == {"kernels": True}
    assert len(lines) == len(given), ran.stderr
    for name, found in zip(given, lines, strict=True):
        assert bool(found["refused"]) == name.startswith("refused"), (name, found)
        if name.startswith("kept: att"):
            assert found["attention"] == "sdpa", name
    # bitsandbytes asks for its own, whatever is opened, when it is imported.
    lines = calls.read_text().splitlines() if calls.exists() else []
    assert [line for line in lines if "quantization-bitsandbytes" not in line] == []
    assert asked == []
    assert EVIL in Path(unguarded[1]).read_text()  # transformers by itself does ask for it


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_named(
    name: str, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels are no part of a model that writes text, and not worth a word."""
    folder = changed(tiny_llama, tmp_path / "model", LEFT_OUT[name])
    open_model(ModelConfig(id=str(folder), dtype="float32"), Console())
    said = capsys.readouterr().err.replace("\n", " ")
    if name not in ("labels", "kernels"):
        assert "they are removed" in said
        assert next(iter(LEFT_OUT[name])) in said


def test_what_can_be_computed_here_is_kept(tiny_llama: Path, tmp_path: Path) -> None:
    folder = changed(tiny_llama, tmp_path / "model", {"_attn_implementation": "eager"})
    loaded = load(open_model(ModelConfig(id=str(folder), dtype="float32"), Console(quiet=True)))
    assert loaded.model.config._attn_implementation == "eager"


def test_parts_are_cleaned_as_the_whole() -> None:
    values = {"text_config": {"layers": [{"_attn_implementation": EVIL, "a": 1}], "num_labels": 3}}
    kept, left_out = cleaned(values, "config.json")
    assert kept == {"text_config": {"layers": [{"a": 1}]}}
    assert left_out == ('text_config.layers._attn_implementation = "evil/kernel"',)


@pytest.mark.parametrize("where", ["model", "tokenizer"])
def test_a_tokenizers_config_is_as_little_believed(
    where: str, tiny_llama: Path, tmp_path: Path
) -> None:
    """transformers reads config.json beside a tokenizer too."""
    spoiled = changed(tiny_llama, tmp_path / "spoiled", {"num_labels": 10**9})
    named = {"model": {"id": spoiled}, "tokenizer": {"id": tiny_llama, "tokenizer": spoiled}}
    config = ModelConfig.model_validate({key: str(one) for key, one in named[where].items()})
    with pytest.raises(DataError, match="num_labels"):
        open_model(config, Console(quiet=True))


def test_merging_what_is_no_number_is_an_error(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = {name: values * float("nan") for name, values in lora_tensors().items()}
    folder = adapter(tmp_path / "adapter", LORA, tensors)
    command = ["merge", str(folder), "--base", str(tiny_llama), "--output", str(tmp_path / "m")]
    assert luthier(command) == 3
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_what_changes_greedy_answers_is_named_once(
    file: str, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is obeyed as transformers obeys it: numerics/test_constraints.py."""
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    old = json.loads((folder / file).read_text()) if (folder / file).is_file() else {}
    demanded = {"sequence_bias": [[[1], 9.0]], "repetition_penalty": 1.3, "min_length": 0}
    (folder / file).write_text(json.dumps(old | demanded))
    console = Console()
    for _ in range(2):
        open_model(ModelConfig(id=str(folder), dtype="float32"), console)
    said = capsys.readouterr().err
    assert said.count("sequence_bias = [[[1], 9.0]], repetition_penalty = 1.3") == 1
    assert f"{file} of model" in said
    assert "min_length" not in said


def test_a_generation_config_replaces_no_method(tiny_llama: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (folder / "generation_config.json").write_text('{"to_dict": 1}')
    with pytest.raises(DataError, match="to_dict"):
        open_model(ModelConfig(id=str(folder)), Console(quiet=True))


def test_an_index_of_safetensors_names_no_pickle(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    placed = dict.fromkeys(tensors, "pytorch_model.bin")
    index = {"metadata": {"total_size": 1}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert luthier(["prompt", "--model", str(folder), "--input", "hello"]) == 3
    assert "a file of another kind: pytorch_model.bin" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer_config.json", "vocab.txt"])
def test_a_link_leads_nowhere_else(
    name: str, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights may lie on another disk; nobody sends them as text."""
    (tmp_path / "secret").write_text("{}")
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tiny_llama / "model.safetensors")
    open_model(ModelConfig(id=str(folder), dtype="float32"), Console(quiet=True))
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "secret")
    assert luthier(["prompt", "--model", str(folder), "--input", "hello"]) == 3
    assert "outside its folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("hidden_size", -16, "is -16, but cannot be below 0"),
        ("vocab_size", "257", "vocab_size"),
        ("max_position_embeddings", 1, "too few tokens"),
    ],
)
def test_a_message_says_what_is_wrong(
    field: str, value: Any, said: str, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = changed(tiny_llama, tmp_path / "model", {field: value})
    with pytest.raises(DataError) as error:
        open_model(ModelConfig(id=str(folder)), Console(quiet=True))
    assert said in error.value.problem
    assert not error.value.problem.rstrip().endswith(":")


def test_too_long_an_answer_is_said_as_such(
    tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prompt", "--model", str(tiny_llama), "--input", "hello"]
    assert luthier([*command, "evaluate.max_new_tokens=1000000"]) == 3
    assert "answers of 1000000 leave none in a context window" in capsys.readouterr().err


def test_special_tokens_name_no_files(tiny_llama: Path, tmp_path: Path) -> None:
    """transformers takes what stands there for paths of the vocabulary."""
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    elsewhere = {"tokenizer_file": str(tiny_llama / "tokenizer.json")}
    (folder / "special_tokens_map.json").write_text(json.dumps(elsewhere))
    with pytest.raises(DataError, match="tokenizer_file"):
        open_model(ModelConfig(id=str(folder)), Console(quiet=True))


def test_tables_of_positions_are_bounded(small_tokenizer: Any, tmp_path: Path) -> None:
    """GPT-J computes one as long as its window, which no tensor shows."""
    from transformers import GPTJConfig, GPTJForCausalLM

    config = GPTJConfig(
        vocab_size=2048, n_embd=32, n_layer=2, n_head=4, rotary_dim=8, n_positions=64
    )
    GPTJForCausalLM(config).save_pretrained(tmp_path / "model")
    small_tokenizer.save_pretrained(tmp_path / "model")
    asked = ModelConfig(id=str(tmp_path / "model"), dtype="float32")
    open_model(asked, Console(quiet=True))
    values = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(values | {"n_positions": 2**28}))
    with pytest.raises(DataError, match="a table of"):
        open_model(asked, Console(quiet=True))
