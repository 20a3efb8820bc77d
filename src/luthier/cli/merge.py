"""``luthier merge``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from luthier.cli.flags import Json
from luthier.cli.options import read_settings
from luthier.cli.output import print_json, print_result


def merge(
    run: str,
    /,
    *settings: str,
    output: Path | None = None,
    base: str | None = None,
    json: Json = False,
) -> None:
    """Merge an adapter into its base model, and check that both give the same logits.

    Args:
        run: A finished tune run, or a rung of an adapt run, such as runs/NAME/rungs/lora. Or a peft
            adapter: a folder or a Hub id.
        settings: Settings that a stored run may not decide, such as model.trust_remote_code=true.
        output: The folder for the merged model; default: merged in the run.
        base: The adapter's base model, if not the one it names.
    """
    import luthier

    merged = luthier.merge(run, output, base=base, overrides=read_settings(settings))
    if json:
        print_json({**asdict(merged), "folder": str(merged.folder)})
        return
    print_result(
        f"Merged: {merged.folder}",
        f"  checked   at {merged.positions} positions: logits differ by {merged.difference:.1g} of "
        f"the largest (rounding explains {merged.tolerance:.1g})",
    )
