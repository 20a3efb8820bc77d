"""Numbers in answers: which are equal, and which are none."""

from __future__ import annotations

from fractions import Fraction

import pytest

from luthier.core.errors import UsageError
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.metrics.numeric import number_in
from luthier.records.evaluation import SampleRecord


def score(name: str, said: str, *accepted: str) -> float:
    sample = SampleRecord(
        id="1", prompt="", prediction=said, references=accepted, scores={}, finish="stop"
    )
    return float(get_metric(name).measure([sample])[0, 0])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("29", "29"),
        ("29.0", "29"),
        ("29.", "29"),
        ("+29", "29"),
        (" 29\n", "29"),
        ("$29.00", "29"),
        ("29 €", "29"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("\u22125", "-5"),
        ("\u20135", "-5"),
        ("- 5", "-5"),
        ("1,234.5", "2469/2"),
        ("1,234,567", "1234567"),
        ("0.1", "1/10"),
        (".5", "1/2"),
        ("1/2", "1/2"),
        ("-1/2", "-1/2"),
        ("1 1/2", "3/2"),
        ("0.5/2", "1/4"),
        ("\\frac{1}{2}", "1/2"),
        ("-\\dfrac{3}{4}", "-3/4"),
        ("$\\frac{3}{4}$", "3/4"),
        ("\\$1,000", "1000"),
        ("50%", "1/2"),
        ("50 %", "1/2"),
        ("50\\%", "1/2"),
        ("0.5%", "1/200"),
        ("1e3", "1000"),
        ("1.5E-2", "3/200"),
        ("007", "7"),
        ("\uff12\uff19", "29"),
        ("\uff11\uff0c\uff12\uff13\uff14", "1234"),
        ("\u0662\u0669", "29"),
        ("0.30000000000000004", "30000000000000004/100000000000000000"),
        # LaTeX: boxes, fonts, fractions without braces, mixed numbers, groups of digits.
        ("\\boxed{42}", "42"),
        ("\\boxed{\\frac{1}{2}}", "1/2"),
        ("$\\boxed{\\text{-7}}$", "-7"),
        ("\\(72\\)", "72"),
        ("\\[ 72 \\]", "72"),
        ("\\frac12", "1/2"),
        ("\\tfrac{1}{2}", "1/2"),
        ("\\frac{-1}{2}", "-1/2"),
        ("\\frac{1.5}{2}", "3/4"),
        ("\\frac{1,000}{2}", "500"),
        ("3\\frac{1}{2}", "7/2"),
        ("1{,}000", "1000"),
        ("1\\,000", "1000"),
        ("1.5 \\times 10^{3}", "1500"),
        ("1.5 \u00d7 10^-3", "3/2000"),
        # Unicode: narrow spaces, slashes, fractions of one character, what cannot be seen.
        ("1\u202f000", "1000"),
        ("1\u00a0000\u00a0000", "1000000"),
        ("1 000", "1000"),
        ("1'000", "1000"),
        ("1\u20442", "1/2"),
        ("\u00bd", "1/2"),
        ("1\u00bd", "3/2"),
        ("5\u200b", "5"),
        ("\ufeff5", "5"),
        ("\u20605\u200d", "5"),
        # Markdown.
        ("**72**", "72"),
        ("`72`", "72"),
    ],
)
def test_a_text_that_is_a_number(text: str, number: str) -> None:
    assert number_in(text) == Fraction(number)


@pytest.mark.parametrize(
    "text",
    [
        "", "-", ".", "$", "%", "about 29", "29 apples", "29 30", "1,23", "12,34,567", "1.2.3",
        "1/0", "x2", "2x", "nan", "inf", "1e999999999", "9" * 1000, "--5", "one", "5²",
        "1_000", "0x10",
    ],
)  # fmt: skip
def test_a_text_that_is_no_number(text: str) -> None:
    assert number_in(text) is None


@pytest.mark.parametrize(
    ("text", "last", "first"),
    [
        ("So 3 + 4 = 7.", "7", "3"),
        ("It costs $1,234.50, not 20%.", "1/5", "2469/2"),
        ("From -2 to 1/2", "1/2", "-2"),
        ("#### 29", "29", "29"),
        ("x=-5", "-5", "-5"),
        ("The total is 72 clips, altogether.", "72", "72"),
        ("$80,000 and $50,000 make **$130,000**.", "130000", "80000"),
        ("Thus \\boxed{\\frac{3}{4}}.", "3/4", "3/4"),
        ("#### -3", "-3", "-3"),
        ("It is \u22123\u00b0C", "-3", "-3"),
        ("\u7b54\u3048\u306f\uff11\uff12\u200b", "12", "12"),
        ("no number", None, None),
        ("version 1.2.3", None, None),
    ],
)
def test_a_number_in_a_text(text: str, last: str | None, first: str | None) -> None:
    assert number_in(text, "last") == (Fraction(last) if last else None)
    assert number_in(text, "first") == (Fraction(first) if first else None)


@pytest.mark.parametrize(
    ("name", "said", "accepted", "right"),
    [
        ("numeric", "$29.00", "29", 1),
        ("numeric", "1/2", "0.5", 1),
        ("numeric", "50%", "0.5", 1),
        ("numeric", "50%", "50", 0),
        ("numeric:units", "50%", "50", 1),
        ("numeric", "29 apples", "29", 0),
        ("numeric:units", "29 apples", "29", 1),
        ("numeric:units", "29 apples", "29 pears", 1),
        ("numeric:units", "5 km/h", "5", 1),
        ("numeric:units", "29 of 30", "29", 0),
        ("numeric", "-3", "3", 0),
        ("numeric", "0.333", "1/3", 0),
        ("numeric:last", "He has 3, she has 29.", "29", 1),
        ("numeric:first", "29 it is, not 30", "29", 1),
        ("numeric:last", "It is 5.", "2 + 3 = 5 apples.\n#### 5", 1),
        ("numeric:last", "It is 3.", "2 + 3 = 5 apples.\n#### 5", 0),
        ("numeric:first", "2, I think", "2 of 3", 1),
        ("numeric", "5", "2 + 3 = 5 apples", 0),
        ("numeric:last+units", "It is 50 %", "50", 1),
        ("numeric", "Paris", "Paris", 1),
        ("numeric", "Paris", "29", 0),
        ("numeric", "29", "Paris", 0),
    ],
)
def test_equal_numbers_are_right(name: str, said: str, accepted: str, right: int) -> None:
    assert score(name, said, accepted) == right
    assert score(name, said, "no number", accepted) == right


def test_the_signature_says_how_numbers_are_found() -> None:
    assert get_metric("numeric:last").signature([]) == (
        "numeric:last|number:last|units:refused|equal:exactly|refs:any"
    )
    with pytest.raises(UsageError, match="numeric has no option 'unit'"):
        get_metric("numeric:unit")


def test_references_that_are_no_numbers_are_said() -> None:
    rows = [("5", "#### 5"), ("5", "five"), ("5", "5")]
    samples = [
        SampleRecord(
            id=str(n), prompt="", prediction=said, references=(right,), scores={}, finish="stop"
        )
        for n, (said, right) in enumerate(rows)
    ]
    (caveat,) = get_metric("numeric").caveats(samples)
    assert "the references of 2 of 3 examples are not numbers" in caveat
    (caveat,) = get_metric("numeric:last").caveats(samples)
    assert "the references of 1 of 3 examples are not numbers" in caveat
    assert get_metric("numeric").caveats(samples[2:]) == ()
