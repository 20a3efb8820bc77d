"""A base in 4 or 8 bits: smaller, close to what it was, and not to be trained itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.cli.main import run as luthier
from luthier.core.errors import UsageError
from luthier.models import quantised
from luthier.models.quantised import is_quantised, parameter_count, require_quantisation

IDS_BT = torch.arange(3, 43).reshape(2, 20)


def linear_bytes(model: Any) -> int:
    return sum(p.nbytes for n, p in model.named_parameters() if "proj" in n)


@pytest.mark.parametrize(("kind", "smaller"), [("nf4", 8), ("int8", 4)])
def test_linear_layers_shrink_and_answers_stay_close(
    kind: str, smaller: int, load: Any, tiny_llama: Path
) -> None:
    plain, packed = load(tiny_llama), load(tiny_llama, quantisation=kind)
    assert not is_quantised(plain.model)
    assert is_quantised(packed.model)
    assert linear_bytes(packed.model) * smaller == linear_bytes(plain.model)
    assert parameter_count(packed.model) == parameter_count(plain.model) == packed.stamp.parameters
    assert packed.stamp.dtype == kind
    with torch.no_grad():
        expected = plain.model(input_ids=IDS_BT).logits
        found = packed.model(input_ids=IDS_BT).logits
    error = (found - expected).norm() / expected.norm()
    assert 0 < error < {"nf4": 0.15, "int8": 0.05}[kind]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_the_file_of_a_quantised_model_is_not_kept(
    kind: str, load: Any, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "model")  # no other test has it in memory
    kept = load(folder, quantisation=kind)
    maps = Path("/proc/self/maps")
    assert str(folder) not in maps.read_text()
    mapped = load(folder)
    assert str(folder) in maps.read_text()
    assert kept.stamp.parameters == mapped.stamp.parameters


def test_a_pass_in_evaluation_mode_leaves_gradients_as_they_were(
    load: Any, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a CPU with bfloat16 instructions, for which bitsandbytes packs weights anew."""
    import bitsandbytes.nn.modules as layers

    monkeypatch.setattr(layers, "has_avx512bf16", lambda: True)
    model = load(tiny_llama, quantisation="nf4").model
    inputs = model.get_input_embeddings()(IDS_BT).detach().requires_grad_()

    def gradient() -> torch.Tensor:
        (found,) = torch.autograd.grad(model.train()(inputs_embeds=inputs).logits.sum(), inputs)
        return found

    before = gradient()
    with torch.no_grad():
        model.eval()(input_ids=IDS_BT)
    assert torch.equal(gradient(), before)


def test_qlora_trains_nothing_but_its_adapter(small_tune: Any, load: Any, tiny_llama: Path) -> None:
    tuned, record, _ = small_tune(method="qlora")
    base = load(tiny_llama, quantisation="nf4").model.state_dict()
    after = tuned.model.get_base_model().state_dict()
    for name, value in base.items():
        inside = name.replace("proj.", "proj.base_layer.")
        assert torch.equal(after[inside if inside in after else name], value), name
    assert record.total_parameters == parameter_count(tuned.model)
    assert is_quantised(tuned.model.get_base_model())


@pytest.mark.sample(1)
@pytest.mark.parametrize("method", ["full", "bitfit", "layernorm", "last-layers"])
def test_a_quantised_base_cannot_be_trained_itself(
    method: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_llama: Path
) -> None:
    assert luthier(
        ["tune", "--method", method, "--model", str(tiny_llama), "model.quantisation=int8",
         "data.num_train=8", "--dry-run"]
    ) == 2  # fmt: skip
    said = capsys.readouterr().err
    assert "int8 weights cannot be trained" in said
    assert "choose qlora" in said


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="needs the package bitsandbytes") as caught:
        require_quantisation()
    assert "luthier[quantised]" in caught.value.fix
