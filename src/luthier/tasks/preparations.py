"""Preprocessing of rows for benchmarks that need more than a template can do.

Each preparation maps rows to rows. Preparations are code because the template sandbox allows, on
purpose, neither slices nor nested loops over a row's values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from luthier.core.errors import DataError
from luthier.core.row import Row

Preparation = Callable[[Iterator[Row]], Iterator[Row]]


def _each(change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Preparation:
    """A preparation that adds the values that ``change`` makes from each row."""

    def prepare(rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            with _Explained(row.where):
                added = change(row.values)
            yield Row({**row.values, **added}, row.where)

    return prepare


def _several(split: Callable[[dict[str, Any]], Iterator[dict[str, Any]]]) -> Preparation:
    """A preparation that splits each row into several."""

    def prepare(rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            with _Explained(row.where):
                made = list(split(row.values))
            yield from (Row(values, row.where) for values in made)

    return prepare


class _Explained:
    """Turns the exceptions of a row with an unexpected shape into errors with its place."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        """Do nothing; only the exit matters."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, KeyError):
            raise DataError(f"the row has no {error}", where=self._where) from None
        if isinstance(error, TypeError | AttributeError | IndexError | ValueError):
            raise DataError(
                f"the row has another shape than this task's: {error}", where=self._where
            ) from None


def _halves(row: dict[str, Any]) -> dict[str, str]:
    """COPA: the premise with a connective in place of its full stop, and lower-cased choices."""
    connective = {"cause": "because", "effect": "therefore"}[row["question"]]
    return {
        "beginning": f"{row['premise'].strip()[:-1]} {connective}",
        "end1": row["choice1"][0].lower() + row["choice1"][1:],
        "end2": row["choice2"][0].lower() + row["choice2"][1:],
    }


def _marked_word(row: dict[str, Any]) -> dict[str, str]:
    """WiC: the word in the form in which the first sentence has it."""
    return {"marked": row["sentence1"][int(row["start1"]) : int(row["end1"])]}


def _flat_target(row: dict[str, Any]) -> dict[str, Any]:
    """WSC's files: the spans as columns; the files nest them in an object."""
    return dict(row["target"])


def _marked_pronoun(row: dict[str, Any]) -> dict[str, str]:
    """WSC: the passage with stars around the pronoun, and ordinary spaces around punctuation.

    Spans count words separated by white space.
    """
    before = " ".join(row["text"].split()[: int(row["span2_index"])])
    after = row["text"][len(before) + len(row["span2_text"]) + 1 :]
    text = f"{before} *{row['span2_text']}*{after}"
    for written, ordinary in _SPACED:
        text = text.replace(written, ordinary)
    return {"passage": re.sub(r" ([.,'])", r"\1", text)}


_SPACED = ((" n't", "n't"), (" )", ")"), ("( ", "("), ('" ', '"'), (' "', '"'))


def _answers(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """MultiRC's files: one row for each answer to each question about a passage."""
    for question in row["passage"]["questions"]:
        for answer in question["answers"]:
            label = {"label": answer["label"]} if "label" in answer else {}
            yield {
                "paragraph": row["passage"]["text"],
                "question": question["question"],
                "answer": answer["text"],
                "idx": {
                    "paragraph": row["idx"],
                    "question": question["idx"],
                    "answer": answer["idx"],
                },
                **label,
            }


def _queries(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """ReCoRD's files: one row for each query about a passage.

    Spans include their last character.
    """
    text = row["passage"]["text"]
    entities = [text[span["start"] : span["end"] + 1] for span in row["passage"]["entities"]]
    for query in row["qas"]:
        answers = {"answers": [a["text"] for a in query["answers"]]} if "answers" in query else {}
        yield {
            "passage": text,
            "query": query["query"],
            "entities": entities,
            "idx": {"passage": row["idx"], "query": query["idx"]},
            **answers,
        }


def _notes(row: dict[str, Any]) -> dict[str, Any]:
    """ReCoRD: the highlights as a list below the text; unique entities and answers, sorted."""
    body, *highlights = row["passage"].strip().split("\n@highlight\n")
    answers = {"answers": sorted(set(row["answers"]))} if "answers" in row else {}
    return {
        "notes": f"{body}\n\n" + "".join(f"  - {line}.\n" for line in highlights),
        "entities": sorted(set(row["entities"])),
        **answers,
    }


def _four_choices(row: dict[str, Any]) -> dict[str, str]:
    """MMLU on the Hub: the list of four answers as four columns, a to d."""
    return dict(zip("abcd", row["choices"], strict=True))


def _last_word(row: dict[str, Any]) -> dict[str, str]:
    """LAMBADA: all words but the last as context, and the last as continuation."""
    context, _, continuation = row["text"].rpartition(" ")
    return {"context": context, "continuation": continuation}


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """WinoGrande: the sentence up to its blank, completed with each option, and the rest.

    ``places`` holds the names of the options, 1 and 2.
    """
    before, _, after = row["sentence"].partition("_")
    if not after.strip() or "_" in after:
        raise ValueError("'sentence' needs one blank, a '_', with words behind it")
    return {
        "contexts": [before + str(row[option]) for option in ("option1", "option2")],
        "places": ["1", "2"],
        "end": after.strip(),
    }


def _pages(rows: Iterator[Row]) -> Iterator[Row]:
    """WikiText's files: paragraphs joined into articles, which begin with ``= Title =``."""
    paragraphs: list[str] = []
    where = ""
    for row in rows:
        text = row.values["text"]
        if re.fullmatch(r"\s*= [^=].*[^=] =\s*", text) and paragraphs:
            yield Row({"page": " \n \n ".join(paragraphs)}, where)
            paragraphs = []
        where = where if paragraphs else row.where
        paragraphs.append(text.strip())
    if paragraphs:
        yield Row({"page": " \n \n ".join(paragraphs)}, where)


def _ordinary_spaces(row: dict[str, Any]) -> dict[str, str]:
    """WikiText: the page without the spaces that its tokenisation put around punctuation.

    Published perplexities of WikiText-2 use these rules in this order.
    """
    text = row["page"].replace("s '", "s'")
    for written, ordinary in _WIKITEXT_BEFORE:
        text = text.replace(written, ordinary)
    for opening, closing in (("(", ")"), ("[", "]"), ("{", "}"), ('"', '"'), ("'", "'")):
        inside = rf"{re.escape(opening)}\s*([^{re.escape(closing)}]*?)\s*{re.escape(closing)}"
        text = re.sub(inside, rf"{opening}\1{closing}", text)
    for written, ordinary in _WIKITEXT_AFTER:
        text = text.replace(written, ordinary)
    return {"text": text}


_WIKITEXT_BEFORE = (
    *((f" @{mark}@ ", mark) for mark in "-,."),
    *((f" {mark} ", f"{mark} ") for mark in ":;.!?,"),
)
_WIKITEXT_AFTER = (
    ("= = = =", "===="),
    ("= = =", "==="),
    ("= =", "=="),
    (" ° ", "°"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
)

PREPARATIONS: Mapping[str, Preparation] = {
    "copa-halves": _each(_halves),
    "wic-word": _each(_marked_word),
    "wsc-target": _each(_flat_target),
    "wsc-pronoun": _each(_marked_pronoun),
    "multirc-answers": _several(_answers),
    "record-queries": _several(_queries),
    "record-notes": _each(_notes),
    "four-choices": _each(_four_choices),
    "last-word": _each(_last_word),
    "winogrande-options": _each(_filled),
    "wikitext-pages": _pages,
    "wikitext-spaces": _each(_ordinary_spaces),
}
"""The preparations, by the name that a task gives in ``prepare``."""
