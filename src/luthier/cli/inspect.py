"""``luthier inspect``."""

from __future__ import annotations

from typing import Annotated

from luthier.cli.flags import Json, one_of
from luthier.cli.options import CommonOptions, read_configuration
from luthier.cli.output import print_json, print_result
from luthier.core.method_facts import FACTS, METHOD_NAMES
from luthier.core.tables import Table
from luthier.core.units import format_count
from luthier.records.inspection import Inspection


def inspect(
    *arguments: str,
    common: CommonOptions | None = None,
    method: Annotated[str | None, one_of(METHOD_NAMES)] = None,
    json: Json = False,
) -> None:
    """Show the parameters that a method trains, and the words near a soft prompt.

    The weights are loaded, and nothing is trained. A soft prompt is that of the configuration's run
    where it is tuned, else the one with which its training would start.

    Args:
        arguments: A YAML file or a file of data, and single settings as section.key=value.
    """
    config = read_configuration(arguments, common, method=method)
    import luthier

    inspection = luthier.inspect(config)
    if json:
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
        print_result(
            "", "A prefix has keys and values instead of embeddings, so it has no nearest words."
        )
    if inspection.neighbours:
        whose = f"as tuned in {inspection.tuned_run}" if inspection.tuned_run else "before training"
        print_result(
            "", f"The soft prompt {whose}, with the nearest words:", "", _words(inspection)
        )


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
    """A row per vector; words are quoted, so that spaces are visible and markup is inert."""
    table = Table()
    table.figures("vector")
    table.prose("nearest words, with cosine")
    for number, neighbours in enumerate(inspection.neighbours, start=1):
        words = "  ".join(f"{one.text!r} {one.similarity:.2f}" for one in neighbours)
        table.add_row(str(number), words)
    return table
