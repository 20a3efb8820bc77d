"""``luthier plan``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from luthier.cli.flags import Json, Whole, WholeOrNone, one_of
from luthier.cli.output import print_json, print_result
from luthier.cli.plan_tables import (
    checks_table,
    inference_lines,
    plan_lines,
    plans_table,
    trace_line,
)
from luthier.core.errors import ResourceError, UsageError
from luthier.core.files import write_atomically
from luthier.core.method_facts import METHOD_NAMES
from luthier.core.targets import Names
from luthier.core.verdict import Verdict, verdict_of
from luthier.planning.plan_request import PlanRequest
from luthier.planning.planner import advice, best_plans, generation, largest_plans, smallest_plans
from luthier.planning.planner import plan as make
from luthier.planning.training_plan import Plan, sentence
from luthier.planning.training_setup import (
    Checkpointing,
    OptimizerName,
    ParallelName,
    PrecisionName,
)

if TYPE_CHECKING:
    from luthier.records.dry_run import PlanCheck

Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def _names(text: str | None) -> Names | None:
    """Names as the configuration writes them: a list in brackets, or one text.

    Raises:
        UsageError: a bracket is opened, and no list of names follows.
    """
    if text is None or not text.lstrip().startswith("["):
        return text
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise UsageError(f"{text!r} is no list of names", fix="write it as [q_proj, v_proj]")
    return tuple(found)


def _listed_names(text: str | None) -> tuple[str, ...]:
    """One name or several, as a list."""
    found = _names(text) or ()
    return (found,) if isinstance(found, str) else found


@Parameter(name="*")
@dataclass(frozen=True)
class Choices:
    """How the model would be trained."""

    method: Annotated[str, one_of(METHOD_NAMES, "; with --best and --largest also any")] = "lora"
    precision: Annotated[
        str | None,
        one_of(
            PrecisionName,
            "; default: the usual one of the device. With qlora, the precision "
            "beside the quantised weights",
        ),
    ] = None
    optimizer: Annotated[str, one_of(OptimizerName)] = "adamw"
    parallel: Annotated[str | None, one_of(ParallelName)] = None
    group: Whole = 0
    "Devices that share one copy, for hybrid."
    checkpointing: Annotated[str | None, one_of(Checkpointing)] = None
    batch: Whole = 1
    "Sequences in a micro-batch on one device."
    seq_len: Whole = 512
    "Tokens of a sequence."
    target_length: WholeOrNone = None
    "Tokens of a decoder sequence, for encoder-decoder models."
    global_batch_size: WholeOrNone = None
    "Sequences of an optimizer step over all devices."
    tokens: float = 0.0
    "Tokens of the whole training, such as 1e7; without it, time is that of a step."
    loss_token_fraction: float = 1.0
    "The share of positions whose loss is counted."
    loss_chunks: Whole = 1
    "Parts in which the loss is computed, one after the other."
    update_in_backward: Flag = False
    "Update each weight as soon as it has its gradient."
    compiled: Flag = False
    "Each layer is compiled, and keeps less."
    offload: Flag = False
    "Keep sharded weights, gradients and states in the host's memory, and update them there."
    shard_embeddings: Flag = False
    "Gather embedding and output layer like layers, each when it is used."
    rank: WholeOrNone = None
    "The rank of LoRA and its variants; default, here and below: as tune has it."
    targets: str | None = None
    "Modules to adapt, as in tune: [q_proj, v_proj], a regular expression, or all-linear."
    exclude_modules: str | None = None
    "Modules to leave as they are, written as targets are."
    virtual_tokens: WholeOrNone = None
    "The virtual tokens of a soft prompt."
    bottleneck: WholeOrNone = None
    "The width inside adapters."
    last_layers: WholeOrNone = None
    "How many layers last-layers trains."
    parameters: str | None = None
    "Regular expressions of the names that selective trains, as in tune: [mlp, norm]."

    def asked(self) -> dict[str, Any]:
        """The fields of `PlanRequest`."""
        names = {
            "targets": _names(self.targets),
            "exclude_modules": _names(self.exclude_modules) or (),
            "parameters": _listed_names(self.parameters),
        }
        return {**asdict(self), **names}


def plan(
    model: str = "smollm2-135m-instruct",
    *runs: Path,
    hardware: str = "cpu",
    devices: Whole = 1,
    choices: Choices | None = None,
    price: float | None = None,
    best: Flag = False,
    largest: Flag = False,
    calibrate: Flag = False,
    check: Flag = False,
    trace: Flag = False,
    inference: Flag = False,
    svg: Path | None = None,
    json: Json = False,
) -> int:
    """Plan a training: memory, time and cost; and what would be better.

    Plans that tune cannot run are marked. For what is no option here, there is
    luthier tune --dry-run: modules_to_save, trainable_tokens, layers_to_transform,
    placement, feedforward_modules, dropout, packing, and your own data.
    Exit code 4: the answer is that it does not fit.

    Args:
        model: A Hub id, a folder, or a well-known name. With --check: the first run.
        runs: With --check: further runs.
        hardware: A device such as h100, rtx-4090 or cpu; any: the smallest that fits.
        devices: How many of them.
        price: Price per device-hour, in any currency.
        best: Search for the fastest plan that fits; a given precision, parallel or checkpointing
            stays.
        largest: Search for the largest well-known model that fits.
        calibrate: Measure this machine, for estimates of time.
        check: Compare the plans of runs with what was measured.
        trace: Run a step on tensors without data as a second opinion (up to a minute).
        inference: Plan generation instead of training: --batch answers of --seq-len tokens at once.
        svg: Write the bar of the memory to this file.
    """
    if calibrate:
        _calibrate(json)
    if check:
        _check([Path(model), *runs], json)
        return 0
    _require_one(
        {
            "--hardware any": hardware == "any",
            "--largest": largest,
            "--best": best,
            "--inference": inference,
            "--trace": trace,
            "--svg": svg is not None,
        }
    )
    if price is not None and not 0 <= price < math.inf:
        raise UsageError(f"--price is {price}", fix="give a number of at least 0")
    question = PlanRequest(
        model=model, hardware=hardware, devices=devices, **(choices or Choices()).asked()
    )
    if hardware == "any":
        return _show_plans(smallest_plans(question, price), json)
    if largest:
        return _show_plans(largest_plans(question, price), json)
    if best:
        return _show_search(question, price, json)
    if inference:
        return _show_inference(question, json)
    return _show_plan(question, price, svg, _trace(question) if trace else None, json)


def _exit_code(verdict: Verdict) -> int:
    """4, as for every lack of resources, where it does not fit."""
    return ResourceError.exit_code if verdict == "does not fit" else 0


def _calibrate(as_json: bool) -> None:
    import luthier

    measured = luthier.calibrate()
    if not as_json:
        print_result(f"Measured and kept for later plans: {_speeds(measured)}")


def _check(runs: list[Path], as_json: bool) -> None:
    import luthier
    from luthier.records.dry_run import PlanCheck

    checks = luthier.check_plans(runs)
    if as_json:
        told = [name for name in PlanCheck.model_fields if name != "run"]
        print_json([_checked(check) | {"as_stored": told} for check in checks])
        return
    print_result(checks_table(checks))


def _checked(check: PlanCheck) -> dict[str, Any]:
    errors = {"error": check.error, "seconds_error": check.seconds_error}
    return check.model_dump(mode="json") | errors


def _trace(question: PlanRequest) -> PlanCheck:
    import luthier

    return luthier.trace_plan(question)


def _show_plan(
    question: PlanRequest,
    price: float | None,
    svg: Path | None,
    trace: PlanCheck | None,
    as_json: bool,
) -> int:
    result = make(question, price)
    if svg:
        from luthier.planning.memory_chart import svg_bar

        parts = result.memory_parts()
        picture = svg_bar(question.model, sentence(result), parts, result.limit)
        write_atomically(svg, picture)
    if as_json:
        traced = trace and _checked(trace)
        print_json({"model": question.model, **_document(result), "trace": traced})
        return _exit_code(result.verdict)
    print_result(*plan_lines(question.model, result))
    if trace:
        print_result(trace_line(trace))
    if result.verdict != "fits":
        print_result("", advice(question, price))
    return _exit_code(result.verdict)


def _require_one(asked: dict[str, bool]) -> None:
    """Refuse what cannot be answered together; a bar and a second opinion go with one plan."""
    named = [name for name, wanted in asked.items() if wanted]
    if len(named) > 1 and set(named) != {"--trace", "--svg"}:
        raise UsageError(
            f"{' and '.join(named)} are different questions", fix="ask one after the other"
        )


def _show_inference(question: PlanRequest, as_json: bool) -> int:
    memory, device = generation(question)
    verdict = verdict_of(memory.total, memory.total_interval.high, device.memory)
    if as_json:
        answer = {"fits": verdict != "does not fit", "verdict": verdict}
        sizes = {"device_bytes": memory.total, "limit": device.memory, **answer}
        print_json({"model": question.model, **sizes, **asdict(memory)})
    else:
        print_result(*inference_lines(question, memory, device))
    return _exit_code(verdict)


def _show_search(question: PlanRequest, price: float | None, as_json: bool) -> int:
    found = best_plans(question, price)
    code = 0 if found.best else ResourceError.exit_code
    if as_json:
        print_json(
            {
                "tried": found.tried,
                "best": [_document(plan) for plan in found.best],
                "closest": _document(found.closest) if found.closest else None,
            }
        )
    elif found.best:
        print_result(*plan_lines(question.model, found.best[0]))
        print_result("", f"The fastest of {found.tried} plans:", plans_table(found.best))
    elif found.closest:
        print_result(
            f"None of {found.tried} plans fits. The closest:", *plan_lines("", found.closest)
        )
    else:
        raise UsageError(
            "no configuration divides this step over the devices",
            fix="give another --global-batch-size or --devices",
        )
    return code


def _show_plans(plans: tuple[tuple[str, Plan], ...], as_json: bool) -> int:
    if as_json:
        print_json([{"model": name, **_document(plan)} for name, plan in plans])
    elif plans:
        name, first = plans[0]
        shown = plans_table([plan for _, plan in plans[:10]])
        print_result(f"{name}: {sentence(first)}", "", shown)
    else:
        print_result(
            "Nothing in the catalogue fits. Try --method qlora, --checkpointing full or --batch 1."
        )
    return 0 if plans else ResourceError.exit_code


def _document(plan: Plan) -> dict[str, Any]:
    derived = {
        "sentence": sentence(plan),
        "fits": plan.fits,
        "verdict": plan.verdict,
        "tune_can_run": plan.tune.can,
        "allocated_bytes": plan.memory.allocated,
        "reserved_bytes": plan.memory.reserved,
        "device_bytes": plan.memory.total,
        "tokens_per_second": plan.step.tokens_per_second,
        "mfu": plan.step.mfu,
        "hfu": plan.step.hfu,
        "binding": plan.binding,
    }
    return derived | asdict(plan)


def _speeds(measured: Any) -> str:
    products = ", ".join(f"{value / 1e9:.0f} GFLOP/s in {k}" for k, value in measured.flops.items())
    return f"{products}, {measured.bandwidth / 1e9:.1f} GB/s"
