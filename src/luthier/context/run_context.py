"""A run's data, prompts and model, ready to use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from luthier.config import RunConfig
from luthier.context.found_model import FoundModel
from luthier.context.metrics import metric_names
from luthier.core.method_facts import MethodName
from luthier.core.seeds import fingerprint
from luthier.data.dataset import Dataset
from luthier.models.load import ModelHandle
from luthier.prompts.renderer import Renderer
from luthier.prompts.training_example import TrainingExample
from luthier.records.evaluation import TemplateStamp


class MeasuredText(NamedTuple):
    """A general text as this model reads it, and what it is about."""

    ids: tuple[int, ...]
    group: str


@dataclass(frozen=True, slots=True)
class RunContext:
    """A run's data, prompts and model, ready to use.

    Attributes:
        config: the configuration.
        model: the base model, which was found but not loaded.
        dataset: the examples by split.
        renderer: writes prompts for the model.
        general_texts: the texts on which forgetting is measured.
        replay: general texts to mix into the training, none of them among those.
    """

    config: RunConfig
    model: FoundModel
    dataset: Dataset
    renderer: Renderer
    general_texts: tuple[MeasuredText, ...] = ()
    replay: tuple[TrainingExample, ...] = ()

    def weights(self) -> ModelHandle:
        """The base model, for what needs its weights.

        Raises:
            UsageError: a server runs it.
        """
        return self.model.weights()

    @property
    def template(self) -> TemplateStamp:
        """The template, or the stamp of rows that are used as they are.

        A chat template of one's own, and arguments of the chat template, count as a part of it.
        """
        stamp = self.dataset.template.stamp
        prompt = self.config.prompt
        if self.renderer.own_template is not None or prompt.chat_template_kwargs:
            values = json.dumps(dict(prompt.chat_template_kwargs), sort_keys=True, default=str)
            content = fingerprint(stamp.hash, self.renderer.own_template or "", values)
            return TemplateStamp(id=stamp.id, hash=content)
        return stamp

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics, the first being the one that decides."""
        return metric_names(self.config, self.dataset)

    def renderer_beside(self, method: MethodName) -> Renderer:
        """The renderer where a method takes a part of the context window."""
        return self.renderer.with_reserved_positions(self.config.methods.of(method).positions)
