"""Published FLOPs formulas of training, and utilisation of a device's peak.

An `Architecture` gives exact figures of a model; these are the field's approximations, used in
published numbers.
"""

from __future__ import annotations

PETAFLOP_S_DAY = 86400e15


def training_flops(parameters: float, tokens: float) -> float:
    """C = 6·N·D: 2 forward and 4 backward per parameter and token (Kaplan et al. 2020, eq. 2.2)."""
    return 6.0 * parameters * tokens


def petaflop_s_days(flops: float) -> float:
    """FLOPs converted to days at 1e15 FLOP/s."""
    return flops / PETAFLOP_S_DAY


def flops_per_token(
    parameters: float, *, layers: int = 0, heads: int = 0, head_dim: int = 0, length: int = 0
) -> float:
    """6·N + 12·L·H·Q·T: training FLOPs per token with attention (PaLM, arXiv 2204.02311, app. B).

    Args:
        parameters: N.
        layers: L; 0 leaves attention out.
        heads: H.
        head_dim: Q, the width of a head.
        length: T, tokens per sequence.
    """
    return 6.0 * parameters + 12.0 * layers * heads * head_dim * length


def model_flops_utilisation(tokens_per_second: float, flops_per_token: float, peak: float) -> float:
    """MFU: the model's FLOPs relative to the peak; recomputation is not counted.

    PaLM (arXiv 2204.02311), appendix B.

    Args:
        tokens_per_second: of one device, or of all devices with the peak of all.
        flops_per_token: model FLOPs of training per token.
        peak: FLOP/s.
    """
    return tokens_per_second * flops_per_token / peak


def hardware_flops_utilisation(flops: float, seconds: float, peak: float) -> float:
    """HFU: the computed FLOPs, recomputation included, relative to the peak."""
    return flops / seconds / peak


def korthikanti_flops(
    *,
    batch: int,
    length: int,
    layers: int,
    hidden: int,
    vocabulary: int,
    recompute_attention: bool = False,
) -> float:
    """FLOPs of one iteration (Korthikanti et al. 2022, arXiv 2205.05198, appendix A).

    72·B·L·s·h²·(1 + s/(6h) + V/(12hL)) for the model, eq. 7. Selective recomputation repeats the
    attention core, so s/(6h) becomes s/(3h), eq. 9.
    """
    attention = length / (6 * hidden) * (2 if recompute_attention else 1)
    head = vocabulary / (12 * hidden * layers)
    return 72.0 * batch * layers * length * hidden**2 * (1 + attention + head)
