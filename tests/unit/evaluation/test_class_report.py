"""Results by class follow from the samples, and equal the metrics of each class."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from luthier.core.errors import UsageError
from luthier.evaluation.class_report import class_report
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.statistics.bootstrap import Resampling, bootstrap_interval
from luthier.records.classes import MOST_CLASSES, ClassReport
from luthier.records.evaluation import SampleRecord

LABELS = ("Billing", "not sure", "no")


def samples(
    predicted: Sequence[str], true: Sequence[str], choices: tuple[str, ...] = LABELS, **more: Any
) -> list[SampleRecord]:
    return [
        SampleRecord(
            id=str(n), prompt="", prediction=said, references=(gold,), choices=choices, scores={},
            finish="stop", **more,
        )
        for n, (said, gold) in enumerate(zip(predicted, true, strict=True))
    ]  # fmt: skip


def drawn(n: int, groups: int = 0) -> list[SampleRecord]:
    draw = random.Random(n)
    made = samples(draw.choices((*LABELS, "?"), k=n), draw.choices(LABELS, (5, 2, 1), k=n))
    return [
        each.model_copy(update={"group": str(place % groups) if groups else ""})
        for place, each in enumerate(made)
    ]


@pytest.mark.parametrize("groups", [0, 7])
@pytest.mark.parametrize("n", [1, 2, 9, 60])
def test_each_class_has_the_figures_of_its_metrics(
    n: int, groups: int, resampling: Resampling
) -> None:
    answered = drawn(n, groups)
    report = class_report(answered, resampling)
    assert report is not None
    for result in report.classes:
        for name in ("precision", "recall", "f1"):
            metric = get_metric(f"{name}:{result.label}")
            expected = bootstrap_interval(
                metric, metric.measure(answered), resampling, [each.group for each in answered]
            )
            found = getattr(result, name).model_dump()
            assert found == pytest.approx(expected.model_dump()), (result.label, name)


def test_a_generated_answer_is_read_as_accuracy_reads_it(resampling: Resampling) -> None:
    said = ["billing.", "**Not sure**, perhaps", "No", "nothing", " NO ", "Billing"]
    true = ["Billing", "not sure", "no", "no", "not sure", "BILLING "]
    answered = samples(said, true)
    report = class_report(answered, resampling)
    assert report is not None
    assert report.confusion == ((2, 0, 0, 0), (0, 1, 1, 0), (0, 0, 1, 1))
    assert report.unread == 1
    right = sum(get_metric("accuracy").measure(answered)[:, 0])
    assert right == sum(report.confusion[place][place] for place in range(3)) == 4
    balanced = get_metric("balanced_accuracy")
    assert balanced.per_sample(balanced.measure(answered)).sum() == 4


@pytest.mark.parametrize(
    "answered",
    [
        [*samples(["no"], ["no"]), *samples(["no"], ["no"], ("no", "yes"))],
        samples(["no"], ["no"], ("no",)),
        samples(["no"], ["no"], ()),
        samples(["no"], ["no"], ("no", "no")),
        samples(["no"], ["never"]),
        [samples(["no"], ["no"])[0].model_copy(update={"references": ("no", "Billing")})],
        samples(["0"], ["0"], tuple(map(str, range(MOST_CLASSES + 1)))),
    ],
    ids=["other choices", "one", "open", "twice", "no label", "two right", "many"],
)
def test_there_is_none_without_one_right_class_of_a_shared_set(
    answered: list[SampleRecord], resampling: Resampling
) -> None:
    assert class_report(answered, resampling) is None


def test_the_most_classes_are_reported(resampling: Resampling) -> None:
    labels = tuple(map(str, range(MOST_CLASSES)))
    report = class_report(samples(labels, labels, labels), resampling)
    assert report is not None
    assert len(report.classes) == MOST_CLASSES


def test_a_matrix_of_another_size_is_no_report(resampling: Resampling) -> None:
    report = class_report(drawn(20), resampling)
    assert report is not None
    stored = report.model_dump()
    stored["confusion"] = stored["confusion"][:-1]
    with pytest.raises(ValidationError, match="3 by 4"):
        ClassReport.model_validate(stored)


def test_balanced_accuracy_of_a_constant_answer_is_that_of_a_guess() -> None:
    metric = get_metric("balanced_accuracy")
    answered = samples(["no"] * 10, ["no"] * 8 + ["Billing", "not sure"])
    stats = metric.measure(answered)
    assert metric.aggregate(stats.sum(axis=0), stats.sum()) == pytest.approx(1 / 3)


def test_absent_classes_are_told() -> None:
    (caveat, *_) = get_metric("balanced_accuracy").caveats(samples(["no", "no"], ["no", "Billing"]))
    assert "no example is 'not sure'" in caveat


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_a_metric_of_a_label_names_it(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} needs the positive label"):
        get_metric(name)
    metric = get_metric(f"{name}:not: sure")
    assert metric.name == f"{name}:not: sure"
    assert "positive:not: sure" in metric.signature([["a"]])


@pytest.mark.parametrize(("name", "denominator"), [("precision:no", "no"), ("recall:no", "no")])
def test_a_share_of_nothing_is_zero_without_an_interval(
    name: str, denominator: str, resampling: Resampling
) -> None:
    metric = get_metric(name)
    answered = samples(["Billing"] * 3, ["Billing"] * 3)
    estimate = bootstrap_interval(metric, metric.measure(answered), resampling)
    assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)
    assert estimate.no_interval
    assert denominator in name
