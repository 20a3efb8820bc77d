from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

from luthier.records.ladder import LadderRecord
from luthier.records.run_directory import RunDirectory
from luthier.reports import write_report
from luthier.reports.content import read_content
from luthier.reports.examples import collect_examples


class Page(HTMLParser):
    """Elements with their attributes, scripts with their text, and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(run: RunDirectory) -> Page:
    path, _ = write_report(run)
    return Page(path.read_text(encoding="utf-8"))


def test_the_headline_then_doubts_then_the_recommendation(adapt_run: RunDirectory) -> None:
    ladder = LadderRecord.read(adapt_run.ladder)
    doubt = "25 of 128 test examples share 13 words in a row with the training texts."
    answer = ladder.recommendation.model_copy(update={"warnings": (doubt,)})
    ladder.model_copy(update={"recommendation": answer}).write(adapt_run.ladder)
    page = page_of(adapt_run)
    headline = "Tune with LoRA: ROUGE-L 0.28, against 0.17 with examples in the prompt"
    places = [page.text.index(text) for text in (doubt, answer.sentence, "Gain", *answer.reasons)]
    assert places == sorted(places)
    assert page.text.index(headline, page.text.index("Skip to the result")) < places[0]
    assert all(reason in page.text for reason in answer.reasons)
    assert [tag for tag, _ in page.elements].count("h1") == 1


def test_every_rung_and_the_reason_of_a_skipped_one_are_shown(adapt_run: RunDirectory) -> None:
    text = page_of(adapt_run).text
    for rung in LadderRecord.read(adapt_run.ladder).rungs:
        assert rung.name in text
    assert "skipped: full fine-tuning needs 5.1 GiB" in text


def test_it_says_how_it_was_measured(adapt_run: RunDirectory) -> None:
    text = page_of(adapt_run).text
    for fact in (
        "rouge_score 0.1.2, rougeL F1",
        "paired permutation",
        "step-down over all pairs of rungs",
        "0.05",
        "5f0c1be6a7d2e934",
        "12fd25f77366fa6b3b4b768ec3050bf629380bac",
        "train 960, validation 128, test 128",
        "hardware.cores",
        "2.13.0",
        "max_grad_norm",
    ):
        assert fact in text, fact


def test_the_policy_allows_the_one_script_and_nothing_from_outside(adapt_run: RunDirectory) -> None:
    page = page_of(adapt_run)
    metas = {attrs.get("http-equiv"): attrs for tag, attrs in page.elements if tag == "meta"}
    policy = metas["Content-Security-Policy"]["content"]
    data, script = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert json.loads(data)["total"] == 128


def test_nothing_is_loaded_from_anywhere(adapt_run: RunDirectory) -> None:
    html = write_report(adapt_run)[0].read_text(encoding="utf-8")
    attributes = re.findall(r'(?:src|href|action|data|poster)="([^"]*)"', html)
    assert attributes
    assert all(value.startswith("#") for value in attributes)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_first_examples_stand_in_the_page_without_a_script(adapt_run: RunDirectory) -> None:
    page = page_of(adapt_run)
    assert [tag for tag, _ in page.elements].count("article") == 10
    shown = collect_examples(read_content(adapt_run)).first(10)
    assert shown[0].spread == max(row.spread for row in shown) > 0
    for row in shown:
        assert row.outputs[4]
        assert f"{row.number} {row.id}" in page.text
        assert " ".join(row.outputs[4].text.split()) in page.text
    controls = next(attrs for _, attrs in page.elements if attrs.get("id") == "controls")
    assert "hidden" in controls


def test_no_id_stands_twice_and_every_link_inside_leads_somewhere(adapt_run: RunDirectory) -> None:
    page = page_of(adapt_run)
    ids = [str(attrs["id"]) for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a"]
    assert {str(link).removeprefix("#") for link in links} <= set(ids)


def test_every_plot_is_there_with_a_caption(adapt_run: RunDirectory) -> None:
    tags = [tag for tag, _ in page_of(adapt_run).elements]
    assert tags.count("svg") == 4  # metric, cost, forgetting, and one for all losses
    code = 2  # in a shell and in Python; the weights are not in this run
    assert tags.count("figure") == tags.count("figcaption") == tags.count("svg") + code


def test_a_tune_run_has_its_result_its_curve_and_no_ladder(tune_run: RunDirectory) -> None:
    page = page_of(tune_run)
    sentence = "smollm2-135m-instruct, tuned with lora, reaches rougeL 0.280 on python-docstrings"
    assert sentence in page.text
    assert [tag for tag, _ in page.elements].count("svg") == 1
    assert "The ladder" not in page.text
    assert "differ most" not in page.text


def test_a_run_that_was_tuned_and_not_evaluated_still_has_a_report(tune_run: RunDirectory) -> None:
    for path in (tune_run.path / "evaluation").iterdir():
        path.unlink()
    page = page_of(tune_run)
    assert "single was tuned but not yet evaluated." in page.text
    assert not any("examples-data" in attrs.values() for _, attrs in page.elements)
    assert f"luthier predict {tune_run.path} new.csv -o answers.csv" in page.text


def test_two_writes_give_the_same_bytes(adapt_run: RunDirectory) -> None:
    first = [path.read_bytes() for path in write_report(adapt_run)]
    again = [path.read_bytes() for path in write_report(adapt_run)]
    assert first == again
