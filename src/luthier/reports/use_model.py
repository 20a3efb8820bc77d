"""Lines to copy that use the model of a run: in a shell, in Python, and with transformers."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from luthier.core.files import read_json
from luthier.models.bundled import BUNDLED_MODELS
from luthier.records.evaluation import ModelStamp
from luthier.reports.card_code import (
    OWN_ADAPTER,
    PEFT_ADAPTER,
    WHOLE_MODEL,
    Base,
    Form,
    Question,
    Saved,
    python_code,
)
from luthier.reports.content import Content, Measured, System
from luthier.reports.messages import PROMPT, messages_of

_FORMS = {"adapter_config.json": PEFT_ADAPTER, "config.json": WHOLE_MODEL}
_LIBRARIES = {PEFT_ADAPTER: "peft", WHOLE_MODEL: "transformers"}
_COMMIT = re.compile(r"[0-9a-f]{40}")
"""A revision that only models of the Hub have."""
_SEQ2SEQ = "ForConditionalGeneration"


@dataclass(frozen=True, slots=True)
class Snippet:
    """Lines to copy.

    Attributes:
        title: where they run.
        language: the language of the lines.
        note: a remark, in sentences.
    """

    title: str
    language: str
    code: str
    note: str


def use_snippets(content: Content) -> tuple[Snippet, ...]:
    """Lines that use the recommended rung, or the tuned model of a run.

    Empty if there is no recommendation, and for evaluations and compared runs.
    """
    system = content.recommended
    if content.folder is None or system is None or content.kind == "evaluate":
        return ()
    run = _shown(content.folder)
    return (
        Snippet(
            title="Shell",
            language="sh",
            code=f"luthier predict {shlex.quote(run)} new.csv -o answers.csv",
            note="new.csv has the columns of the questions; no answers are needed. All columns "
            "are kept, and the answers are added.",
        ),
        Snippet(
            title="Python",
            language="python",
            code="\n".join(
                (
                    "import luthier",
                    "",
                    f"model = luthier.load({_literal(run)})",
                    "print(model.columns)  # the columns of a question",
                    'answers = model.predict("new.csv")',
                    "print(answers[0].text)",
                )
            ),
            note="Rows may also be a list of mappings or a pandas DataFrame.",
        ),
        *_library_snippet(system),
    )


def _library_snippet(system: System) -> Iterator[Snippet]:
    """Lines for transformers or peft, if the tuned weights lie in the run and they load them."""
    form = _form_of(system.folder.model) if system.training else None
    measured = next((each for each in system.measured if each.samples), None)
    if form is None or measured is None or measured.record.model.endpoint:
        return
    base, note = _base(measured.record.model)
    folder = _shown(system.folder.model)
    code = python_code(form, Saved(base, repo=folder), _question(measured, base))
    if code:
        chosen = any(sample.likelihoods for sample in measured.samples)
        if chosen:
            note += " It writes an answer freely; the lines above choose the likeliest label."
        yield Snippet(_LIBRARIES[form], "python", code, note.strip())


def _form_of(folder: Path) -> Form | None:
    """The form of a saved model by its files; None if it is not there."""
    name = next((name for name in _FORMS if (folder / name).is_file()), None)
    if name is None:
        return None
    form = _FORMS[name]
    if form is PEFT_ADAPTER:
        settings = read_json(folder / name)
        return OWN_ADAPTER if isinstance(settings, dict) and "adapter_type" in settings else form
    return form


def _base(model: ModelStamp) -> tuple[Base, str]:
    """The base model by a name that others can load, with a remark on it."""
    kind = "Seq2SeqLM" if model.architecture.endswith(_SEQ2SEQ) else "CausalLM"
    auto_class = f"AutoModelFor{kind}"
    if bundled := BUNDLED_MODELS.get(model.id):
        note = (
            f"{bundled.name} is a quantised copy of {bundled.upstream}, so answers may differ "
            "slightly."
        )
        return Base(bundled.upstream, on_hub=True, auto_class=auto_class), note
    on_hub = _COMMIT.fullmatch(model.revision) is not None
    revision = model.revision if on_hub else ""
    return Base(model.id, on_hub=on_hub, auto_class=auto_class, revision=revision), ""


def _question(measured: Measured, base: Base) -> Question:
    """The question of the first test example; worked examples before it are left out."""
    sample, chat = measured.samples[0], measured.record.chat_template
    messages = messages_of(sample.prompt)
    turned = chat and messages[0].role != PROMPT
    system = next((each.text for each in messages if turned and each.role == "system"), "")
    return Question(
        text=messages[-1].text if turned else sample.prompt,
        system=system,
        has_chat_template=turned,
        writes_after_encoder="Seq2Seq" in base.auto_class,
    )


def _shown(path: Path) -> str:
    """A path of a run as a user would write it: from the working directory if it lies below."""
    path = path.absolute()
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()


def _literal(text: str) -> str:
    """A text as Python source."""
    return json.dumps(text, ensure_ascii=False)
