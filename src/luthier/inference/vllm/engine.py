"""Inference with vLLM in this process.

vLLM needs a supported GPU. This adapter follows vLLM's documented interface but has never been run
with it, because no machine with such a GPU was available. Compare a few answers with those of the
local engine before you rely on it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Literal

from luthier.config.decoding import Decoding, Greedy, Sampling, Strategy
from luthier.core.errors import UsageError
from luthier.core.seeds import fingerprint
from luthier.inference.engine import Generation, ProgressCallback, Score, TextLoss
from luthier.inference.local.scorer import losses_from_scores, with_contexts
from luthier.inference.token_engine import TokenEngine
from luthier.inference.tokenise import PromptTokenizer, TokenRequest, Tokens
from luthier.models.generation_file import demands, read_generation_config
from luthier.models.load import ModelHandle, tokenizer_fingerprint
from luthier.records.evaluation import ModelStamp

# Fields of a generation config that are passed on, and the names of vLLM's arguments. vLLM reads
# the end-of-turn tokens itself.
_HANDED_ON = {"repetition_penalty": "repetition_penalty", "min_new_tokens": "min_tokens"}


@dataclass(frozen=True, slots=True)
class VllmModel:
    """A model that vLLM has loaded.

    Attributes:
        handle: the model's files, its tokenizer and its settings.
        runner: a ``vllm.LLM``.
    """

    handle: ModelHandle
    runner: Any

    @classmethod
    def load(cls, handle: ModelHandle) -> VllmModel:
        """Load the weights.

        Raises:
            UsageError: vLLM is not installed, or this adapter does not support the model.
        """
        changed = handle.config.quantisation or handle.adapter or handle.rows
        if handle.is_encoder_decoder or changed:
            raise UsageError(
                "vLLM is asked for causal models alone, as they are stored",
                where="evaluate.engine",
                fix="set evaluate.engine=local",
            )
        try:
            from vllm import LLM
        except ImportError as error:
            raise UsageError(
                f"vLLM is not installed: {error}",
                where="evaluate.engine",
                fix="pip install 'luthier[vllm]' on a machine with a GPU, or set "
                "evaluate.engine=local",
            ) from error
        path, config = str(handle.folder.path), handle.config
        runner = LLM(
            model=path,
            tokenizer=path,
            dtype=config.dtype,
            trust_remote_code=config.trust_remote_code,
            max_model_len=handle.context_window,
            seed=0,
        )
        return cls(handle, runner)

    def content(self) -> str:
        """A fingerprint of all that decides the answers: weights, tokenizer, generation config."""
        return fingerprint(
            self.stamp.model_dump_json(exclude={"id"}),
            tokenizer_fingerprint(self.tokenizer),
            json.dumps(self.generation_config, sort_keys=True),
        )

    @property
    def generation_config(self) -> dict[str, Any]:
        """The model's generation config; empty if it has none."""
        return read_generation_config(self.handle.folder.path)

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.handle.tokenizer

    @property
    def context_window(self) -> int:
        """The number of tokens that the model can attend to, prompt and answer together."""
        return self.handle.context_window

    @property
    def is_encoder_decoder(self) -> bool:
        """False: `load` refuses encoder-decoder models."""
        return False

    @property
    def stamp(self) -> ModelStamp:
        """The model's identity for the records; its parameters are not counted."""
        architecture = (self.handle.settings.architectures or ["unknown"])[0]
        return ModelStamp(
            id=self.handle.id,
            revision=self.handle.revision,
            parameters=0,
            dtype=self.handle.config.dtype,
            architecture=f"{architecture} in vLLM",
        )


class VllmEngine(TokenEngine):
    """Generation and scoring with vLLM, which has its own batching and prefix cache.

    Args:
        model: the loaded model.
    """

    def __init__(self, model: VllmModel) -> None:
        super().__init__(PromptTokenizer(model.tokenizer, model.context_window))
        self._model = model

    def generate_from_tokens(
        self, prompts: Sequence[Tokens], decoding: Decoding, advance: ProgressCallback
    ) -> list[Generation]:
        """See `Engine.generate`."""
        settings = parameters(decoding.strategy) | demanded(self._model.generation_config)
        settings |= {"max_tokens": decoding.max_new_tokens, "stop": list(decoding.stop)}
        if tokens := self._special_stops(decoding.stop):
            settings["stop_token_ids"] = tokens
        outputs = self._run(prompts, settings)
        advance(len(prompts))
        return [_generation(output.outputs[0]) for output in outputs]

    def score_tokens(
        self, requests: Sequence[TokenRequest], advance: ProgressCallback
    ) -> list[Score]:
        """See `Engine.score`."""
        asked = with_contexts(requests, self._model.tokenizer)
        wholes = [(*request.context, *request.continuation) for request in asked]
        settings = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 1}
        outputs = self._run(wholes, settings)
        advance(len(requests))
        return [
            _score(output.prompt_logprobs, whole, len(request.context))
            for output, whole, request in zip(outputs, wholes, asked, strict=True)
        ]

    def losses_of_tokens(
        self, sequences: Sequence[Tokens], advance: ProgressCallback
    ) -> list[TextLoss]:
        """See `Engine.losses`."""
        return losses_from_scores(self.score_tokens, sequences, 1, advance)

    def _special_stops(self, stops: Sequence[str]) -> list[int]:
        """The ids of special tokens among the stop strings: vLLM's text leaves them out."""
        added = self._model.tokenizer.added_tokens_decoder.items()
        return sorted(id_ for id_, token in added if token.special and str(token.content) in stops)

    def _run(self, prompts: Sequence[Tokens], settings: dict[str, Any]) -> list[Any]:
        from vllm import SamplingParams

        inputs = [{"prompt_token_ids": list(ids)} for ids in prompts]
        answers: list[Any] = self._model.runner.generate(inputs, SamplingParams(**settings))
        return answers


@singledispatch
def parameters(strategy: Strategy) -> dict[str, Any]:
    """A decoding strategy as arguments of ``vllm.SamplingParams``.

    Raises:
        UsageError: vLLM is not used with this strategy.
    """
    raise UsageError(
        f"vLLM is not asked for the strategy {strategy.strategy}",
        where="evaluate.decoding.strategy",
        fix="choose greedy or sampling, or set evaluate.engine=local",
    )


@parameters.register
def _(strategy: Greedy) -> dict[str, Any]:
    del strategy
    return {"temperature": 0.0}


@parameters.register
def _(strategy: Sampling) -> dict[str, Any]:
    return strategy.model_dump(exclude={"strategy"}, exclude_none=True)


def demanded(generation_config: dict[str, Any]) -> dict[str, Any]:
    """The demands of a generation config as arguments of ``vllm.SamplingParams``.

    vLLM itself applies them only to requests without arguments (lm-evaluation-harness#3154).

    Raises:
        UsageError: it makes a demand that is not passed on to vLLM.
    """
    asked = demands(generation_config)
    if names := sorted(asked.keys() - _HANDED_ON.keys()):
        raise UsageError(
            f"vLLM is not told what the model's generation config demands: {', '.join(names)}",
            where="generation_config.json",
            fix="set evaluate.engine=local, or remove the fields if answers without them will do",
        )
    return {_HANDED_ON[name]: value for name, value in asked.items()}


def _generation(output: Any) -> Generation:
    """An answer; ``stop_reason`` is the stop string as text, or else the end token or None."""
    ids = tuple(output.token_ids)
    at_the_end = output.finish_reason == "stop" and not isinstance(output.stop_reason, str)
    finish: Literal["stop", "length"] = "length" if output.finish_reason == "length" else "stop"
    return Generation(ids[:-1] if at_the_end else ids, output.text.strip(), finish)


def _score(prompt_logprobs: Sequence[Any], whole: Sequence[int], start: int) -> Score:
    """The score of the tokens from ``start`` on."""
    found = [prompt_logprobs[place][whole[place]] for place in range(start, len(whole))]
    return Score(sum(each.logprob for each in found), all(each.rank == 1 for each in found))
