"""Parameters picked by regular expressions, in bounded time."""

from __future__ import annotations

import time

import pytest

from luthier.core.errors import UsageError
from luthier.core.parameter_names import pick_names, without_numbers


def test_a_refusal_lists_alike_names_once() -> None:
    names = [f"model.layers.{index}.mlp.weight" for index in range(99)] + ["model.norm.weight"]
    with pytest.raises(UsageError) as caught:
        pick_names(["mpl"], names)
    assert caught.value.fix == "the model has model.layers.*.mlp.weight, model.norm.weight"
    with pytest.raises(UsageError) as caught:
        pick_names([], [f"part_{index:02}" for index in range(20)])
    assert caught.value.fix.endswith("part_11 and 8 more")


@pytest.mark.parametrize(
    "pattern",
    ["(a|a|b)*c", r"((\w+)+\.)+$", "(([a-z]+)*)*!", r"(.*)*\1z", r"(?:(?:\w|\.)+)+?-"],
)
def test_an_expression_that_would_never_end_is_refused(pattern: str) -> None:
    names = [f"{'model_layers_' * 20}{index}.weight" for index in range(300)]
    names = ["ab" * 200, *names]
    started = time.process_time()
    with pytest.raises(UsageError) as caught:
        pick_names([pattern], names)
    assert time.process_time() - started < 5
    assert caught.value.where == "methods.selective.parameters"


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("model.layers.10.mlp.down_proj.weight", "model.layers.*.mlp.down_proj.weight"),
        (
            "decoder.block.1.layer.2.DenseReluDense.wi_0",
            "decoder.block.*.layer.*.DenseReluDense.wi_0",
        ),
        ("model.conv1.weight", "model.conv1.weight"),
    ],
)
def test_numbers_of_layers_become_stars(name: str, without: str) -> None:
    assert without_numbers(name) == without
