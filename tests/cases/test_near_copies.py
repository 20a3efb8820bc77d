"""Generated support tickets: 24 templates with other numbers, months and greetings."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from luthier.config.data import DataConfig
from luthier.config.prompt import PromptConfig
from luthier.core.console import Console
from luthier.core.example import Example
from luthier.data.dataset import Dataset, load_dataset
from luthier.data.splits import SPLITS

TASK = """\
prompt: |
  Ticket: {{ subject }} {{ body }}
  Team (billing, account, shipping, technical):
label: "{{ queue }}"
choices: {billing: billing, account: account, shipping: shipping, technical: technical}
metrics: [accuracy]
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("task") / "queue.yaml"
    path.write_text(TASK, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def load(inputs: Path, task: Path) -> Callable[..., Dataset]:
    def load_tickets(seed: int = 0, **data: Any) -> Dataset:
        source = str(inputs / "rows/support-tickets.csv")
        config = DataConfig(source=source, num_validation=None, **data)
        prompt = PromptConfig(template=str(task))
        return load_dataset(config, prompt, seed, Console(quiet=True))

    return load_tickets


def words(example: Example) -> set[str]:
    """The words of the ticket, without the text that all prompts share."""
    text = example.messages[-1].content
    own = text.removeprefix("Ticket:").partition("\nTeam (")[0]
    return set(re.findall(r"\w+", own.casefold()))


def near(one: set[str], other: set[str]) -> bool:
    return len(one & other) >= 0.6 * len(one | other)


@pytest.mark.parametrize("seed", range(3))
def test_no_near_copy_is_in_two_splits(load: Callable[..., Dataset], seed: int) -> None:
    dataset = load(seed)
    parts = [[words(example) for example in dataset.split(name)] for name in SPLITS]
    assert sum(map(len, parts)) == 287  # 13 rows are equal to another one
    for one, other in combinations(parts, 2):
        assert not any(near(a, b) for a in one for b in other)


def test_without_groups_of_near_copies_most_of_the_test_is_known(
    load: Callable[..., Dataset],
) -> None:
    dataset = load(near_duplicates="off")
    train = [words(example) for example in dataset.train]
    known = sum(any(near(words(one), other) for other in train) for one in dataset.test)
    assert known > 0.7 * len(dataset.test)


def test_near_copies_are_one_observation(load: Callable[..., Dataset]) -> None:
    dataset = load()
    assert (dataset.near.examples, dataset.near.groups, dataset.near.leaked) == (287, 24, 0)
    groups = {example.group for name in SPLITS for example in dataset.split(name)}
    assert len(groups) == 24


def test_every_queue_is_in_every_split_in_proportion(
    load: Callable[..., Dataset], inputs: Path
) -> None:
    dataset = load()
    with (inputs / "rows/support-tickets.csv").open(encoding="utf-8", newline="") as file:
        queues = Counter(row["queue"] for row in csv.DictReader(file))
    assert len(queues) == 4
    for name, share in (("validation", 0.1), ("test", 0.3)):
        found = Counter(example.references[0] for example in dataset.split(name))
        for queue, count in queues.items():
            assert found[queue] == pytest.approx(share * count, abs=9)  # half a group of 18


def test_data_show_tells_of_near_copies(
    call: Callable[..., Any], inputs: Path, task: Path, tiny_llama: Path
) -> None:
    path = str(inputs / "rows/support-tickets.csv")
    show = ("data", "show", "--model", str(tiny_llama), "--data", path, f"prompt.template={task}")
    shown = " ".join(call(*show).out.split())
    assert "287 examples have near-duplicates, such as support-tickets.csv:" in shown
    assert "They form 24 groups; those of a group are in one split." in shown
    chained = call(*show, "data.group=customer")
    assert "chain more than half of the rows into one group through data.group" in chained.err
    assert "validation and test examples have near-duplicates in the training data" in chained.err
