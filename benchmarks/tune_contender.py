"""Tune with one library in a process of its own: how fast, in how much memory, to which loss.

    python benchmarks/tune_contender.py CASE

CASE is a `contenders.Case` in JSON. The last line of the output is a `Measurement` in JSON.
"""

from __future__ import annotations

import sys

from contenders import CONTENDERS, Case

if __name__ == "__main__":
    _case = Case.model_validate_json(sys.argv[1])
    print(CONTENDERS[_case.contender](_case).model_dump_json())
