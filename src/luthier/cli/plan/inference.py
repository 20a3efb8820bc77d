"""``luthier plan inference``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

from cyclopts import Parameter

from luthier.cli.flags import Json, Whole, WholeOrNone, one_of
from luthier.cli.groups import BATCH, MODEL_AND_HARDWARE
from luthier.cli.output import print_json, print_result
from luthier.cli.plan.documents import exit_code
from luthier.cli.plan.options import Model, plan_request
from luthier.cli.plan.tables import inference_lines
from luthier.core.verdict import verdict_of
from luthier.planning.planner import generation
from luthier.planning.training_setup import PrecisionName


@Parameter(name="*", group=MODEL_AND_HARDWARE)
@dataclass(frozen=True)
class DeviceOptions:
    """The device that generates."""

    hardware: str = "cpu"
    "A device such as h100, rtx-4090 or cpu."
    precision: Annotated[str | None, one_of(PrecisionName, "; default: the device's usual one")] = (
        None
    )


@Parameter(name="*", group=BATCH)
@dataclass(frozen=True)
class AnswerOptions:
    """The batch to generate."""

    batch: Whole = 1
    "Number of concurrent answers."
    seq_len: Whole = 512
    "Tokens per sequence, prompt and answer."
    target_length: WholeOrNone = None
    "Tokens per answer of an encoder-decoder model; default: --seq-len."


def inference(
    model: Model = "smollm2-135m-instruct",
    *,
    device: DeviceOptions | None = None,
    answers: AnswerOptions | None = None,
    json: Json = False,
) -> int:
    """Estimate the memory of generation: weights and KV cache.

    Exit code 4: it does not fit.

    Args:
        model: A Hub id, a folder, or a well-known name.
    """
    request = plan_request(model, device, answers)
    memory, found = generation(request)
    verdict = verdict_of(memory.total, memory.total_interval.high, found.memory)
    if json:
        answer = {"fits": verdict != "does not fit", "verdict": verdict}
        sizes = {"device_bytes": memory.total, "limit": found.memory, **answer}
        print_json({"model": model, **sizes, **asdict(memory)})
    else:
        print_result(*inference_lines(request, memory, found))
    return exit_code(verdict)
