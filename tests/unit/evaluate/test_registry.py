from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from luthier.core.errors import UsageError
from luthier.evaluate.metrics import get_metric, known_metrics, registry
from luthier.evaluate.metrics.registry import GROUP, merge_entries


@pytest.mark.parametrize("name", sorted({*known_metrics()} - {"f1", "match"}))  # these need more
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


@pytest.mark.parametrize("value", ["no_such_package:metric", "json:no_such_name", "builtins:dict"])
def test_a_broken_plug_in_is_a_users_mistake(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_table", lambda: {"odd": EntryPoint("odd", value, GROUP)})
    with pytest.raises(UsageError, match="odd"):
        get_metric("odd")


def test_importing_evaluate_loads_no_metric_library() -> None:
    program = (
        "import sys; from luthier.evaluate import get_metric\n"
        "get_metric('rougeL'); get_metric('bleu')\n"
        "print([m for m in ('torch', 'scipy', 'sacrebleu', 'rouge_score') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
