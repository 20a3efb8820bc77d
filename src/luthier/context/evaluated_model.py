"""What is measured: a model in memory, or one on a server, and how its answers are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from luthier.config import EvaluateConfig
from luthier.evaluation import CachedEngine, Evaluation
from luthier.evaluation.settings import require_reach
from luthier.inference import Engine
from luthier.inference.local.engine import LocalEngine
from luthier.inference.remote import EndpointModel
from luthier.inference.vllm.engine import VllmEngine, VllmModel
from luthier.methods import load
from luthier.models.fingerprint import model_fingerprint
from luthier.models.load import LoadedModel, ModelHandle
from luthier.records.evaluation import ModelStamp
from luthier.records.result_cache import ResultCache

Model = LoadedModel | EndpointModel | VllmModel
_LOADING: Mapping[str, Callable[[ModelHandle], Model]] = {
    "local": load,
    "vllm": VllmModel.load,
}
_VLLM_BATCH_TOKENS = 2**20
"""It makes its own batches; these are what an interruption may lose."""


class EvaluatedModel(ABC):
    """A model with an engine that asks it."""

    @property
    @abstractmethod
    def stamp(self) -> ModelStamp:
        """Which model it is."""

    @abstractmethod
    def engine(self, log: ResultCache | None = None) -> Engine:
        """What asks it, and keeps the answers in ``log``."""

    @abstractmethod
    def measure(self, log: ResultCache, ask: Callable[[Engine], Evaluation]) -> Evaluation:
        """What ``ask`` gives with an engine that keeps its answers in ``log``.

        The figures of time and tokens are those of all answers, the kept ones too.
        """


def loaded_model(found: ModelHandle | EndpointModel, settings: EvaluateConfig) -> Model:
    """A model that was found, ready for use: its weights are loaded, or a server has them.

    Raises:
        UsageError: the engine is not installed, or a setting has no effect on it.
        DataError: the weights are missing or damaged.
    """
    if isinstance(found, EndpointModel):
        require_reach(settings, "server")
    elif settings.engine == "vllm":
        require_reach(settings, "vllm")
    return found if isinstance(found, EndpointModel) else _LOADING[settings.engine](found)


def evaluated_model(model: Model, settings: EvaluateConfig) -> EvaluatedModel:
    """A model, ready to be asked."""
    if isinstance(model, EndpointModel):
        return _OnServer(model)
    if isinstance(model, VllmModel):
        return _Here(model.stamp, VllmEngine(model), model.content, _VLLM_BATCH_TOKENS)
    tokens = settings.batch_tokens
    engine, content = LocalEngine(model, tokens), partial(model_fingerprint, model)
    return _Here(model.stamp, engine, content, tokens)


@dataclass(frozen=True)  # no slots: they exclude cached properties
class _Here(EvaluatedModel):
    """A model of this process.

    Attributes:
        model: which model.
        local: asks it.
        content: computes a fingerprint of all that decides its answers.
        batch_tokens: tokens of a batch whose answers are kept together.
    """

    model: ModelStamp
    local: Engine
    content: Callable[[], str]
    batch_tokens: int

    @property
    def stamp(self) -> ModelStamp:
        """See `EvaluatedModel.stamp`."""
        return self.model

    def engine(self, log: ResultCache | None = None) -> Engine:
        """See `EvaluatedModel.engine`."""
        return self._kept(log) if log else self.local

    def measure(self, log: ResultCache, ask: Callable[[Engine], Evaluation]) -> Evaluation:
        """See `EvaluatedModel.measure`."""
        engine = self._kept(log)
        return engine.with_seconds(ask(engine))

    def _kept(self, log: ResultCache) -> CachedEngine:
        return CachedEngine(self.local, self._content, log, self.batch_tokens)

    @cached_property
    def _content(self) -> str:
        return self.content()


@dataclass(frozen=True, slots=True)
class _OnServer(EvaluatedModel):
    """A model that a server runs."""

    model: EndpointModel

    @property
    def stamp(self) -> ModelStamp:
        """See `EvaluatedModel.stamp`."""
        return self.model.stamp

    def engine(self, log: ResultCache | None = None) -> Engine:
        """See `EvaluatedModel.engine`."""
        return self.model.engine(log)

    def measure(self, log: ResultCache, ask: Callable[[Engine], Evaluation]) -> Evaluation:
        """See `EvaluatedModel.measure`.

        Here a token is a character, so the server's own count holds.
        """
        engine = self.model.engine(log)
        evaluation = ask(engine)
        record, cost = evaluation.record, engine.answers.cost
        settings = self.model.config.endpoint
        changes = {
            "prompt_tokens": cost.prompt_tokens,
            "generated_tokens": cost.generated_tokens,
            # So many answers were waited for at the same time.
            "seconds": record.seconds + cost.seconds_kept / settings.concurrency,
            "chat_template": record.chat_template or not settings.completions,
        }
        return evaluation._replace(record=record.model_copy(update=changes))
