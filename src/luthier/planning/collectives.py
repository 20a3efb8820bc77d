"""How long devices take to exchange data.

A ring over n devices cuts S bytes into n parts. In each step every device passes one part, S/n
bytes, to the next and takes one from the one before, over links that are all busy at once; after
n - 1 steps every part has been everywhere (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce
algorithms for clusters of workstations", section 3). So one way round takes

    t = (n - 1) · (S/n / bandwidth + latency) = (n - 1)/n · S / bandwidth + (n - 1) · latency.

A reduce-scatter adds the parts up on the way, an all-gather hands them on as they are: both take t.
An all-reduce is one after the other, 2·t, and no algorithm sends fewer bytes.

Over m nodes with l devices each, the exchange is hierarchical: a reduce-scatter inside the nodes
leaves each device S/l bytes, which it exchanges with its m - 1 counterparts over the network, and
an all-gather inside the nodes ends it (Mikami et al. 2018, arXiv 1811.05233, section 3.2). One way
takes t(S, l) over links plus t(S/l, m) over the network.
"""

from __future__ import annotations

from luthier.planning.hardware import Cluster

# Seconds that a step of a ring takes before the first byte, of the order of what NCCL assumes in
# its tuning of rings: inside a node, between nodes.
LINK_LATENCY = 5e-6
NETWORK_LATENCY = 15e-6


def ring_pass(
    nbytes: float, devices: int, bandwidth: float, latency: float, messages: int = 1
) -> float:
    """Seconds of one way round a ring: a reduce-scatter or an all-gather.

    Args:
        nbytes: of all parts together.
        devices: in the ring.
        bandwidth: of a device's link, bytes a second in one direction.
        latency: seconds of a step before the first byte.
        messages: into how many exchanges, one after the other, the bytes are cut.
    """
    if devices < 2:
        return 0.0
    return (devices - 1) / devices * nbytes / bandwidth + messages * (devices - 1) * latency


def one_way(nbytes: float, cluster: Cluster, messages: int = 1) -> float:
    """Seconds of an all-gather or a reduce-scatter of ``nbytes`` in all over a cluster.

    Args:
        nbytes: of all parts together.
        cluster: over which devices.
        messages: into how many exchanges, one after the other, the bytes are cut.
    """
    device, inside = cluster.device, cluster.in_node
    link = device.link or device.network
    within = ring_pass(nbytes, inside, link, LINK_LATENCY, messages)
    between = ring_pass(nbytes / inside, cluster.nodes, device.network, NETWORK_LATENCY, messages)
    return within + between


def all_reduce(nbytes: float, cluster: Cluster, messages: int = 1) -> float:
    """Seconds of an all-reduce of ``nbytes`` on every device of a cluster.

    Args:
        nbytes: on each device.
        cluster: over which devices.
        messages: into how many exchanges, one after the other, the bytes are cut.
    """
    return 2 * one_way(nbytes, cluster, messages)
