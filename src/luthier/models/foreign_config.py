"""Sanitising of a model's ``config.json`` before transformers reads it.

transformers turns every key of the file into an attribute. Some keys make it fetch and run code
from the Hub, read other files, or replace methods. These are rejected, or removed with a warning,
in every part of the model.
"""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import torch

from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.models.settings_file import CONFIG, read_config

# Attention implementations of torch and transformers. Any other name is a package, or a repository
# whose code the kernels package would download.
_IMPLEMENTATION = re.compile(r"_?(attn|attention|experts)_implementation(_internal)?")
_COMPUTED_HERE = (None, "eager", "sdpa", "batched_mm", "grouped_mm")
# A classifier's label count, which would create a list; text generation models have no labels.
_OF_CLASSIFIERS = ("num_labels", "id2label", "label2id", "problem_type")
# Keys that refer to other files or change module classes, by the place where they apply.
_AT_THE_TOP = ("configuration_files",)
_IN_PARTS = ("transformers_weights",)
_ANYWHERE = ("fusion_config", "checkpoint_path", "use_pretrained_backbone")
# Placeholder names of timm models.
_PLACES = re.compile(r"\s*(hf[-_]hub|local-dir|https?|file):", re.IGNORECASE)
_NAMES_OF_PARTS = ("architecture", "backbone", "model_name")
_DTYPES = ("dtype", "torch_dtype")
_SHOWN = 60


def transformers_config(folder: Path, console: Console, *, trust_remote_code: bool = False) -> Any:
    """A model's configuration, created from its sanitised ``config.json``.

    If the user trusts the model's own code, it reads the original file.

    Args:
        folder: the model's folder.
        console: receives warnings of removed keys.
        trust_remote_code: whether Python code named in the file may be run.

    Raises:
        DataError: the file is damaged or rejected by `cleaned`.
        ValueError: transformers does not know the architecture.
    """
    from transformers import AutoConfig

    values = _description(folder, console)
    if trust_remote_code and "auto_map" in values:
        return AutoConfig.from_pretrained(folder, trust_remote_code=True)
    return _made_of(values, folder)


def tokenizer_config(folder: Path, console: Console) -> Any:
    """The configuration that selects a tokenizer's class; None if there is none.

    Raises:
        DataError: as in `transformers_config`; any architecture is accepted.
    """
    from transformers import PreTrainedConfig

    if not (folder / CONFIG).is_file():
        return None
    values = _description(folder, console)
    try:
        return _made_of(values, folder)
    except (ValueError, OSError):
        return PreTrainedConfig.from_dict(values)


def _made_of(values: Mapping[str, Any], folder: Path) -> Any:
    """The output of transformers' own reader for a file with these values."""
    from transformers import AutoConfig

    with tempfile.TemporaryDirectory(prefix="luthier-") as place:
        (Path(place) / CONFIG).write_text(json.dumps(values), encoding="utf-8")
        found = AutoConfig.from_pretrained(place, trust_remote_code=False)
    found.name_or_path = str(folder)
    return found


def _description(folder: Path, console: Console) -> dict[str, Any]:
    kept, left_out = cleaned(read_config(folder), str(folder / CONFIG))
    if left_out:
        console.warn_once(
            f"{CONFIG} of {folder.name} has keys that do not describe a model; they are removed: "
            f"{', '.join(left_out)}"
        )
    return kept


def cleaned(values: Mapping[str, Any], where: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The values of a ``config.json`` without keys that do not describe a model.

    Args:
        values: the content of the file.
        where: the file, for errors.

    Returns:
        The values, and the removed keys with their values.

    Raises:
        DataError: the model would differ without a rejected key.
    """
    left_out: list[str] = []
    kept = _part(values, "", where, left_out)
    return kept, tuple(dict.fromkeys(left_out))


def _part(values: Mapping[str, Any], above: str, where: str, left_out: list[str]) -> dict[str, Any]:
    """A sanitised object of the file, with nested ones."""
    shadowed = _names_of_the_class(values.get("model_type"))
    kept: dict[str, Any] = {}
    for name, value in values.items():
        _refuse(name, value, above, where)
        if name in _OF_CLASSIFIERS:
            continue
        alien = _IMPLEMENTATION.fullmatch(name) and not _is_computed_here(value)
        if alien or name in shadowed:
            left_out.append(f"{above}{name} = {_short(value)}")
            continue
        kept[name] = _inner(value, f"{above}{name}.", where, left_out)
    return kept


def _inner(value: Any, above: str, where: str, left_out: list[str]) -> Any:
    if isinstance(value, Mapping):
        return _part(value, above, where, left_out)
    if isinstance(value, list):
        return [_inner(one, above, where, left_out) for one in value]
    return value


def _refuse(name: str, value: Any, above: str, where: str) -> None:
    """Reject keys that cannot be removed without changing the model.

    Raises:
        DataError: the field refers to other files or code, or its dtype is invalid.
    """
    if value is None or value is False:
        return
    elsewhere = (
        name in _ANYWHERE
        or (name in _AT_THE_TOP and not above)
        or (name in _IN_PARTS and above)
        or (name in _NAMES_OF_PARTS and isinstance(value, str) and _PLACES.match(value))
        or (above.endswith("model_args.") and name.startswith("pretrained"))
    )
    if elsewhere:
        raise DataError(
            f"{above}{name} = {_short(value)} refers to files, code or weights outside this model",
            where=f'{where}, field "{above}{name}"',
            fix="remove the field if the model is complete without it, or choose another model",
        )
    if name == "quantization_config" and above:
        raise DataError(
            "the weights of a part are stored quantised, which is not supported",
            where=f'{where}, field "{above}{name}"',
            fix="choose an unquantised version of the model",
        )
    if name in _DTYPES and value != "auto" and not _is_dtype(value):
        raise DataError(
            f"{above}{name} = {_short(value)} is not a valid dtype",
            where=f'{where}, field "{above}{name}"',
            fix='write one such as "float32" or "bfloat16"',
        )


def _is_dtype(value: Any) -> bool:
    if isinstance(value, Mapping):  # by the name of each part
        return all(_is_dtype(one) for one in value.values())
    name = value.removeprefix("torch.") if isinstance(value, str) else ""
    return isinstance(getattr(torch, name, None), torch.dtype)


def _is_computed_here(value: Any) -> bool:
    if isinstance(value, Mapping):  # by the name of each part
        return all(_is_computed_here(one) for one in value.values())
    return value is None or (isinstance(value, str) and value in _COMPUTED_HERE)


@cache
def _names_of_the_class(kind: Any) -> frozenset[str]:
    """Names reserved by transformers' code: methods and attributes of all configurations."""
    from transformers import CONFIG_MAPPING, PreTrainedConfig

    known = isinstance(kind, str) and kind in CONFIG_MAPPING
    of_kind = CONFIG_MAPPING[kind] if known else PreTrainedConfig
    shared = set(vars(PreTrainedConfig)) - {field.name for field in fields(PreTrainedConfig)}
    methods = {name for name in dir(of_kind) if _is_code(of_kind, name)}
    settable = {name for name in shared if isinstance(vars(PreTrainedConfig)[name], property)}
    return frozenset((shared | methods) - settable - {"model_type"})


def _is_code(kind: type, name: str) -> bool:
    found = inspect.getattr_static(kind, name)
    return callable(found) or isinstance(found, classmethod | staticmethod)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
