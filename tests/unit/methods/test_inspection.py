"""What is read off a prepared model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.config import LoraConfig, MethodsConfig
from luthier.config.methods import AdaptersConfig, DoraConfig
from luthier.methods import method_for
from luthier.methods.adapters import AdaptersMethod
from luthier.methods.dora import DoraMethod
from luthier.methods.inspection import nearest_words, trained_groups
from luthier.methods.lora import LoraMethod


def rows(model: Any) -> list[tuple[str, int, tuple[int, ...], int]]:
    return [(g.pattern, g.tensors, g.shape, g.parameters) for g in trained_groups(model)]


def test_layers_that_are_alike_share_a_row(load: Any, tiny_llama: Path) -> None:
    model = LoraMethod(LoraConfig(rank=4, targets=("q_proj", "v_proj"))).prepare(load(tiny_llama))
    assert rows(model) == [
        ("model.layers.*.self_attn.q_proj.lora_A", 2, (4, 32), 256),
        ("model.layers.*.self_attn.q_proj.lora_B", 2, (32, 4), 256),
        ("model.layers.*.self_attn.v_proj.lora_A", 2, (4, 32), 256),
        ("model.layers.*.self_attn.v_proj.lora_B", 2, (16, 4), 128),
    ]
    groups = trained_groups(model)
    assert [group.share for group in groups] == pytest.approx([2 / 7, 2 / 7, 2 / 7, 1 / 7])
    assert {group.dtype for group in groups} == {"float32"}


def test_what_differs_in_shape_or_type_has_its_own_row(load: Any, tiny_llama: Path) -> None:
    model = method_for("full", MethodsConfig()).prepare(load(tiny_llama))
    model.model.layers[1].mlp.up_proj = torch.nn.Linear(32, 8, bias=False)
    model.model.layers[1].mlp.down_proj.bfloat16()
    mlp = [group for group in trained_groups(model) if "mlp" in group.pattern]
    assert [(g.pattern.split(".")[-2], g.tensors, g.shape, g.dtype) for g in mlp] == [
        ("gate_proj", 2, (64, 32), "float32"),
        ("up_proj", 1, (64, 32), "float32"),
        ("down_proj", 1, (32, 64), "float32"),
        ("up_proj", 1, (8, 32), "float32"),
        ("down_proj", 1, (32, 64), "bfloat16"),
    ]


def test_adapters_are_told_by_what_they_are(load: Any, tiny_llama: Path) -> None:
    dora = DoraMethod(DoraConfig(targets=("q_proj",))).prepare(load(tiny_llama))
    assert [name.rsplit(".", 1)[-1] for name, *_ in rows(dora)] == [
        "lora_A",
        "lora_B",
        "lora_magnitude_vector",
    ]
    config = AdaptersConfig(bottleneck=4, placement="pfeiffer")
    inside = "model.layers.*.mlp.down_proj.bottleneck_adapter"
    assert rows(AdaptersMethod(config).prepare(load(tiny_llama))) == [
        (f"{inside}.down.weight", 2, (4, 32), 256),
        (f"{inside}.down.bias", 2, (4,), 8),
        (f"{inside}.up.weight", 2, (32, 4), 256),
        (f"{inside}.up.bias", 2, (32,), 64),
    ]


def test_the_nearest_words_have_the_largest_cosines(load: Any, tiny_t5: Path) -> None:
    loaded = load(tiny_t5)
    table_VD = loaded.model.get_input_embeddings().weight.detach()
    vectors_ND = torch.stack([3 * table_VD[500], table_VD[7] + 0.9 * table_VD[80], -table_VD[9]])
    found = nearest_words(vectors_ND, table_VD, loaded.tokenizer, 4)
    every_NV = torch.nn.functional.cosine_similarity(vectors_ND[:, None], table_VD[None], dim=-1)
    for cosines_V, neighbours in zip(every_NV, found, strict=True):
        best = sorted(range(len(table_VD)), key=lambda token: -float(cosines_V[token]))[:4]
        assert [one.id for one in neighbours] == best
        expected = [float(cosines_V[token]) for token in best]
        assert [one.similarity for one in neighbours] == pytest.approx(expected, abs=1e-5)
    assert found[0][0].similarity == pytest.approx(1, abs=1e-5)  # the length does not count
    assert {one.id for one in found[1][:2]} == {7, 80}
    assert found[2][0].id != 9
    assert found[0][0].text == loaded.tokenizer.decode([500])


def test_a_table_in_parts_is_one_table(bundled_handle: Any) -> None:
    tokenizer = bundled_handle.tokenizer
    torch.manual_seed(0)
    table_VD = torch.randn(len(tokenizer), 32).bfloat16()
    tokens = [0, 8191, 8192, len(table_VD) - 1]
    found = nearest_words(table_VD[tokens], table_VD, tokenizer, 1)
    assert [one.id for (one,) in found] == tokens


def test_rows_without_a_token_are_left_out(load: Any, tiny_t5: Path) -> None:
    tokenizer = load(tiny_t5).tokenizer
    table_VD = torch.eye(1100)
    (neighbours,) = nearest_words(table_VD[1050:1051] + table_VD[3], table_VD, tokenizer, 2)
    assert neighbours[0].id == 3
    assert all(one.id < len(tokenizer) for one in neighbours)


def test_a_part_of_a_character_is_shown_as_its_piece(load: Any, tiny_llama: Path) -> None:
    tokenizer = load(tiny_llama).tokenizer
    ids = tokenizer("é", add_special_tokens=False)["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(range(300))
    part = next(i for i, _ in enumerate(pieces) if "\ufffd" in tokenizer.decode([i]))
    space = tokenizer(" ", add_special_tokens=False)["input_ids"][0]
    assert part not in ids or len(ids) > 1
    table_VD = torch.eye(300)
    ((one,), (other,)) = nearest_words(table_VD[[part, space]], table_VD, tokenizer, 1)
    assert one.text == pieces[part]
    assert "\ufffd" not in one.text
    assert other.text == " "
