from __future__ import annotations

import pytest

from luthier.planning.cost import training_cost
from luthier.planning.hardware import Cluster, find_device


def test_what_a_training_takes() -> None:
    cost = training_cost(7200, 8.64e19, Cluster(find_device("h100"), 16), price=2.5, pue=1.2)
    assert cost.seconds == 7200
    assert cost.device_hours == 32
    assert cost.petaflop_s_days == pytest.approx(1)
    assert cost.kilowatt_hours == pytest.approx(32 * 0.7 * 1.2)
    assert cost.money == 80


def test_without_a_price_there_is_no_sum() -> None:
    assert training_cost(60, 1e15, Cluster(find_device("t4"))).money is None


def test_a_price_of_nothing_is_a_price() -> None:
    assert training_cost(60, 1e15, Cluster(find_device("t4")), price=0.0).money == 0


def test_a_processor_whose_power_is_not_known_has_no_energy() -> None:
    assert training_cost(60, 1e15, Cluster(find_device("cpu"))).kilowatt_hours is None


def test_the_data_centre_takes_a_tenth_more() -> None:
    cost = training_cost(3600, 1e15, Cluster(find_device("a100")))
    assert cost.kilowatt_hours == pytest.approx(0.4 * 1.1)
