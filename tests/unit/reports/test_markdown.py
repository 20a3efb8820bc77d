from __future__ import annotations

import pytest

from luthier.records.ladder import LadderRecord
from luthier.records.run_directory import RunDirectory
from luthier.reports import write_report
from luthier.reports.markdown import escape_markdown


def markdown_of(run: RunDirectory) -> str:
    return write_report(run)[1].read_text(encoding="utf-8")


def test_it_begins_with_headline_facts_doubts_and_recommendation(adapt_run: RunDirectory) -> None:
    ladder = LadderRecord.read(adapt_run.ladder)
    answer = ladder.recommendation.model_copy(update={"warnings": ("Few *examples*.",)})
    ladder.model_copy(update={"recommendation": answer}).write(adapt_run.ladder)
    lines = [line for line in markdown_of(adapt_run).splitlines() if line]
    assert lines[0] == "# Tune with LoRA: ROUGE-L 0.28, against 0.17 with examples in the prompt"
    assert "data: python-docstrings, 960 training examples" in lines[1]
    assert lines[3] == r"- Few \*examples\*."
    assert lines[4] == "Use lora: it is the cheapest rung that reaches rougeL 0.250."
    assert lines[5].startswith("- It gains 0.070 over prompt-tuning")


def test_the_ladder_is_a_table_of_eight_columns(adapt_run: RunDirectory) -> None:
    text = markdown_of(adapt_run)
    block = text[text.index("## The ladder") : text.index("## Metrics")]
    rows = [line for line in block.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(LadderRecord.read(adapt_run.ladder).rungs)
    assert {row.count("|") for row in rows} == {9}
    assert "lora (recommended)" in rows[6]
    assert r"0.280 \[0.261, 0.299\]" in rows[6]
    assert "skipped" in rows[7]


def test_it_holds_the_same_facts_as_the_page(adapt_run: RunDirectory) -> None:
    text = markdown_of(adapt_run)
    for fact in ("5f0c1be6a7d2e934", "paired permutation", "Template hash", "trained", "+0.021"):
        assert escape_markdown(fact) in text, fact
    assert "max_grad_norm" not in text  # neither the configuration nor the manifest
    assert "memory_bytes" not in text
    assert text.splitlines()[-1].startswith("- manifest.json: ")


def test_a_tune_run_has_no_ladder(tune_run: RunDirectory) -> None:
    text = markdown_of(tune_run)
    assert "## The ladder" not in text
    assert "## Training" in text
    assert "reaches rougeL 0.280" in text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a | b", r"a \| b"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("[x](javascript:alert(1))", r"\[x\](javascript:alert(1))"),
        ("a\nb\r\nc\u2028d", "a b c d"),
        ("`code` *bold* _it_", r"\`code\` \*bold\* \_it\_"),
        ("\\|", r"\\\|"),
        ("see https://example.org", r"see https\://example.org"),
        ("- item", r"\- item"),
    ],
)
def test_escaping(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


def test_a_prompt_cannot_end_its_code_block(tune_run: RunDirectory) -> None:
    path = tune_run.samples("python-docstrings")
    text = path.read_text(encoding="utf-8").replace("Write the first", "````` \\n# Broken out\\n")
    path.write_text(text, encoding="utf-8")
    markdown = markdown_of(tune_run)
    start = markdown.index("``````text")
    end = markdown.index("\n``````\n", start)
    assert start < markdown.index("# Broken out") < end
