"""The model card: a saved model, its task, its training, its scores, and how to load it.

It is rendered from records, so it contains counts and names, but no row of the data unless the user
asks for one. Text from models, data and settings is escaped, as in the Markdown report; the front
matter is dumped as YAML.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from luthier.core.terminal import printable_values
from luthier.core.units import format_count, format_duration
from luthier.records.evaluation import EvaluationRecord, MetricResult
from luthier.records.forgetting import Forgetting
from luthier.records.training import TrainingRecord
from luthier.reports.card_code import Base, Form, Question, Saved, loading_lines
from luthier.reports.format import format_estimate, format_interval, format_value
from luthier.reports.markdown import escape_markdown, fenced, table_lines
from luthier.reports.rows import estimate_texts, metric_rows

OURS = (
    "<!-- Luthier generated this card, and updates it when scores are measured. "
    "Remove this line to keep your own text. -->"
)
"""The marker of generated cards; without it, a card is never overwritten."""
_PUBLISHED = "<!-- Luthier wrote this card from the records of the run. -->"
OTHER_LICENCE = "other"
"""The Hub's word for a licence that it has no abbreviation for, or that is not known."""
_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Wording:
    """The wording of a task, without any row.

    Attributes:
        texts: its templates by the name of the turn, such as ``question``.
        about: a description of the task.
        choices: the words of each choice; empty for open answers.
    """

    texts: Mapping[str, str]
    about: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Way:
    """A rung of the ladder that a model comes from, and its score.

    Attributes:
        name: the name of the rung.
        result: its score on the test examples.
        is_this: whether it is the published model.
    """

    name: str
    result: MetricResult
    is_this: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """The content of a model card.

    Attributes:
        form: the form of the saved model.
        base: the base model.
        question: the way in which its code asks.
        repo: the Hub id under which it is published; empty: not published.
        has_tokenizer: whether the model has a tokenizer beside the weights.
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
        wording: the wording of the task.
        example: a rendered question and its answer, if the user wants to show one.
        ways: the rungs of its ladder, cheapest first.
        hardware: the machine that trained it.
    """

    form: Form
    base: Base
    question: Question = field(default_factory=Question)
    repo: str = ""
    has_tokenizer: bool = True
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
    wording: Wording | None = None
    example: tuple[str, str] | None = None
    ways: tuple[Way, ...] = ()
    hardware: str = ""


def render_card(card: Card) -> str:
    """The card as Markdown with YAML front matter. Equal cards give equal text."""
    lines = [
        "---",
        yaml.safe_dump(_front_matter(card), sort_keys=False, allow_unicode=True).rstrip("\n"),
        "---",
        _PUBLISHED if card.repo else OURS,
        "",
        f"# {_title(card)}",
        "",
        _summary(card),
        "",
        "## How to load it",
        *loading_lines(card.form, Saved(card.base, card.repo, card.has_tokenizer), card.question),
        *_task(card),
        *_section("How it was made", ("setting", "value"), _made(card)),
        *_section("Data", ("split", "examples"), _data(card)),
        *_scores(card),
        *_licence(card),
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
        "pipeline_tag": _pipeline(card),
        "tags": [tag for tag in tags if tag],
    }
    if card.repo and not card.base.on_hub:  # the Hub takes ids only
        del found["base_model"], found["base_model_relation"]
        found["tags"] = tags[:2]
    if card.base.licence:
        found["license"] = card.base.licence
    if card.base.licence == OTHER_LICENCE:
        found["license_name"] = "that-of-the-base-model"
        if card.base.on_hub:
            found["license_link"] = f"{_HUB}/{name}"
    if card.datasets:
        found["datasets"] = [" ".join(name.split()) for name in card.datasets]
    if card.repo and card.scores:
        results = [_model_index(card, record) for record in card.scores]
        found["model-index"] = [{"name": card.repo.partition("/")[2], "results": results}]
    shown: dict[str, Any] = printable_values(found)
    return shown


def _pipeline(card: Card) -> str:
    return "text2text-generation" if card.question.writes_after_encoder else "text-generation"


def _model_index(card: Card, record: EvaluationRecord) -> dict[str, Any]:
    """The scores on one task in the form that the Hub reads (Papers with Code's model index)."""
    name = " ".join(record.task.split())
    return {
        "task": {"type": _pipeline(card)},
        "dataset": {"name": name, "type": next(iter(card.datasets), name), "split": record.split},
        "metrics": [
            {"type": metric.name, "name": metric.name, "value": metric.value}
            for metric in record.metrics
        ],
    }


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


def _task(card: Card) -> Iterator[str]:
    """The task in words: its wording, and an example if the user wants to show one."""
    if wording := card.wording:
        yield from ("", "## Task")
        if wording.about:
            yield from ("", escape_markdown(wording.about))
        yield from ("", "The model was trained on questions in these words, and expects them:")
        for name, text in wording.texts.items():
            yield from ("", f"{escape_markdown(name)}:", "", *fenced(text, "text"))
        if wording.choices:
            yield ""
            yield from table_lines(("choice", "its words"), wording.choices.items())
        yield ""
        yield (
            "`{{ … }}` stands for a column of a row. `task.yaml` has the whole task for Luthier."
        )
    if card.example:
        prompt, answer = card.example
        yield from ("", "An example, as the model reads it:", "", *fenced(prompt, "text"))
        yield from ("", "Its answer:", "", *fenced(answer, "text"))


def _made(card: Card) -> Iterator[tuple[str, str]]:
    if card.method:
        yield "method", card.method
    for name, value in (card.settings or {}).items():
        yield name, _plain(value)
    if card.template:
        yield "prompt template", card.template
    if card.hardware:
        yield "machine", card.hardware
    if training := card.training:
        share = training.trained_parameters / max(training.total_parameters, 1)
        yield "trained parameters", f"{format_count(training.trained_parameters)} ({share:.3%})"
        yield "steps", f"{training.steps:,} of {training.planned_steps:,} ({training.stopped})"
        if training.batch_size is not None:
            yield "examples per step", f"{training.batch_size:,}"
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
    if card.repo and card.task:
        yield "name", card.task
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
    yield from _ways(card.ways)
    if lost := card.forgetting:
        value, interval = estimate_texts(lost, signed=True)
        yield ""
        yield (
            f"On general text the loss changed by {value} {interval} nats per token, from "
            f"{format_value(lost.before)} to {format_value(lost.after)}."
        )


def _ways(ways: Sequence[Way]) -> Iterator[str]:
    """The table of rungs, which shows what tuning gained over cheaper ways."""
    if not ways:
        return
    yield from (
        "",
        "The same test examples, answered by the rungs of the ladder, cheapest first:",
        "",
    )
    rows = (
        (
            f"{way.name} (this model)" if way.is_this else way.name,
            f"{format_estimate(way.result)} {format_interval(way.result)}",
            f"{way.result.n:,}",
        )
        for way in ways
    )
    yield from table_lines(("rung", ways[0].result.name, "n"), rows)


def _licence(card: Card) -> Iterator[str]:
    if not (licence := card.base.licence):
        return
    base = escape_markdown(card.base.name)
    yield from ("", "## Licence", "")
    if licence == OTHER_LICENCE:
        yield (
            f"The licence of {base} holds for this model too. Luthier does not know it: read it "
            "before you use the model."
        )
    else:
        yield f"{base} has the licence {escape_markdown(licence)}, which holds for this model too."


def _section(title: str, headings: Sequence[str], rows: Iterable[tuple[str, str]]) -> Sequence[str]:
    """A table below its title; empty without rows."""
    found = list(rows)
    return ["", f"## {title}", "", *table_lines(headings, found)] if found else []
