"""Tasks that Luthier and lm-evaluation-harness both have, and their rows in the Hub's form.

lm-evaluation-harness reads the data sets of the Hub; a row of a file has other columns, and its
labels are words where the Hub counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Columns = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A task of both.

    Attributes:
        file: lm-eval's definition, below its folder of tasks.
        metrics: Luthier's name of a metric and lm-eval's.
        row: the columns of the Hub.
        shots: worked examples, the first of their split in both.
        part: the share of ``--documents`` that is asked, where a question takes long.
    """

    file: str
    metrics: Mapping[str, str]
    row: Callable[[Columns], Columns]
    shots: int = 0
    part: float = 1.0


def _label(names: Mapping[str, int]) -> Callable[[Columns], Columns]:
    return lambda row: {**row, "label": names[str(row["label"]).lower()]}


def _mmlu(row: Columns) -> Columns:
    choices = [row[letter] for letter in "abcd"]
    return {"question": row["question"], "choices": choices, "answer": "ABCD".index(row["answer"])}


def _wsc(row: Columns) -> Columns:
    return {name: row[name] for name in row if name not in ("target", "label")} | {
        "label": _TRUTH[str(row["label"]).lower()]
    }


_NUMBERS = {str(number): number for number in range(3)}
_TRUTH = {"false": 0, "true": 1}
_ENTAILMENT = {"entailment": 0, "not_entailment": 1}
_ACC = {"acc": "acc,none"}


CASES: dict[str, Case] = {
    "glue/cola": Case("glue/cola/default.yaml", {"matthews": "mcc,none"}, _label(_NUMBERS)),
    "glue/sst2": Case("glue/sst2/default.yaml", _ACC, _label(_NUMBERS)),
    "glue/rte": Case("glue/rte/default.yaml", _ACC, _label(_ENTAILMENT), shots=2),
    "glue/qnli": Case("glue/qnli/default.yaml", _ACC, _label(_ENTAILMENT)),
    "glue/wnli": Case("glue/wnli/default.yaml", _ACC, _label(_NUMBERS)),
    "superglue/boolq": Case("super_glue/boolq/default.yaml", _ACC, _label(_TRUTH)),
    "superglue/cb": Case(
        "super_glue/cb/default.yaml",
        {"acc": "acc,none", "macro_f1": "f1,none"},
        _label({"entailment": 0, "contradiction": 1, "neutral": 2}),
    ),
    "superglue/copa": Case("super_glue/copa/default.yaml", _ACC, dict),
    "superglue/rte": Case("super_glue/rte/default.yaml", _ACC, _label(_ENTAILMENT)),
    "superglue/wic": Case("super_glue/wic/default.yaml", _ACC, _label(_TRUTH)),
    "superglue/wsc": Case("super_glue/wsc/default.yaml", _ACC, _wsc),
    **{
        f"mmlu/{subject}": Case(f"mmlu/default/mmlu_{subject}.yaml", _ACC, _mmlu, shots=5, part=0.5)
        for subject in ("abstract_algebra", "anatomy", "global_facts", "professional_law")
    },
    "lambada": Case(
        "lambada/lambada_openai.yaml",
        {"greedy_acc": "acc,none", "perplexity": "perplexity,none"},
        lambda row: {"text": f"{row['context']} {row['continuation']}"},
    ),
    "gsm8k": Case(
        "gsm8k/gsm8k.yaml",
        {
            "match:strict": "exact_match,strict-match",
            "match:flexible": "exact_match,flexible-extract",
        },
        dict,
        shots=5,
        part=0.1,
    ),
    "wikitext2": Case(
        "wikitext/wikitext.yaml",
        {
            "word_perplexity": "word_perplexity,none",
            "byte_perplexity": "byte_perplexity,none",
            "bits_per_byte": "bits_per_byte,none",
        },
        dict,
        part=0.1,
    ),
}
