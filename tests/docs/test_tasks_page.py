"""The tasks that the documentation shows are measured as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import luthier
from luthier.config import DataConfig, PromptConfig
from luthier.core.console import Console
from luthier.data.dataset import load_dataset
from luthier.evaluation.asking import load_task
from luthier.tasks.documents import KINDS
from luthier.tasks.suite import Suite

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = {
    str(yaml.safe_load(block)["name"]): block
    for block in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
}
TASKS = {name: block for name, block in BLOCKS.items() if block.startswith("# row: ")}


def write(folder: Path, name: str) -> Path:
    row = TASKS[name].splitlines()[0].removeprefix("# row: ")
    (folder / "rows.jsonl").write_text(row + "\n", encoding="utf-8")
    path = folder / f"{name}.yaml"
    path.write_text(TASKS[name], encoding="utf-8")
    return path


def test_the_page_shows_tasks() -> None:
    assert len(TASKS) >= 5
    assert all(f"| `{kind}` |" in TEXT for kind in KINDS)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_on_the_page_is_measured(name: str, tmp_path: Path, tiny_gpt2: Path) -> None:
    settings = {"output": str(tmp_path / "runs"), "evaluate.resamples": 100}
    path = str(write(tmp_path, name))
    (result,) = luthier.benchmark([tiny_gpt2], [path], None, settings, Console(quiet=True))
    written = yaml.safe_load(TASKS[name])
    wordings = [f"{name}/{wording}" for wording in written.get("wordings", ())]
    assert [found.task for found in result.evaluations] == (wordings or [name])
    for found in result.evaluations:
        assert [metric.name for metric in found.metrics] == written["metrics"]


def test_a_template_on_the_page_asks_rows_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "queues.yaml"
    path.write_text(BLOCKS["queues"], encoding="utf-8")
    rows = "subject,body,queue\n" + "".join(f"Bill {n},About {n}.,{n % 2}\n" for n in range(60))
    (tmp_path / "tickets.csv").write_text(rows, encoding="utf-8")
    data = DataConfig(source=str(tmp_path / "tickets.csv"))
    prompt = PromptConfig(template=str(path))
    found = load_dataset(data, prompt, 0, Console(quiet=True))
    assert found.template.name == "queues"
    assert found.test[0].choices == ("billing", "technical")
    assert found.test[0].messages[-1].content.endswith("Which queue?")


def test_the_suite_on_the_page_is_read(tmp_path: Path) -> None:
    for name in ("arc", "trivia"):
        write(tmp_path, name)
    path = tmp_path / "mine.yaml"
    path.write_text(BLOCKS["mine"], encoding="utf-8")
    suite = load_task(str(path))
    assert isinstance(suite, Suite)
    assert suite.tasks[:2] == ("arc", "trivia")
