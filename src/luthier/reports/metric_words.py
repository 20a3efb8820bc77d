"""Metrics in words: their usual name, and what they measure in one clause."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.records.evaluation import MetricResult


@dataclass(frozen=True, slots=True)
class MetricWords:
    """A metric in words.

    Attributes:
        title: its usual name.
        meaning: the quantity it measures, as a noun phrase; empty if unknown.
        counts: whether each example counts as right or wrong, so that the value is the share of
            right ones.
    """

    title: str
    meaning: str = ""
    counts: bool = False


_WORDS = {
    "accuracy": MetricWords("accuracy", "the share of examples answered right", counts=True),
    "exact_match": MetricWords(
        "exact match", "the share of answers equal to an accepted answer", counts=True
    ),
    "em": MetricWords(
        "exact match",
        "the share of answers equal to an accepted answer, without case, articles and punctuation",
        counts=True,
    ),
    "acc": MetricWords(
        "accuracy", "the share of examples whose likeliest choice is right", counts=True
    ),
    "acc_norm": MetricWords(
        "accuracy, length-normalised",
        "the share of examples whose likeliest choice per character is right",
        counts=True,
    ),
    "acc_bytes": MetricWords(
        "accuracy, length-normalised",
        "the share of examples whose likeliest choice per byte is right",
        counts=True,
    ),
    "mc1": MetricWords("MC1", "the share of examples whose likeliest choice is true", counts=True),
    "mc2": MetricWords("MC2", "the probability of the true choices among all"),
    "numeric": MetricWords(
        "numeric accuracy", "the share of answers with the right number", counts=True
    ),
    "match": MetricWords(
        "match", "the share of answers in which the right answer is found", counts=True
    ),
    "greedy_acc": MetricWords(
        "greedy accuracy",
        "the share of examples whose right answer is the likeliest text",
        counts=True,
    ),
    "balanced_accuracy": MetricWords(
        "balanced accuracy", "the mean over the classes of the share answered right"
    ),
    "macro_f1": MetricWords("macro-F1", "the mean F1 of the classes"),
    "f1": MetricWords("F1", "the harmonic mean of precision and recall of one class"),
    "precision": MetricWords("precision", "the share of answers with a class that are right"),
    "recall": MetricWords("recall", "the share of a class's examples that are answered right"),
    "matthews": MetricWords("Matthews correlation", "the correlation of answers and right classes"),
    "pearson": MetricWords("Pearson correlation", "the linear correlation of answers and ratings"),
    "spearman": MetricWords("Spearman correlation", "the rank correlation of answers and ratings"),
    "ece": MetricWords(
        "calibration error", "the mean distance between confidence and accuracy, in ten bins"
    ),
    "rouge1": MetricWords("ROUGE-1", "the overlap of words with the accepted answers"),
    "rouge2": MetricWords("ROUGE-2", "the overlap of pairs of words with the accepted answers"),
    "rougeL": MetricWords(
        "ROUGE-L", "the longest sequence of words shared with an accepted answer, as an F1"
    ),
    "rougeLsum": MetricWords(
        "ROUGE-Lsum", "the sequences of words shared with an accepted answer by line, as an F1"
    ),
    "bleu": MetricWords("BLEU", "the overlap of one to four words with the accepted answers"),
    "chrf": MetricWords("chrF", "the overlap of one to six characters, as an F-score"),
    "chrf++": MetricWords("chrF++", "the overlap of characters and words, as an F-score"),
    "ter": MetricWords("TER", "the edits per word that lead to an accepted answer"),
    "token_f1": MetricWords("token F1", "the overlap of words with an accepted answer, as an F1"),
    "perplexity": MetricWords("perplexity", "how unlikely the model finds the right answer"),
    "word_perplexity": MetricWords("perplexity per word", "how unlikely the model finds the text"),
    "byte_perplexity": MetricWords("perplexity per byte", "how unlikely the model finds the text"),
    "token_perplexity": MetricWords(
        "perplexity per token", "how unlikely the model finds the text"
    ),
    "bits_per_byte": MetricWords(
        "bits per byte", "the information that the model needs for a byte of the text"
    ),
}


def words_of(name: str) -> MetricWords:
    """A metric in words, by its name with or without options.

    Args:
        name: the name; one that is unknown is its own title.
    """
    base, colon, options = name.partition(":")
    known = _WORDS.get(base)
    if known is None:
        return MetricWords(name)
    title = f"{known.title} ({options})" if colon else known.title
    return MetricWords(title, known.meaning, counts=known.counts)


def right_count(result: MetricResult) -> int | None:
    """The number of examples answered right; None if the metric does not count right answers.

    Args:
        result: a share of right answers over ``result.n`` examples.
    """
    if not words_of(result.name).counts:
        return None
    right = result.value * result.n
    return round(right) if abs(right - round(right)) < 1e-6 * max(1, result.n) else None
