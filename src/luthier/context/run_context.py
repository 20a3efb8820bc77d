"""The data, prompts and model of a run, ready to use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from luthier.config import PromptConfig, RunConfig
from luthier.context.answer_mode import wants_choices
from luthier.context.found_model import FoundModel
from luthier.context.metrics import metric_names
from luthier.core.method_facts import MethodName
from luthier.core.seeds import fingerprint
from luthier.data.dataset import Dataset
from luthier.models.load import ModelHandle
from luthier.prompts.renderer import Renderer
from luthier.prompts.training_example import TrainingExample
from luthier.records.evaluation import TemplateStamp
from luthier.tasks.task import Task


class MeasuredText(NamedTuple):
    """A general text as token ids of the model, and its topic."""

    ids: tuple[int, ...]
    group: str


@dataclass(frozen=True, slots=True)
class RunContext:
    """The data, prompts and model of a run, ready to use.

    Attributes:
        config: the configuration.
        model: the base model, located but not loaded.
        dataset: the examples by split.
        renderer: the renderer of prompts for the model.
        general_texts: the texts for measuring forgetting.
        replay: general texts to mix into the training; none of them is in ``general_texts``.
    """

    config: RunConfig
    model: FoundModel
    dataset: Dataset
    renderer: Renderer
    general_texts: tuple[MeasuredText, ...] = ()
    replay: tuple[TrainingExample, ...] = ()

    def weights(self) -> ModelHandle:
        """The handle of the base model's files, for work that needs its weights.

        Raises:
            UsageError: the model is on a server.
        """
        return self.model.weights()

    @property
    def template(self) -> TemplateStamp:
        """The stamp of the template, or of rows that need none.

        Its fingerprint includes the user's chat template and the chat template's arguments.
        """
        own = self.renderer.own_template
        return template_stamp(self.dataset.template, self.config.prompt, own)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics; the first one decides comparisons."""
        return metric_names(self.config, self.dataset, chooses=self.chooses)

    @property
    def chooses(self) -> bool:
        """Whether answers are chosen among an example's choices by likelihood, not generated."""
        return wants_choices(self.config, self.dataset) and self.model.can_score(self.renderer)

    def renderer_beside(self, method: MethodName) -> Renderer:
        """The renderer, without the positions of the context window that a method takes."""
        return self.renderer.with_reserved_positions(self.config.methods.of(method).positions)


def template_stamp(task: Task, prompt: PromptConfig, own_template: str | None) -> TemplateStamp:
    """The stamp of a task with the user's chat template, if any; see `RunContext.template`."""
    stamp = task.stamp
    if own_template is not None or prompt.chat_template_kwargs:
        values = json.dumps(dict(prompt.chat_template_kwargs), sort_keys=True, default=str)
        content = fingerprint(stamp.hash, own_template or "", values)
        return TemplateStamp(id=stamp.id, hash=content)
    return stamp
