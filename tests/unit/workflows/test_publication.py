"""What `luthier push` writes: it loads on another machine, and tells nothing about this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from tests.upload_server import TOKEN, UploadServer

import luthier
from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.methods import load_adapted
from luthier.models.load import load_model, open_model
from luthier.records.run_directory import RunDirectory
from luthier.tasks.load import load_template
from luthier.workflows.publication import Publication

QUIET = Console(quiet=True)
BASE, COMMIT = "tester/tiny-llama", "0123456789abcdef0123456789abcdef01234567"
TASK = """\
about: Whether a number is even or odd.
prompt: "Number {{ number }}: even or odd?"
choices: {even: even, odd: odd}
label: "{{ parity }}"
metrics: accuracy
system: You sort numbers.
max_new_tokens: 4
"""
ROWS = [{"number": f"nr-{n:07d}", "parity": "odd" if n % 2 else "even"} for n in range(60)]


def in_cache(home: Path, model: Path, name: str = BASE) -> None:
    """The model in a Hub cache, as if it had been downloaded there."""
    folder = home / "hub" / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots").mkdir()
    (folder / "snapshots" / COMMIT).symlink_to(model, target_is_directory=True)


@pytest.fixture(scope="module")
def machine(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """This machine: its home and working folder have telling names, its Hub cache has the base."""
    from huggingface_hub import constants

    home = tmp_path_factory.mktemp("home-of-ada")
    in_cache(home / "hf", tiny_llama)
    work = home / "secret-project"
    work.mkdir()
    (work / "task.yaml").write_text(TASK)
    (work / "numbers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "hf" / "hub"))
        patch.chdir(work)
        yield home


@pytest.fixture(scope="module")
def tuned(machine: Path, quick_settings: dict[str, Any], tiny_llama: Path) -> Any:
    """Makes a run for a method and a base, once for each."""
    made: dict[tuple[str, str], RunDirectory] = {}

    def run(method: str, base: str = BASE) -> RunDirectory:
        if (method, base) not in made:
            settings = {
                **quick_settings, "data.source": "numbers.jsonl", "prompt.template": "task.yaml",
                "evaluate.metrics": ["accuracy"], "evaluate.choices": "generation",
                "model.id": base, "method": method,
                "train.max_steps": 3, "output": str(machine / "secret-project" / "runs"),
            }  # fmt: skip
            made[method, base] = luthier.tune(overrides=settings, console=QUIET).run
            luthier.evaluate(made[method, base].path, console=QUIET)
        return made[method, base]

    return run


def texts_of(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.suffix != ".safetensors")
    return {path.name: path.read_text(encoding="utf-8") for path in files if path.is_file()}


def python(code: str, *arguments: str, home: Path, env: dict[str, str] | None = None) -> Any:
    """What code prints as JSON in a process with another home and working folder."""
    kept = ("PATH", "PYTHONPATH", "OMP_NUM_THREADS", "LD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"HOME": str(home), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=home,
        env={**environment, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


ANSWER = """
import json, sys, torch
from transformers import AutoTokenizer
{imports}
folder, tokens, prompts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = {auto}.from_pretrained(folder, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(tokens)
answers, logits = [], []
for prompt in prompts:
    inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        logits.append(model(**inputs).logits[0, -1, :50].tolist())
    made = model.generate(**inputs, max_new_tokens=4, do_sample=False)[0]
    made = made[inputs["input_ids"].shape[1] :]
    answers.append(tokenizer.decode(made, skip_special_tokens=True))
print(json.dumps([answers, logits]))
"""


def last_logits(loaded: Any, prompts: Sequence[str]) -> Any:
    """Logits of the first 50 tokens after each prompt, in this process."""
    found = []
    for prompt in prompts:
        inputs = loaded.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            found.append(loaded.model(**inputs).logits[0, -1, :50].tolist())
    return np.array(found)


PEFT = ("from peft import AutoPeftModelForCausalLM", "AutoPeftModelForCausalLM")
WHOLE = ("from transformers import AutoModelForCausalLM", "AutoModelForCausalLM")


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("method", "loader"),
    [("lora", PEFT), ("prompt-tuning", PEFT), ("full", WHOLE), ("last-layers", WHOLE)],
)
def test_another_machine_loads_it_and_answers_alike(
    method: str, loader: Sequence[str], tuned: Any, tiny_llama: Path, tmp_path: Path
) -> None:
    run = tuned(method)
    written = luthier.prepare_push(run.path, "ada/parity", tmp_path / "out", QUIET)
    other = tmp_path / "another"
    in_cache(other / "hf", tiny_llama)
    asked = luthier.prompt(run=run.path, num=4, console=QUIET)
    tokens = BASE if loader is PEFT else str(written.folder)
    code = ANSWER.format(imports=loader[0], auto=loader[1])
    prompts = json.dumps([sample.prompt for sample in asked])
    found, logits = python(code, str(written.folder), tokens, prompts, home=other)
    assert [answer.strip() for answer in found] == [sample.prediction for sample in asked]
    base = ModelConfig(id=BASE, dtype="float32")
    texts = [sample.prompt for sample in asked]
    own = last_logits(load_adapted(run.model, base, QUIET), texts)
    untuned = last_logits(load_model(open_model(base, QUIET)), texts)
    np.testing.assert_allclose(logits, own, rtol=1e-4, atol=1e-5)
    assert np.abs(np.array(logits) - untuned).max() > 1e-3


BLOCKS = r"""
import io, json, re, sys
from contextlib import redirect_stdout
from pathlib import Path
shown = []
for block in re.findall(r"```python\n(.*?)```", Path(sys.argv[1]).read_text(), flags=re.DOTALL):
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(block, "card", "exec"), {})
    shown.append(out.getvalue())
print(json.dumps(shown))
"""


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_code_of_the_card_runs_as_it_stands_on_another_machine(
    method: str, tuned: Any, tiny_llama: Path, tmp_path: Path
) -> None:
    written = luthier.prepare_push(tuned(method).path, "ada/parity", tmp_path / "out", QUIET)
    other = tmp_path / "another"
    in_cache(other / "hf", tiny_llama)
    in_cache(other / "hf", written.folder, "ada/parity")
    with_peft, with_luthier = python(BLOCKS, str(written.folder / "README.md"), home=other)
    assert with_peft.strip() == with_luthier.strip()


@pytest.mark.parametrize("method", ["lora", "full", "adapters", "prompt-tuning"])
def test_no_file_names_a_place_of_this_machine_or_has_a_row(
    method: str, tuned: Any, machine: Path, tmp_path: Path
) -> None:
    written = luthier.prepare_push(tuned(method).path, "ada/parity", tmp_path / "out", QUIET)
    assert set(written.files) == {
        str(path.relative_to(written.folder))
        for path in written.folder.rglob("*")
        if path.is_file()
    }
    for name, text in texts_of(written.folder).items():
        for place in (machine.name, "secret-project", str(Path.cwd()), "snapshots", "/tmp"):
            assert place not in text, (name, place)
        assert "nr-00" not in text, name


def test_the_adapter_names_the_base_by_id_and_commit_and_brings_no_equal_tokenizer(
    tuned: Any, tmp_path: Path
) -> None:
    written = luthier.prepare_push(tuned("lora").path, "ada/parity", tmp_path / "out", QUIET)
    assert set(written.files) == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "evaluation.json",
        "task.yaml",
    }  # fmt: skip
    settings = json.loads((written.folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == BASE
    assert settings["revision"] == COMMIT


def test_the_card_is_valid_for_the_hub_and_has_the_runs_figures(tuned: Any, tmp_path: Path) -> None:
    run = tuned("lora")
    written = luthier.prepare_push(run.path, "ada/parity", tmp_path / "out", QUIET)
    text = (written.folder / "README.md").read_text(encoding="utf-8")
    data = ModelCard(text).data
    assert data.base_model == BASE
    assert (data.library_name, data.pipeline_tag) == ("peft", "text-generation")
    assert (data.license, data.license_name) == ("other", "that-of-the-base-model")
    matter = yaml.safe_load(text.split("---\n")[1])
    name, results = model_index_to_eval_results(matter["model-index"])
    figures = json.loads((written.folder / "evaluation.json").read_text())
    (measured,) = figures["evaluations"]
    assert name == "parity"
    assert [(result.metric_type, result.metric_value) for result in results] == [
        (metric["name"], metric["value"]) for metric in measured["metrics"]
    ]
    assert figures["base_model_revision"] == COMMIT
    for part in (
        "Whether a number is even or odd.", "Number {{ number }}: even or odd?",
        "You sort numbers.", "| even | even |", "| name | numbers |", "| seed | 0 |",
        f"| {measured['metrics'][0]['n']} |", 'folder = "ada/parity"', "luthier predict RUN",
        f'revision="{COMMIT}"', "## Licence",
    ):  # fmt: skip
        assert part in text


def test_the_task_is_the_one_of_the_run(tuned: Any, tmp_path: Path) -> None:
    run = tuned("lora")
    written = luthier.prepare_push(run.path, "ada/parity", tmp_path / "out", QUIET)
    task = load_template(str(written.folder / "task.yaml"))
    assert task.stamp.hash == json.loads(run.manifest.read_text())["template"]["hash"]


def test_a_row_is_shown_only_if_the_user_says_so(tuned: Any, tmp_path: Path) -> None:
    run = tuned("lora")
    luthier.prepare_push(run.path, "ada/parity", tmp_path / "out", QUIET, example=True)
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.count("nr-00") == 1
    assert "Number nr-00" in card


def test_a_rung_that_only_prompts_is_not_published(
    machine: Path, quick_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {
        **quick_settings, "data.source": "numbers.jsonl", "prompt.template": "task.yaml",
        "evaluate.metrics": ["accuracy"], "evaluate.choices": "generation",
        "model.id": BASE, "output": str(tmp_path),
        "adapt.rungs": ["zero-shot"],
    }  # fmt: skip
    result = luthier.adapt(overrides=settings, console=QUIET)
    with pytest.raises(DataError, match="only prompts"):
        luthier.prepare_push(result.run.rung("zero-shot").path, "ada/parity", None, QUIET)


def test_the_words_of_the_run_are_shown_whatever_became_of_its_files(
    tuned: Any, machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tuned("lora").path, moved)
    monkeypatch.chdir(tmp_path)  # without the data, and with another task of the same name
    Path("task.yaml").write_text(TASK.replace("Number {{", "The number {{"))
    written = luthier.prepare_push(moved, "ada/parity", tmp_path / "out", QUIET)
    task = (written.folder / "task.yaml").read_text()
    assert "Number {{" in task
    assert "The number" not in task

    stored = moved / "task.yaml"
    stored.write_text(stored.read_text().replace("Number {{", "The number {{"))
    with pytest.raises(DataError, match="stored task has the fingerprint"):
        luthier.prepare_push(moved, "ada/parity", tmp_path / "other", QUIET)

    stored.unlink()  # as runs of earlier versions
    with pytest.raises(UsageError, match="template has changed"):
        luthier.prepare_push(moved, "ada/parity", tmp_path / "other", QUIET)
    assert not (tmp_path / "other").exists()


def test_a_local_base_needs_an_id(tuned: Any, tiny_llama: Path, tmp_path: Path) -> None:
    run = tuned("lora", str(tiny_llama))
    with pytest.raises(UsageError, match="nobody else") as refused:
        luthier.prepare_push(run.path, "ada/parity", tmp_path / "out", QUIET)
    assert "--base owner/name" in refused.value.fix
    written = luthier.prepare_push(run.path, "ada/parity", tmp_path / "out", QUIET, base=BASE)
    settings = json.loads((written.folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == BASE
    assert "tokenizer.json" in written.files  # whether it is the Hub's is not known
    for text in texts_of(written.folder).values():
        assert str(tiny_llama) not in text


def test_a_whole_model_of_a_local_base_has_a_valid_card(
    tuned: Any, tiny_llama: Path, tmp_path: Path
) -> None:
    run = tuned("full", str(tiny_llama))
    luthier.prepare_push(run.path, "ada/parity", tmp_path / "out", QUIET)
    matter = yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---\n")[1])
    assert "base_model" not in matter
    assert not [tag for tag in matter["tags"] if tag.startswith("base_model:")]


def test_an_adapt_run_stands_for_its_recommended_rung_and_shows_the_cheaper_ones(
    machine: Path, quick_settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {
        **quick_settings, "data.source": "numbers.jsonl", "prompt.template": "task.yaml",
        "evaluate.metrics": ["accuracy"], "evaluate.choices": "generation",
        "model.id": BASE, "output": str(tmp_path),
        "adapt.rungs": ["zero-shot", "lora"],
    }  # fmt: skip
    result = luthier.adapt(overrides=settings, console=QUIET)
    written = luthier.prepare_push(result.run.rung("lora").path, "ada/parity", None, QUIET)
    assert written.folder == result.run.rung("lora").path / "hub"
    card = (written.folder / "README.md").read_text()
    by_name = {rung.name: rung.metric for rung in result.ladder.rungs}
    for name, metric in by_name.items():
        assert metric
        shown = name if name == "zero-shot" else f"{name} (this model)"
        assert f"| {shown} | {metric.value:.3f}" in card
    assert "On general text the loss changed by" in card
    figures = json.loads((written.folder / "evaluation.json").read_text())
    assert [rung["rung"] for rung in figures["ladder"]] == ["zero-shot", "lora"]
    assert figures["forgetting"]["after"] > 0


UPLOAD = """
import json, sys
import luthier
from luthier.core.console import Console
from luthier.core.errors import LuthierError
try:
    result = luthier.push(
        sys.argv[1], "ada/parity", sys.argv[2], Console(quiet=True), private=True, branch="trial"
    )
    print(json.dumps([result.url, dict(result.files)]))
except LuthierError as error:
    print(json.dumps([str(error), None]))
"""


def pushed(
    run: RunDirectory, out: Path, machine: Path, server: UploadServer, token: str = TOKEN
) -> Any:
    env = {
        "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": server.url, "HF_TOKEN": token,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    code = f"import os; os.chdir({str(machine / 'secret-project')!r})\n{UPLOAD}"
    return python(code, str(run.path), str(out), home=machine, env=env)


def test_exactly_the_folder_is_uploaded(
    tuned: Any, machine: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    with UploadServer() as server:
        # A local base, so that the server is asked for nothing else.
        run = tuned("full", str(tiny_llama))
        url, files = pushed(run, tmp_path / "out", machine, server)
        assert url.startswith(f"{server.url}/ada/parity/commit/")
        (created,) = server.created
        assert created["visibility"] == "private"
        assert server.branches == ["trial"]
        assert server.tokens == {f"Bearer {TOKEN}"}
        uploaded = server.files["ada/parity@trial"]
        assert {name: len(content) for name, content in uploaded.items()} == files
        for name, content in uploaded.items():
            assert (tmp_path / "out" / name).read_bytes() == content
            assert TOKEN.encode() not in content
        server.shutdown()


def test_a_refusal_is_told_without_the_token_and_the_folder_stays(
    tuned: Any, machine: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    with UploadServer() as server:
        server.refuses = True
        said, _ = pushed(tuned("full", str(tiny_llama)), tmp_path / "out", machine, server)
        assert "the upload to ada/parity failed" in said
        assert "no right to write" in said
        assert TOKEN not in said
        assert str(tmp_path / "out") in said
        assert (tmp_path / "out" / "README.md").is_file()
        said, _ = pushed(tuned("full", str(tiny_llama)), tmp_path / "none", machine, server, "")
        assert "there is no token" in said
        assert (tmp_path / "none" / "README.md").is_file()
        server.shutdown()


def test_who_declines_uploads_nothing(tuned: Any, tmp_path: Path) -> None:
    shown: list[Publication] = []

    def declines(written: Publication) -> bool:
        shown.append(written)
        return False

    result = luthier.push(
        tuned("lora").path, "ada/parity", tmp_path / "out", QUIET, confirm=declines
    )
    assert result.url == ""
    assert shown[0].files == result.files


@pytest.mark.parametrize(
    "repo", ["parity", "a/b/c", "ada/--x", "ada/x.git", "/tmp/x", "ada/ x", ""]
)
def test_a_wrong_id_is_refused_before_anything_is_written(
    repo: str, tuned: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no id of a repository"):
        luthier.prepare_push(tuned("lora").path, repo, tmp_path / "out", QUIET)
    assert not (tmp_path / "out").exists()
