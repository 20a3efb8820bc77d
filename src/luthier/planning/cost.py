"""What a training takes: time, device-hours, compute, energy, money."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.planning.flops import petaflop_s_days
from luthier.planning.hardware import Cluster

# Power usage effectiveness of the data centres in LLaMA's estimate (arXiv 2302.13971, section 6).
USUAL_PUE = 1.1


@dataclass(frozen=True, slots=True)
class Cost:
    """What a training takes.

    Attributes:
        seconds: from start to end.
        device_hours: hours times devices.
        petaflop_s_days: of the FLOPs that the model needs.
        kilowatt_hours: None where the device's power is not known.
        money: None where no price was given.
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

    Energy is hours · watts · PUE: the board's limit, so an upper bound (LLaMA, section 6).

    Args:
        seconds: how long it takes.
        flops: that the model needs, over all devices.
        cluster: on which devices.
        price: of a device for an hour, in any currency.
        pue: power of the data centre over that of its devices.
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
