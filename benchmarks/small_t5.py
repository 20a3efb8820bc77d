"""A small T5 that can be made anywhere, for the table of methods on an encoder-decoder.

    python benchmarks/small_t5.py [--passes 8] [--folder FOLDER]

Random weights answer nothing, so tuning them would show little. This one, of nine million
parameters, is pre-trained by `luthier.tune` itself (29 minutes on two cores with other work beside
it): a span of each function of the standard library, docstring included, is hidden and to be
written (Raffel et al. 2020, arXiv 1910.10683, section 3.1.4, with one span instead of many). The
modules from which benchmarks/methods-t5.yaml takes its test are not among them. Prints the folder
of the model.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import luthier
from luthier.config import load_config
from luthier.core.cache import cache_folder
from luthier.core.console import Console
from luthier.data.dataset import load_dataset
from luthier.data.docstrings import read_docstrings

CONFIG = Path(__file__).parent / "methods-t5.yaml"
_VOCABULARY = 8192
_HIDDEN = "<hidden>"
_SIZES = {
    "d_model": 256,
    "d_kv": 64,
    "d_ff": 1024,
    "num_layers": 4,
    "num_decoder_layers": 4,
    "num_heads": 4,
    "vocab_size": _VOCABULARY,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
_LONGEST = 30  # words of a hidden span


def main(arguments: Sequence[str]) -> None:
    """Make the model, or say where it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--passes", type=int, default=8, help="spans hidden in each function")
    parser.add_argument("--folder", type=Path, default=cache_folder() / "benchmarks" / "small-t5")
    chosen = parser.parse_args(arguments)
    target = chosen.folder / "small-t5"
    if not target.is_dir():
        texts = _texts()
        start, rows = chosen.folder / "random", chosen.folder / "spans.jsonl"
        _random_model(texts, start)
        with rows.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in _spans(texts, chosen.passes))
        shutil.copytree(_pretrain(start, rows, chosen.folder / "runs"), target)
    print(target)


def _texts() -> list[str]:
    """Functions of modules that are not tested with, each with its docstring."""
    config, console = load_config(CONFIG, ["data.num_train=null"]), Console()
    train = load_dataset(config.data, config.prompt, config.seed, console).train
    modules = {example.group for example in train}
    rows = (row.values for row in read_docstrings(console))
    return [_with_docstring(row) for row in rows if row["module"] in modules]


def _with_docstring(row: Any) -> str:
    head, _, body = row["code"].partition("\n")
    indent = body[: len(body) - len(body.lstrip())]
    return f'{head}\n{indent}"""{row["docstring"]}"""\n{body}'


def _random_model(texts: Sequence[str], folder: Path) -> None:
    """Random weights, and a tokenizer of the texts' own pieces."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    pieces = Tokenizer(models.BPE(unk_token="<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=["<pad>", "</s>", "<unk>", _HIDDEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(texts, trainer)
    pieces.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=pieces, **names).save_pretrained(folder)
    torch.manual_seed(0)
    T5ForConditionalGeneration(T5Config(**_SIZES)).save_pretrained(folder)


def _spans(texts: Sequence[str], passes: int) -> Iterator[dict[str, str]]:
    """Each text so many times, with another span of its words hidden each time."""
    draw = random.Random(0)
    for _ in range(passes):
        for text in draw.sample(texts, len(texts)):
            words = text.split(" ")
            length = draw.randint(1, min(_LONGEST, max(1, len(words) // 3)))
            start = draw.randint(0, len(words) - length)
            hidden = " ".join(words[start : start + length])
            rest = " ".join([*words[:start], _HIDDEN, *words[start + length :]])
            if hidden.strip():  # not indentation alone
                yield {"prompt": rest, "completion": hidden}


def _pretrain(model: Path, rows: Path, output: Path) -> Path:
    """Train all weights; the folder of the model that was made."""
    settings = {
        "model.id": str(model),
        "data.source": str(rows),
        "data.max_length": 384,
        "data.validation_fraction": 0.01,
        "data.test_fraction": 0.01,
        "method": "full",
        "methods.full.learning_rate": 1e-3,
        "train.batch_size": 16,
        "train.micro_batch_tokens": 1024,
        "train.compile": False,
        "output": str(output),
        "name": "pretraining",
    }
    return luthier.tune(load_config(None, [], settings), console=Console()).run.model


if __name__ == "__main__":
    main(sys.argv[1:])
