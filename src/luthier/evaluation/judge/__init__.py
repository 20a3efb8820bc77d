"""LLM-as-a-judge: comparison of answers, each pair in both orders."""

from luthier.evaluation.judge.pairs import judged_pairs, paired_answers
from luthier.evaluation.judge.template import JudgeTemplate, load_judge_template
from luthier.evaluation.judge.verdicts import WinRate, tally

__all__ = [
    "JudgeTemplate",
    "WinRate",
    "judged_pairs",
    "load_judge_template",
    "paired_answers",
    "tally",
]
