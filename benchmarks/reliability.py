"""What a training survives: the fault tests, run one by one and counted.

python benchmarks/reliability.py run            # all of them; half an hour on two cores
python benchmarks/reliability.py run --only 2   # one of them
python benchmarks/reliability.py report         # the table of the last run of each
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from common import commit, provenance, store, table
from luthier.core.cache import cache_folder
from luthier.core.files import append_line, read_lines
from luthier.core.units import format_duration

ROOT = Path(__file__).parent.parent
FAULTS = "tests/faults"
BROWSER = "tests/security/test_browser.py"
RANKS = "tests/distributed/test_interrupted.py"
# Number, what is done, what has to hold, and the tests that do it.
CASES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    (
        "1",
        "kill -9 at 50 random times, again and again up to four times, saves included",
        "the command, run again, ends with the same losses to the last bit and the same weights",
        (f"{FAULTS}/test_interrupted_tune.py::test_killed_at_random_times",),
    ),
    (
        "1a",
        "kill -9 between steps, within a save, and while the model is written",
        "as 1",
        (
            f"{FAULTS}/test_interrupted_tune.py::test_killed_while_saving_and_between_steps",
            f"{FAULTS}/test_interrupted_tune.py::test_killed_while_the_model_is_written",
        ),
    ),
    (
        "1b",
        "kill -9 of 50 adapt runs of three rungs, each at a random time",
        "run again: the same table, recommendation, weights and steps",
        (f"{FAULTS}/test_interrupted_adapt.py::test_killed_at_random_moments",),
    ),
    (
        "1c",
        "kill -9 of 50 evaluate runs (25 generating, 25 scoring), one to three times each",
        "run again: the same record and samples",
        (f"{FAULTS}/test_interrupted_evaluate.py::test_killed_at_random_times",),
    ),
    (
        "1d",
        "20 pairs of processes started at once on one run: adapt, tune, resume, evaluate",
        "one works to its end; the other ends with exit 4 and says who holds the run",
        (f"{FAULTS}/test_one_writer.py::test_pairs_in_one_run",),
    ),
    (
        "2",
        "a full disk, an I/O error and a crash at every file operation of a save",
        "a verified checkpoint exists, and the next save works",
        (f"{FAULTS}/test_checkpoint_faults.py::test_a_fault_at_every_file_operation_of_a_save",),
    ),
    (
        "3",
        "SIGTERM after the first, a middle and the last step (one rank)",
        "saved at the step, exit 75, the resumed run equal to the last bit",
        (f"{FAULTS}/test_interrupted_tune.py::test_asked_to_stop_at_any_step_the_last_included",),
    ),
    (
        "3a",
        "SIGTERM in the middle of a step of two processes, with copies and with shards",
        "as 3",
        (f"{RANKS}::test_a_signal_saves_at_a_step_and_all_go_on_exactly",),
    ),
    (
        "4",
        "kill -9 of the first, the second process, and of what started them",
        "all end within a minute, exit code nonzero, no orphans; the next run equal",
        (
            f"{RANKS}::test_a_killed_process_ends_all_and_the_run_goes_on",
            f"{RANKS}::test_a_killed_launcher_leaves_no_orphans",
        ),
    ),
    (
        "5",
        "a training moved from two processes to one and back, sharded",
        "the same examples in the same order; losses equal to 1e-5",
        (f"{RANKS}::test_a_checkpoint_of_two_processes_serves_one_and_two_again",),
    ),
    (
        "6",
        "disk full at every write of a save; a real file system too small, then larger",
        "the checkpoints before are whole; exit 4 names needed and free bytes",
        (
            f"{FAULTS}/test_checkpoint_faults.py::"
            "test_a_full_disk_at_every_write_says_what_is_needed",
            f"{FAULTS}/test_full_disk.py",
        ),
    ),
    (
        "6a",
        "a disk that is full, over its quota or read-only, at one write of each kind of file, in "
        "eighteen commands",
        "exit 4 names needed and free bytes, the state before is whole, no leftovers; the same "
        "command goes on where there is room",
        (f"{FAULTS}/test_full_everywhere.py",),
    ),
    (
        "7",
        "200 bit flips, truncations and missing files in the newest checkpoint",
        "all found before a tensor is read; the one before is used",
        (
            f"{FAULTS}/test_checkpoint_faults.py::"
            "test_200_damages_are_found_before_a_tensor_is_used",
        ),
    ),
    (
        "8",
        "NaN and infinity in the loss and in the gradient (one rank); other guards",
        "never logged as finite, weights unchanged, examples named; skipped, or exit 5",
        ("tests/unit/training/test_guards.py",),
    ),
    (
        "9",
        "resume under a changed data file, tokenizer or setting; extend",
        "refused, naming what differs; epochs and learning rate change through extend alone",
        (f"{FAULTS}/test_changed_inputs.py",),
    ),
    (
        "10",
        "hostile models, records and YAML: pickle, auto_map, paths in indexes, tar links, tags, "
        "absurd sizes, FIFOs, devices, sockets, depth",
        "nothing runs, nothing is written; exit 3 (2 for YAML) names the file",
        ("tests/security/test_readers.py", "tests/security/test_hostile_artifacts.py"),
    ),
    (
        "10a",
        "settings of models and adapters that lead somewhere: kernels, other files, code, patterns",
        "nothing is fetched or imported; left out and told, or exit 3 with the file",
        ("tests/security/test_hostile_configs.py",),
    ),
    (
        "11",
        "336 hostile templates, as a model's, a user's and a task's own; hostile tokenizers",
        "refused or harmless within 2 s of processor time and 256 MB; no other exception",
        (
            "tests/security/test_hostile_templates.py",
            "tests/security/test_hostile_tokenizers.py",
        ),
    ),
    (
        "12",
        "508 hostile texts, each on a page of its own, as output, label and name: benchmark page, "
        "Markdown report, model card, picture of a plan; and the texts without protection",
        "in Chromium no script runs, no request leaves and no element is added, without the "
        "pages' policy too; without protection more than 70 % run",
        (
            *(
                f"{BROWSER}::test_no_payload_of_all_runs_and_no_request_leaves[{page}]"
                for page in ("benchmark", "markdown", "card", "plan")
            ),
            f"{BROWSER}::test_payloads_are_seen_where_nothing_stops_them",
        ),
    ),
    (
        "12a",
        "the same, twelve on a page: ladder, comparison and tuning, with their plots",
        "as 12",
        tuple(
            f"{BROWSER}::test_no_payload_of_all_runs_and_no_request_leaves[{page}]"
            for page in ("ladder", "comparison", "tuned")
        ),
    ),
    (
        "14",
        "bad configurations and bad data, through the commands and --dry-run",
        "never a traceback; file, line and field; the dry run says the same",
        ("tests/security/test_bad_input.py", "tests/security/test_bad_conversations.py"),
    ),
)


def main(arguments: Sequence[str]) -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("stage", choices=["run", "report"])
    parser.add_argument("--folder", type=Path, default=cache_folder() / "benchmarks")
    parser.add_argument("--only", choices=[number for number, *_ in CASES])
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    results = chosen.folder / "reliability.jsonl"
    if chosen.stage == "run":
        for number, *_, tests in CASES:
            if chosen.only in (None, number):
                append_line(results, {"number": number, **measure(tests)})
    report(results, ["benchmarks/reliability.py", *arguments])


def measure(tests: Sequence[str]) -> dict[str, Any]:
    """Run the tests, the long ones too, and count what came out."""
    started, at = time.monotonic(), commit()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "", f"--junitxml={file}", *tests]
        subprocess.run(command, cwd=ROOT, check=False)
        suite = ElementTree.parse(file).getroot()[0]
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    seconds = round(time.monotonic() - started)
    return {"passed": passed, **counts, "seconds": seconds, "commit": at}


def report(results: Path, command: Sequence[str]) -> None:
    """Store the last result of each case."""
    from luthier.context.manifest import hardware, versions

    latest = {line["number"]: line for line in read_lines(results)}
    document = provenance(command, hardware(), versions()) | {"results": list(latest.values())}
    store("reliability", document, _markdown(document, latest))


def _markdown(document: Mapping[str, Any], latest: Mapping[str, Mapping[str, Any]]) -> str:
    machine = document["hardware"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    rows = [_row(case, latest[case[0]]) for case in CASES if case[0] in latest]
    missing = [number for number, *_ in CASES if number not in latest]
    lines = [
        f"# What a training survives, {document['date']}",
        "",
        f"`{document['command']}` at commit {document['commit']}.",
        "",
        f"Machine: {machine['name']}, {machine['cores']} cores. Versions: {versions}.",
        "",
        "A tiny Llama is tuned by the real command in a process of its own (8 and 9: in "
        "part in one process; 2 and 7: the checkpoint store alone; 12: pages only). Passed counts "
        "the tests; what each does is beside it.",
        "",
        *table(("test", "what was done", "what has to hold", "passed", "took", "commit"), rows),
    ]
    if missing:
        lines += ["", f"Not run: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def _row(case: tuple[str, str, str, tuple[str, ...]], line: Mapping[str, Any]) -> list[str]:
    skipped = f", {line['skipped']} skipped" if line["skipped"] else ""
    passed = f"{line['passed']} of {line['tests']}{skipped}"
    return [*case[:3], passed, format_duration(line["seconds"]), str(line["commit"])]


if __name__ == "__main__":
    main(sys.argv[1:])
