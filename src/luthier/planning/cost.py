"""Cost of a training: time, device-hours, compute, energy, money."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.planning.flops import petaflop_s_days
from luthier.planning.hardware import Cluster

# Power usage effectiveness of the data centres in LLaMA's estimate (arXiv 2302.13971, section 6).
USUAL_PUE = 1.1


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a training.

    Attributes:
        seconds: duration.
        device_hours: hours times devices.
        petaflop_s_days: the model FLOPs in this unit.
        kilowatt_hours: None if the device's power is unknown.
        money: None if no price was given.
    """

    seconds: float
    device_hours: float
    petaflop_s_days: float
    kilowatt_hours: float | None = None
    money: float | None = None


def training_cost(
    seconds: float,
    flops: float,
    cluster: Cluster,
    *,
    price: float | None = None,
    pue: float = USUAL_PUE,
) -> Cost:
    """The cost of a training.

    Energy is hours · watts · PUE. The watts are the board's limit, so it is an upper bound (LLaMA,
    section 6).

    Args:
        seconds: duration of the training.
        flops: model FLOPs over all devices.
        cluster: the devices.
        price: per device-hour, in any currency.
        pue: power of the data centre relative to that of its devices.
    """
    hours = seconds / 3600 * cluster.devices
    watts = cluster.device.watts
    return Cost(
        seconds=seconds,
        device_hours=hours,
        petaflop_s_days=petaflop_s_days(flops),
        kilowatt_hours=hours * watts * pue / 1000 if watts else None,
        money=None if price is None else hours * price,
    )
