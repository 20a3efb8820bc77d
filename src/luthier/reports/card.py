"""The model card: a saved model, its training, and how to load it.

It is rendered from records, so it contains counts and names, but no rows of the data. Text from
models, data and settings is escaped, as in the Markdown report; the front matter is dumped as YAML.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from luthier.core.terminal import printable_values
from luthier.core.units import format_count, format_duration
from luthier.records.evaluation import EvaluationRecord
from luthier.records.forgetting import Forgetting
from luthier.records.training import TrainingRecord
from luthier.reports.format import format_value
from luthier.reports.markdown import escape_markdown, fenced, table_lines
from luthier.reports.rows import estimate_texts, metric_rows

OURS = (
    "<!-- Luthier generated this card, and updates it when scores are measured. "
    "Remove this line to keep your own text. -->"
)
"""The marker of generated cards; without it, a card is never overwritten."""


@dataclass(frozen=True, slots=True)
class Base:
    """The base model, as others can obtain it.

    Attributes:
        name: its Hub id, or the name of a folder or file, never a path.
        on_hub: whether the name is a Hub id.
        revision: its commit on the Hub, if known.
        note: a further remark, one sentence.
        file: its GGUF file, if it has one.
        auto_class: the transformers class that loads it.
        rows: rows of the embedding, if it was enlarged.
        luthier_name: its name in Luthier, if different.
    """

    name: str
    on_hub: bool
    auto_class: str
    revision: str = ""
    note: str = ""
    file: str = ""
    rows: int | None = None
    luthier_name: str = ""

    @property
    def arguments(self) -> str:
        """The arguments of ``from_pretrained`` that follow the variable ``base``."""
        more = {"revision": self.revision, "gguf_file": self.file}
        given = (f", {name}={json.dumps(value)}" for name, value in more.items() if value)
        return "base" + "".join(given)


@dataclass(frozen=True, slots=True)
class Form:
    """A form of saved models.

    Attributes:
        relation: its relation to the base model, in the Hub's vocabulary.
        library: the library that loads it, in the Hub's vocabulary.
        loading: from the base model to Python lines that load it into ``model``.
    """

    relation: str
    library: str
    loading: Callable[[Base], Sequence[str]] | None


def _load_adapter(base: Base) -> Sequence[str]:
    resized = [f"model.resize_token_embeddings({base.rows})"] if base.rows else []
    return (
        "from peft import PeftModel",
        f"from transformers import {base.auto_class}, AutoTokenizer",
        "",
        f"base = {json.dumps('.' if base.file else base.name)}",
        'folder = "."  # this folder, or the id under which it is published',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        f"model = {base.auto_class}.from_pretrained({base.arguments})",
        *resized,
        "model = PeftModel.from_pretrained(model, folder)",
    )


def _load_whole(base: Base) -> Sequence[str]:
    return (
        f"from transformers import {base.auto_class}, AutoTokenizer",
        "",
        'folder = "."  # this folder, or the id under which it is published',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        f"model = {base.auto_class}.from_pretrained(folder)",
    )


PEFT_ADAPTER = Form("adapter", "peft", _load_adapter)
OWN_ADAPTER = Form("adapter", "luthier", None)
WHOLE_MODEL = Form("finetune", "transformers", _load_whole)


@dataclass(frozen=True, slots=True)
class Card:
    """The content of a model card.

    Attributes:
        form: the form of the saved model.
        base: the base model.
        writes_after_encoder: whether it is an encoder-decoder model.
        has_chat_template: whether the tokenizer has one.
        method: the name of the tuning method; empty if unknown.
        settings: settings of method and training, by name.
        task: the name of the data.
        datasets: the data's Hub id, if it has one.
        examples: number of examples by split.
        template: the prompt template.
        training: the training record.
        scores: the measured metrics.
        forgetting: the change on general text.
        versions: versions of the packages used.
        merged: whether an adapter was merged into the weights.
    """

    form: Form
    base: Base
    writes_after_encoder: bool = False
    has_chat_template: bool = False
    method: str = ""
    settings: Mapping[str, Any] | None = None
    task: str = ""
    datasets: tuple[str, ...] = ()
    examples: Mapping[str, int] | None = None
    template: str = ""
    training: TrainingRecord | None = None
    scores: tuple[EvaluationRecord, ...] = ()
    forgetting: Forgetting | None = None
    versions: Mapping[str, str] | None = None
    merged: bool = False


def render_card(card: Card) -> str:
    """The card as Markdown with YAML front matter. Equal cards give equal text."""
    lines = [
        "---",
        yaml.safe_dump(_front_matter(card), sort_keys=False, allow_unicode=True).rstrip("\n"),
        "---",
        OURS,
        "",
        f"# {_title(card)}",
        "",
        _summary(card),
        "",
        "## How to load it",
        *_loading(card),
        *_section("How it was made", ("setting", "value"), _made(card)),
        *_section("Data", ("split", "examples"), _data(card)),
        *_scores(card),
        *_section("Versions", ("package", "version"), (card.versions or {}).items()),
    ]
    return "\n".join(lines) + "\n"


def _front_matter(card: Card) -> dict[str, Any]:
    form, name = card.form, " ".join(card.base.name.split())  # a line of --- would end it
    tags = ["luthier", " ".join(card.method.split()), f"base_model:{form.relation}:{name}"]
    found: dict[str, Any] = {
        "base_model": name,
        "base_model_relation": form.relation,
        "library_name": form.library,
        "pipeline_tag": "text2text-generation" if card.writes_after_encoder else "text-generation",
        "tags": [tag for tag in tags if tag],
    }
    if card.datasets:
        found["datasets"] = [" ".join(name.split()) for name in card.datasets]
    shown: dict[str, Any] = printable_values(found)
    return shown


def _title(card: Card) -> str:
    on = f" for {card.task}" if card.task else ""
    by = f" by {card.method}" if card.method else ""
    if card.form.relation == "adapter":
        return escape_markdown(f"{card.method} adapter of {card.base.name}{on}".strip())
    return escape_markdown(f"{card.base.name}, tuned{by}{on}")


def _summary(card: Card) -> str:
    """A summary in a few sentences."""
    base = escape_markdown(card.base.name)
    method = f" by {escape_markdown(card.method)}" if card.method else ""
    kind = "It is an adapter" if card.form.relation == "adapter" else "It is a whole model"
    merged = "; the adapter is merged into its weights" if card.merged else ""
    sentences = [
        f"{base} was tuned{method} with Luthier.",
        f"{kind}, in safetensors{merged}.",
        escape_markdown(card.base.note),
    ]
    if not card.base.on_hub:
        sentences.append(
            f"The base model has no known id on the Hub: {base} is its name on the machine where "
            "this was made."
        )
    return " ".join(sentence for sentence in sentences if sentence)


def _loading(card: Card) -> Iterator[str]:
    if card.form.loading:
        yield from ("", "With transformers" + (" and peft:" if card.form is PEFT_ADAPTER else ":"))
        yield ""
        yield from fenced("\n".join([*card.form.loading(card.base), *_asking(card)]), "python")
    yield from ("", "With Luthier:", "")
    settings = {"model.id": "."}
    if card.form.relation == "adapter" and not card.base.on_hub and not card.base.luthier_name:
        settings["model.base"] = card.base.file or card.base.name
    lines = (
        "import luthier",
        "",
        f'answers = luthier.prompt(overrides={json.dumps(settings)}, question="Say hello.")',
        "print(answers[0].prediction)",
    )
    yield from fenced("\n".join(lines), "python")


def _asking(card: Card) -> Iterator[str]:
    """Python code that asks a question with ``model`` and ``tokenizer``."""
    yield ""
    if card.has_chat_template:
        yield 'question = [{"role": "user", "content": "Say hello."}]'
        yield (
            "inputs = tokenizer.apply_chat_template(question, add_generation_prompt=True, "
            'return_tensors="pt", return_dict=True)'
        )
    else:
        yield 'inputs = tokenizer("Say hello.", return_tensors="pt")'
    yield "tokens = model.generate(**inputs, max_new_tokens=64)[0]"
    start = "" if card.writes_after_encoder else '[inputs["input_ids"].shape[1] :]'
    yield f"print(tokenizer.decode(tokens{start}, skip_special_tokens=True))"


def _made(card: Card) -> Iterator[tuple[str, str]]:
    if card.method:
        yield "method", card.method
    for name, value in (card.settings or {}).items():
        yield name, _plain(value)
    if card.template:
        yield "prompt template", card.template
    if training := card.training:
        share = training.trained_parameters / max(training.total_parameters, 1)
        yield "trained parameters", f"{format_count(training.trained_parameters)} ({share:.3%})"
        yield "steps", f"{training.steps:,} of {training.planned_steps:,} ({training.stopped})"
        yield "passes over the examples", f"{training.epochs:.3g}"
        yield "trained tokens", f"{training.trained_tokens:,}"
        yield "time", format_duration(training.seconds)
        yield (
            "training loss, first and last step",
            (f"{format_value(training.first_loss)} and {format_value(training.last_loss)}"),
        )
        if training.best_validation_loss is not None:
            best = format_value(training.best_validation_loss)
            yield "best validation loss", f"{best} at step {training.best_step:,}"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _data(card: Card) -> Iterator[tuple[str, str]]:
    for split, count in (card.examples or {}).items():
        yield split, f"{count:,}"
    if card.training:
        general = card.training.replayed
        more = f", and {general:,} general texts in each pass" if general else ""
        yield "trained on", f"{card.training.examples:,}{more}"


def _scores(card: Card) -> Iterator[str]:
    yield from ("", "## Scores", "")
    if not card.scores:
        yield "Not measured yet."
        return
    headings = ("task", "split", "shots", "metric", "value and interval", "n")
    rows = (
        (row.task, row.split, row.shots, row.metric, f"{row.value} {row.interval}", row.n)
        for row in metric_rows("", card.scores)
    )
    yield from table_lines(headings, rows)
    if lost := card.forgetting:
        value, interval = estimate_texts(lost, signed=True)
        yield ""
        yield (
            f"On general text the loss changed by {value} {interval} nats per token, from "
            f"{format_value(lost.before)} to {format_value(lost.after)}."
        )


def _section(title: str, headings: Sequence[str], rows: Iterable[tuple[str, str]]) -> Sequence[str]:
    """A table below its title; empty without rows."""
    found = list(rows)
    return ["", f"## {title}", "", *table_lines(headings, found)] if found else []
