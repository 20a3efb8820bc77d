"""The file of a task: the fields of every kind, and of the parts that they are made of."""

from __future__ import annotations

from luthier.tasks.documents import KINDS
from luthier.tasks.mixture import Mixture
from luthier.tasks.suite import Suite
from luthier.tasks.task import Task

from .fields import about, field_list, parts_of


def kinds() -> str:
    """The fields of all tasks, of each kind, of a suite, of a mixture, and of their parts."""
    common = set(Task.model_fields)
    texts = ["## Every task", field_list(Task)]
    for kind, model in KINDS.items():
        own = [name for name in model.model_fields if name not in common]
        texts += [f"## `kind: {kind}`", about(model), field_list(model, "", own, f"{kind}.")]
    texts += ["## `kind: suite`", about(Suite), field_list(Suite, "", None, "suite.")]
    texts += ["## `kind: mixture`", about(Mixture), field_list(Mixture, "", None, "mixture.")]
    texts.append("## Parts of a task")
    for part in parts_of([Task, *KINDS.values(), Suite, Mixture]):
        name = part.__name__
        texts += [
            f"### `{name}` {{ #{name} }}",
            about(part),
            field_list(part, "", None, f"{name}."),
        ]
    return "\n\n".join(texts)
