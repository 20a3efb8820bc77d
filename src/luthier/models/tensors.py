"""Whether the tensors in a model's files are the model's, before any of them is read.

The header of a safetensors file has names, types and shapes. Tensors of that kind without values,
on torch's meta device, are given to transformers in the place of the files. It loads them as it
would load the files, with all that it knows of older names and of experts that are stored apart,
and says what is missing.
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
from luthier.models.kinds import class_in
from luthier.models.quantised import stored_settings
from luthier.models.quiet_transformers import quiet_transformers
from luthier.models.resolve import ModelFolder
from luthier.models.settings_file import longest_window
from luthier.models.weights import stored_shapes

# What data parallel training, a compiler, and both put before every name.
_WRAPPER = re.compile(r"((module|_orig_mod)\.)+")
# Tables that older versions of transformers saved, and that follow from the config.
_TABLES = ("inv_freq", "masked_bias", "attn.bias", "attention.bias", "position_ids")
_MOST_IN_TABLES, _SURE_WINDOW = 2**27, 2**15
_OF_AN_ADAPTER = re.compile(r"\.(lora_[AB]|base_layer|modules_to_save)\.")


def renaming(names: Iterable[str]) -> dict[str, str]:
    """The ``key_mapping`` of ``from_pretrained`` for weights that were saved inside a wrapper."""
    prefixes = {found.group() if (found := _WRAPPER.match(name)) else "" for name in names}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    return {f"^{re.escape(prefix)}": ""} if prefix else {}


def check_tensors(settings: Any, auto_class: Any, folder: ModelFolder, console: Console) -> None:
    """Check that a model's files hold its tensors, and say which of theirs it does not use.

    Models with code of their own and quantised weights are checked when they are loaded only.

    Args:
        settings: the transformers config.
        auto_class: loads it.
        folder: where the files are.
        console: is told of tensors that are not used.

    Raises:
        DataError: tensors are missing or of another shape, there are more layers than the config
            says, or it makes tables far larger than the model.
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
    except Exception:  # noqa: BLE001 - classes need not expect tensors without values
        return
    require_all(found, folder)
    own = {_kind_of(name) for name in model.state_dict()}
    unused = [name for name in sorted(found["unexpected_keys"]) if not name.endswith(_TABLES)]
    if more := [name for name in unused if _kind_of(name) in own]:
        raise DataError(
            f"the files have {_some(more)}, of layers that config.json does not have",
            where=str(folder.path),
            fix="correct the number of layers in config.json; it is that of another model",
        )
    if unused:
        console.warn(
            f"{len(unused)} tensors in the files of {folder.id} are no part of the model and are "
            f"not used: {_some(unused)}"
        )


def require_all(found: Mapping[str, Any], folder: ModelFolder) -> None:
    """Refuse weights of which a part is missing: transformers would fill it with random numbers.

    Args:
        found: what transformers says of the loading; tied weights count as there.
        folder: where they are.

    Raises:
        DataError: tensors are missing, or have other shapes.
    """
    for name, stored, own in sorted(found.get("mismatched_keys", ())):
        raise DataError(
            f"{name} is {list(stored)} in the files of {folder.id}, and {list(own)} by config.json",
            where=str(folder.path),
            fix="get config.json and the weights of one and the same model",
        )
    missing, unexpected = (sorted(found[name]) for name in ("missing_keys", "unexpected_keys"))
    if not missing:
        return
    if any(_OF_AN_ADAPTER.search(name) for name in unexpected):
        raise DataError(
            f"the files of {folder.id} hold a model together with an adapter, as torch saves it",
            where=str(folder.path),
            fix="save the adapter by itself with peft's save_pretrained, or merge it with "
            "merge_and_unload before the model is saved",
        )
    others = f"; instead there are {_some(unexpected)}" if unexpected else ""
    count = "1 tensor" if len(missing) == 1 else f"{len(missing)} tensors"
    verb = "is" if len(missing) == 1 else "are"
    raise DataError(
        f"{count} of {folder.id} {verb} not in its files: {_some(missing)}{others}",
        where=str(folder.path),
        fix="get the files again, or export the model again with save_pretrained",
    )


def _require_layers(
    settings: Any, stored: Mapping[str, Sequence[int]], folder: ModelFolder
) -> None:
    """Refuse more layers than there are tensors before anything is made of so many."""
    layers = getattr(settings.get_text_config(), "num_hidden_layers", None)
    if isinstance(layers, int) and layers > len(stored):
        raise DataError(
            f"config.json has {layers} layers, and the files have {len(stored)} tensors",
            where=str(folder.path),
            fix="get config.json and the weights of one and the same model",
        )


def _require_small_tables(
    settings: Any, kind: Any, stored: Mapping[str, Sequence[int]], folder: ModelFolder
) -> None:
    """Refuse tables that a model computes from its config, if they dwarf what is stored of it.

    Those of positions are as long as the window that the config says, or its square, which no
    tensor shows. transformers computes them even for tensors without values.

    Raises:
        DataError: there are more numbers in them than a config of such a model makes.
    """
    if longest_window(settings.to_dict()) <= _SURE_WINDOW:
        return
    try:
        with quiet_transformers(), torch.random.fork_rng(devices=()), torch.device("meta"):
            model = kind(copy.deepcopy(settings))
    except Exception:  # noqa: BLE001 - classes need not expect a device without values
        return
    most = max(_MOST_IN_TABLES, 2 * sum(map(math.prod, stored.values())))
    for name, table in model.named_buffers():
        if table.numel() > most:
            raise DataError(
                f"config.json makes a table of {table.numel():,} numbers, {name}, for a model of "
                f"{sum(map(math.prod, stored.values())):,}",
                where=str(folder.path),
                fix="correct the length of the window in config.json",
            )


def _kind_of(name: str) -> str:
    """A tensor's name without the number of its layer."""
    return re.sub(r"\.\d+\.", ".#.", name)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
