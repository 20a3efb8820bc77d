from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from luthier.core.errors import UsageError
from luthier.evaluation.metrics import get_metric, known_metrics, registry
from luthier.evaluation.metrics.registry import GROUP, merge_entries


@pytest.mark.parametrize(
    "name",
    sorted({*known_metrics()} - {"f1", "precision", "recall", "match", "distinct", "pass@k"}),
)  # these need more
def test_every_metric_is_found_under_its_own_name(name: str) -> None:
    assert get_metric(name).name == name


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        get_metric("rouge-l")
    assert "did you mean 'rougeL'" in caught.value.fix


def test_a_name_claimed_twice_is_refused() -> None:
    entries = [EntryPoint("bleu", "a:b", GROUP), EntryPoint("bleu", "other.package:bleu", GROUP)]
    with pytest.raises(UsageError, match=r"a:b and other\.package:bleu"):
        merge_entries(entries)


PACKAGE = """\
from luthier.evaluation.metrics.answers import ExactMatch

def shouting(word=""):
    return ExactMatch(f"shouting:{word}" if word else "shouting")

def failing():
    raise RuntimeError("no licence")
"""


Install = Callable[[str], None]


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a real distribution for one test: a module, and the metrics that it announces."""

    def install(entry_points: str) -> None:
        (tmp_path / "loud.py").write_text(PACKAGE, encoding="utf-8")
        (tmp_path / "loud_broken.py").write_text("def (:", encoding="utf-8")
        info = tmp_path / "loud-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entry_points}\n")
        monkeypatch.syspath_prepend(tmp_path)
        registry._table.cache_clear()

    yield install
    registry._table.cache_clear()
    for name in ("loud", "loud_broken"):
        sys.modules.pop(name, None)


def test_an_installed_package_adds_a_metric(distribution: Install) -> None:
    distribution("shouting = loud:shouting")
    assert "shouting" in known_metrics()
    assert "loud" not in sys.modules  # nothing is imported before it is used
    assert get_metric("shouting").name == "shouting"
    assert get_metric("shouting:twice").name == "shouting:twice"
    assert get_metric("bleu").name == "bleu"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("loud:failing", "RuntimeError: no licence"),
        ("loud:missing", "AttributeError"),
        ("loud_broken:metric", "SyntaxError"),
        ("not_there:metric", "ModuleNotFoundError"),
    ],
)
def test_a_broken_package_is_named_when_its_metric_is_used(
    value: str, says: str, distribution: Install
) -> None:
    distribution(f"odd = {value}")
    assert get_metric("bleu").name == "bleu"
    with pytest.raises(UsageError, match=says) as caught:
        get_metric("odd")
    assert value in caught.value.problem
    assert "remove the package" in caught.value.fix


def test_a_package_cannot_take_the_name_of_another_metric(
    distribution: Install,
) -> None:
    distribution("bleu = loud:shouting")
    with pytest.raises(UsageError, match=r"two metrics are called 'bleu'.*loud:shouting"):
        get_metric("rougeL")


@pytest.mark.parametrize("value", ["no_such_package:metric", "json:no_such_name", "builtins:dict"])
def test_a_broken_plug_in_is_a_users_mistake(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_table", lambda: {"odd": EntryPoint("odd", value, GROUP)})
    with pytest.raises(UsageError, match="odd"):
        get_metric("odd")


def test_importing_evaluate_loads_no_metric_library() -> None:
    program = (
        "import sys; from luthier.evaluation import get_metric\n"
        "get_metric('rougeL'); get_metric('bleu')\n"
        "print([m for m in ('torch', 'scipy', 'sacrebleu', 'rouge_score') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
