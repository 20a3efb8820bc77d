from __future__ import annotations

import csv
import gzip
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import DataError, UsageError
from luthier.core.example import Example
from luthier.core.row import Row
from luthier.tasks.generation import GenerationTask
from luthier.tasks.likelihood import ChoiceTask
from luthier.tasks.load import library_templates, load_template
from luthier.tasks.task import Task

GOOD = """\
name: mine
cluster: translate
prompt: "{{ source }}"
completion: "{{ target }}"
metrics: [bleu]
"""


def render(task: Task, row: dict[str, Any], where: str = "rows.csv:1") -> Example:
    return task.document(Row(row, where), 0, {}).example()


def test_each_file_has_three_wordings_that_differ() -> None:
    wordings = defaultdict(list)
    for template in library_templates():
        wordings[template.name.partition("/")[0]].append(template)
    assert len({template.cluster for template in library_templates()}) == 8
    for templates in wordings.values():
        assert len({template.stamp.hash for template in templates}) == 3
        assert len({template.cluster for template in templates}) == 1


@pytest.mark.parametrize("template", library_templates(), ids=lambda template: template.name)
def test_library_template_renders_a_row_of_its_columns(template: Task) -> None:
    row = {column: f"the {column}" for column in template.columns}
    if isinstance(template, ChoiceTask):
        label = next(iter(template.choices))
        row |= {"label": label, "answer": label}
    example = render(template, row)
    question = example.messages[-1].content
    asked = template.columns - {"label", "answer"}
    if isinstance(template, GenerationTask):
        asked -= {(template.completion or "").strip("{} ")}
    assert asked
    for column in asked:
        assert row[column] in question
    assert question == question.strip()
    assert "{{" not in question
    assert len(example.references) == 1
    assert not example.choices or example.references[0] in example.choices


def test_wordings_of_one_file_agree_on_columns() -> None:
    columns = defaultdict(set)
    for template in library_templates():
        columns[template.name.partition("/")[0]].add(template.columns)
    assert all(len(sets) == 1 for sets in columns.values())


def test_load_by_id() -> None:
    found = load_template("summarise-dialogue/short")
    assert found.name == "summarise-dialogue/short"
    assert not found.has_rows


@pytest.mark.parametrize("name", ["summarise-dialogue/shrt", "../core/errors", "/etc/passwd", ""])
def test_unknown_id(name: str) -> None:
    with pytest.raises(UsageError, match="there is no task") as caught:
        load_template(name)
    assert "luthier prompt --templates" in caught.value.fix
    assert ("did you mean 'summarise-dialogue/short'?" in caught.value.fix) == ("shrt" in name)


def test_a_file_gives_a_template_its_name(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(GOOD.replace("name: mine\n", "").replace("[bleu]", "bleu"))
    template = load_template(str(path))
    assert (template.name, template.metrics) == ("own", ("bleu",))


def test_load_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    template = load_template(str(path))
    assert (template.name, template.max_new_tokens) == ("mine", 256)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (GOOD + "systm: x\n", 6, "did you mean 'system'"),
        (GOOD.replace("prompt:", "input:"), 3, "did you mean 'prompt'"),
        (GOOD.replace("completion:", "output:"), 4, "did you mean 'completion'"),
        (GOOD.replace('"{{ source }}"', '"{{ source"'), 3, "prompt: the template is refused"),
        (GOOD.replace("[bleu]", "[]"), 5, "metrics"),
        (GOOD + "choices: {0: no, 1: y}\nlabel: '{{ x.y() }}'\n", 7, "nothing can be called"),
        (GOOD + "choices: {0: no, 1: yes}\n", 4, "of the kind choices has no key 'completion'"),
    ],
)
def test_problems_of_a_file_have_their_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        load_template(str(path))
    assert f"{path}:{line}" in str(caught.value)


def test_all_problems_of_a_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("completion: x\nmax_new_tokens: 0\nmetrics: []\nchoice: 1\n")
    with pytest.raises(DataError, match="3 problems"):
        load_template(str(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load_template(str(tmp_path / "none.yaml"))


@pytest.fixture
def data_root() -> Path:
    root = os.environ.get("LUTHIER_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("LUTHIER_DATA is not set to a folder of real data")
    return Path(root)


def test_real_dialogsum(data_root: Path) -> None:
    template = load_template("summarise-dialogue/short")
    path = data_root / "dialogsum" / "dialogsum.test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    examples = [render(template, row) for row in rows]
    assert len(examples) == 500
    assert sum(len(example.references) == 3 for example in examples) > 450
    with gzip.open(data_root / "dialogsum" / "dialogsum.train.jsonl.gz", "rt") as file:
        example = render(template, json.loads(next(file)))
    assert len(example.references) == 1


@pytest.mark.parametrize(
    ("path", "template", "choices"),
    [
        ("superglue/CB/val.jsonl", "nli-three-way/plain", {"yes", "no", "maybe"}),
        ("superglue/RTE/val.jsonl", "nli-two-way/plain", {"yes", "no"}),
    ],
)
def test_real_nli(data_root: Path, path: str, template: str, choices: set[str]) -> None:
    rows = [json.loads(line) for line in (data_root / path).read_text().splitlines()]
    chosen = load_template(template)
    answers = {render(chosen, row, path).references[0] for row in rows}
    assert answers == choices


def test_real_sst2_and_mmlu(data_root: Path) -> None:
    with (data_root / "glue" / "SST-2" / "dev.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    template = load_template("classify-sentiment/review")
    answers = [render(template, row).references[0] for row in rows]
    assert (answers.count("negative"), answers.count("positive")) == (428, 444)
    with (data_root / "mmlu" / "dev" / "anatomy_dev.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, ["question", "A", "B", "C", "D", "answer"]))
    letters = [render(load_template("qa-choice/plain"), row) for row in rows]
    words = [render(load_template("qa-choice/words"), row) for row in rows]
    assert [example.references[0] for example in letters] == [row["answer"] for row in rows]
    assert [example.references[0] for example in words] == [row[row["answer"]] for row in rows]
