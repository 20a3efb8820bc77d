"""Stochastic rounding, and AdamW with it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import Parameter

from luthier.training.stochastic_rounding import _AT_ONCE, StochasticAdamW, round_into

DRAWS = 20_000


@pytest.mark.parametrize("value", [1.001, -1.001, 3.14159, -1e-5, 1.1 * 2.0**-130, 1e30])
def test_rounding_is_right_in_the_mean(value: float) -> None:
    torch.manual_seed(0)
    target = torch.empty(DRAWS, dtype=torch.bfloat16)
    exact = torch.full((DRAWS,), value)
    round_into(target, exact.clone())
    values = target.double()
    assert len(values.unique()) == 2  # the neighbours
    step = float(values.max() - values.min())
    # Four standard errors of a coin with the worst odds.
    assert float(values.mean()) == pytest.approx(float(exact[0]), abs=4 * step / 2 / DRAWS**0.5)


def test_what_a_bfloat16_can_hold_stays() -> None:
    exact = torch.tensor([0.0, -0.0, 1.0, -1.5, 2.0**-126, float("inf"), -float("inf")])
    for _ in range(100):
        target = torch.empty(7, dtype=torch.bfloat16)
        round_into(target, exact.clone())
        assert torch.equal(target.float(), exact)
    round_into(target, torch.full((7,), float("nan")))
    assert bool(target.isnan().all())


def test_updates_far_below_half_a_unit_move_a_weight_in_the_mean() -> None:
    """Below one the numbers are 1/256 apart: each update is a four-hundredth of that."""
    torch.manual_seed(0)
    weight = Parameter(torch.ones(DRAWS, dtype=torch.bfloat16))
    optimizer = StochasticAdamW([{"params": [weight]}], 1e-5, lambda tensor: tensor)
    to_nearest = torch.ones(DRAWS, dtype=torch.bfloat16)
    for _ in range(100):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        to_nearest -= 1e-5
    assert bool((to_nearest == 1).all())
    # A weight's standard deviation is √(1e-3 / 256), the mean's 1.4e-5.
    assert float(weight.detach().double().mean()) == pytest.approx(1 - 1e-3, abs=5e-5)


def test_in_float32_it_is_torchs_adamw() -> None:
    """A table larger than what is updated at once, and a vector that is not decayed."""
    torch.manual_seed(0)
    ours = [Parameter(torch.randn(_AT_ONCE // 1024 + 3, 1024)), Parameter(torch.randn(5))]
    theirs = [Parameter(weight.detach().clone()) for weight in ours]

    def groups(weights: list[Parameter]) -> list[dict[str, object]]:
        return [
            {"params": weights[:1], "weight_decay": 0.1},
            {"params": weights[1:], "weight_decay": 0.0},
        ]

    one = StochasticAdamW(groups(ours), 0.01, lambda tensor: tensor)
    other = torch.optim.AdamW(groups(theirs), lr=0.01)
    for _ in range(3):
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            its.grad = mine.grad.clone()
        one.step()
        other.step()
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-6)


def test_small_second_moments_neither_vanish_nor_stall() -> None:
    """They move by a thousandth of the difference, which to the nearest would be nothing."""
    torch.manual_seed(0)
    weight = Parameter(torch.zeros(DRAWS, dtype=torch.bfloat16))
    optimizer = StochasticAdamW([{"params": [weight]}], 1e-5, lambda tensor: tensor)
    for _ in range(300):
        weight.grad = torch.full_like(weight, 0.5)
        optimizer.step()
    expected = 0.25 * (1 - 0.999**300)
    assert float(optimizer.state[weight]["exp_avg_sq"].double().mean()) == pytest.approx(
        expected, rel=1e-2
    )
