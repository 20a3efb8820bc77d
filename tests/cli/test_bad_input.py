"""Whatever a user gets wrong is named with its place and a way out, before weights are loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import DataError, ResourceError, UsageError

USAGE, DATA, RESOURCES = UsageError.exit_code, DataError.exit_code, ResourceError.exit_code


def lines(*rows: Any) -> str:
    """JSON lines; a text stands as it is."""
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def pairs(count: int, **last: Any) -> str:
    """Good rows, the last one changed."""
    rows = [{"prompt": f"Say {number}.", "completion": str(number)} for number in range(count)]
    rows[-1] |= last
    return lines(*rows)


TEMPLATE = """\
name: mine
prompt: "{{ sentence }}"
label: "{{ label }}"
choices: {0: bad, 1: good}
metrics: [accuracy]
"""
SENTENCES = [{"sentence": f"It is film number {n}.", "label": n % 2} for n in range(40)]
TEST = pairs(40).replace("Say", "Write")
LONG = {"prompt": "word " * 2000, "completion": "yes"}


@dataclass(frozen=True)
class Mistake:
    """A command with a mistake, and what its error must hold.

    Attributes:
        name: of the test.
        command: arguments; ``TASK`` stands for a good model and good data.
        code: the exit code.
        says: what is wrong, where, and what to do.
        files: files in the working directory, by name.
    """

    name: str
    command: str
    code: int
    says: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)


MISTAKES = (
    Mistake("command", "adpat", USAGE, ('"adpat"', 'Did you mean "adapt"?', "--help")),
    Mistake("no-run-named", "compare one", USAGE, ("nothing to compare", "at least two runs")),
    Mistake(
        "target-of-90",
        "adapt TASK --target 90",
        USAGE,
        ("exact_match lies between 0 and 1", "adapt.target", "did you mean 0.90?"),
    ),
    Mistake("option", "adapt --tagret 0.3", USAGE, ("--tagret", "did you mean '--target'?")),
    *(
        Mistake(f"plan-{number}", f"plan {words}", USAGE, (says,))
        for number, (words, says) in enumerate(
            (
                ("search gpt2 --hardware any --method foo", "unknown method 'foo'"),
                (
                    "search gpt2 --hardware any --method any",
                    "the smallest hardware depends on the method",
                ),
                ("search gpt2 --hardware h100 --method foo", "unknown method 'foo'"),
                ("search any --hardware h100 --method foo", "unknown method 'foo'"),
                ("search gpt2 --hardware any --seq-len 99999", "exceed the context window of 1024"),
                ("search gpt2 --hardware any --method full --precision nf4", "choose lora"),
                ("inference gpt2 --hardware h100 --seq-len 99999", "the context window of 1024"),
                ("search any --hardware any", "name the model or the device"),
                ("gpt2 --hardware any", "use 'luthier plan search'"),
                ("any --hardware h100", "use 'luthier plan search'"),
                ("trace gpt2 --method any", "use 'luthier plan search'"),
                ("gpt2 --targets [q_proj", "not a list of names; write it as [q_proj, v_proj]"),
                ("check", "RUNS"),
                ("gpt2 --hardware h100 --price nan", "at least 0"),
                ("search gpt2 --hardware h100 --price -5", "at least 0"),
                ("gpt2 --hardware h100 --svg .", "this is a folder"),
            )
        )
    ),
    Mistake("hours", "launch --hours nan", USAGE, ("--hours is nan",)),
    Mistake("size", f"adapt TASK --memory {'9' * 400}", USAGE, ("the size is too large",)),
    Mistake("processes", "tune TASK --nproc 0", USAGE, ("--nproc", "Must be >= 1")),
    Mistake(
        "bundled-revision",
        "models pull smollm2-135m-instruct --revision x",
        USAGE,
        ("a bundled model has only one revision",),
    ),
    Mistake("setting-of-forgetting", "forgetting runs/a runs/b", USAGE, ("not a setting",)),
    Mistake("no-judge", "judge runs/a", USAGE, ("--model",)),
    Mistake(
        "nothing-to-judge", "judge model.dtype=float32 --model .", USAGE, ("nothing to judge",)
    ),
    Mistake("tag-on-command-line", "config show train.epochs=!!float_x", USAGE, ("train.epochs",)),
    Mistake("long-number", f"config show seed={'7' * 5000}", USAGE, ("seed",)),
    Mistake(
        "key-that-is-a-list",
        "adapt task.yaml",
        USAGE,
        ("this key is a list or a mapping", "task.yaml:1"),
        {"task.yaml": "? [a, b]\n: 1\n"},
    ),
    Mistake("option-value", "prompt --num 0", USAGE, ("--num", "Must be >= 1")),
    *(
        Mistake(
            f"settings-that-rule-the-method-out-{command.split()[0]}",
            f"{command} TASK train.packing=true",
            USAGE,
            (
                "prompt-tuning of this model",
                "cannot pack examples",
                "at: train.packing",
                "set it to auto",
            ),
        )
        for command in ("tune --method prompt-tuning", "adapt --rungs zero-shot,prompt-tuning")
    ),
    Mistake(
        "key-in-file",
        "adapt task.yaml",
        USAGE,
        ("unknown key 'train.epoch'", "at: task.yaml:3", "did you mean 'epochs'?"),
        {"task.yaml": "seed: 1\ntrain:\n  epoch: 2\n"},
    ),
    Mistake(
        "key-on-command-line",
        "adapt trian.epochs=2",
        USAGE,
        ("unknown key 'trian'", "did you mean 'train'?"),
    ),
    Mistake(
        "value",
        "adapt task.yaml",
        USAGE,
        ("train.epochs", "greater than 0", "task.yaml:2"),
        {"task.yaml": "train:\n  epochs: -1\n"},
    ),
    Mistake(
        "duration",
        "adapt --budget soon",
        USAGE,
        ("adapt.budget: 'soon' is not a duration; write it like 90s, 30m, 2h or 1h30m",),
    ),
    Mistake(
        "yaml",
        "adapt task.yaml",
        USAGE,
        ("invalid YAML", "task.yaml:2"),
        {"task.yaml": "train:\n  epochs: [1}\n"},
    ),
    Mistake(
        "no-such-config",
        "adapt task.yaml",
        USAGE,
        ("the file does not exist", "at: task.yaml", "--data"),
    ),
    Mistake(
        "neither-data-nor-config",
        "adapt rows.xml",
        USAGE,
        ("neither a YAML configuration nor data", "at: rows.xml", "--data"),
        {"rows.xml": "<rows/>"},
    ),
    Mistake(
        "model-in-place-of-config",
        "adapt mine",
        USAGE,
        ("this is a model", "--model mine"),
        {"mine/config.json": "{}"},
    ),
    Mistake(
        "run-in-place-of-config",
        "tune mine",
        USAGE,
        ("this is a run", "luthier resume mine"),
        {"mine/config.yaml": "seed: 1"},
    ),
    Mistake(
        "data-twice",
        "adapt rows.jsonl --data other.jsonl",
        USAGE,
        ("only one source of data is allowed, not 2: other.jsonl, rows.jsonl",),
        {"rows.jsonl": pairs(40)},
    ),
    Mistake(
        "no-such-data",
        "adapt rows.jsnl.jsonl",
        DATA,
        ("found no data called 'rows.jsnl.jsonl'",),
        {"rows.jsonl": pairs(40)},
    ),
    Mistake(
        "two-configs",
        "adapt a.yaml b.yaml",
        USAGE,
        ("only one configuration is allowed, not 2: a.yaml, b.yaml", "section.key=value"),
        {"a.yaml": "seed: 1\n", "b.yaml": "seed: 2\n"},
    ),
    Mistake("rung", "adapt --rungs zero-shot,loraa", USAGE, ("'loraa'", "did you mean 'lora'?")),
    Mistake("method", "tune --method lorra", USAGE, ("'lorra'", "did you mean 'lora'?")),
    Mistake(
        "tracker",
        "tune TASK train.trackers=[wnadb]",
        USAGE,
        ("'wnadb'", "did you mean 'wandb'?"),
    ),
    Mistake(
        "template",
        "adapt TASK --template summarise-dialog/short",
        USAGE,
        ("no task 'summarise-dialog/short'", "did you mean 'summarise-dialogue/short'?"),
    ),
    Mistake(
        "metric",
        "adapt TASK evaluate.metrics=[rogueL]",
        USAGE,
        ("unknown metric 'rogueL'", "did you mean 'rougeL'?"),
    ),
    Mistake(
        "metric-of-tune",
        "tune TASK evaluate.metrics=[exact-match]",
        USAGE,
        ("unknown metric 'exact-match'", "did you mean 'exact_match'?"),
    ),
    Mistake(
        "metric-that-does-not-apply",
        "adapt TASK evaluate.metrics=[accuracy]",
        DATA,
        ("no choices for accuracy", "parity.jsonl:", "exact_match"),
    ),
    Mistake(
        "model",
        "adapt TASK --model smollm2-135m-instrukt",
        DATA,
        ("'smollm2-135m-instrukt'", "did you mean 'smollm2-135m-instruct'?"),
    ),
    Mistake(
        "folder-without-model",
        "adapt TASK --model .",
        DATA,
        ("is not a model", "save_pretrained"),
    ),
    Mistake(
        "no-such-run", "evaluate runs/mine", DATA, ("no such run", "runs/mine", "luthier runs")
    ),
    Mistake("no-run", "report .", DATA, ("not a run directory", "luthier runs")),
    Mistake(
        "no-such-data",
        "adapt TASK --data tickets.jsonl",
        DATA,
        ("no data called 'tickets.jsonl'", "check the path", "LUTHIER_DATA"),
    ),
    Mistake(
        "json-on-line-817",
        "adapt TASK --data rows.jsonl",
        DATA,
        ("invalid JSON", "at: rows.jsonl:817"),
        {"rows.jsonl": pairs(816) + lines('{"prompt": "Say it.", "completion": ') + pairs(3)},
    ),
    Mistake(
        "empty-completion",
        "adapt TASK --data rows.jsonl",
        DATA,
        ("the text is empty", 'at: rows.jsonl:40, field "completion"', "data.invalid=drop"),
        {"rows.jsonl": pairs(40, completion=" ")},
    ),
    Mistake(
        "two-mistakes-at-once",
        "adapt TASK --data rows.jsonl",
        DATA,
        ("2 problems", 'rows.jsonl:20, field "completion"', 'rows.jsonl:40, field "prompt"'),
        {"rows.jsonl": pairs(20, completion="") + pairs(20, prompt=7)},
    ),
    Mistake(
        "role",
        "adapt TASK --data rows.jsonl",
        DATA,
        ("'asistant'", 'at: rows.jsonl:1, field "messages[1].role"', "assistant"),
        {
            "rows.jsonl": lines(
                {
                    "messages": [
                        {"role": "user", "content": "Hello."},
                        {"role": "asistant", "content": "Hello!"},
                    ]
                }
            )
        },
    ),
    Mistake(
        "label",
        "adapt TASK --data rows.jsonl --template mine.yaml",
        DATA,
        ("the label 'maybe'", "at: rows.jsonl:41", "the labels are '0' ('bad'), '1' ('good')"),
        {
            "rows.jsonl": lines(*SENTENCES, {"sentence": "Well.", "label": "maybe"}),
            "mine.yaml": TEMPLATE,
        },
    ),
    Mistake(
        "column",
        "adapt TASK --data rows.jsonl --template mine.yaml",
        DATA,
        ("needs the column 'sentense'", "rows.jsonl:1", "did you mean 'sentence'?"),
        {
            "rows.jsonl": lines(SENTENCES[0]),
            "mine.yaml": TEMPLATE.replace("sentence", "sentense"),
        },
    ),
    Mistake(
        "template-key",
        "adapt TASK --template mine.yaml",
        DATA,
        ("no key 'metric'", "mine.yaml:5", "did you mean 'metrics'?"),
        {"mine.yaml": TEMPLATE.replace("metrics", "metric") + "metrics: [accuracy]\n"},
    ),
    Mistake(
        "too-long-is-an-error",
        "adapt TASK --data rows.jsonl data.too_long=error data.test=test.jsonl",
        DATA,
        ("longer than 1008 tokens", "rows.jsonl:2", "data.too_long=drop"),
        {"rows.jsonl": lines(pairs(1).strip(), LONG) + pairs(40), "test.jsonl": TEST},
    ),
    Mistake(
        "nothing-left-to-train-on",
        "adapt TASK data.max_length=8",
        DATA,
        ("no training example is left", "data.max_length"),
    ),
    Mistake(
        "prompt-beyond-the-context-window",
        "adapt TASK data.test=long.jsonl",
        DATA,
        ("the prompt has", "a context window of 1024", "at: long.jsonl:1", "fewer shots"),
        {"long.jsonl": lines(LONG)},
    ),
    Mistake(
        "prompt-of-evaluate",
        "evaluate TASK data.test=long.jsonl",
        DATA,
        ("the prompt has", "a context window of 1024", "at: long.jsonl:1"),
        {"long.jsonl": lines(LONG)},
    ),
    Mistake(
        "prompt-of-one-rung",
        "adapt TASK --rungs zero-shot,few-shot data.max_characters=null prompt.few_shots=40",
        DATA,
        ("40 shots wanted", "36 training examples available", "use fewer shots"),
    ),
    Mistake(
        "output",
        "adapt TASK --output rows.jsonl/runs",
        RESOURCES,
        ("a file exists where a folder is needed", "rows.jsonl/runs", "--output"),
        {"rows.jsonl": pairs(1)},
    ),
    Mistake(
        "name", "adapt TASK --name ../up", USAGE, ("'../up' is not a valid run name", "letters")
    ),
    Mistake(
        "memory",
        "tune TASK adapt.memory=1MiB",
        RESOURCES,
        ("lora needs about", "1.0 MiB available", "train.micro_batch_tokens"),
    ),
)


class WeightsLoadedError(Exception):
    """Whatever is raised where weights are read is said to be a fault of theirs, by its name."""


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading weights, of whatever model, fails the test; a model without numbers may be made."""
    import transformers

    def refuse(folder: object, *_arguments: Any, **_options: Any) -> None:
        if folder is None:
            raise NotImplementedError
        raise WeightsLoadedError

    for kind in (transformers.AutoModelForCausalLM, transformers.AutoModelForSeq2SeqLM):
        monkeypatch.setattr(kind, "from_pretrained", refuse)


def test_the_guard_guards(
    call: Callable[..., Any], quick: tuple[str, ...], in_tmp_path: Path, no_weights: None
) -> None:
    """Without a mistake weights are loaded, so the tests below can fail."""
    assert "WeightsLoadedError" in call("adapt", *quick).err


@pytest.mark.sample(24)
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_explained(
    mistake: Mistake,
    call: Callable[..., Any],
    quick: tuple[str, ...],
    in_tmp_path: Path,
    no_weights: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LUTHIER_DATA", raising=False)  # an error may name it where it is not set
    for name, text in mistake.files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    command = [
        part for word in mistake.command.split() for part in (quick if word == "TASK" else (word,))
    ]
    outcome = call(*command)
    assert outcome.code == mistake.code, outcome.err
    for text in mistake.says:
        assert text in outcome.err
    assert "error: " in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    if command[0] in ("adapt", "tune"):
        assert call(*command, "--dry-run") == outcome


@pytest.mark.parametrize("command", ["adapt", "tune"])
def test_a_tracker_that_is_not_installed_is_found_before_weights_are_loaded(
    command: str,
    call: Callable[..., Any],
    quick: tuple[str, ...],
    in_tmp_path: Path,
    no_weights: None,
) -> None:
    missing = [name for name in ("mlflow", "wandb", "trackio") if find_spec(name) is None]
    if not missing:
        pytest.skip("all trackers are installed")
    words = (command, *quick, f"train.trackers=[{missing[0]}]")
    outcome = call(*words)
    assert outcome.code == USAGE
    assert f"error: the tracker {missing[0]} needs the package {missing[0]}" in outcome.err
    assert f"do: pip install 'luthier[{missing[0]}]'" in outcome.err
    assert call(*words, "--dry-run") == outcome


def test_a_dry_run_tells_what_would_be_dropped(
    call: Callable[..., Any], quick: tuple[str, ...], in_tmp_path: Path, no_weights: None
) -> None:
    """A row beyond what prompt tuning leaves of the window is left out, never cut."""
    Path("rows.jsonl").write_text(lines(LONG) + pairs(40), encoding="utf-8")
    Path("test.jsonl").write_text(TEST, encoding="utf-8")
    changes = ("--data", "rows.jsonl", "data.test=test.jsonl", "--dry-run", "--json")
    outcome = call("adapt", *quick, *changes)
    assert outcome.code == 0, outcome.err
    assert outcome.document["dropped"]["longer than 1008 tokens"] == 1


def test_a_dry_run_refuses_a_name_that_is_taken(
    call: Callable[..., Any], quick: tuple[str, ...], in_tmp_path: Path
) -> None:
    """The same refusal as that of the real run."""
    named = ("adapt", *quick, "--name", "mine", "--rungs", "zero-shot")
    assert call(*named).code == 0
    outcome = call(*named, "--seed", "1")
    assert outcome.code == USAGE
    assert "another configuration" in outcome.err
    assert call(*named, "--seed", "1", "--dry-run") == outcome
