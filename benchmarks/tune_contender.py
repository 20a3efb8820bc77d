"""Tune with one library in a process of its own: how fast, in how much memory, to which loss.

    python benchmarks/tune_contender.py CASE

CASE is a `Case` of tuning_case.py in JSON. The last line of the output is a `Measurement`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from contenders import luthier, transformers_trainer, trl
from litgpt_contender import litgpt
from tuning_case import Case, Measurement

_CONTENDERS: dict[str, Callable[[Case], Measurement]] = {
    "luthier": luthier,
    "transformers": transformers_trainer,
    "trl": trl,
    "litgpt": litgpt,
}

if __name__ == "__main__":
    _case = Case.model_validate_json(sys.argv[1])
    print(_CONTENDERS[_case.contender](_case).model_dump_json())
