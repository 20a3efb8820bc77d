"""Models to evaluate, in memory or on a server, with their engines and encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from luthier.config import EvaluateConfig, RunConfig
from luthier.core.errors import DataError
from luthier.evaluation import CachedEngine
from luthier.evaluation.asking.encode import ChatEncoder, TaskEncoder, TextEncoder
from luthier.evaluation.asking.served import ServedChatEncoder, ServedEncoder
from luthier.evaluation.predicting.base import AnswerMode, ModelPredictor
from luthier.inference import Engine
from luthier.inference.local.engine import LocalEngine
from luthier.inference.remote import EndpointModel
from luthier.inference.token_engine import TokenEngine
from luthier.inference.vllm.engine import VllmEngine, VllmModel
from luthier.models.fingerprint import model_fingerprint
from luthier.models.load import LoadedModel
from luthier.prompts.render import PromptRenderer
from luthier.prompts.renderer import Renderer
from luthier.prompts.tokens import Tokenizer
from luthier.records.evaluation import ModelStamp
from luthier.records.result_cache import ResultCache

_VLLM_BATCH_TOKENS = 2**20
"""Tokens whose answers are cached together. vLLM makes its own batches, so this only limits how
much an interruption loses."""


class EvaluatedModel(ABC):
    """A model that can be evaluated, with its inference engine and its answer cache."""

    @property
    @abstractmethod
    def stamp(self) -> ModelStamp:
        """The id and version of the model, as records store them."""

    @property
    @abstractmethod
    def context_window(self) -> int | None:
        """The context window in tokens; None: only the server knows it."""

    @abstractmethod
    def engine(self, cache: ResultCache | None = None) -> Engine:
        """The inference engine, which stores answers in ``cache``, if one is given."""

    @abstractmethod
    def task_encoder(self, config: RunConfig) -> TaskEncoder[Any]:
        """The encoder of task prompts, as plain text or through the chat template.

        Raises:
            DataError: ``evaluate.task_chat_template`` is set, but there is no chat template.
        """


@dataclass(frozen=True)  # no slots: they exclude cached properties
class LocalModel(EvaluatedModel):
    """A model loaded in this process.

    Attributes:
        model: the id and version of the model.
        tokenizer: its tokenizer.
        window: its context window in tokens.
        encoder_decoder: whether an encoder reads the prompts.
        inner: the engine, without a cache.
        content: computes a fingerprint of all that affects the model's answers.
        batch_tokens: tokens of a batch, whose answers are cached together.
    """

    model: ModelStamp
    tokenizer: Tokenizer
    window: int
    encoder_decoder: bool
    inner: TokenEngine
    content: Callable[[], str]
    batch_tokens: int

    @property
    def stamp(self) -> ModelStamp:
        """See `EvaluatedModel.stamp`."""
        return self.model

    @property
    def context_window(self) -> int:
        """See `EvaluatedModel.context_window`."""
        return self.window

    def engine(self, cache: ResultCache | None = None) -> Engine:
        """See `EvaluatedModel.engine`."""
        if cache is None:
            return self.inner
        return CachedEngine(self.inner, self._content, cache, self.batch_tokens)

    def task_encoder(self, config: RunConfig) -> TextEncoder:
        """See `EvaluatedModel.task_encoder`."""
        window, encodes = self.window, self.encoder_decoder
        if not config.evaluate.task_chat_template:
            return TextEncoder(self.tokenizer, window, encodes)
        renderer = PromptRenderer.from_config(
            config.prompt, self.tokenizer, context_window=window, encoder_decoder=encodes
        )
        if not renderer.use_chat_template:
            raise no_chat_template()
        return ChatEncoder.of(renderer)

    @cached_property
    def _content(self) -> str:
        return self.content()


@dataclass(frozen=True, slots=True)
class ServedModel(EvaluatedModel):
    """A model on a server."""

    endpoint: EndpointModel

    @property
    def stamp(self) -> ModelStamp:
        """See `EvaluatedModel.stamp`."""
        return self.endpoint.stamp

    @property
    def context_window(self) -> None:
        """See `EvaluatedModel.context_window`."""

    def engine(self, cache: ResultCache | None = None) -> Engine:
        """See `EvaluatedModel.engine`."""
        return self.endpoint.engine(cache)

    def task_encoder(self, config: RunConfig) -> ServedEncoder:
        """See `EvaluatedModel.task_encoder`."""
        renderer = self.endpoint.renderer(config.prompt)
        if not config.evaluate.task_chat_template:
            return ServedEncoder(replace(renderer, writes_turns=False))
        if not renderer.writes_turns:
            raise no_chat_template()
        return ServedChatEncoder(renderer)


def in_memory(loaded: LoadedModel, settings: EvaluateConfig) -> LocalModel:
    """The model to evaluate for loaded weights."""
    return LocalModel(
        model=loaded.stamp,
        tokenizer=loaded.tokenizer,
        window=loaded.context_window,
        encoder_decoder=loaded.is_encoder_decoder,
        inner=LocalEngine(loaded, settings.batch_tokens),
        content=partial(model_fingerprint, loaded),
        batch_tokens=settings.batch_tokens,
    )


def with_vllm(model: VllmModel) -> LocalModel:
    """The model to evaluate for weights that vLLM has loaded in this process."""
    return LocalModel(
        model=model.stamp,
        tokenizer=model.tokenizer,
        window=model.context_window,
        encoder_decoder=False,
        inner=VllmEngine(model),
        content=model.content,
        batch_tokens=_VLLM_BATCH_TOKENS,
    )


def model_predictor(
    model: EvaluatedModel, renderer: Renderer, mode: AnswerMode, cache: ResultCache | None = None
) -> ModelPredictor:
    """The predictor of a loaded model.

    Args:
        model: a loaded model, or one on a server.
        renderer: the renderer of prompts for the base model.
        mode: the way that the model answers.
        cache: stores the answers as they come.
    """
    # A soft prompt takes a part of the window.
    return ModelPredictor(model.engine(cache), renderer.within(model.context_window), mode)


def no_chat_template() -> DataError:
    """The error for tasks that need a chat template on a model without one."""
    return DataError(
        "this model has no chat template that tasks could be asked through",
        where="evaluate.task_chat_template",
        fix="leave it out, or name a template of your own with prompt.chat_template",
    )
