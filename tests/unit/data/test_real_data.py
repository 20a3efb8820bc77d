"""Public data sets as they are, with their flaws. Needs a folder of them in LUTHIER_DATA."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from luthier.config.data import DataConfig
from luthier.config.prompt import PromptConfig
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.data.dataset import Dataset, load_dataset
from luthier.data.identity import prompt_key
from luthier.data.splits import SPLITS


def load(root: Path, source: str, template: str | None = None, **data: Any) -> Dataset:
    if not (root / source).exists():
        pytest.skip(f"{source} is not in LUTHIER_DATA")
    config = DataConfig(source=source, **data)
    return load_dataset(config, PromptConfig(template=template), 0, Console(quiet=True))


def test_dialogsum(data_root: Path) -> None:
    dataset = load(
        data_root,
        "dialogsum/dialogsum.train.jsonl.gz",
        "summarise-dialogue/short",
        validation="dialogsum/dialogsum.dev.jsonl",
        test="dialogsum/dialogsum.test.jsonl",
        num_validation=None,
    )
    assert dataset.task == "dialogsum"
    assert len(dataset.test) == 500
    assert Counter(len(example.references) for example in dataset.test)[3] > 450
    dropped = Counter(dropped.where.split(":")[0] for dropped in dataset.dropped)
    assert len(dataset.train) + dropped["dialogsum.train.jsonl.gz"] == 12_460
    assert len(dataset.validation) + dropped["dialogsum.dev.jsonl"] == 500
    test = {prompt_key(example) for example in dataset.test}
    assert not test & {prompt_key(example) for example in dataset.train}
    leaks = sum("test split" in dropped.reason for dropped in dataset.dropped)
    assert leaks > 0  # the published training set holds a few of the test dialogues


def test_the_dialogsum_folder_is_the_same(data_root: Path) -> None:
    by_folder = load(data_root, "dialogsum", "summarise-dialogue/short", num_train=100)
    by_file = load(
        data_root,
        "dialogsum/dialogsum.train.jsonl.gz",
        "summarise-dialogue/short",
        validation="dialogsum/dialogsum.dev.jsonl",
        test="dialogsum/dialogsum.test.jsonl",
        num_train=100,
    )
    assert by_folder.fingerprint == by_file.fingerprint


def test_alpaca(data_root: Path) -> None:
    source = "instruct/alpaca/alpaca_5000.json.gz"
    with pytest.raises(DataError, match=r'row 2336, field "output".*the text is empty'):
        load(data_root, source)
    dataset = load(data_root, source, invalid="drop")
    assert dataset.format == "alpaca"
    assert len(dataset.train) > 3500


def test_multi_turn_alpaca(data_root: Path) -> None:
    dataset = load(data_root, "instruct/llamafactory/lima.json.gz")
    turns = Counter(len(example.messages) for example in dataset.train)
    assert turns[1] > 700
    assert max(turns) > 1


def test_sharegpt_with_tools(data_root: Path) -> None:
    dataset = load(data_root, "instruct/llamafactory/glaive_toolcall_en_demo.json.gz")
    assert dataset.format == "sharegpt"
    assert sum(len(dataset.split(name)) for name in SPLITS) + len(dataset.dropped) == 300
    calling = [one for one in dataset.train if any(turn.tool_calls for turn in one.messages)]
    assert len(calling) > 50
    for example in calling:
        offered = {tool["function"]["name"] for tool in json.loads(example.tools)}
        calls = [call for turn in example.messages for call in turn.tool_calls]
        assert {call.name for call in calls} <= offered
        assert all(isinstance(json.loads(call.arguments), dict) for call in calls)
        assert {turn.role for turn in example.messages} >= {"user", "assistant", "tool"}


def test_sst2(data_root: Path) -> None:
    dataset = load(data_root, "glue/SST-2/dev.tsv", "classify-sentiment/short")
    examples = [*dataset.train, *dataset.validation, *dataset.test]
    assert len(examples) + len(dataset.dropped) == 872
    assert {example.references[0] for example in examples} == {"negative", "positive"}


def test_sst2_names_the_column_that_its_files_disagree_on(data_root: Path) -> None:
    with pytest.raises(DataError, match=r"train\.tsv\.gz:2; .*needs the column 'content'"):
        load(data_root, "glue/SST-2", "classify-sentiment/short")


def test_plain_text(data_root: Path) -> None:
    dataset = load(data_root, "text/shakespeare/tinyshakespeare.txt")
    assert dataset.format == "text"
    assert len(dataset.train) > 5000


def test_prompts_of_many_tasks(data_root: Path) -> None:
    dataset = load(data_root, "instruct/t0_train_50k/sample_10_per_template.jsonl.gz")
    assert dataset.format == "prompt-completion"
    assert len(dataset.train) > 2000


def test_a_headless_csv_with_tabs(data_root: Path) -> None:
    with pytest.raises(DataError, match="row that starts here is invalid"):
        load(data_root, "glue/STS-B")
