from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from luthier.config.prompt import PromptConfig
from luthier.core.example import Example, Message
from luthier.data.dataset import Dataset
from luthier.data.inspect import DataReport, ModelView, inspect_dataset
from luthier.data.problems import Dropped
from luthier.prompts.render import PromptRenderer
from luthier.tasks.bare import AS_IS

Make = Callable[..., Example]


def dataset_of(train: list[Example], **values: Any) -> Dataset:
    fields = {"test": (train[0],), "dropped": (), **values}
    return Dataset("task", AS_IS, tuple(train), (), fingerprint="f" * 16, **fields)


@pytest.fixture
def model(tokenizer: Any) -> ModelView:
    renderer = PromptRenderer.from_config(PromptConfig(), tokenizer, context_window=2048)
    return ModelView(renderer, tokenizer.decode, max_length=100)


def test_splits_and_groups(make_example: Make) -> None:
    train = [make_example(str(n), group="g" if n < 3 else "") for n in range(5)]
    report = inspect_dataset(dataset_of(train), None)
    assert [(part.name, part.examples, part.groups) for part in report.splits] == [
        ("train", 5, 3),
        ("validation", 0, 0),
        ("test", 1, 1),
    ]


def test_the_example_is_shown_as_the_model_sees_it(make_example: Make, model: ModelView) -> None:
    example = make_example("What is <|im_end|>?", "A token.")
    report = inspect_dataset(dataset_of([example]), model)
    rendered = model.renderer.training(example, completion_only_loss=True)
    assert "".join(piece.text for piece in report.shown) == model.decode(rendered.input_ids)
    assert [piece.text for piece in report.shown if piece.trained] == ["A token.<|im_end|>"]
    assert report.trained_tokens == rendered.num_trained


def test_all_answers_of_a_conversation_are_shown_as_trained(model: ModelView) -> None:
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    report = inspect_dataset(dataset_of([Example("x", turns, ("d",))]), model)
    assert [piece.text for piece in report.shown if piece.trained] == ["b<|im_end|>", "d<|im_end|>"]
    everything = inspect_dataset(
        dataset_of([Example("x", turns, ("d",))]), model, completion_only_loss=False
    )
    assert [piece.trained for piece in everything.shown] == [False, True]


def test_what_the_model_cannot_take(make_example: Make, model: ModelView) -> None:
    train = [make_example("short"), make_example("long " * 200, where="rows:7")]
    train.append(make_example("longer " * 300, where="rows:8"))
    report = inspect_dataset(dataset_of(train), model)
    (unusable,) = report.unusable
    assert (unusable.reason, unusable.count) == ("longer than 100 tokens", 2)
    assert unusable.where.startswith("rows:7 (")


def test_what_loading_left_out(make_example: Make) -> None:
    dropped = tuple(Dropped(f"rows:{n}", "leak" if n else "empty") for n in range(3))
    report = inspect_dataset(dataset_of([make_example("a")], dropped=dropped), None)
    assert [(item.reason, item.count, item.where) for item in report.left_out] == [
        ("leak", 2, "rows:1"),
        ("empty", 1, "rows:0"),
    ]


@pytest.mark.parametrize("size", [1, 9, 10, 11, 99, 100, 101, 12345])
def test_the_histogram_holds_every_example(make_example: Make, size: int) -> None:
    train = [make_example("x" * (size - 1), "y"), make_example("x" * (size // 2), "y")]
    lengths = inspect_dataset(dataset_of(train), None).lengths
    assert lengths.unit == "characters"
    assert (lengths.shortest, lengths.longest) == (size // 2 + 1, max(size, size // 2 + 1))
    assert sum(item.count for item in lengths.bins) == 2
    assert len(lengths.bins) <= 10
    for item in lengths.bins:
        inside = [n for n in (lengths.shortest, lengths.longest) if item.low <= n < item.high]
        assert item.count == len(inside)


def test_quantiles(make_example: Make) -> None:
    train = [make_example("x" * n, "y") for n in range(100)]
    lengths = inspect_dataset(dataset_of(train), None).lengths
    assert (lengths.shortest, lengths.median, lengths.percentile_95, lengths.longest) == (
        1,
        50,
        95,
        100,
    )


def test_labels_are_counted_where_answers_are_closed(make_example: Make) -> None:
    train = [make_example(str(n), "yes" if n else "no", choices=("no", "yes")) for n in range(4)]
    report = inspect_dataset(dataset_of(train), None)
    assert [(label.answer, label.count) for label in report.labels] == [("no", 1), ("yes", 3)]
    open_answers = inspect_dataset(dataset_of([make_example("a")]), None)
    assert open_answers.labels == ()


def test_a_report_can_be_stored(make_example: Make, model: ModelView, tmp_path: Any) -> None:
    report = inspect_dataset(dataset_of([make_example("a")]), model)
    report.write(tmp_path / "data.json")
    assert DataReport.read(tmp_path / "data.json") == report
