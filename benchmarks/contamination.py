"""Look for test examples in a million training rows, and store the time and memory it takes.

    python benchmarks/contamination.py [ROWS]

Rows are made on the fly: 20 to 180 words whose frequencies fall as in English (Zipf 1935), drawn
from 50,000. One in 1,000 of the 10,000 test examples stands in a training row as well, so what is
found is known. The target: a million rows within a minute, in memory that does not grow with them.

Results: benchmarks/results/<date>-contamination.json and .md.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from common import provenance, store, table
from luthier.context.manifest import hardware, versions
from luthier.core.units import format_bytes
from luthier.evaluation import find_contamination

_VOCABULARY = 50_000
_TEST = 10_000
_LEAKS = 10
_BLOCK = 10_000
_WORDS = np.array([f"word{number}" for number in range(_VOCABULARY)])


def main(arguments: list[str]) -> None:
    """Measure and store."""
    rows = int(arguments[0]) if arguments else 1_000_000
    measured = [_measure(count) for count in (rows // 10, rows)]
    command = ["benchmarks/contamination.py", *arguments]
    document = provenance(command, hardware(), versions()) | {"measured": measured}
    store("contamination", document, _markdown(document))


def _measure(rows: int) -> dict[str, Any]:
    test = [(str(number), text) for number, text in enumerate(_texts(1, _TEST))]
    leaks = {rows * i // _LEAKS: test[i * _TEST // _LEAKS][1] for i in range(_LEAKS)}
    making = _clocks()
    words = sum(text.count(" ") + 1 for text in _texts(2, rows))
    before, started = _peak(), _clocks()
    found = find_contamination(
        ((f"row {i}", leaks.get(i, text)) for i, text in enumerate(_texts(2, rows))), test
    )
    ended = _clocks()
    wall, processor = (
        (end - start) - (start - make)
        for make, start, end in zip(making, started, ended, strict=True)
    )
    expected = {str(i * _TEST // _LEAKS) for i in range(_LEAKS)}
    return {
        "rows": rows,
        "words": words,
        "test": _TEST,
        "seconds": round(wall, 2),
        "processor_seconds": round(processor, 2),
        "peak_growth_bytes": _peak() - before,
        "leaks_found": len(expected & {each.id for each in found.examples}),
        "leaks": _LEAKS,
        "others_found": len({each.id for each in found.examples} - expected),
    }


def _texts(seed: int, count: int) -> Iterator[str]:
    generator = np.random.default_rng(seed)
    shares = 1 / np.arange(1, _VOCABULARY + 1)
    steps = np.cumsum(shares / shares.sum())
    for start in range(0, count, _BLOCK):
        lengths = generator.integers(20, 181, min(_BLOCK, count - start))
        drawn = _WORDS[np.searchsorted(steps, generator.random(lengths.sum()))]
        for part in np.split(drawn, np.cumsum(lengths)[:-1]):
            yield " ".join(part.tolist())


def _clocks() -> tuple[float, float]:
    """Seconds that have passed, and seconds of a processor that this process has taken."""
    return time.monotonic(), time.process_time()


def _peak() -> int:
    """The largest resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _markdown(document: dict[str, Any]) -> str:
    machine = document["hardware"]
    head = (
        "training rows",
        "words",
        "test examples",
        "seconds",
        "of a processor",
        "peak memory grew by",
        "found",
    )
    rows = (
        (
            f"{each['rows']:,}",
            f"{each['words']:,}",
            f"{each['test']:,}",
            f"{each['seconds']:.1f}",
            f"{each['processor_seconds']:.1f}",
            format_bytes(each["peak_growth_bytes"]),
            f"{each['leaks_found']} of {each['leaks']}, {each['others_found']} others",
        )
        for each in document["measured"]
    )
    lines = [
        f"# Contamination, {document['date']}",
        "",
        f"`{document['command']}` at commit {document['commit']}",
        "",
        f"Machine: {machine['name']}, {machine['cores']} cores. Making the rows is not counted.",
        "",
        *table(head, rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
