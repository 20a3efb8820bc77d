"""``luthier merge``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result


def merge(run: Path, *, output: Path | None = None, json: Json = False) -> None:
    """Merge a run's adapter into its base model, and check that both answer the same.

    Args:
        run: A finished tuning; of an adapt run a rung, such as runs/NAME/rungs/lora.
        output: A folder for the whole model; by default merged in the run.
    """
    from luthier import api

    merged = api.merge(run, output)
    if json:
        print_json({**asdict(merged), "folder": str(merged.folder)})
        return
    print_result(
        f"Merged: {merged.folder}",
        f"  checked   at {merged.positions} positions: logits differ by {merged.difference:.1g} of "
        f"the largest (rounding explains {merged.tolerance:.1g})",
    )
