"""GGUF files, converted once to safetensors, because transformers dequantises them slowly."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from luthier.core.cache import cache_folder, one_at_a_time
from luthier.core.console import Console
from luthier.core.errors import DataError, ResourceError
from luthier.core.folders import new_folder
from luthier.core.units import counted
from luthier.core.untrusted import reading_foreign
from luthier.models.gguf_header import check_header
from luthier.models.quiet_transformers import quiet_transformers
from luthier.models.weights import stored_shapes

_SHOWN = 3  # names


def converted(name: str) -> Path | None:
    """The folder of an earlier `convert_gguf`; None: it is missing or damaged."""
    target = cache_folder() / "models" / name
    return target if _is_whole(target) else None


def convert_gguf(source: Path, name: str, console: Console) -> Path:
    """The folder with ``source`` as safetensors, converted if missing or damaged.

    The weights are float32, which represents every quantised value exactly.

    Args:
        source: the GGUF file.
        name: the name of the folder in the cache, which identifies the content.
        console: shows progress.

    Raises:
        DataError: transformers cannot read the file as GGUF.
        ResourceError: the cache is not writable, or the disk is full.
    """
    if found := converted(name):
        return found
    target = cache_folder() / "models" / name
    with one_at_a_time(target.parent, console):
        if found := converted(name):
            return found
        with console.progress(f"Converting {source.name} (once)", None):
            _convert(source, target)
    return target


def _is_whole(folder: Path) -> bool:
    """Whether all files are present, and the weights are as long as their headers state."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    weights = [folder / name for name in names if name.endswith(".safetensors")]
    if not weights or not {"config.json", "tokenizer.json"} <= names:
        return False
    try:
        return bool(stored_shapes(weights))
    except DataError:
        return False


def _convert(source: Path, target: Path) -> None:
    check_header(source)
    # transformers shows this bar regardless of its own setting.
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        with reading_foreign("this GGUF file cannot be read", str(source)):
            model, tokenizer, missing = _read(source)
        if missing:
            raise DataError(
                f"this GGUF file lacks {counted(len(missing), 'tensor')} of the model: "
                f"{', '.join(missing[:_SHOWN])}",
                where=str(source),
                fix="download it again",
            )
        needed = sum(parameter.nbytes for parameter in model.parameters())
        try:
            with new_folder(target, needed) as partial:
                model.save_pretrained(partial)
                tokenizer.save_pretrained(partial)
        except ResourceError:
            if not _is_whole(target):  # without locks another process may have finished first
                raise


def _read(source: Path) -> tuple[Any, Any, list[str]]:
    """Model, tokenizer, and the names of tensors that transformers initialised itself."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {"gguf_file": source.name, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(source.parent, **options)
    model, loaded = AutoModelForCausalLM.from_pretrained(
        source.parent, dtype=torch.float32, output_loading_info=True, **options
    )
    # The weights are now unquantised, but transformers refuses to save while this is set.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    return model, tokenizer, sorted(loaded["missing_keys"])
