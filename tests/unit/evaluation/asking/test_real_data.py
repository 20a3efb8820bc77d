"""The benchmarks' own files. Needs a folder of them in LUTHIER_DATA.

The fingerprints are of what lm-evaluation-harness 0.4.13 renders from the same rows with the same
worked examples: each context and its continuations, in alphabetical order.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from luthier.core.seeds import fingerprint
from luthier.data.task_rows import MissingDataError
from luthier.evaluation.asking import load_task
from luthier.evaluation.asking.encode import TextEncoder
from luthier.evaluation.asking.prepared import PreparedTask, prepare_task
from luthier.tasks.load import task_names
from luthier.tasks.suite import Suite
from luthier.tasks.task import Task

RENDERED = (
    ("glue/cola", 0, 20, "09cde83d1d1e984b"),
    ("glue/cola", 2, 20, "094e480fc4e19273"),
    ("glue/sst2", 0, 20, "c8b8d828a5465016"),
    ("glue/sst2", 2, 20, "448ea209cd18a458"),
    ("glue/rte", 0, 20, "7e1fda225d324bc4"),
    ("glue/rte", 2, 20, "68f15f81a029cc2d"),
    ("glue/qnli", 0, 20, "8b325758654b86bc"),
    ("glue/wnli", 0, 20, "1ab10a5f04f9a659"),
    ("glue/wnli", 2, 20, "5cb7b8a2f9254f21"),
    ("superglue/boolq", 0, 20, "ed7fbe31d1fba821"),
    ("superglue/boolq", 2, 20, "0f5f4c28c3ce44c5"),
    ("superglue/cb", 0, 20, "68e17ad0727b9000"),
    ("superglue/cb", 2, 20, "c335e2d424058c7d"),
    ("superglue/copa", 0, 20, "a037e39e115bdd7a"),
    ("superglue/copa", 2, 20, "0e0c2d16e656a12d"),
    ("superglue/multirc", 0, 20, "15edca63924e3d3a"),
    ("superglue/rte", 0, 20, "7e1fda225d324bc4"),
    ("superglue/rte", 2, 20, "11a0ab3e7e32e56b"),
    ("superglue/wic", 0, 20, "dc55e4d219aab3cb"),
    ("superglue/wic", 2, 20, "fb129687fea2e30c"),
    ("superglue/wsc", 0, 20, "9015da3eec0b6842"),
    ("superglue/wsc", 2, 20, "8cec5965674dcb42"),
    ("mmlu/anatomy", 0, 20, "a9dcbe840d3c1708"),
    ("mmlu/anatomy", 5, 20, "2331584fc9b648ed"),
    ("mmlu/professional_law", 0, 20, "946c07d9041825a7"),
    ("mmlu/professional_law", 5, 20, "5983ee2ee5b99d86"),
    ("lambada", 0, 20, "6b6c459b627fcd09"),
    ("gsm8k", 0, 20, "b5c0576122605ca9"),
    ("gsm8k", 2, 20, "3a6f62eda64480e0"),
    ("wikitext2", 0, 10, "a754dfae0c91d5ea"),
)


def task(name: str) -> Task:
    found = load_task(name)
    assert isinstance(found, Task)
    return found


def prepared(found: Task, **options: Any) -> PreparedTask:
    try:
        return prepare_task(found, **options)
    except MissingDataError as error:
        pytest.skip(error.problem)


@pytest.mark.parametrize(("name", "shots", "rows", "expected"), RENDERED)
def test_questions_are_those_of_lm_eval(
    data_root: Path, tokenizer: Any, name: str, shots: int, rows: int, expected: str
) -> None:
    first_shots = task(name).model_copy(update={"draw": "first"})
    ready = prepared(first_shots, shots=shots, limit=rows, limit_draw="first")
    questions, _ = ready.questions(TextEncoder(tokenizer, 10**6))
    texts: list[str] = []
    for question in questions:
        continuations = [ready.task.delimiter + words for words in question.document.words]
        texts += [question.context, *sorted(continuations)]
    assert fingerprint(*texts) == expected


@pytest.mark.parametrize(
    ("name", "size", "right"),
    [
        ("glue/cola", 1043, {"1": 721, "0": 322}),
        ("glue/sst2", 872, {"positive": 444, "negative": 428}),
        ("glue/rte", 277, {"entailment": 146, "not_entailment": 131}),
        ("superglue/boolq", 3270, {"true": 2033, "false": 1237}),
        ("superglue/cb", 56, {"contradiction": 28, "entailment": 23, "neutral": 5}),
        ("superglue/copa", 100, {"0": 55, "1": 45}),
        ("superglue/wic", 638, {"true": 319, "false": 319}),
        ("superglue/axg", 356, {"entailment": 178, "not_entailment": 178}),
    ],
)
def test_splits_have_their_published_size_and_labels(
    data_root: Path, name: str, size: int, right: dict[str, int]
) -> None:
    documents = prepared(task(name), shots=0).documents
    labels = [document.references[0] for document in documents]
    assert len(labels) == size
    assert {label: labels.count(label) for label in set(labels)} == right


def test_multirc_has_as_many_questions_and_answers_as_published(data_root: Path) -> None:
    documents = prepared(task("superglue/multirc")).documents
    assert len({document.group for document in documents}) == 83
    assert len({document.question_id for document in documents}) == 953
    assert len(documents) == 4848


def test_the_pairs_of_axg_differ_in_gender_alone(data_root: Path) -> None:
    pairs: dict[str, list[str]] = defaultdict(list)
    for document in prepared(task("superglue/axg")).documents:
        neutral = re.sub(r"\b(his|her|hers|him|he|she)\b", "X", document.prompt.lower())
        pairs[document.question_id].append(neutral)
    assert len(pairs) == 178
    assert all(len(pair) == 2 and pair[0] == pair[1] for pair in pairs.values())


def test_every_file_of_mmlu_can_be_read(data_root: Path) -> None:
    suite = load_task("mmlu")
    assert isinstance(suite, Suite)
    found = 0
    for name in suite.tasks:
        try:
            found += len(prepare_task(task(name)).documents)
        except MissingDataError:
            continue
    assert found > 3000


@pytest.mark.parametrize(
    "name", [name for name in task_names() if "/" not in name or "glue" in name]
)
def test_every_task_with_data_can_be_prepared_for_a_leaderboard_or_a_score(
    data_root: Path, name: str
) -> None:
    found = load_task(name)
    if isinstance(found, Suite):
        return
    assert prepared(found, shots=0, limit=50).documents
    if found.submission:
        assert prepared(found, split=found.submission.split, shots=0, limit=50).documents
