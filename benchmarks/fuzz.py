"""Fuzzing: good files are spoilt at random, and every reader has to refuse them in words.

python benchmarks/fuzz.py run --seconds 60                     # a minute for each reader
python benchmarks/fuzz.py run --only configuration --seed 7    # one of them
python benchmarks/fuzz.py report                               # the table of the last run of each

A reader may return, or raise an error of Luthier's own that names a place. Anything else is a
fault, and so is half a minute for one input; the input is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import commit, provenance, store, table
from luthier.context.manifest import hardware, versions
from luthier.core.cache import cache_folder
from luthier.core.errors import LuthierError
from luthier.core.files import append_line, read_lines

Read = Callable[[Path], object]
ROOT = Path(__file__).parent.parent

_PATIENCE_SECONDS = 30.0
# Values that a field is changed to.
HOSTILE: tuple[str, ...] = (
    "null", "true", "-1", "0", "0.5", "1e400", "-1e400", "NaN", "Infinity", "9" * 400, "1e308",
    "5e-324", "1000000000", "9223372036854775808", '""', '"\\ud800"', '"\\u0000"', '"../../x"',
    '"/etc/passwd"', '"' + "a" * 5000 + '"', "[]", "{}", "[[]]", '{"a": {"a": 1}}', "[null]",
    "[" * 200 + "]" * 200, '"{{ 1 }}"', '"\\u202e"', '"0"', '"True"', '["a", 1, null]',
)  # fmt: skip
BYTES: tuple[bytes, ...] = (
    b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"[", b"{", b"}", b",", b":",
    b"\\", b"\xed\xa0\x80", b"!!python/object:os.system", b"&a [*a]",
    b"\x7f\xff\xff\xff", b"%", b"'",
)  # fmt: skip


def spoil(content: bytes, rng: random.Random) -> bytes:
    """A few changes of bytes, or of one JSON value."""
    if rng.random() < 0.6:
        with contextlib.suppress(ValueError, RecursionError):
            return _spoil_json(content, rng)
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                data[at:at] = rng.choice(BYTES)
            case 3:
                start = rng.randrange(len(data) + 1)
                data[at:at] = data[start : start + rng.randrange(64)]
            case 4:
                del data[at : at + rng.randrange(1, 64)]
            case _:
                data[at : at + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, b"\0\0\0\0\0\0\0\x80"))
    return bytes(data)


def _spoil_json(content: bytes, rng: random.Random) -> bytes:
    """Change one value of a document, or of one line of several."""
    lines = content.decode().splitlines()
    try:
        lines, number = [json.dumps(json.loads(content))], 0
    except ValueError:
        number = rng.randrange(len(lines) or 1)
    document = json.loads(lines[number])
    places = list(_places(document))
    holder, key = rng.choice(places)
    mark = "\uf8ff"
    if isinstance(holder, dict) and rng.random() < 0.2:
        holder[rng.choice(("", "a", "x" * 300, "\uf8fe", str(key) + " "))] = holder.pop(key)
    else:
        holder[key] = mark
    text = json.dumps(document, ensure_ascii=False)
    lines[number] = text.replace(f'"{mark}"', rng.choice(HOSTILE))
    return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack and len(found) < 5000:
        inner = stack.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        for key in keys:
            found.append((inner, key))
            if isinstance(inner[key], (dict, list)):
                stack.append(inner[key])
    if not found:
        raise ValueError("nothing to change")
    return found


@dataclass
class Target:
    """A reader, with the files that it reads.

    Attributes:
        read: reads a folder.
        seeds: the good content of each file that is spoilt, by its name in the folder.
        beside: a folder of files that are copied beside, as they are.
    """

    read: Read
    seeds: Mapping[str, bytes]
    beside: Path | None = None


@dataclass
class Outcome:
    """What a reader did."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    slowest: float = 0.0
    unnamed: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


def fuzz(reader: Sequence[Target], seconds: float, seed: int, kept: Path | None = None) -> Outcome:
    """Give a reader spoilt files for so long, and each of its files once at least.

    Args:
        reader: the targets that make it, which take turns.
        seconds: how long, by the clock.
        seed: of the changes.
        kept: where inputs go that were not refused as they should be.
    """
    rng, outcome = random.Random(seed), Outcome()
    files = [(target, name) for target in reader for name in target.seeds]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "input"
        for target in reader:  # or everything would be refused for another reason
            _prepare(target, folder)
            with _silence():
                target.read(folder)
        started, worked = time.monotonic(), time.process_time()
        while outcome.inputs < len(files) or time.monotonic() - started < seconds:
            target, name = files[outcome.inputs % len(files)]
            _prepare(target, folder)
            content = spoil(target.seeds[name], rng)
            (folder / name).write_bytes(content)
            outcome.inputs += 1
            _try(target.read, folder, content, name, outcome, kept)
    outcome.seconds = time.monotonic() - started
    outcome.processor_seconds = time.process_time() - worked
    return outcome


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield


def _prepare(target: Target, folder: Path) -> None:
    """Every file as it should be, whatever a reader has set aside or written."""
    if folder.exists():
        shutil.rmtree(folder)
    if target.beside:
        shutil.copytree(target.beside, folder)
    for name, content in target.seeds.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _try(
    read: Read, folder: Path, content: bytes, name: str, outcome: Outcome, kept: Path | None
) -> None:
    began = time.monotonic()
    fault = None
    try:
        with _silence():
            read(folder)
        outcome.read += 1
    except LuthierError as error:
        outcome.refused += 1
        if not error.where and Path(name).name not in error.problem:
            outcome.unnamed[error.problem[:200]] = name
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - what is looked for
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "luthier" in frame.filename] or list(frames)
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        fault = f"{type(error).__name__} at {place}", traceback.format_exc()
    took = time.monotonic() - began
    outcome.slowest = max(outcome.slowest, took)
    if took > _PATIENCE_SECONDS:
        fault = f"slow: {name}", f"{took:.0f} s"
    if fault and fault[0] not in outcome.faults:
        outcome.faults[fault[0]] = fault[1]
        if kept:
            kept.mkdir(parents=True, exist_ok=True)
            (kept / f"{len(outcome.faults):02d}-{Path(name).name}").write_bytes(content)


def main(arguments: Sequence[str]) -> None:
    """Fuzz the readers one after the other, or report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("stage", choices=["run", "report"])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--folder", type=Path, default=cache_folder() / "benchmarks")
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    results = chosen.folder / "fuzz.jsonl"
    if chosen.stage == "report":
        report(results, ["benchmarks/fuzz.py", *arguments])
    elif run(results, chosen.only, chosen.seconds, chosen.seed):
        sys.exit(1)


def run(results: Path, only: Sequence[str] | None, seconds: float, seed: int) -> bool:
    """Fuzz, append each outcome to a file, and say whether there was a fault."""
    from fuzz_targets import make_readers

    at, faulty = commit(), False
    with tempfile.TemporaryDirectory() as place:
        readers = make_readers(Path(place))
        for name in only or readers:
            outcome = fuzz(readers[name], seconds, seed, results.parent / "fuzz-faults" / name)
            faulty |= bool(outcome.faults)
            append_line(results, {"reader": name, "seed": seed, "commit": at, **vars(outcome)})
            print(
                f"{name}: {outcome.inputs} inputs, {outcome.refused} refused, {outcome.read} read,"
                f" slowest {outcome.slowest:.1f} s, {len(outcome.faults)} faults",
                flush=True,
            )
            for key, text in (*outcome.faults.items(), *outcome.unnamed.items()):
                print(f"--- {key}\n{text}", flush=True)
    return faulty


def report(results: Path, command: Sequence[str]) -> None:
    """Store the table of the last run of each reader."""
    document = provenance(command, hardware(), versions())
    last = {row["reader"]: row for row in read_lines(results)}
    document["rows"] = list(last.values())
    rows = [
        [
            name,
            f"{row['seconds'] / 60:.1f} ({row['processor_seconds'] / 60:.1f})",
            f"{row['inputs']:,}",
            f"{row['refused']:,}",
            f"{row['read']:,}",
            f"{row['slowest']:.1f} s",
            str(len(row["faults"])),
            str(row["seed"]),
            row["commit"],
        ]
        for name, row in last.items()
    ]
    columns = (
        "reader", "minutes (of a processor)", "inputs", "refused", "read", "slowest", "faults",
        "seed", "commit",
    )  # fmt: skip
    lines = [
        f"# Every reader of foreign files, fuzzed, {document['date']}",
        "",
        "`python benchmarks/fuzz.py run`. Good files are spoilt at random (bytes, cuts, splices, "
        "hostile JSON values). Refused: an error of Luthier's own. Read: the file was still one. "
        "Fault: any other exception, each place in the code once, or half a minute for one input. "
        "Minutes are those of the clock, beside other work; templates and tokenizers are tried in "
        "processes of their own, which are not counted in a processor's minutes.",
        "",
        *table(columns, rows),
    ]
    store("fuzz", document, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
