"""Models that were located but not loaded, in files or on a server."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from luthier.config import EvaluateConfig, ModelConfig, PromptConfig, RunConfig
from luthier.context.evaluated_model import EvaluatedModel, ServedModel, in_memory, with_vllm
from luthier.core.console import Console
from luthier.evaluation.settings import require_reach
from luthier.inference.remote import EndpointModel, open_endpoint
from luthier.inference.vllm.engine import VllmModel
from luthier.methods import load
from luthier.methods.lora_adapter import with_adapter_settings
from luthier.methods.weightless import check_adapter
from luthier.models.load import ModelHandle, open_model, tokenizer_fingerprint
from luthier.models.own_code import own_code
from luthier.models.resolve import no_weights
from luthier.prompts.render import PromptRenderer
from luthier.prompts.renderer import Renderer
from luthier.prompts.served import ServedRenderer


class FoundModel(ABC):
    """A located model, which can be loaded from files or queried on a server."""

    @property
    @abstractmethod
    def id(self) -> str:
        """The name of the model."""

    @property
    @abstractmethod
    def revision(self) -> str:
        """The version of the model."""

    @property
    @abstractmethod
    def context_window(self) -> int | None:
        """The context window in tokens; None: only the server knows it."""

    @abstractmethod
    def weights(self) -> ModelHandle:
        """The handle of the model's files, for tuning and other work that needs weights.

        Raises:
            UsageError: the model is on a server.
        """

    @abstractmethod
    def configured(self, config: RunConfig) -> RunConfig:
        """The configuration, completed with the settings that the model's files determine.

        Raises:
            DataError: the adapter in the files is not usable.
        """

    @abstractmethod
    def renderer(self, prompt: PromptConfig) -> Renderer:
        """The renderer of prompts for this model.

        Raises:
            DataError: the chat template is missing or not valid.
            UsageError: a chat template is given for a server, which has its own.
        """

    @abstractmethod
    def can_score(self, renderer: Renderer) -> bool:
        """Whether the model gives the log-probabilities of answers to the renderer's prompts."""

    @abstractmethod
    def with_renderer(self, renderer: Renderer) -> FoundModel:
        """A copy of the model with a renderer's chat template, for saving a tuned model."""

    @abstractmethod
    def inputs(self, config: ModelConfig) -> dict[str, Any]:
        """The parts of the model that affect its answers, for fingerprints, by name."""

    @abstractmethod
    def load(self, settings: EvaluateConfig) -> EvaluatedModel:
        """Load the model for an evaluation.

        Raises:
            UsageError: the engine is not installed, or a setting has no effect on it.
            DataError: the weights are missing or damaged.
        """


@dataclass(frozen=True, slots=True)
class ModelFiles(FoundModel):
    """A model in local files."""

    handle: ModelHandle

    @property
    def id(self) -> str:
        """See `FoundModel.id`."""
        return self.handle.id

    @property
    def revision(self) -> str:
        """See `FoundModel.revision`."""
        return self.handle.revision

    @property
    def context_window(self) -> int:
        """See `FoundModel.context_window`."""
        return self.handle.context_window

    def weights(self) -> ModelHandle:
        """See `FoundModel.weights`."""
        return self.handle

    def configured(self, config: RunConfig) -> RunConfig:
        """See `FoundModel.configured`."""
        check_adapter(self.handle)
        config = config.model_copy(update={"model": self.handle.config})
        adapter = self.handle.adapter
        return with_adapter_settings(config, adapter) if adapter else config

    def renderer(self, prompt: PromptConfig) -> PromptRenderer:
        """See `FoundModel.renderer`."""
        return PromptRenderer.from_config(
            prompt,
            self.handle.tokenizer,
            context_window=self.handle.context_window,
            encoder_decoder=self.handle.is_encoder_decoder,
        )

    def can_score(self, renderer: Renderer) -> bool:
        """See `FoundModel.can_score`: always."""
        del renderer
        return True

    def with_renderer(self, renderer: Renderer) -> ModelFiles:
        """See `FoundModel.with_renderer`."""
        if renderer.own_template is None:
            return self
        tokenizer = copy.copy(self.handle.tokenizer)
        tokenizer.chat_template = renderer.own_template
        return ModelFiles(replace(self.handle, tokenizer=tokenizer))

    def inputs(self, config: ModelConfig) -> dict[str, Any]:
        """See `FoundModel.inputs`."""
        found: dict[str, Any] = {
            "model": self.revision,
            "tokenizer": tokenizer_fingerprint(self.handle.tokenizer),
        }
        if config.trust_remote_code and (code := own_code(self.handle.folder.path)):
            found["code"] = code
        return found

    def load(self, settings: EvaluateConfig) -> EvaluatedModel:
        """See `FoundModel.load`."""
        return _ENGINES[settings.engine](self.handle, settings)


@dataclass(frozen=True, slots=True)
class ModelOnServer(FoundModel):
    """A model on a server."""

    endpoint: EndpointModel

    @property
    def id(self) -> str:
        """See `FoundModel.id`."""
        return self.endpoint.id

    @property
    def revision(self) -> str:
        """See `FoundModel.revision`."""
        return self.endpoint.revision

    @property
    def context_window(self) -> None:
        """See `FoundModel.context_window`."""

    def weights(self) -> ModelHandle:
        """See `FoundModel.weights`.

        Raises:
            UsageError: always.
        """
        raise no_weights(self.endpoint.client.url)

    def configured(self, config: RunConfig) -> RunConfig:
        """See `FoundModel.configured`."""
        return config

    def renderer(self, prompt: PromptConfig) -> ServedRenderer:
        """See `FoundModel.renderer`."""
        return self.endpoint.renderer(prompt)

    def can_score(self, renderer: Renderer) -> bool:
        """See `FoundModel.can_score`: after plain text, if the server returns log-probabilities."""
        return not renderer.use_chat_template and self.endpoint.can_score

    def with_renderer(self, renderer: Renderer) -> ModelOnServer:
        """See `FoundModel.with_renderer`; unchanged, because the server has the template."""
        del renderer
        return self

    def inputs(self, config: ModelConfig) -> dict[str, Any]:
        """See `FoundModel.inputs`."""
        del config
        return {"model": self.revision}

    def load(self, settings: EvaluateConfig) -> ServedModel:
        """See `FoundModel.load`."""
        require_reach(settings, "server")
        return ServedModel(self.endpoint)


def find_weights(config: ModelConfig, console: Console) -> ModelFiles:
    """Find a model in files, without loading its weights.

    Raises:
        UsageError, DataError: there is no such model, it cannot be used, or it is on a server.
    """
    return ModelFiles(open_model(config, console))


def find_model(config: ModelConfig, console: Console) -> FoundModel:
    """Find a model in files or on a server, without loading its weights.

    Raises:
        UsageError, DataError, ResourceError: there is no such model, or it cannot be used.
    """
    if config.is_remote:
        return ModelOnServer(open_endpoint(config, console))
    return find_weights(config, console)


def _local(handle: ModelHandle, settings: EvaluateConfig) -> EvaluatedModel:
    return in_memory(load(handle), settings)


def _vllm(handle: ModelHandle, settings: EvaluateConfig) -> EvaluatedModel:
    require_reach(settings, "vllm")
    return with_vllm(VllmModel.load(handle))


_ENGINES: Mapping[str, Callable[[ModelHandle, EvaluateConfig], EvaluatedModel]] = {
    "local": _local,
    "vllm": _vllm,
}
