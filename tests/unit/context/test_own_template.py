"""A chat template of one's own, from the configuration to the saved model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.api.configuration import configure
from luthier.context.fingerprints import evaluation_fingerprint, training_fingerprint
from luthier.context.prepare import prepare
from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.core.errors import UsageError

OWN = (
    "{% for m in messages %}{{ m.role | upper }}> {{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT>{% endif %}"
)


@pytest.fixture
def settings(tmp_path: Path, tiny_llama: Path) -> dict[str, Any]:
    rows = [{"prompt": f"Where is parcel {n}?", "completion": f"Depot {n}."} for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "mine.jinja").write_text(OWN)
    return {
        "name": "own",
        "output": str(tmp_path / "runs"),
        "model.id": str(tiny_llama),
        "data.source": str(tmp_path / "rows.jsonl"),
        "prompt.chat_template": str(tmp_path / "mine.jinja"),
        "evaluate.max_new_tokens": 4,
        "evaluate.general_text": None,
        "train.trackers": (),
        "train.compile": False,
    }


def prepared(settings: dict[str, Any], **changes: Any) -> RunContext:
    return prepare(configure(None, {**settings, **changes}), Console(quiet=True))


def test_template_and_arguments_are_a_part_of_the_stamp(settings: dict[str, Any]) -> None:
    first = prepared(settings)
    assert first.template == prepared(settings).template
    stamps = {first.template.hash}
    stamps.add(prepared(settings, **{"prompt.chat_template_kwargs": {"brief": True}}).template.hash)
    stamps.add(prepared(settings, **{"prompt.chat_template": "auto"}).template.hash)
    Path(settings["prompt.chat_template"]).write_text(OWN.replace("> ", ": "))
    changed = prepared(settings)
    assert len({*stamps, changed.template.hash}) == 4
    assert training_fingerprint(changed, "lora") != training_fingerprint(first, "lora")
    assert evaluation_fingerprint(changed) != evaluation_fingerprint(first)


def test_a_tuned_model_is_saved_and_asked_with_it(
    settings: dict[str, Any], tiny_llama: Path
) -> None:
    from transformers import AutoTokenizer

    before = AutoTokenizer.from_pretrained(tiny_llama).chat_template
    run = luthier.tune(overrides=settings, console=Console(quiet=True)).run
    assert AutoTokenizer.from_pretrained(run.model).chat_template == OWN
    assert AutoTokenizer.from_pretrained(tiny_llama).chat_template == before
    result = luthier.evaluate(run.path, console=Console(quiet=True))
    assert result.samples[0].prompt.startswith("USER> Where is parcel")
    Path(settings["prompt.chat_template"]).write_text(OWN.replace("> ", ": "))
    with pytest.raises(UsageError, match="the template has changed since the tuning"):
        luthier.evaluate(run.path, console=Console(quiet=True))
