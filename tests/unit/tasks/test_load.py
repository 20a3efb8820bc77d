"""Tasks as files: those of the library, and a user's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.core.errors import DataError, UsageError
from luthier.evaluation.asking import load_task, select_tasks
from luthier.tasks.generation import GenerationTask
from luthier.tasks.load import library_templates, load_template, task_names
from luthier.tasks.suite import Suite
from luthier.tasks.task import Task

OWN = """\
name: tickets
kind: choices
files:
  splits: {train: train.jsonl, test: test.jsonl}
prompt: "{{ text }}\\nUrgent?"
label: "{{ label }}"
choices: {0: "no", 1: "yes"}
metrics: [acc, "f1:1"]
"""


def write(folder: Path, text: str) -> str:
    path = folder / "tickets.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def suite(name: str) -> Suite:
    found = load_task(name)
    assert isinstance(found, Suite)
    return found


def task(name: str) -> Task:
    found = load_task(name)
    assert isinstance(found, Task)
    return found


def test_every_member_of_a_suite_is_a_task() -> None:
    suites = [found for found in map(load_task, task_names()) if isinstance(found, Suite)]
    assert {found.name for found in suites} == {"glue", "superglue", "mmlu", "mmlu-hendrycks"}
    for found in suites:
        members = [load_task(name) for name in (*found.tasks, *found.diagnostics)]
        assert all(isinstance(member, Task) for member in members)
        assert {name for names in found.categories.values() for name in names} <= {*found.tasks}


def test_the_suites_are_as_large_as_published() -> None:
    glue = suite("glue")
    assert len(glue.tasks) == 10
    assert glue.combined == {"glue/mnli": ("glue/mnli", "glue/mnli_mm")}
    assert len(suite("superglue").tasks) == 8
    assert len(suite("superglue").diagnostics) == 2
    sizes = {name: len(tasks) for name, tasks in suite("mmlu").categories.items()}
    assert sizes == {"stem": 19, "humanities": 13, "social_sciences": 12, "other": 13}
    original = {name: len(tasks) for name, tasks in suite("mmlu-hendrycks").categories.items()}
    assert original == {**sizes, "stem": 18, "other": 14}


def test_metrics_are_the_official_ones() -> None:
    assert task("glue/cola").metrics == ("matthews",)
    assert task("glue/stsb").metrics == ("pearson", "spearman")
    assert task("glue/mrpc").metrics == ("acc", "f1:equivalent")
    assert task("glue/qqp").metrics == ("acc", "f1:duplicate")
    assert task("superglue/cb").metrics == ("acc", "macro_f1")
    assert task("superglue/multirc").metrics == ("f1:1", "all_right")
    assert task("superglue/record").metrics == ("token_f1", "em")
    assert task("superglue/axb").metrics == ("matthews",)
    assert task("superglue/axg").metrics == ("acc", "parity")


def test_every_label_is_paired_with_its_words() -> None:
    """MultiRC's are inverted in a widely used harness: its label 1 means a right answer."""
    assert dict(task("superglue/multirc").label_words) == {
        "0": "<answer>\nIs the answer correct? no",
        "1": "<answer>\nIs the answer correct? yes",
    }
    assert dict(task("superglue/copa").label_words) == {"0": " <end1>", "1": " <end2>"}
    assert dict(task("glue/rte").label_words) == {"entailment": "True", "not_entailment": "False"}
    assert dict(task("glue/wnli").label_words) == {"not_entailment": "False", "entailment": "True"}
    assert dict(task("superglue/boolq").label_words) == {"false": "no", "true": "yes"}


def test_the_two_formats_of_mmlu_are_told_apart() -> None:
    ours, theirs = task("mmlu/high_school_physics"), task("mmlu-hendrycks/high_school_physics")
    assert (ours.format, theirs.format) == ("lm-eval", "hendrycks/test")
    begin = "The following are multiple choice questions (with answers) about"
    assert ours.system == f"{begin} high school physics.\n\n"
    assert theirs.system == f"{begin}  high school physics.\n\n"
    assert ours.stamp.hash != theirs.stamp.hash


def test_a_task_of_ones_own_takes_a_few_lines(tmp_path: Path) -> None:
    found = load_task(write(tmp_path, OWN))
    assert isinstance(found, Task)
    assert found.name == "tickets"
    assert dict(found.label_words) == {"0": "no", "1": "yes"}


def test_what_decides_the_answers_is_in_the_fingerprint(tmp_path: Path) -> None:
    first = task(write(tmp_path, OWN)).stamp
    assert task(write(tmp_path, OWN.replace("[acc, ", "["))).stamp == first
    assert task(write(tmp_path, OWN.replace("Urgent?", "Urgent:"))).stamp.hash != first.hash
    assert task(write(tmp_path, OWN.replace('1: "yes"', "1: sure"))).stamp.hash != first.hash


@pytest.mark.parametrize(
    ("old", "new", "line", "problem", "fix"),
    [
        ("kind: choices", "kind: choice", 2, "'choice' is no kind of task", "'choices'"),
        ("metrics:", "metric:", 8, "has no key 'metric'", "did you mean 'metrics'?"),
        ("[acc,", "[accc,", 8, "unknown metric 'accc'", ""),
        ('"f1:1"', '"f1:yes"', 0, "a label without words; the labels are 0, 1", ""),
        ('"f1:1"', '"recall:yes"', 0, "a label without words; the labels are 0, 1", ""),
        ('"f1:1"', '"precision:2"', 0, "a label without words; the labels are 0, 1", ""),
        ('{0: "no", 1: "yes"}', '{0: "no"}', 7, "at least 2 items", ""),
        ("{{ text }}", "{{ text", 5, "the template is refused", ""),
        ("{{ text }}", "{{ text.x() }}", 5, "nothing can be called", ""),
        ("train: train.jsonl, test", "prepare: [x], test", 4, "valid string", ""),
        ("name: tickets", "name: ../x", 1, "pattern", ""),
        ("files:\n", "prepare: [x]\nfiles:\n", 3, "has no key 'prepare'", ""),
        ("  splits", "  prepare: [copas]\n  splits", 4, "unknown preparation 'copas'", ""),
        ("name: tickets\n", "name: tickets\nsplit: train\n", 0, "worked examples would", ""),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, problem: str, fix: str
) -> None:
    path = write(tmp_path, OWN.replace(old, new))
    with pytest.raises(DataError) as caught:
        load_task(path)
    text = str(caught.value)
    assert problem in text
    assert fix in text
    assert (f"{path}:{line}" if line else path) in text


def test_a_file_that_is_no_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, OWN.replace('"f1:1"]', '"f1:1"'))
    with pytest.raises(UsageError, match="invalid YAML") as caught:
        load_task(path)
    assert caught.value.where == f"{path}:9"


def test_a_task_without_a_kind_is_told_the_kinds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="candidates, contexts, rating, cloze, generate, text"):
        load_task(write(tmp_path, "name: x\n"))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ("label: '{{ x }}'\nchoices: {0: a, 1: b}\n", "choices"),
        ("candidates: c\nreferences: r\n", "candidates"),
        ("contexts: c\ncontinuation: x\nanswer_index: r\n", "contexts"),
        ("label: '{{ x }}'\nscale: {0: a, 1: b}\n", "rating"),
        ("completion: '{{ x }}'\n", "generate"),
        ("references: x\n", "generate"),
    ],
)
def test_fields_tell_the_kind(tmp_path: Path, fields: str, kind: str) -> None:
    metric = {"rating": "pearson", "generate": "em"}.get(kind, "acc")
    found = task(write(tmp_path, f"prompt: '{{{{ x }}}}'\nmetrics: {metric}\n{fields}"))
    assert (found.name, found.model_dump()["kind"]) == ("tickets", kind)


@pytest.mark.parametrize(
    ("stem", "name"),
    [("my own", "my-own"), ("_x", "x"), ("ä/1", "1"), ("(1)", "1"), ("..", "task")],
)
def test_a_name_follows_from_a_file(tmp_path: Path, stem: str, name: str) -> None:
    path = tmp_path / f"{stem.rpartition('/')[2]}.yaml"
    path.write_text("prompt: x\ncompletion: x\nmetrics: em\n", encoding="utf-8")
    assert task(str(path)).name == name


WORDINGS = """\
name: tickets
completion: "{{ queue }}"
metrics: exact_match
wordings:
  short:
    prompt: "{{ text }}"
  long:
    system: You sort tickets.
    prompt: "Which queue? {{ text }}"
    metrics: em
"""


def test_a_file_may_hold_several_wordings(tmp_path: Path) -> None:
    path = write(tmp_path, WORDINGS)
    short, long = task(f"{path}/short"), task(f"{path}/long")
    assert (short.name, long.name) == ("tickets/short", "tickets/long")
    assert (short.metrics, long.metrics) == (("exact_match",), ("em",))
    assert (short.system, long.system) == ("", "You sort tickets.")
    with pytest.raises(
        UsageError, match="holds 2 wordings, and one is wanted: short, long"
    ) as caught:
        load_task(path)
    assert f"{path}/short" in caught.value.fix
    with pytest.raises(UsageError, match="has no wording 'shrt'") as caught:
        load_task(f"{path}/shrt")
    assert "short, long" in caught.value.fix
    with pytest.raises(UsageError, match="has no wording 'tickets'"):
        load_task(f"{write(tmp_path, OWN)}/tickets")


def test_all_wordings_of_a_file_are_measured(tmp_path: Path) -> None:
    path = write(tmp_path, "files: {splits: {test: rows.jsonl}}\n" + WORDINGS)
    names = [found.name for found in select_tasks([path]).tasks]
    assert names == ["tickets/short", "tickets/long"]
    assert [found.name for found in select_tasks([f"{path}/long"]).tasks] == names[1:]
    (tmp_path / "suite.yaml").write_text("kind: suite\nname: s\ntasks: [tickets.yaml/long]\n")
    assert suite(str(tmp_path / "suite.yaml")).tasks == ("tickets/long",)


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("system:", "sytem:", 8, "has no key 'sytem'"),
        ("metrics: exact", "metric: exact", 3, "has no key 'metric'"),
        ('"{{ text }}"', '"{{ text"', 6, "prompt: the template is refused"),
        ("  short:\n    prompt:", "  short:\n    pompt:", 6, "has no key 'pompt'"),
        (WORDINGS.partition("wordings:")[2], " [short]\n", 4, "wordings is no mapping"),
        (WORDINGS.partition("wordings:")[2], " {short: x}\n", 4, "wordings is no mapping"),
        (WORDINGS.partition("wordings:")[2], " {}\n", 4, "wordings is no mapping"),
    ],
)
def test_a_mistake_of_a_wording_has_its_line(
    tmp_path: Path, old: str, new: str, line: int, problem: str
) -> None:
    path = write(tmp_path, WORDINGS.replace(old, new))
    with pytest.raises(DataError) as caught:
        load_task(path)
    assert problem in str(caught.value)
    assert f"{path}:{line}" in str(caught.value)


def test_a_template_is_measured_only_on_rows(tmp_path: Path) -> None:
    mine = write(tmp_path, OWN.partition("files:")[0] + OWN.partition("test.jsonl}\n")[2])
    for name in ("nli-two-way/short", mine):
        with pytest.raises(UsageError, match="does not say where its rows are") as caught:
            select_tasks([name])
        assert "files or hub" in caught.value.fix
        assert "data.source" in caught.value.fix
        assert not load_template(name).has_rows
    assert not any(template.has_rows for template in library_templates())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("glue", "training needs a single task"),
        ("wikitext2", "no questions with answers"),
        ("glue/stsb", "no questions with answers"),
    ],
)
def test_what_cannot_be_a_template(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        load_template(name)
    assert caught.value.where == "prompt.template"


def test_a_match_needs_its_extractor(tmp_path: Path) -> None:
    text = OWN.partition("label:")[0].replace("choices", "generate")
    path = write(tmp_path, f'{text}completion: "{{{{ label }}}}"\nmetrics: ["match:number"]\n')
    with pytest.raises(DataError, match="needs an extractor called 'number'"):
        load_task(path)


def test_an_unknown_task_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        load_task("glue/rtee")
    assert "did you mean 'glue/rte'?" in caught.value.fix


def test_a_name_of_the_library_cannot_be_taken(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="brings along"):
        load_task(write(tmp_path, OWN.replace("name: tickets", "name: glue/rte")))


def test_tasks_are_selected_once_and_remember_who_named_them() -> None:
    selection = select_tasks(["superglue/copa", "superglue", "superglue/copa"])
    names = [found.name for found in selection.tasks]
    assert len(names) == len(set(names)) == 10
    assert selection.named == {"superglue/copa"}
    assert [found.name for found in selection.suites] == ["superglue"]
    with pytest.raises(UsageError, match="no task"):
        select_tasks([])


def test_an_answer_is_extracted_as_gsm8k_does_it() -> None:
    gsm8k = task("gsm8k")
    assert isinstance(gsm8k, GenerationTask)
    strict, flexible = gsm8k.extract["strict"], gsm8k.extract["flexible"]
    text = "She has 3 * $1,250 = 3,750 left.\n#### 3,750"
    assert strict.find(text) == flexible.find(text) == "3,750"
    assert strict.find("So it is 12 in all.") == "[invalid]"
    assert flexible.find("So it is 12 in all.") == "12"
    assert flexible.find("It costs $1,250.50 today") == "$1,250.50"
    assert flexible.find("nothing") == "[invalid]"


def test_names_that_cannot_be_told_apart(tmp_path: Path) -> None:
    def file(name: str, prompt: str) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
        keys = {
            "kind": "generate",
            "name": name,
            "files": {"splits": {"test": "test.jsonl"}},
            "prompt": prompt,
            "completion": "{{ answer }}",
            "metrics": ["exact_match"],
        }
        path.write_text(json.dumps(keys), encoding="utf-8")
        return str(path)

    first = file("urgent", "{{ text }}")
    assert len(select_tasks([first, first]).tasks) == 1
    with pytest.raises(DataError, match="two different tasks are called 'urgent'"):
        select_tasks([first, file("urgent", "Urgent? {{ text }}")])
    with pytest.raises(DataError, match="'a/b' and 'a-b' would be the same files"):
        select_tasks([file("a/b", "{{ text }}"), file("a-b", "{{ text }}")])
    with pytest.raises(DataError, match="would be the files of the task 'glue/rte'"):
        load_task(file("glue-rte", "{{ text }}"))
