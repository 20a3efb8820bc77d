"""Time of collective communication between devices.

A ring over n devices splits S bytes into n parts. In each step every device sends one part, S/n
bytes, to the next and receives one from the previous, with all links busy; after n - 1 steps every
part has been everywhere (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for
clusters of workstations", section 3). So one pass takes

    t = (n - 1) · (S/n / bandwidth + latency) = (n - 1)/n · S / bandwidth + (n - 1) · latency.

A reduce-scatter sums the parts on the way; an all-gather forwards them unchanged; both take t. An
all-reduce is one after the other, 2·t, and no algorithm sends fewer bytes.

Over m nodes with l devices each, the exchange is hierarchical: a reduce-scatter inside the nodes
leaves S/l bytes on each device, which it exchanges with its m - 1 counterparts over the network,
followed by an all-gather inside the nodes (Mikami et al. 2018, arXiv 1811.05233, section 3.2). One
pass takes t(S, l) over links plus t(S/l, m) over the network.
"""

from __future__ import annotations

from luthier.planning.hardware import Cluster

# Latency of a ring step in seconds, similar to NCCL's tuning constants: inside a node, between
# nodes.
LINK_LATENCY = 5e-6
NETWORK_LATENCY = 15e-6


def ring_pass(
    nbytes: float, devices: int, bandwidth: float, latency: float, messages: int = 1
) -> float:
    """Seconds of one pass around a ring: a reduce-scatter or an all-gather.

    Args:
        nbytes: total size of all parts.
        devices: number of devices in the ring.
        bandwidth: of a device's link, bytes per second in one direction.
        latency: seconds per step before the first byte.
        messages: number of consecutive exchanges into which the bytes are split.
    """
    if devices < 2:
        return 0.0
    return (devices - 1) / devices * nbytes / bandwidth + messages * (devices - 1) * latency


def one_way(nbytes: float, cluster: Cluster, messages: int = 1) -> float:
    """Seconds of an all-gather or a reduce-scatter of ``nbytes`` over a cluster.

    Args:
        nbytes: total size of all parts.
        cluster: the devices.
        messages: number of consecutive exchanges into which the bytes are split.
    """
    device, inside = cluster.device, cluster.in_node
    link = device.link or device.network
    within = ring_pass(nbytes, inside, link, LINK_LATENCY, messages)
    between = ring_pass(nbytes / inside, cluster.nodes, device.network, NETWORK_LATENCY, messages)
    return within + between


def all_reduce(nbytes: float, cluster: Cluster, messages: int = 1) -> float:
    """Seconds of an all-reduce of ``nbytes`` on every device of a cluster.

    Args:
        nbytes: size on each device.
        cluster: the devices.
        messages: number of consecutive exchanges into which the bytes are split.
    """
    return 2 * one_way(nbytes, cluster, messages)
