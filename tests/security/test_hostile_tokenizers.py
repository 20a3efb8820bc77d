"""A tokenizer's rules are a stranger's: patterns that never end, and texts that explode."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from luthier.cli.main import run as luthier
from luthier.core.errors import DataError
from luthier.prompts.tokenizer_rules import require_workable

PATTERNS = {
    "nested plus": r"(a+)+$",
    "nested star": r"(a*)*$x",
    "alternatives alike": r"(a|aa)+$x",
    "classes alike": r"(\w|\w\w)+$x",
    "any nested": r"(.+)+\z\n",
    "letters nested": r"(\p{L}+)+\p{N}",
    "digits nested": r"(\p{N}+)+\p{L}",
    "blanks nested": r"(\s+)+x",
    "blanks, not stripped": r"(\s|[ \n])+x",
    "in a lookahead": r"(?=(\w+)+\n)\w",
    "in a lookbehind's neighbour": r"(?<!x)([A-Za-z]+)*\n",
    "lazy": r"(a+?)+?$x",
    "counted": r"(a{1,9}){1,99}$x",
    "back-reference": r"(a+)\1+(a+)\2+$x",
    "conditional": r"(?:(a+)|b)+$x",
    "of many parts": r"\w*\w*\w*\w*\w*\w*\w*\w*\n",
    "of many anythings": r".*.*.*.*.*.*.*x\z",
    "of punctuation": r"([-_!]+)+x",
    "words and blanks": r"([a-z]+\s?)+\n\z",
}
RULES = {
    "pre_tokenizer": lambda pattern: pre_tokenizers.Split(pattern, "isolated"),
    "pre_tokenizer in a sequence": lambda pattern: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(), pre_tokenizers.Split(pattern, "isolated")]
    ),
    "normalizer": lambda pattern: normalizers.Replace(pattern, "b"),
    "decoder": lambda pattern: decoders.Replace(pattern, "b"),
}
EXPLODING = {
    "one replacement": [normalizers.Replace("a", "a" * 1000)],
    "a chain of doublings": [normalizers.Replace("a", "aa")] * 40,
    "a pattern's": [normalizers.Replace(Regex("."), "ab" * 40)],
    "between others": [normalizers.NFKC(), *[normalizers.Replace("a", "aaa")] * 9],
}


class Made:
    """As much of a tokenizer of transformers as is looked at."""

    def __init__(self, **rules: Any) -> None:
        self.backend_tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
        for name, rule in rules.items():
            setattr(self.backend_tokenizer, name, rule)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_that_takes_for_ever_is_refused(name: str) -> None:
    began = time.thread_time()
    made = Made(pre_tokenizer=pre_tokenizers.Split(Regex(PATTERNS[name]), "isolated"))
    with pytest.raises(DataError, match="pattern") as caught:
        require_workable(made, "somebody/model")
    assert caught.value.where == "somebody/model"
    assert time.thread_time() - began < 2


@pytest.mark.parametrize("rule", RULES)
def test_it_is_found_wherever_it_stands(rule: str) -> None:
    name = rule.partition(" ")[0]
    made = Made(**{name: RULES[rule](Regex(r"(\s|[ \n])+x"))})
    with pytest.raises(DataError, match=f"the {name} of the tokenizer"):
        require_workable(made, "somebody/model")


@pytest.mark.parametrize("name", EXPLODING)
def test_a_text_that_explodes_is_refused(name: str) -> None:
    made = Made(normalizer=normalizers.Sequence(EXPLODING[name]))
    with pytest.raises(DataError, match="more than 64 characters of one"):
        require_workable(made, "somebody/model")


# As published tokenizers cut texts: those of GPT-2, Llama 3, o200k, DeepSeek, StarCoder.
GOOD = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"\d| ?\w+|[^\w\s]+|\s+",
]


@pytest.mark.parametrize("pattern", GOOD)
def test_patterns_in_use_are_not_refused(pattern: str) -> None:
    require_workable(Made(pre_tokenizer=pre_tokenizers.Split(Regex(pattern), "isolated")), "")


def test_the_command_refuses_it_with_the_folder(
    tiny_llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(tiny_llama, tmp_path / "m"))
    path = model / "tokenizer.json"
    rules = json.loads(path.read_text(encoding="utf-8"))
    rules["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": r"(\w+)+\n"},
        "behavior": "Isolated",
        "invert": False,
    }
    path.write_text(json.dumps(rules), encoding="utf-8")
    assert luthier(["prompt", "--model", str(model), "--input", "hi"]) == 3
    said = capfd.readouterr().err
    assert "pre_tokenizer" in said
    assert "panicked" not in said
    assert str(model) in "".join(said.split())
