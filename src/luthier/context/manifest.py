"""The manifest of a run: the inputs of its results beyond the configuration."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
import torch

import luthier
from luthier.config import RunConfig
from luthier.config.stored import described_config
from luthier.context.fingerprints import evaluation_fingerprint, evaluation_inputs
from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.files import read_json, write_json
from luthier.core.input_fingerprint import describe_differences
from luthier.models.device import default_device
from luthier.records.evaluation import TemplateStamp
from luthier.records.run_directory import FORMAT, RunDirectory

_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "numpy", "rouge_score", "sacrebleu")


def write_manifest(run: RunDirectory, context: RunContext, kind: str) -> None:
    """Write ``manifest.json``, or check that an existing one has the same inputs.

    Raises:
        UsageError: the run directory was made from other data, prompts, model or seed.
    """
    check_manifest(run, context)
    if not run.manifest.is_file():
        write_json(run.manifest, _manifest(context, kind, evaluation_fingerprint(context)))


def check_manifest(run: RunDirectory, context: RunContext) -> None:
    """Check that the run directory is new, or was made from the same inputs.

    Raises:
        UsageError: it was made from other data, prompts, model or seed.
    """
    if not run.manifest.is_file():
        return
    stored = read_json(run.manifest)
    if stored.get("fingerprint") != evaluation_fingerprint(context):
        changed = describe_differences(stored.get("inputs", {}), evaluation_inputs(context))
        raise UsageError(
            f"this run directory was made with another configuration, model or data:\n{changed}",
            where=str(run.path),
            fix="give the run another --name, or delete the folder",
        )


def check_template(run: RunDirectory, context: RunContext, console: Console) -> None:
    """Check that a tuned model is evaluated with the template that it was tuned with.

    A template or data source that the user has changed on purpose causes only a warning.

    Raises:
        UsageError: the template's content has changed under the same name.
    """
    if not run.parent_run.manifest.is_file():
        return
    tuned = TemplateStamp.model_validate(read_json(run.parent_run.manifest)["template"])
    now = context.template
    if now.hash == tuned.hash:
        return
    problem = f"tuned with the template {tuned.id} ({tuned.hash}), asked with {now.id} ({now.hash})"
    if _asked(context.config) != _asked(described_config(run)):
        console.warn(f"{run.path} was {problem}")
        return
    raise UsageError(
        f"the template has changed since the tuning: {problem}",
        where=str(run.path),
        fix="undo the change, or keep the new version under another name and give it with "
        "prompt.template=…",
    )


def _asked(config: RunConfig) -> tuple[object, ...]:
    """The settings with which a user chooses another template on purpose."""
    prompt = config.prompt
    return (
        prompt.template,
        prompt.chat_template,
        dict(prompt.chat_template_kwargs),
        config.data.source,
    )


def _manifest(context: RunContext, kind: str, fingerprint: str) -> dict[str, Any]:
    dataset = context.dataset
    return {
        "format": FORMAT,
        "kind": kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": fingerprint,
        "inputs": evaluation_inputs(context),
        "seed": context.config.seed,
        "versions": versions(),
        "hardware": hardware(),
        "model": {"id": context.model.id, "revision": context.model.revision},
        "template": context.template.model_dump(),
        "data": {
            "task": dataset.task,
            "fingerprint": dataset.fingerprint,
            "train": len(dataset.train),
            "validation": len(dataset.validation),
            "test": len(dataset.test),
            "dropped": len(dataset.dropped),
        },
    }


def versions() -> dict[str, str]:
    """The versions of Luthier, Python, and the packages that affect results."""
    found = {"luthier": luthier.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, str | int]:
    """A description of the machine: device, processor, cores, threads, memory in bytes."""
    device = default_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": device.type,
        "name": name,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": psutil.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _processor() -> str:
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{platform.processor() or platform.machine()} ({capability})"
