"""What ``luthier tune --inspect`` prints."""

from __future__ import annotations

from luthier.cli.output import print_json, print_result
from luthier.core.method_facts import FACTS
from luthier.core.tables import Table
from luthier.core.units import format_count
from luthier.records.inspection import Inspection


def print_inspection(inspection: Inspection, *, as_json: bool) -> None:
    """Print what a method trains, and the words near the vectors of a soft prompt."""
    if as_json:
        print_json(inspection.model_dump(mode="json"))
        return
    trained, total = inspection.trained_parameters, inspection.total_parameters
    print_result(
        f"{inspection.method} trains {format_count(trained)} of {format_count(total)} parameters "
        f"({trained / total:.3%}) of {inspection.model.id}, in {inspection.model.dtype}.",
        "",
        _groups(inspection),
    )
    if FACTS[inspection.method].trains == "keys and values":
        print_result("", "A prefix is of keys and values, which lie in no vocabulary: no words.")
    if inspection.neighbours:
        whose = f"as tuned in {inspection.tuned_run}" if inspection.tuned_run else "before training"
        print_result("", f"The soft prompt {whose}, and what is near:", "", _words(inspection))


def _groups(inspection: Inspection) -> Table:
    table = Table("trained")
    table.figures("tensors", "shape", "parameters", "share")
    table.text("dtype")
    for group in inspection.groups:
        table.add_row(
            group.pattern,
            str(group.tensors),
            " × ".join(map(str, group.shape)),
            format_count(group.parameters),
            f"{group.share:.1%}",
            group.dtype,
        )
    return table


def _words(inspection: Inspection) -> Table:
    """A row for each vector; words are quoted, so that spaces are seen and markup is not."""
    table = Table()
    table.figures("vector")
    table.prose("nearest words, and the cosine")
    for number, neighbours in enumerate(inspection.neighbours, start=1):
        words = "  ".join(f"{one.text!r} {one.similarity:.2f}" for one in neighbours)
        table.add_row(str(number), words)
    return table
