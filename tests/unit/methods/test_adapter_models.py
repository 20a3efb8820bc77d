"""An adapter in place of a model: measured, trained further, and merged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from luthier.cli.main import run as luthier
from luthier.config import ModelConfig, RunConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.methods import load, load_adapted, method_for, save_adapted
from luthier.methods.adapted import is_adapter
from luthier.methods.lora_adapter import with_adapter_settings
from luthier.methods.merge import merge
from luthier.models.load import LoadedModel, open_model

QUIET = Console(quiet=True)
IDS = [[3, 40, 41, 7, 300, 301], [900, 901, 902, 12, 13, 14]]


@pytest.fixture
def base(tiny_llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama, to be moved and damaged."""
    return Path(shutil.copytree(tiny_llama, tmp_path / "base"))


def _settings(kind: str) -> Any:
    """Adapters as other tools make them, of a shape that is not this project's default."""
    import peft

    lora = {
        "task_type": "CAUSAL_LM",
        "r": 4,
        "lora_alpha": 12,
        "target_modules": ["q_proj", "up_proj"],
    }
    kinds = {
        "lora": lambda: peft.LoraConfig(**lora),
        "rslora": lambda: peft.LoraConfig(**lora, use_rslora=True),
        "dora": lambda: peft.LoraConfig(**lora, use_dora=True),
        "dropout": lambda: peft.LoraConfig(**lora, lora_dropout=0.1),
        "pattern": lambda: peft.LoraConfig(**{**lora, "target_modules": r".*\.(q_proj|v_proj)"}),
        "ranks": lambda: peft.LoraConfig(**lora, rank_pattern={"up_proj": 2}),
        "one-layer": lambda: peft.LoraConfig(**lora, layers_to_transform=[1]),
        "head": lambda: peft.LoraConfig(**lora, modules_to_save=["lm_head"]),
        "tokens": lambda: peft.LoraConfig(**lora, trainable_token_indices=[5, 6]),
        "bias": lambda: peft.LoraConfig(**lora, bias="lora_only"),
        "ia3": lambda: peft.IA3Config(
            task_type="CAUSAL_LM",
            target_modules=["k_proj", "down_proj"],
            feedforward_modules=["down_proj"],
        ),
        "vera": lambda: peft.VeraConfig(
            task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "o_proj"]
        ),
        "prompt-tuning": lambda: peft.PromptTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=3
        ),
    }
    return kinds[kind]()


@pytest.fixture
def make_adapter(base: Path, tmp_path: Path) -> Any:
    """The folder of an adapter of one kind, made by peft: ``make_adapter("lora")``."""
    import peft
    from transformers import AutoModelForCausalLM

    def make(kind: str = "lora") -> Path:
        torch.manual_seed(0)
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        model = peft.get_peft_model(plain, _settings(kind))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return make


def opened(folder: Path, **settings: Any) -> LoadedModel:
    return load(open_model(ModelConfig(id=str(folder), dtype="float32", **settings), QUIET))


def answers(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits_BTV: torch.Tensor = model(input_ids=torch.tensor(IDS)).logits
    return logits_BTV


def as_peft(base: Path, adapter: Path) -> Any:
    import peft
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return peft.PeftModel.from_pretrained(plain, adapter).eval()


KINDS = [
    "lora",
    "rslora",
    "dora",
    "dropout",
    "pattern",
    "ranks",
    "one-layer",
    "head",
    "tokens",
    "bias",
    "ia3",
    "vera",
]


@pytest.mark.sample(4)
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_answers_as_in_peft(kind: str, make_adapter: Any, base: Path) -> None:
    adapter = make_adapter(kind)
    found = opened(adapter)
    assert is_adapter(found)
    assert found.stamp.id == kind
    torch.testing.assert_close(answers(found.model), answers(as_peft(base, adapter)))
    assert not torch.allclose(answers(found.model), answers(opened(base).model), atol=1e-3)


def test_a_soft_prompt_takes_its_part_of_the_window(make_adapter: Any) -> None:
    assert opened(make_adapter("prompt-tuning")).context_window == 1024 - 3


def test_the_revision_is_of_both(make_adapter: Any, base: Path) -> None:
    adapter = make_adapter()
    first = open_model(ModelConfig(id=str(adapter)), QUIET).revision
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({k: v + 1 for k, v in weights.items()}, adapter / "adapter_model.safetensors")
    second = open_model(ModelConfig(id=str(adapter)), QUIET).revision
    assert first.split("+")[0] == second.split("+")[0]
    assert first != second


# How an adapter finds its base.


def test_a_base_that_has_moved(make_adapter: Any, base: Path, tmp_path: Path) -> None:
    adapter = make_adapter()
    base.rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"base model .* cannot be used") as caught:
        opened(adapter)
    assert "model.base=" in caught.value.fix
    assert answers(opened(adapter, base=str(tmp_path / "moved")).model).isfinite().all()


def test_a_base_beside_the_adapter(make_adapter: Any, base: Path) -> None:
    adapter = make_adapter()
    change(adapter, base_model_name_or_path="../base")
    assert is_adapter(opened(adapter))


def test_a_bundled_model_in_another_machines_cache(bundled_handle: Any, tmp_path: Path) -> None:
    from luthier.models.adapter_folder import AdapterFolder
    from luthier.models.resolve import base_config

    there = f"/home/someone/.cache/luthier/models/{bundled_handle.folder.path.name}"
    adapter = AdapterFolder(tmp_path, {"peft_type": "LORA", "base_model_name_or_path": there})
    assert base_config(ModelConfig(id=str(tmp_path)), adapter).id == bundled_handle.id


@pytest.mark.parametrize("named", [None, "", 3])
def test_an_adapter_that_names_no_base(named: Any, make_adapter: Any, base: Path) -> None:
    adapter = make_adapter()
    change(adapter, base_model_name_or_path=named)
    with pytest.raises(DataError, match="names no base model"):
        opened(adapter)
    assert is_adapter(opened(adapter, base=str(base)))


def test_a_base_on_a_server(make_adapter: Any) -> None:
    adapter = make_adapter()
    change(adapter, base_model_name_or_path="http://127.0.0.1:1/v1")
    with pytest.raises(DataError, match="names a server as its base"):
        opened(adapter)


def test_a_base_that_is_an_adapter(make_adapter: Any, tmp_path: Path) -> None:
    first = make_adapter()
    second = Path(shutil.copytree(first, tmp_path / "second"))
    change(second, base_model_name_or_path=str(first))
    with pytest.raises(DataError, match="is itself an adapter") as caught:
        opened(second)
    assert "luthier merge" in caught.value.fix


def test_a_whole_model_has_no_base(base: Path) -> None:
    with pytest.raises(UsageError, match="full model, not an adapter") as caught:
        opened(base, base=str(base))
    assert caught.value.where == "model.base"


def test_a_whole_model_and_an_adapter_in_one_folder(make_adapter: Any, base: Path) -> None:
    """Transformers would silently load the adapter, on whichever base it names."""
    for file in make_adapter().iterdir():
        shutil.copy(file, base / file.name)
    with pytest.raises(DataError, match=r"a full model .* and an adapter"):
        opened(base)


def test_the_settings_of_the_base_beside_the_adapter(make_adapter: Any, base: Path) -> None:
    """Some trainers leave config.json there."""
    adapter = make_adapter()
    shutil.copy(base / "config.json", adapter / "config.json")
    assert is_adapter(opened(adapter))


def test_a_tokenizer_with_more_tokens(make_adapter: Any, base: Path) -> None:
    from transformers import AutoTokenizer

    adapter = make_adapter()
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["[DEPOT]"])
    tokenizer.save_pretrained(adapter)
    with pytest.raises(DataError, match="token ids up to 2048"):
        opened(adapter)
    assert opened(adapter, resize_embeddings=True).model.config.vocab_size == 2049


def test_embeddings_among_the_adapters_weights(base: Path, tmp_path: Path) -> None:
    """Peft saves them where a trainer has resized them; trained further, they are kept."""
    import peft
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    plain.resize_token_embeddings(2049)
    model = peft.get_peft_model(plain, _settings("lora"))
    with torch.no_grad():
        model.get_input_embeddings().weight[2048].normal_()
    folder = tmp_path / "resized"
    model.save_pretrained(folder, save_embedding_layers=True)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["[DEPOT]"])
    tokenizer.save_pretrained(folder)
    row = model.get_input_embeddings().weight[2048]
    found = opened(folder, resize_embeddings=True)
    assert torch.equal(found.model.get_input_embeddings().weight[2048], row)
    save_adapted(found, tmp_path / "again")
    again = opened(tmp_path / "again", resize_embeddings=True)
    assert torch.equal(again.model.get_input_embeddings().weight[2048], row)


# Adapters that do not fit.


def change(adapter: Path, **values: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_pickled_weights(make_adapter: Any) -> None:
    adapter = make_adapter()
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(DataError, match=r"no safetensors weights, only adapter_model\.bin"):
        opened(adapter, allow_pickle=True)


def test_no_weights(make_adapter: Any) -> None:
    adapter = make_adapter()
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(DataError, match=r"adapter_model\.safetensors is missing"):
        opened(adapter)


def test_another_rank_than_it_says(make_adapter: Any) -> None:
    adapter = make_adapter()
    change(adapter, r=8)
    with pytest.raises(DataError, match="does not fit lora"):
        opened(adapter)


@pytest.mark.parametrize("other", ["tiny_gpt2", "tiny_t5"])
def test_another_kind_of_base(
    other: str, make_adapter: Any, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(DataError, match="does not fit") as caught:
        opened(make_adapter(), base=str(request.getfixturevalue(other)))
    assert "model.base" in caught.value.fix


@pytest.mark.parametrize("layers", [1, 3])
def test_a_base_with_other_layers(layers: int, make_adapter: Any, base: Path) -> None:
    """Peft says nothing, or only warns: the update of some layers would be missing."""
    from transformers import AutoConfig, AutoModelForCausalLM

    adapter = make_adapter()
    config = AutoConfig.from_pretrained(base)
    config.num_hidden_layers = layers
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    with pytest.raises(DataError, match="are in only one of adapter and model"):
        opened(adapter)


def test_an_unknown_kind(make_adapter: Any) -> None:
    adapter = make_adapter()
    change(adapter, peft_type="SORCERY")
    with pytest.raises(DataError, match="does not fit"):
        opened(adapter)
    change(adapter, peft_type=None)
    with pytest.raises(DataError, match="no kind of adapter"):
        opened(adapter)


def test_code_named_by_an_adapter_is_not_imported(make_adapter: Any) -> None:
    adapter = make_adapter()
    change(adapter, megatron_config={"a": 1}, megatron_core="antigravity")
    with pytest.raises(DataError, match="refers to Python code"):
        opened(adapter)


# Trained further.


def adopted(adapter: Path, values: dict[str, Any] | None = None) -> RunConfig:
    handle = open_model(ModelConfig(id=str(adapter), dtype="float32"), QUIET)
    assert handle.adapter is not None
    return with_adapter_settings(RunConfig.model_validate(values or {}), handle.adapter)


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("kind", "method"),
    [("lora", "lora"), ("lora", "qlora"), ("rslora", "rslora"), ("dora", "dora")]
    + [(kind, "lora") for kind in ("dropout", "pattern", "ranks", "one-layer", "head", "tokens")],
)
def test_an_adapter_is_trained_further(
    kind: str, method: Any, make_adapter: Any, base: Path, tmp_path: Path
) -> None:
    adapter = make_adapter(kind)
    config = adopted(adapter)
    start = opened(adapter)
    chosen = method_for(method, config.methods)
    chosen.require_base(start.adapter)
    expected = answers(start.model)
    model = chosen.prepare(start)
    torch.testing.assert_close(answers(model), expected)  # it begins where it was
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    theirs = {
        name for name, p in _for_training(base, adapter).named_parameters() if p.requires_grad
    }
    assert trained == theirs
    ids_BT = torch.tensor(IDS)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    model(input_ids=ids_BT, labels=ids_BT).loss.backward()
    optimizer.step()
    model.eval()
    save_adapted(start, tmp_path / "further")
    names = load_file(tmp_path / "further" / "adapter_model.safetensors").keys()
    assert names == load_file(adapter / "adapter_model.safetensors").keys()
    assert not torch.allclose(answers(model), expected)
    torch.testing.assert_close(answers(as_peft(base, tmp_path / "further")), answers(model))
    again = load_adapted(tmp_path / "further", ModelConfig(id=str(adapter), dtype="float32"), QUIET)
    torch.testing.assert_close(answers(again.model), answers(model))


def _for_training(base: Path, adapter: Path) -> Any:
    import peft
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return peft.PeftModel.from_pretrained(plain, adapter, is_trainable=True)


def test_its_sizes_are_taken_from_it(make_adapter: Any) -> None:
    methods = adopted(make_adapter("dropout")).methods
    for settings in (methods.lora, methods.qlora):
        assert (settings.rank, settings.alpha, settings.dropout) == (4, 12, 0.1)
        assert settings.targets == ("q_proj", "up_proj")
    assert methods.rslora.rank == 8  # no method for it
    assert adopted(make_adapter("ia3")).methods == RunConfig().methods


@pytest.mark.parametrize(
    ("setting", "value"),
    [("rank", 16), ("alpha", 64), ("dropout", 0.5), ("targets", ["v_proj"])],
)
def test_another_shape_is_refused(setting: str, value: Any, make_adapter: Any) -> None:
    adapter = make_adapter()
    config = adopted(adapter, {"methods": {"lora": {setting: value}}})
    with pytest.raises(UsageError, match=f"methods.lora.{setting} is") as caught:
        method_for("lora", config.methods).require_base(opened(adapter).adapter)
    assert f"leave methods.lora.{setting} out" in caught.value.fix


@pytest.mark.parametrize(
    ("kind", "method", "said"),
    [
        ("rslora", "lora", "not trained with lora but with rslora"),
        ("dora", "lora", "not trained with lora but with dora"),
        ("lora", "dora", "not trained with dora but with lora"),
        ("ia3", "lora", "adapter of the kind IA3"),
        ("prompt-tuning", "lora", "adapter of the kind PROMPT_TUNING"),
        ("bias", "lora", "trained biases"),
        *(("lora", m, "starts from a full model") for m in ("full", "ia3", "adalora", "vera")),
        ("lora", "prompt-tuning", "starts from a full model"),
        ("lora", "adapters", "starts from a full model"),
    ],
)
def test_what_cannot_go_on_says_so(kind: str, method: Any, said: str, make_adapter: Any) -> None:
    adapter = make_adapter(kind)
    with pytest.raises(UsageError, match=said) as caught:
        method_for(method, adopted(adapter).methods).require_base(opened(adapter).adapter)
    assert "luthier merge" in caught.value.fix


# By the command.


@pytest.fixture
def rows(in_tmp_path: Path) -> Path:
    """A task of two answers."""
    data = in_tmp_path / "rows.jsonl"
    lines = [{"prompt": f"Where is {n}?", "completion": f"In depot {n % 2}."} for n in range(40)]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return data


def settings(adapter: Path, rows: Path, name: str) -> list[str]:
    return [
        *("--model", str(adapter), "--data", str(rows), "--name", name),
        *("model.dtype=float32", "evaluate.general_text=null", "evaluate.max_new_tokens=4"),
        *("train.epochs=1", "train.batch_size=8", "train.compile=false"),
    ]


def test_one_adapter_comes_out(
    make_adapter: Any, rows: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = make_adapter("dropout")
    asked = ["tune", "--method", "lora", *settings(adapter, rows, "run")]
    assert luthier([*asked, "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["methods"][0]["trained_parameters"]
    assert luthier([*asked, "--json"]) == 0
    said = capsys.readouterr()
    assert "continues with the adapter" in said.err
    assert "rank 4, alpha 12, dropout 0.1" in said.err
    record = json.loads(said.out)
    assert record["trained_parameters"] == planned
    made = json.loads(Path("runs/run/model/adapter_config.json").read_text())
    assert (made["r"], made["lora_alpha"], made["base_model_name_or_path"]) == (4, 12, str(base))
    stored = yaml.safe_load(Path("runs/run/config.yaml").read_text())
    assert stored["methods"]["lora"]["rank"] == 4
    # The same command, and the stored configuration, find it done.
    assert luthier(asked) == 0
    assert "already tuned" in capsys.readouterr().err
    assert luthier(["tune", "runs/run/config.yaml"]) == 0
    assert "already tuned" in capsys.readouterr().err
    assert luthier(["evaluate", "runs/run"]) == 0
    assert luthier(["prompt", "--run", "runs/run", "--input", "Where is 3?"]) == 0
    assert luthier(["merge", "runs/run"]) == 0
    torch.testing.assert_close(
        answers(opened(Path("runs/run/merged")).model),
        answers(as_peft(base, Path("runs/run/model"))),
        atol=1e-4,
        rtol=1e-4,
    )


def test_an_adapter_is_measured_shown_and_planned(
    make_adapter: Any, base: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = make_adapter()
    quick = ["model.dtype=float32", "evaluate.general_text=null", "evaluate.max_new_tokens=4"]
    assert luthier(["evaluate", str(adapter), "--data", str(rows), *quick]) == 0
    assert luthier(["prompt", "--model", str(adapter), "--input", "Where is 3?", *quick]) == 0
    assert luthier(["data", "show", "--model", str(adapter), "--data", str(rows)]) == 0
    assert luthier(["inspect", "--method", "lora", *settings(adapter, rows, "i")]) == 0
    capsys.readouterr()
    assert luthier(["plan", str(adapter), "--json"]) == 0
    of_adapter = capsys.readouterr().out
    assert luthier(["plan", str(base), "--json"]) == 0
    assert of_adapter.replace(str(adapter), str(base)) == capsys.readouterr().out


def test_an_adapter_is_the_base_of_a_ladder(
    make_adapter: Any, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = make_adapter()
    asked = ["adapt", *settings(adapter, rows, "ladder"), "adapt.rungs=[zero-shot, lora]", "--json"]
    assert luthier(asked) == 0
    rungs = json.loads(capsys.readouterr().out)["rungs"]
    assert [rung["status"] for rung in rungs] == ["done", "done", "done"]
    made = json.loads(Path("runs/ladder/rungs/lora/model/adapter_config.json").read_text())
    assert made["r"] == 4
    refused = [*asked[:-2], "adapt.rungs=[zero-shot, full]", "--dry-run"]
    assert luthier(refused) == 2
    assert "luthier merge" in capsys.readouterr().err


def test_an_adapter_is_merged(
    make_adapter: Any, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter, whole = make_adapter(), tmp_path / "whole"
    assert luthier(["merge", str(adapter)]) == 2
    assert "--output" in capsys.readouterr().err
    assert luthier(["merge", str(adapter), "--output", str(whole)]) == 0
    found = opened(whole)
    assert not is_adapter(found)
    expected = answers(as_peft(base, adapter))
    torch.testing.assert_close(answers(found.model), expected, atol=0.1, rtol=0.1)
    assert luthier(["merge", str(adapter), "--output", str(whole)]) == 2  # it is not replaced
    base.rename(tmp_path / "moved")
    again = ["merge", str(adapter), "--output", str(tmp_path / "again")]
    assert luthier(again) == 3
    assert luthier([*again, "--base", str(tmp_path / "moved")]) == 0


def test_merged_in_memory_too(make_adapter: Any) -> None:
    found = opened(make_adapter("dora"))
    expected = answers(found.model)
    merged = merge(found, IDS)
    torch.testing.assert_close(answers(merged.loaded.model), expected, atol=1e-4, rtol=1e-4)


def test_what_luthier_saved_is_a_model_too(load: Any, base: Path, tmp_path: Path) -> None:
    """Its own bottleneck adapters as well."""
    import dataclasses

    whole = opened(base)
    model = method_for("adapters", RunConfig().methods).prepare(whole)
    save_adapted(dataclasses.replace(whole, model=model), tmp_path / "bottleneck")
    found = opened(tmp_path / "bottleneck")
    assert is_adapter(found)
    torch.testing.assert_close(answers(found.model), answers(opened(base).model))
