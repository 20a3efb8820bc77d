from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from luthier.planning import collectives
from luthier.planning.collectives import all_reduce, one_way, ring_pass
from luthier.planning.hardware import Cluster, find_device

H100 = find_device("h100")


def reduced_over_a_ring(numbers: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The sum of the rows, by passing parts round a ring; steps, and parts sent by a device."""
    n = len(numbers)
    parts = [list(np.split(row, n)) for row in numbers.copy()]
    steps = sent = 0
    for gather in (False, True):
        for step in range(n - 1):
            first = 1 if gather else 0
            moving = [(d, (d + first - step) % n) for d in range(n)]
            messages = [(d, part, parts[d][part].copy()) for d, part in moving]
            for d, part, message in messages:
                there = parts[(d + 1) % n]
                there[part] = message if gather else there[part] + message
            steps, sent = steps + 1, sent + 1
    assert all(np.array_equal(np.concatenate(own), numbers.sum(axis=0)) for own in parts)
    return np.concatenate(parts[0]), steps, sent


@pytest.mark.parametrize("n", [2, 3, 8])
def test_the_formula_counts_what_a_ring_does(n: int) -> None:
    numbers = np.arange(n * n * 4, dtype=np.float64).reshape(n, n * 4)
    _, steps, sent = reduced_over_a_ring(numbers)
    nbytes = numbers[0].nbytes
    assert 2 * ring_pass(nbytes, n, bandwidth=1.0, latency=0.0) == pytest.approx(sent * nbytes / n)
    assert 2 * ring_pass(0.0, n, bandwidth=1.0, latency=1.0) == steps


def test_alone_nothing_is_sent() -> None:
    assert ring_pass(1e9, 1, 1.0, 1.0) == 0
    assert all_reduce(1e9, Cluster(H100, 1)) == 0


def test_an_all_reduce_is_two_passes() -> None:
    cluster = Cluster(H100, 16)
    assert all_reduce(1e9, cluster, 3) == pytest.approx(2 * one_way(1e9, cluster, 3))


def test_in_one_node_only_links_count() -> None:
    slow = replace(H100, network=1.0)
    assert one_way(1e9, Cluster(slow, 8)) == one_way(1e9, Cluster(H100, 8))
    expected = 7 / 8 * 1e9 / 450e9 + 7 * collectives.LINK_LATENCY
    assert one_way(1e9, Cluster(H100, 8)) == pytest.approx(expected)


def test_over_equal_links_a_hierarchy_sends_what_one_ring_sends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """(l - 1)/l + (m - 1)/(m·l) = (m·l - 1)/(m·l)."""
    monkeypatch.setattr(collectives, "LINK_LATENCY", 0.0)
    monkeypatch.setattr(collectives, "NETWORK_LATENCY", 0.0)
    even = replace(H100, network=H100.link)
    for devices in (16, 64, 1024):
        flat = ring_pass(1e9, devices, H100.link, 0.0)
        assert one_way(1e9, Cluster(even, devices)) == pytest.approx(flat)


def test_a_node_shares_the_network_among_its_devices() -> None:
    """Two nodes exchange 1/8 of the bytes for each device, half of it one way."""
    inside = one_way(8e9, Cluster(H100, 8))
    both = one_way(8e9, Cluster(H100, 16))
    expected = 1 / 2 * 1e9 / H100.network + collectives.NETWORK_LATENCY
    assert both - inside == pytest.approx(expected)


def test_messages_cost_latency_and_no_bytes() -> None:
    cluster = Cluster(H100, 64)
    latency = 7 * collectives.LINK_LATENCY + 7 * collectives.NETWORK_LATENCY
    assert one_way(1e9, cluster, 33) - one_way(1e9, cluster) == pytest.approx(32 * latency)


def test_more_devices_never_take_less() -> None:
    times = [all_reduce(1e9, Cluster(H100, n)) for n in (1, 2, 4, 8, 16, 64, 512, 4096)]
    assert times == sorted(times)
