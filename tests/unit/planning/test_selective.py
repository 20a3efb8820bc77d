"""The plan of chosen parameters beside a trace of the loop's own code."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.objectives import SUPERVISED
from transformers import AutoConfig

from luthier.config import load_config
from luthier.config.yaml import read_yaml
from luthier.planning import TrainingSetup, plan_training, read_architecture
from luthier.planning.from_config import tuning_of
from luthier.planning.memory import pass_cost
from luthier.planning.selective import named
from luthier.planning.training_setup import PRECISIONS
from luthier.training.trace import BatchShape, trace_step

SMALL = read_yaml(Path(__file__).parents[2] / "small_models.yaml").values
LARGER = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "vocab_size": 2048}
LLAMA = {**SMALL["llama biases tied"], **LARGER, "max_position_embeddings": 512}


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    "patterns",
    [
        [r"layers\.2\."],
        ["mlp", "norm"],
        ["q_proj.bias", r"layers\.0\.mlp\.up_proj\.weight"],
        ["embed_tokens"],
        [""],
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_plan_and_trace_agree(patterns: list[str], dtype: str) -> None:
    config = load_config(flags={"model.dtype": dtype, "methods.selective.parameters": patterns})
    architecture = read_architecture({**LLAMA, "model_type": "llama"})
    setup = TrainingSetup(
        tuning=tuning_of("selective", config.methods, architecture),
        precision=PRECISIONS["float32" if dtype == "float32" else "bf16-mixed"],
        batch=4,
        length=192,
        predicted=384,
        accumulation=2,
        on_cpu=True,
        fused_loss=True,
    )
    shape = BatchShape(rows=4, length=192, predicted=384)
    trace = trace_step(
        AutoConfig.for_model("llama", **LLAMA), "selective", config, shape, SUPERVISED
    )
    planned = plan_training(architecture, setup).allocated
    assert planned == pytest.approx(trace.peak.total, rel=0.10)


def test_layers_in_which_other_parameters_are_named_are_planned_apart() -> None:
    architecture = read_architecture({**LLAMA, "model_type": "llama"})
    tuning = named([r"layers\.1\.mlp\.up_proj\.weight", r"layers\.3\."], architecture)
    keys = [tuning.layer_key(f"model.layers.{index}") for index in range(4)]
    assert keys[0] == keys[2] == frozenset()
    assert keys[1] == {"mlp.up_proj.weight"}
    assert "mlp.up_proj.weight" in keys[3]
    setup = TrainingSetup(tuning, batch=1, length=8, predicted=4)
    trained = [weight.parameter for weight, _ in pass_cost(architecture, setup).trained]
    assert set(trained) == tuning.names
    assert len(trained) == len(tuning.names)


def test_a_table_of_t5s_relative_positions_is_no_input() -> None:
    architecture = read_architecture({**SMALL["t5"], "model_type": "t5"})
    assert named(["shared"], architecture).input_grad
    assert not named(["relative_attention_bias"], architecture).input_grad
