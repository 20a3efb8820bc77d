"""Show many rows with ``data show``, and store the time and memory it takes.

    python benchmarks/data_scale.py [ROWS]

Rows are pairs of prompt and completion, 50 to 200 words in all, of pieces of the help texts of
Python; one in 50 repeats an earlier row, and one in 50 only its prompt. The bundled model's
tokenizer reads them. The target: 200,000 rows in 60 s and 1 GB (10^9 bytes) on two quiet cores.

Processor time says more than the clock where other programs run; the load is stored beside it.
Results: benchmarks/results/<date>-data-scale.json and .md.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from common import provenance, store, table
from luthier.context.manifest import hardware, versions
from luthier.core.units import format_bytes

_WORDS = " ".join(topics.values()).split()
_MODEL = "smollm2-135m-instruct"


def main(arguments: list[str]) -> None:
    """Measure and store."""
    rows = int(arguments[0]) if arguments else 200_000
    measured = _measure(rows)
    command = ["benchmarks/data_scale.py", *arguments]
    document = provenance(command, hardware(), versions()) | {"measured": measured}
    store("data-scale", document, markdown(document))


def markdown(document: dict[str, Any]) -> str:
    """The table, beside the target."""
    measured = document["measured"]
    head = ("rows", "seconds", "processor seconds", "peak memory", "load")
    cells = (
        f"{measured['rows']:,}",
        f"{measured['seconds']:.1f}",
        f"{measured['processor_seconds']:.1f}",
        format_bytes(measured["peak_bytes"]),
        f"{measured['load']:.1f}",
    )
    lines = [
        f"# Many rows through data show, {document['date']}",
        "",
        f"`{document['command']}` at commit {document['commit']}. The target: 200,000 rows in 60 s "
        "and 1 GB (953.7 MiB) on two quiet cores. Load: processes that wanted a core, on average.",
        "",
        *table(head, [cells]),
    ]
    return "\n".join(lines) + "\n"


def _measure(rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pairs.jsonl")
        with path.open("w", encoding="utf-8") as stream:
            stream.writelines(f"{json.dumps(row)}\n" for row in _rows(rows))
        command = [sys.executable, "-m", "luthier", "data", "show", "--json"]
        began = time.monotonic()
        subprocess.run(
            [*command, f"data.source={path}", f"model.id={_MODEL}"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "rows": rows,
        "seconds": round(seconds, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_bytes": used.ru_maxrss * 1024,
        "load": round(os.getloadavg()[0], 1),
    }


def _rows(count: int) -> Iterator[dict[str, str]]:
    draw = random.Random(7)
    old: list[tuple[str, str]] = []
    for number in range(count):
        prompt, completion = _text(draw, 30, 120), _text(draw, 20, 80)
        if number % 50 == 1:
            prompt, completion = draw.choice(old)
        elif number % 50 == 2:
            prompt = draw.choice(old)[0]
        if len(old) < 1000:
            old.append((prompt, completion))
        yield {"prompt": prompt, "completion": completion}


def _text(draw: random.Random, low: int, high: int) -> str:
    wanted = draw.randint(low, high)
    words: list[str] = []
    while len(words) < wanted:
        at = draw.randrange(len(_WORDS) - 9)
        words += _WORDS[at : at + draw.randint(3, 9)]
    return " ".join(words[:wanted])


if __name__ == "__main__":
    main(sys.argv[1:])
