"""How work is dealt to processes, and what one process alone does."""

from __future__ import annotations

import signal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import UsageError
from luthier.data.batches import micro_batches
from luthier.distributed.launch import run_together
from luthier.distributed.parallelism import Replicated, partition
from luthier.distributed.process_group import SINGLE_PROCESS, ProcessGroup, joined_process_group
from luthier.distributed.sharded import Sharded

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 9))
def test_every_example_is_dealt_once(lengths: list[int], size: int) -> None:
    cuts = micro_batches(lengths, tokens=512, max_padding=0.2)
    hands = partition(cuts, lengths, size)
    assert len(hands) == size
    assert sorted(i for hand in hands for cut in hand for i in cut) == list(range(len(lengths)))
    if len(lengths) >= size:
        assert all(hands)
    assert partition(cuts, lengths, 1) == [cuts]


@given(LENGTHS)
def test_no_process_has_more_than_half_again_of_the_mean(lengths: list[int]) -> None:
    """Longest first is within 4/3 of the best (Graham 1969), which is at least the longest pass."""
    cuts = micro_batches(lengths, tokens=512, max_padding=0.2)

    def work(cut: list[int]) -> int:
        return len(cut) * max(lengths[i] for i in cut)

    hands = partition(cuts, lengths, 2)
    works = [work(cut) for hand in hands for cut in hand]
    best = max(sum(works) / 2, max(works))
    assert max(sum(map(work, hand)) for hand in hands) <= 4 / 3 * best + 1e-9


@given(LENGTHS, st.integers(2, 5))
def test_sharded_processes_make_as_many_passes(lengths: list[int], size: int) -> None:
    cuts = micro_batches(lengths, tokens=512, max_padding=0.2)
    shares = [Sharded(ProcessGroup(rank, size)).shares(cuts, lengths) for rank in range(size)]
    assert len({len(own) for own in shares}) == 1
    counted = [i for own in shares for share in own if share.counts for i in share.indices]
    assert sorted(counted) == list(range(len(lengths)))


def test_alone_nothing_changes() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    Replicated().reduce([weight])
    assert weight.grad is None
    assert SINGLE_PROCESS.any(True, False) == (True, False)
    assert SINGLE_PROCESS.largest(7) == 7
    with joined_process_group() as processes:
        assert processes is SINGLE_PROCESS


@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", "two"), ("RANK", "5")])
def test_an_environment_that_cannot_be(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=value), joined_process_group():
        pass


def test_the_first_failure_is_the_outcome(capfd: pytest.CaptureFixture[str]) -> None:
    """The program refuses its arguments in both processes."""
    handler = signal.getsignal(signal.SIGTERM)
    assert run_together(["tune", "--no-such-option"], 2) == 2
    assert "no-such-option" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == handler
