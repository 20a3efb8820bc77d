"""Each process holds a part of every weight: what one of two keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from luthier.distributed.process_group import ProcessGroup
from luthier.distributed.sharded import Sharded
from luthier.models.quantised import parameter_count


@pytest.fixture
def first_of_two() -> Iterator[ProcessGroup]:
    """A process whose fellow is not there: what is sent goes nowhere."""
    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield ProcessGroup(0, 2)
    dist.destroy_process_group()


@pytest.mark.parametrize("quantisation", [None, "nf4"])
def test_half_of_every_weight_is_kept(
    quantisation: str | None, first_of_two: ProcessGroup, load: Any, tiny_llama: Path
) -> None:
    loaded = load(tiny_llama, quantisation=quantisation)
    whole = {name: weight.nbytes for name, weight in loaded.model.named_parameters()}
    sharding = Sharded(first_of_two)
    assert sharding.place(loaded.model, torch.device("meta")) == first_of_two.device
    kept = {name: sharding.held(p).nbytes for name, p in loaded.model.named_parameters()}
    assert kept == {name: size // 2 for name, size in whole.items()}
    assert parameter_count(loaded.model) == loaded.stamp.parameters
