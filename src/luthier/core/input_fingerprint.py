"""Fingerprints of a result's inputs, and the differences between two sets of inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from luthier.core.seeds import fingerprint

Inputs = Mapping[str, Any]
_SHOWN = 12


def inputs_fingerprint(inputs: Inputs) -> str:
    """A fingerprint of JSON values, independent of the order of keys."""
    return fingerprint(json.dumps(inputs, sort_keys=True))


def describe_differences(before: Inputs, now: Inputs) -> str:
    """The values that differ, one per line: ``train.batch_size: 8 before, 16 now``."""
    old, new = _flat(before), _flat(now)
    lines = [
        f"  {key}: {_shown(old, key)} before, {_shown(new, key)} now"
        for key in dict.fromkeys((*old, *new))
        if old.get(key) != new.get(key) or (key in old) != (key in new)
    ]
    more = [f"  … and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join(lines[:_SHOWN] + more)


def _flat(values: Inputs, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "nothing"
