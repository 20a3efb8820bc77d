"""Run tasks of lm-evaluation-harness on rows that are handed in: its scores, answers and metrics.

    python benchmarks/agreement_contender.py CASE

CASE is a JSON file: ``model`` (a folder), ``batch_size``, ``threads``, ``chat`` (whether it is
asked through its chat template), and ``tasks``: by name
``file`` (lm-eval's definition), ``splits`` (rows by split) and ``shots``. The last line of the
output is a JSON object of each task's ``metrics``, and ``documents``: what was scored or said.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def build(settings: dict[str, Any]) -> Any:
    """A task as lm-eval defines it, with other rows, and the first of them as worked examples."""
    import lm_eval
    from datasets import Dataset, DatasetDict
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    file = Path(lm_eval.__file__).parent / "tasks" / settings["file"]
    definition = load_yaml(file, resolve_func=True)
    for name in ("include", "tag", "task_alias", "group", "dataset_name"):
        definition.pop(name, None)
    rows = DatasetDict({name: Dataset.from_list(own) for name, own in settings["splits"].items()})
    shots = {**(definition.get("fewshot_config") or {}), "sampler": "first_n"}
    definition |= {"dataset_path": "rows", "custom_dataset": lambda **_: rows}
    definition |= {"fewshot_config": shots, "num_fewshot": settings["shots"]}
    return ConfigurableTask(config=definition)


def document(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """What was scored, by text, or what was said; a sample for each of lm-eval's filters."""
    first = samples[0]
    answers = [response[0] for response in first["resps"]]
    if isinstance(answers[0], str):
        return {"text": answers[0]}
    if not isinstance(answers[0], list | tuple):
        return {"logprobs": {"": answers[0]}}
    texts = [arguments[1] for arguments in first["arguments"]]
    return {"logprobs": dict(zip(texts, (a[0] for a in answers), strict=True))}


def run(case: dict[str, Any]) -> dict[str, Any]:
    """Run all tasks in one call."""
    import torch
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(case["threads"])
    tasks = {name: build(settings) for name, settings in case["tasks"].items()}
    model = HFLM(
        pretrained=case["model"], dtype="float32", device="cpu", batch_size=case["batch_size"]
    )
    results = evaluate(
        model,
        {"tasks": tasks, "groups": {}},
        bootstrap_iters=0,
        apply_chat_template=case["chat"],
        fewshot_as_multiturn=case["chat"],
    )
    made = {}
    for name in tasks:
        by_document: dict[int, list[dict[str, Any]]] = {}
        for sample in results["samples"][name]:
            by_document.setdefault(sample["doc_id"], []).append(sample)
        made[name] = {
            "metrics": {k: v for k, v in results["results"][name].items() if "," in k},
            "documents": [document(by_document[key]) for key in sorted(by_document)],
        }
    return made


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    print(json.dumps(run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
