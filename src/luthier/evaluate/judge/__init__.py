"""A model that judges the answers of others, each pair in both orders."""

from luthier.evaluate.judge.pairs import judged_pairs, paired_answers
from luthier.evaluate.judge.template import JudgeTemplate, load_judge_template
from luthier.evaluate.judge.verdicts import WinRate, tally

__all__ = [
    "JudgeTemplate",
    "WinRate",
    "judged_pairs",
    "load_judge_template",
    "paired_answers",
    "tally",
]
