"""What a model's output depends on, and what methods do about the rest."""

from __future__ import annotations

import dataclasses
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tests.families import family

from luthier.cli.main import run as luthier
from luthier.config import MethodsConfig
from luthier.core.errors import UsageError
from luthier.core.method_facts import MethodName
from luthier.methods import method_for
from luthier.methods.base import Method
from luthier.methods.gradient_reach import reach_of
from luthier.methods.peft_support import attach
from luthier.models.load import LoadedModel

MIXED = {"first_k_dense_replace": 1}  # one layer of each kind
GLOBAL = "led.encoder.layers.0.self_attn.longformer_self_attn.{}_global"


def copied(kind: str, **changed: Any) -> LoadedModel:
    base = family(kind, **changed)
    return dataclasses.replace(base, model=deepcopy(base.model))


def prepared(loaded: LoadedModel, name: MethodName, **settings: Any) -> tuple[Method, Any]:
    method = method_for(name, MethodsConfig.model_validate({name: settings}))
    return method, method.prepare(loaded)


def adapted(model: Any) -> set[str]:
    """The modules that have an adapter, stacks by their holders."""
    return {
        name.replace(".base_layer", "")
        for name, module in model.get_base_model().named_modules()
        if isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer)
    }


def test_what_is_not_asked_for_is_not_reached() -> None:
    loaded = copied("led", encoder_decoder=True)
    model = loaded.model.eval()
    model.led.shared.weight.requires_grad_(False)
    before = [(p.requires_grad, p.clone()) for p in model.parameters()]
    state = torch.get_rng_state()
    reach = reach_of(loaded)
    for part in ("query", "key", "value"):
        assert not reach.has_module(GLOBAL.format(part))
        assert not reach.has_parameter(f"{GLOBAL.format(part)}.bias")
        assert reach.has_module(GLOBAL.format(part).removesuffix("_global"))
    # Nothing is changed.
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    for one, (required, value) in zip(model.parameters(), before, strict=True):
        assert one.requires_grad == required
        assert one.grad is None
        assert torch.equal(one, value)


def test_a_model_without_numbers_tells_the_same() -> None:
    loaded = copied("deepseek_v32", **MIXED)
    with torch.device("meta"):
        bare = type(loaded.model)(loaded.model.config)
    there = reach_of(dataclasses.replace(loaded, model=bare, device=torch.device("meta")))
    assert there.is_known
    assert there == reach_of(loaded)
    assert not there.has_module("model.layers.0.self_attn.indexer.wk")


@pytest.mark.parametrize("name", ["full", "bitfit", "lora", "adapters", "layernorm"])
def test_what_cannot_learn_is_left_out_and_said(name: MethodName) -> None:
    """A decoder without its encoder has cross-attention that nothing passes through."""
    method, model = prepared(copied("bart"), name)
    trained = [key for key, one in model.named_parameters() if one.requires_grad]
    assert trained
    assert not [key for key in trained if "encoder_attn" in key]
    assert ["encoder_attn" in note for note in method.notes] == [True]


def test_a_target_that_cannot_learn_is_refused() -> None:
    for targets in (["query_global"], ".*_global"):
        loaded = copied("led", encoder_decoder=True)
        with pytest.raises(UsageError, match="does not depend on") as caught:
            prepared(loaded, "lora", targets=targets)
        assert caught.value.where == "methods.lora.targets"
    saved = {"targets": ["q_proj"], "modules_to_save": ["encoder_attn"]}
    with pytest.raises(UsageError, match="get no gradient"):
        prepared(copied("bart"), "lora", **saved)


KINDS: dict[str, dict[str, Any]] = {
    "deepseek_v3": MIXED,
    "deepseek_v2": MIXED,
    "glm4_moe": MIXED,
    "dots1": MIXED,
    "qwen3_next": {},
    "ernie4_5_moe": {"moe_layer_start_index": 1},
    "hunyuan_v1_moe": {},
    "exaone_moe": {},
}


@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_layers_beside_stacks_have_adapters(kind: str, tmp_path: Path) -> None:
    """Peft takes their names for those of the experts, and would leave them out."""
    loaded = copied(kind, **KINDS[kind])
    bare = deepcopy(loaded.model)
    output = bare.get_output_embeddings()
    linear = {
        name
        for name, module in bare.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not output
    }
    holders = {name.rpartition(".")[0] for name, one in bare.named_parameters() if one.dim() == 3}
    assert holders or kind == "hunyuan_v1_moe"
    method, model = prepared(loaded, "lora", rank=2)
    assert linear <= adapted(model)
    assert {one for one in holders if one.endswith("experts")} <= adapted(model)
    assert not [note for note in method.notes if "experts" in note]
    with torch.no_grad():
        for one in model.parameters():
            if one.requires_grad:
                one.add_(0.05 * torch.randn_like(one))
    # Peft itself reads what was saved as what was trained.
    model.eval().save_pretrained(tmp_path)
    theirs = peft.PeftModel.from_pretrained(bare, tmp_path).eval()
    ids = torch.randint(3, 100, (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, model(ids).logits)
    assert adapted(theirs) == adapted(model)


def test_dora_adapts_what_it_can_and_says_the_rest() -> None:
    method, model = prepared(copied("deepseek_v3", **MIXED), "dora")
    names = adapted(model)
    assert names
    assert all("self_attn" in name for name in names)
    said = " ".join(method.notes)
    assert "mlp.gate_proj" in said
    assert "experts.gate_up_proj" in said
    with pytest.raises(UsageError, match=r"dora cannot adapt") as caught:
        prepared(copied("deepseek_v3", **MIXED), "dora", targets=["o_proj", "gate_proj", "up_proj"])
    assert caught.value.fix == "name other modules, methods.dora.targets=[o_proj]"


def test_dropout_on_a_parameter_is_refused() -> None:
    with pytest.raises(UsageError, match="peft has no dropout") as caught:
        prepared(copied("deepseek_v3", **MIXED), "lora", dropout=0.1)
    assert caught.value.where == "methods.lora.dropout"


def test_stacks_are_named_as_in_peft() -> None:
    """A stack that all-linear leaves out is adapted where it is named."""
    method, model = prepared(copied("gpt_oss"), "lora", rank=2)
    assert not [name for name in adapted(model) if name.endswith("experts")]
    assert any("experts.down_proj" in note for note in method.notes)
    targets = ["q_proj", "experts.gate_up_proj", "experts.down_proj"]
    _, model = prepared(copied("gpt_oss"), "lora", rank=2, targets=targets)
    assert {name.rpartition(".")[2] for name in adapted(model)} == {"q_proj", "experts"}


def test_other_modules_than_were_meant_are_an_error() -> None:
    settings = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "o_proj"])
    meant = [f"model.layers.{n}.self_attn.{one}" for n in (0, 1) for one in ("q_proj", "k_proj")]
    with pytest.raises(UsageError, match="did not adapt the intended modules") as caught:
        attach(copied("llama"), settings, "methods.lora", meant)
    assert "missed model.layers.*.self_attn.k_proj" in caught.value.problem
    assert "also adapted model.layers.*.self_attn.o_proj" in caught.value.problem


@pytest.fixture
def asked(in_tmp_path: Path, small_tokenizer: Any) -> list[str]:
    """The command to tune a small model with stacked experts."""
    folder = in_tmp_path / "model"
    family("deepseek_v3", vocab_size=len(small_tokenizer), **MIXED).model.save_pretrained(folder)
    small_tokenizer.save_pretrained(folder)
    rows = [{"prompt": f"Where is {n}?", "completion": f"In depot {n}."} for n in range(40)]
    data = in_tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["tune", "--model", str(folder), "--data", str(data), "model.dtype=float32", "--method"]


def test_a_dry_run_says_what_is_left(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert luthier([*asked, "dora", "--dry-run", "--json"]) == 0
    (forecast,) = json.loads(capsys.readouterr().out)["methods"]
    assert "experts.gate_up_proj" in " ".join(forecast["notes"])
    assert luthier([*asked, "dora", "--dry-run"]) == 0
    assert "dora: " in capsys.readouterr().out
    assert luthier([*asked, "prefix-tuning", "--dry-run"]) == 2
    assert "prefix" in capsys.readouterr().err
    counted = forecast["trained_parameters"]
    settings = ["train.epochs=0.1", "evaluate.general_text=null", "train.compile=false"]
    assert luthier([*asked, "dora", "--name", "run", *settings, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["trained_parameters"] == counted
    assert "experts.gate_up_proj" in " ".join(captured.err.split())
