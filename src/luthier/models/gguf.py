"""GGUF files, converted once to safetensors: transformers de-quantises them slowly every time."""

from __future__ import annotations

import contextlib
import io
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from luthier.core.cache import cache_folder
from luthier.core.console import Console
from luthier.core.guarded import reading_foreign
from luthier.models.gguf_header import check_header
from luthier.models.quiet import quiet_transformers

_A_DAY = 24 * 3600.0  # seconds


def convert_gguf(source: Path, name: str, console: Console) -> Path:
    """The folder with the safetensors version of ``source``; made when it is missing.

    The weights are float32, which holds every value of a quantised file exactly.

    Raises:
        DataError: the file is not a GGUF that transformers can read.
    """
    target = cache_folder() / "models" / name
    if (target / "config.json").is_file():
        return target
    with console.progress(f"Converting {source.name} (once)", None):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        # A folder of its own: another process may convert the same file.
        partial = target.with_name(f".{name}.{secrets.token_hex(4)}.partial")
        partial.mkdir()
        try:
            # transformers draws this bar without asking its own switch for bars.
            with (
                reading_foreign("this GGUF file cannot be read", str(source)),
                quiet_transformers(),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                _convert(source, partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        if target.is_dir() and not (target / "config.json").is_file():
            shutil.rmtree(target, ignore_errors=True)  # a part of one that was interrupted
        try:
            partial.rename(target)
        except OSError:  # another process was faster; its folder is as good
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _remove_leftovers(target: Path) -> None:
    """Remove what conversions left that were killed: no conversion takes a day."""
    for partial in target.parent.glob(f".{target.name}.*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - partial.stat().st_mtime > _A_DAY:
                shutil.rmtree(partial, ignore_errors=True)


def _convert(source: Path, target: Path) -> None:
    check_header(source)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {"gguf_file": source.name, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(source.parent, **options)
    model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **options)
    # The weights are plain now; transformers refuses to save while this says otherwise.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
