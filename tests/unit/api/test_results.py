"""Results in a notebook: one helpful line, safe HTML, and DataFrames."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.api.results import AdaptResult, EvaluateResult, InitResult, TuneResult
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.html import Displayed
from luthier.core.probability import softmax

pytestmark = pytest.mark.usefixtures("one_thread")
QUIET = Console(quiet=True)
HOSTILE = ("<script>x</script>", "<img src=x onerror=y>", '"><b>', "&lt;", "\x1b[2J", "\u202e")
TAGS = {"p", "strong", "div", "table", "thead", "tbody", "tr", "th", "td", "small", "br"}


class Tags(HTMLParser):
    """The tags of a page, their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def write_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def page_of(result: Displayed) -> Tags:
    page = Tags(result._repr_html_())
    assert page.tags <= TAGS
    assert page.attributes <= {"style"}
    assert "http" not in page.text
    assert "\n" not in repr(result)
    return page


@pytest.fixture(scope="module")
def ladder(
    tiny_llama: Path, quick_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> AdaptResult:
    changes = {"model.id": str(tiny_llama), "output": str(tmp_path_factory.mktemp("runs"))}
    changes |= {"adapt.rungs": ["zero-shot", "few-shot", "lora"], "train.max_time": 0.001}
    return luthier.adapt(None, {**quick_settings, **changes}, QUIET)


@pytest.fixture(scope="module")
def tickets(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateResult:
    """An evaluation of choices, whose data tries to break the page."""
    folder = tmp_path_factory.mktemp("tickets")
    rows = [[f"{HOSTILE[n % 4]} number {n}", ("odd", "even")[n % 2]] for n in range(60)]
    write_csv(folder / "rows.csv", [["question", "kind"], *rows])
    luthier.init(folder / "rows.csv", folder / "task.yaml")
    settings = {"model.id": str(tiny_llama), "output": str(folder / "runs")}
    settings |= {"model.dtype": "float32", "evaluate.resamples": 200}
    return luthier.evaluate(None, folder / "task.yaml", settings, QUIET)


def test_a_ladder_has_its_recommendation_table_and_advice(ladder: AdaptResult) -> None:
    page = page_of(ladder)
    assert ladder.ladder.recommendation.sentence in page.text
    assert all(rung.name in page.text for rung in ladder.ladder.rungs)
    assert f'luthier.resume("{ladder.run.path}")' in page.text  # lora ran out of time
    frame = ladder.to_pandas()
    assert frame["rung"].tolist() == ["zero-shot", "few-shot", "lora"]
    first = ladder.ladder.rungs[0].metric
    assert first is not None
    assert (frame["value"][0], frame["low"][0], frame["n"][0]) == (first.value, first.low, first.n)
    gain = ladder.ladder.rungs[1].gain
    assert gain is not None
    assert (frame["gain"][1], frame["p"][1]) == (gain.difference, gain.p_adjusted)
    assert frame["recommended"].sum() == (ladder.ladder.recommendation.rung is not None)


def test_answers_are_rows_with_their_probabilities(tickets: EvaluateResult) -> None:
    frame = tickets.to_pandas()
    sample = tickets.samples[0]
    assert len(frame) == len(tickets.samples) > 5
    found = [frame[f"p({choice})"][0] for choice in sample.choices]
    assert found == pytest.approx(list(softmax(sample.likelihoods)))
    assert sum(found) == pytest.approx(1)
    assert frame["accuracy"].mean() == pytest.approx(tickets.evaluation.metric("accuracy").value)
    assert tickets.evaluation.task in page_of(tickets).text


def test_foreign_text_stays_text(tmp_path: Path) -> None:
    """Names of columns, values and files are anybody's."""
    names = [f"{text} {n}" for n, text in enumerate(HOSTILE)]
    rows = [[f"the words {n * place} of a text" for place in range(len(names))] for n in range(40)]
    path = tmp_path / "rows.csv"
    write_csv(path, [[*names, "kind"], *([*row, str(n % 2)] for n, row in enumerate(rows))])
    result = luthier.init(path)
    page = page_of(result)
    assert "<img src=x onerror=y> 1" in page.text
    assert not re.search("[\x1b\u202e]", page.text + repr(result))


def test_a_draft_is_a_line_a_table_and_a_frame() -> None:
    draft = luthier.init(Path(__file__).parents[3] / "examples" / "tickets.csv")
    assert isinstance(draft, InitResult)
    assert repr(draft) == "<InitResult: 240 rows, 3 columns: ticket → team (5 classes).>"
    assert draft.to_pandas()["kind"].tolist() == [c.kind for c in draft.profile.columns]


def test_plans_are_called_like_functions() -> None:
    found = luthier.plan("llama-3.1-8b", method="full", hardware="rtx-4090", tokens=1e6)
    assert (found.verdict, found.fits) == ("does not fit", False)
    assert found.advice is not None
    assert str(found.advice) in page_of(found).text
    assert found.to_pandas()["memory_bytes"].item() == found.memory_bytes
    assert luthier.plan("smollm2-135m-instruct", method="lora", hardware="h200").advice is None
    searched = luthier.search_plans("llama-3.1-8b", method="lora", hardware="h100")
    frame = searched.to_pandas()
    assert list(frame.columns) == list(found.to_pandas().columns)
    assert frame["memory_bytes"].tolist() == [plan.memory.total for plan in searched.plans]
    assert "h100" in page_of(searched).text
    with pytest.raises(UsageError, match="did you mean 'method'"):
        luthier.plan("llama-3.1-8b", metod="lora")


def test_a_training_has_a_row_for_each_step(
    tiny_llama: Path, quick_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**quick_settings, "model.id": str(tiny_llama), "output": str(tmp_path)}
    result = luthier.tune(None, {**settings, "train.max_steps": 3}, QUIET)
    assert isinstance(result, TuneResult)
    frame = result.to_pandas()
    assert frame["step"].tolist() == [1, 2, 3]
    assert frame["loss"].iloc[-1] == result.training.last_loss
    assert "3 of 3 steps" in page_of(result).text


def test_without_pandas_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"luthier\[notebook\]"):
        luthier.plan().to_pandas()


def test_pandas_is_imported_by_a_frame_only() -> None:
    code = (
        "import sys, luthier; found = luthier.plan(); found._repr_html_(); repr(found); "
        "print('pandas' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
