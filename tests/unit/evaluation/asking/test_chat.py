"""Tasks that are asked through a model's chat template, worked examples as turns."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.unit.prompts.chat_styles import STYLES
from tests.unit.prompts.chat_styles import tokenizer as styled_tokenizer

import luthier
from luthier.cli.main import run as command
from luthier.config import Decoding, PromptConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, LuthierError, UsageError
from luthier.evaluation.asking.ask import ask
from luthier.evaluation.asking.encode import ChatEncoder, TextEncoder
from luthier.evaluation.asking.likelihood import requests
from luthier.evaluation.asking.prepared import prepare_task
from luthier.inference.local.engine import LocalEngine
from luthier.prompts.render import PromptRenderer
from luthier.tasks.task import Task

MakeTask = Callable[..., Task]
QUIET = Console(quiet=True)
TEST = [{"text": "a test", "label": 1}]
TRAIN = [{"text": f"train {n}", "label": n % 2} for n in range(8)]
TURNS = [
    {"role": "system", "content": "Say it.\n"},
    {"role": "user", "content": "train 0 is"},
    {"role": "assistant", "content": "cold"},
    {"role": "user", "content": "a test is"},
]


def encoder_of(tokenizer: Any, window: int = 1000) -> ChatEncoder:
    config = PromptConfig()
    return ChatEncoder.of(PromptRenderer.from_config(config, tokenizer, context_window=window))


def styled(style: str) -> Any:
    made = styled_tokenizer("byte-level", STYLES[style].end)
    made.chat_template = STYLES[style].template
    return made


@pytest.fixture
def task(make_task: MakeTask, choices: dict[str, Any]) -> Task:
    keys = {**choices, "system": "Say it.\n", "trailing_whitespace": "keep", "draw": "first"}
    return make_task(keys, test=TEST, train=TRAIN)


@pytest.mark.parametrize("style", ["chatml", "smollm2", "llama-2"])
def test_a_context_is_what_the_template_writes(style: str, task: Task) -> None:
    tokenizer = styled(style)
    encoder = encoder_of(tokenizer)
    (question,), _ = prepare_task(task, shots=1).questions(encoder)
    options = {"add_generation_prompt": True, "tokenize": False}
    text = tokenizer.apply_chat_template(TURNS, **options)
    assert question.prompt == text
    expected = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert list(encoder.ids(question.context)) == expected


def test_words_follow_the_template_without_the_delimiter(task: Task) -> None:
    """As lm-evaluation-harness cuts them: white space before an answer belongs to the answer."""
    tokenizer = styled("smollm2")
    encoder = encoder_of(tokenizer)
    (question,), _ = prepare_task(task, shots=1).questions(encoder)
    cold, hot = requests(task, question, encoder)  # type: ignore[arg-type]
    text = question.prompt
    whole = tokenizer(f"{text}hot", add_special_tokens=False)["input_ids"]
    before = tokenizer(text.rstrip(), add_special_tokens=False)["input_ids"]
    assert (list(hot.context), list(hot.continuation)) == (before, whole[len(before) :])
    assert cold.context == hot.context
    assert tokenizer.decode(hot.continuation) == "\nhot"


def test_special_tokens_that_rows_spell_out_stay_text(
    make_task: MakeTask, choices: dict[str, Any]
) -> None:
    rows = [{"text": "<|im_end|>", "label": 1}]
    tokenizer = styled("chatml")
    encoder = encoder_of(tokenizer)
    (question,), _ = prepare_task(make_task(choices, test=rows)).questions(encoder)
    assert question.prompt.count("<|im_end|>") == 2
    assert encoder.ids(question.context).count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 1


def test_an_answer_is_generated_after_the_template(
    make_task: MakeTask, load: Any, tiny_llama: Path
) -> None:
    loaded = load(tiny_llama)
    engine = LocalEngine(loaded, 4096)
    keys = {"kind": "generate", "prompt": "{{ text }}?", "completion": "x", "metrics": "em"}
    encoder = encoder_of(loaded.tokenizer, loaded.context_window)
    own = make_task(keys | {"max_new_tokens": 4}, test=TEST)
    questions, _ = prepare_task(own).questions(encoder)
    answers = ask(own, engine, encoder, questions, lambda _w, _t: nullcontext(lambda *_a: None))
    turns = [{"role": "user", "content": "a test?"}]
    ids = loaded.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    (expected,) = engine.generate([ids], Decoding(max_new_tokens=4))
    assert answers.samples[0].prediction == expected.text.strip()
    assert answers.prompt_tokens == len(ids)


OWN = """\
name: hot
kind: choices
files: {splits: {test: test.jsonl, train: test.jsonl}}
examples: [{text: fire, label: 1}]
prompt: "{{ text }} is"
label: "{{ label }}"
choices: {0: cold, 1: hot}
metrics: acc
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test.jsonl").write_text(
        '{"text": "ice", "label": 0}\n{"text": "sun", "label": 1}\n'
    )
    path = tmp_path / "hot.yaml"
    path.write_text(OWN)
    return path


def test_every_result_says_how_it_was_asked(own: Path, tiny_llama: Path, capsys: Any) -> None:
    quick = ["model.dtype=float32", "evaluate.resamples=100", "--tasks", str(own), "--shots", "1"]
    assert command(["evaluate", str(tiny_llama), *quick, "--chat-template"]) == 0
    assert "asked through the chat template" in " ".join(capsys.readouterr().out.split())
    assert command(["evaluate", str(tiny_llama), *quick, "--name", "plain"]) == 0
    assert "chat template" not in capsys.readouterr().out
    runs = sorted(Path("runs").iterdir())
    with pytest.raises(LuthierError, match="template"):
        luthier.compare(runs, console=QUIET)


def test_what_takes_no_chat_template_is_refused(own: Path, tiny_t5: Path, tiny_llama: Path) -> None:
    settings = {"output": "runs", "evaluate.task_chat_template": True}
    for model, changes in ((tiny_t5, {}), (tiny_llama, {"prompt.chat_template": "never"})):
        with pytest.raises(DataError, match="no chat template"):
            luthier.benchmark([model], [str(own)], None, settings | changes, QUIET)
    own.write_text(
        OWN.replace("choices\n", "text\n").split("prompt")[0]
        + 'text: "{{ text }}"\nmetrics: perplexity\n'
    )
    own.write_text(own.read_text().replace("examples: [{text: fire, label: 1}]\n", ""))
    with pytest.raises(UsageError, match="running text"):
        luthier.benchmark([tiny_llama], [str(own)], None, settings, QUIET)
    with pytest.raises(UsageError, match="has no effect on an evaluation of the data"):
        luthier.evaluate(str(tiny_llama), None, settings, Console(io.StringIO()))


def test_plain_text_is_asked_as_before(task: Task) -> None:
    tokenizer = styled("chatml")
    (question,), _ = prepare_task(task, shots=1).questions(TextEncoder(tokenizer, 1000))
    assert question.context == question.prompt == "Say it.\ntrain 0 is cold\n\na test is"
