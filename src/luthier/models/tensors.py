"""Comparison of the tensors in a model's files with its architecture, before loading.

The header of a safetensors file has names, dtypes and shapes. Tensors of this kind without data, on
torch's meta device, replace the files in transformers. It loads them like files, with all its
conversions of older names and separately stored experts, and reports missing ones.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.units import counted
from luthier.models.kinds import class_in
from luthier.models.quantised import stored_settings
from luthier.models.quiet_transformers import quiet_transformers
from luthier.models.resolve import ModelFolder
from luthier.models.settings_file import longest_window
from luthier.models.weights import stored_shapes

# Prefixes added to every name by data parallel training, a compiler, or both.
_WRAPPER = re.compile(r"((module|_orig_mod)\.)+")
# Tables saved by older versions of transformers, which follow from the configuration.
_TABLES = ("inv_freq", "masked_bias", "attn.bias", "attention.bias", "position_ids")
_MOST_IN_TABLES, _SURE_WINDOW = 2**27, 2**15
_OF_AN_ADAPTER = re.compile(r"\.(lora_[AB]|base_layer|modules_to_save)\.")


def renaming(names: Iterable[str]) -> dict[str, str]:
    """The ``key_mapping`` of ``from_pretrained`` for weights saved inside a wrapper."""
    prefixes = {found.group() if (found := _WRAPPER.match(name)) else "" for name in names}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    return {f"^{re.escape(prefix)}": ""} if prefix else {}


def check_tensors(settings: Any, auto_class: Any, folder: ModelFolder, console: Console) -> None:
    """Check that a model's files contain all its tensors, and report unused ones.

    Models with their own code and quantised weights are checked only when loaded.

    Args:
        settings: the transformers configuration.
        auto_class: the auto class that loads it.
        folder: the model's files.
        console: receives a warning of unused tensors.

    Raises:
        DataError: tensors are missing or have another shape, there are more layers than configured,
            or the configuration creates tables far larger than the model.
    """
    stored, kind = stored_shapes(folder.weights), class_in(auto_class, settings)
    if not stored or kind is None or stored_settings(settings):
        return
    _require_layers(settings, stored, folder)
    _require_small_tables(settings, kind, stored, folder)
    try:
        with quiet_transformers(), torch.random.fork_rng(devices=()):
            model, found = kind.from_pretrained(
                None,
                config=copy.deepcopy(settings),
                state_dict={n: torch.empty(s, device="meta") for n, s in stored.items()},
                key_mapping=renaming(stored) or None,
                device_map="meta",
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception:  # noqa: BLE001 - the class may not support fake tensors
        return
    require_all(found, folder)
    own = {_kind_of(name) for name in model.state_dict()}
    unused = [name for name in sorted(found["unexpected_keys"]) if not name.endswith(_TABLES)]
    if more := [name for name in unused if _kind_of(name) in own]:
        raise DataError(
            f"the files have {_some(more)}, of layers that config.json does not have",
            where=str(folder.path),
            fix="correct the number of layers in config.json, which belongs to another model",
        )
    if unused:
        console.warn(
            f"{counted(len(unused), 'tensor')} in the files of {folder.id} not used, being no "
            f"part of the model: {_some(unused)}"
        )


def require_all(found: Mapping[str, Any], folder: ModelFolder) -> None:
    """Reject incomplete weights, which transformers would fill with random numbers.

    Args:
        found: transformers' report on loading; tied weights count as present.
        folder: the folder of the weights.

    Raises:
        DataError: tensors are missing, or have other shapes.
    """
    for name, stored, own in sorted(found.get("mismatched_keys", ())):
        raise DataError(
            f"{name} is {list(stored)} in the files of {folder.id}, and {list(own)} by config.json",
            where=str(folder.path),
            fix="download config.json and the weights of the same model",
        )
    missing, unexpected = (sorted(found[name]) for name in ("missing_keys", "unexpected_keys"))
    if not missing:
        return
    if any(_OF_AN_ADAPTER.search(name) for name in unexpected):
        raise DataError(
            f"the files of {folder.id} contain a model with an unmerged adapter",
            where=str(folder.path),
            fix="save only the adapter with peft's save_pretrained, or merge it with "
            "merge_and_unload before the model is saved",
        )
    others = f"; unexpected ones are {_some(unexpected)}" if unexpected else ""
    count = "1 tensor" if len(missing) == 1 else f"{len(missing)} tensors"
    verb = "is" if len(missing) == 1 else "are"
    raise DataError(
        f"{count} of {folder.id} {verb} not in its files: {_some(missing)}{others}",
        where=str(folder.path),
        fix="download the files again, or export the model again with save_pretrained",
    )


def _require_layers(
    settings: Any, stored: Mapping[str, Sequence[int]], folder: ModelFolder
) -> None:
    """Reject more layers than there are tensors, before creating them."""
    layers = getattr(settings.get_text_config(), "num_hidden_layers", None)
    if isinstance(layers, int) and layers > len(stored):
        raise DataError(
            f"config.json has {layers} layers, but the files have only {len(stored)} tensors",
            where=str(folder.path),
            fix="download config.json and the weights of the same model",
        )


def _require_small_tables(
    settings: Any, kind: Any, stored: Mapping[str, Sequence[int]], folder: ModelFolder
) -> None:
    """Reject tables computed from the configuration that are far larger than the stored tensors.

    Position tables grow with the configured window or its square, and have no stored tensor.
    transformers computes them even on the meta device.

    Raises:
        DataError: they have more elements than plausible for such a model.
    """
    if longest_window(settings.to_dict()) <= _SURE_WINDOW:
        return
    try:
        with quiet_transformers(), torch.random.fork_rng(devices=()), torch.device("meta"):
            model = kind(copy.deepcopy(settings))
    except Exception:  # noqa: BLE001 - the class may not support the meta device
        return
    most = max(_MOST_IN_TABLES, 2 * sum(map(math.prod, stored.values())))
    for name, table in model.named_buffers():
        if table.numel() > most:
            raise DataError(
                f"config.json creates a table of {table.numel():,} numbers, {name}, for a model of "
                f"{sum(map(math.prod, stored.values())):,}",
                where=str(folder.path),
                fix="correct the context window in config.json",
            )


def _kind_of(name: str) -> str:
    """A tensor's name without its layer number."""
    return re.sub(r"\.\d+\.", ".#.", name)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
