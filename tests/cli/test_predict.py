"""``luthier predict`` and ``luthier prompt --run`` as people type them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Call

TASK = """\
prompt: |
  {{ subject }}
  {{ body }}
  Sign:
label: "{{ sign }}"
choices: {plus: plus, minus: minus}
metrics: [accuracy]
"""
NEW = "subject,body,id\nOne,first,007\nTwo,,8\n,,9\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signs")
    (folder / "sign.yaml").write_text(TASK, encoding="utf-8")
    rows = [(f"Number {n}", "and more", ("plus", "minus")[n % 2]) for n in range(40)]
    with (folder / "signs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("subject", "body", "sign"), *rows])
    (folder / "new.csv").write_text(NEW, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def ladder(call: Call, place: Path, tiny_llama: Path, one_thread: None) -> str:
    outcome = call(
        "adapt", str(place / "signs.csv"), "--template", str(place / "sign.yaml"),
        "--model", str(tiny_llama), "--rungs", "zero-shot,few-shot",
        "--output", str(place / "runs"),
        "model.dtype=float32", "evaluate.resamples=100", "evaluate.general_text=null",
        "--name", "ladder", "adapt.target=0.1", "adapt.baselines=[majority]", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return str(outcome.document["run"])


def test_a_file_and_the_rows_that_cannot_be_answered(
    call: Call, place: Path, ladder: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    command = ("predict", ladder, str(place / "new.csv"), "-o", str(out), "--rung", "few-shot")
    outcome = call(*command)
    assert outcome.code == 3
    told = " ".join(outcome.out.split())
    assert f"Answered: 2 rows, in {out}" in told
    assert f"Not answered: 1 row, in {tmp_path / 'out.rejected.jsonl'}" in told
    assert "1 row not answered: the row is empty in 'body', 'subject' (new.csv:4)" in outcome.err
    found = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert [row["id"] for row in found] == ["007", "8"]
    document = call(*command, "--json").document
    assert (document["rows"], document["rejected"]) == (2, 1)
    assert document["run"].endswith("few-shot")
    strict = call(*command, "--strict")
    assert strict.code == 3
    assert "new.csv:4" in strict.err


def test_an_adapt_run_stands_for_its_recommended_rung(call: Call, place: Path, ladder: str) -> None:
    default = call("predict", ladder, str(place / "new.csv"))
    assert "stands for the rung that it recommends: majority" in default.err
    named = call("predict", f"{ladder}/rungs/majority", str(place / "new.csv"))
    assert default.out == named.out != call("predict", ladder, str(place / "new.csv"), "--rung",
                                            "few-shot").out  # fmt: skip
    wrong = call("predict", ladder, str(place / "new.csv"), "--rung", "few-shots")
    assert wrong.code == 2
    assert "did you mean 'few-shot'?" in wrong.err


@pytest.mark.parametrize("kind", ["csv", "jsonl", "tsv"])
def test_standard_input_and_output(place: Path, ladder: str, kind: str) -> None:
    rows = list(csv.DictReader(io.StringIO(NEW)))
    written = {
        "csv": NEW,
        "tsv": NEW.replace(",", "\t"),
        "jsonl": "".join(json.dumps({**row, "more": "é\u202e"}) + "\n" for row in rows),
    }[kind]
    code = "import sys; from luthier.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "predict", ladder, "-", "--format", kind]
    outcome = subprocess.run(command, input=written.encode(), capture_output=True, check=False)
    assert outcome.returncode == 3, outcome.stderr.decode()
    assert "standard input" in outcome.stderr.decode()
    text = outcome.stdout.decode()
    if kind == "jsonl":
        found = [json.loads(line) for line in text.splitlines()]
        assert found[0]["more"] == "é\u202e"
    else:
        found = list(csv.DictReader(io.StringIO(text), delimiter={"csv": ",", "tsv": "\t"}[kind]))
    assert [row["id"] for row in found] == ["007", "8"]
    assert {row["prediction"] for row in found} <= {"plus", "minus"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-",), "--format csv"),
        (("new.csv", "--json"), "-o"),
        (("new.csv", "--abstain", "1.5"), "from 0 to 1"),
        (("gone.csv",), "there is no such file"),
        (("new.csv", "prompt.shots=3"), "cannot be changed here"),
        (("new.csv", "-o", "out.xls"), "cannot be written"),
        (("new.csv", "-o", "new.csv", "--force"), "the rows are read from this file"),
    ],
)
def test_mistakes_are_told(
    call: Call, place: Path, ladder: str, arguments: tuple[str, ...], told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(place)
    outcome = call("predict", ladder, *arguments)
    assert outcome.code in (2, 3)
    assert told in " ".join(outcome.err.split())
    assert (place / "new.csv").read_text(encoding="utf-8") == NEW


def test_a_rung_without_a_result_predicts_nothing(
    call: Call, place: Path, ladder: str, tmp_path: Path
) -> None:
    import shutil

    copy = Path(shutil.copytree(ladder, tmp_path / "copy"))
    (copy / "rungs" / "few-shot" / "rung.json").unlink()
    outcome = call("predict", str(copy), str(place / "new.csv"), "--rung", "few-shot")
    assert outcome.code == 3
    assert "the rung few-shot has no result" in outcome.err


def test_prompt_asks_through_the_task_of_the_run(call: Call, ladder: str, place: Path) -> None:
    run = f"{ladder}/rungs/few-shot"
    inputs = ("--input", "subject=One", "--input", "body=first")
    (asked,) = call("prompt", "--run", run, *inputs, "--json").document
    (row, *_) = csv.DictReader(io.StringIO(call("predict", run, str(place / "new.csv")).out))
    assert "One\nfirst\nSign:" in asked["prompt"]
    assert asked["prediction"] == row["prediction"]
    values = json.dumps({"subject": "One", "body": "first"})
    (given,) = call("prompt", "--run", run, "--input-json", values, "--json").document
    assert given == asked
    person = call("prompt", "--run", run, *inputs).out
    assert f"{float(row['probability.plus']):.3f}  plus" in person
    for arguments in (("--input", "One"), inputs[:2], ("--input-json", "[1]")):
        outcome = call("prompt", "--run", run, *arguments)
        assert outcome.code == 2
        assert "body" in outcome.err
    samples: list[Any] = call("prompt", "--run", run, "--num", "2", "--json").document
    assert [bool(sample["likelihoods"] and sample["references"]) for sample in samples] == [
        True
    ] * 2


def test_prompt_without_a_run_is_asked_a_text(call: Call, tiny_llama: Path) -> None:
    model = ("--model", str(tiny_llama), "model.dtype=float32", "evaluate.max_new_tokens=2")
    (asked,) = call("prompt", *model, "--input", "a=b", "--json").document
    assert "a=b" in asked["prompt"]
    outcome = call("prompt", *model, "--input", "a=b", "--input", "c=d")
    assert outcome.code == 2
    assert "--run" in outcome.err


@pytest.mark.parametrize("name", ["../x", "text", "a format\x1b[31m"])
@pytest.mark.parametrize("rung", ["majority", "zero-shot"])
def test_a_stored_format_without_questions_is_refused(
    call: Call, place: Path, ladder: str, tmp_path: Path, name: str, rung: str
) -> None:
    run = Path(shutil.copytree(ladder, tmp_path / "run"))
    stored = run / "rungs" / rung / "prompting.json"
    record = {**json.loads(stored.read_text(encoding="utf-8")), "format": name}
    stored.write_text(json.dumps(record), encoding="utf-8")
    out = tmp_path / "out.csv"
    outcome = call("predict", str(run), str(place / "new.csv"), "-o", str(out), "--rung", rung)
    assert outcome.code == 3
    assert "are no questions" in " ".join(outcome.err.split())
    assert not out.exists()
