"""A trial on the loaded model: the fastest way of computing that agrees with whole texts.

Only a model's own code knows how it handles earlier keys, a state and padding. So the trial gives
it a few short texts, one at a time and without a cache. Their results are the definition, and a
faster way is used only if it has the same results. A short trial cannot test the effects of long
texts (windows of thousands of tokens, RoPE that depends on the length). For these, each way is
right by construction or is not offered.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from luthier.core.errors import DataError
from luthier.inference.engine import Score, ScoreRequest
from luthier.inference.local.decoding import Rows
from luthier.inference.local.radix_tree import Tokens, common_length
from luthier.inference.tokenise import TokenRequest
from luthier.models.cache_support import settled_length
from luthier.models.device import is_out_of_memory
from luthier.models.forward import decoder_start, without_cache
from luthier.models.load import LoadedModel

# Tokens of an answer.
STEPS = 4
# Texts consist of pieces, given as names and lengths, so that they fork in several places. One text
# ends right after a fork, and two have the same length. Shared prefixes are longer than the windows
# of small models.
_TEXTS = (
    (("a", 12), ("b", 8), ("c", 9)),
    (("a", 12), ("b", 8), ("d", 1)),
    (("a", 12), ("e", 5)),
    (("a", 12), ("b", 8), ("f", 9)),
    (("g", 3),),
)
_WITH_PADDING = "ac"
_LONGEST = 12 + 8 + 9 + STEPS
# The first entries of a vocabulary are seldom plain text.
_FIRST_PIECES_OF_A_VOCABULARY = 10

Way = TypeVar("Way")
Chosen = tuple[int, int, Tensor]


class Text(NamedTuple):
    """A prompt and an answer of `STEPS` tokens."""

    prompt: Tokens
    answer: Tokens


class Trial:
    """The texts of a trial, and the model's results for each text by itself.

    Args:
        loaded: the model, with adapters and soft prompts.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded

    @cached_property
    def texts(self) -> list[Text]:
        """Prompts and answers of ordinary tokens, with padding tokens in some places."""
        config = self._loaded.model.config
        text_config = config.get_text_config(decoder=True)
        draw = random.Random(0)  # noqa: S311 - nothing secret
        special = _special(text_config)
        known = [token for token in range(text_config.vocab_size) if token not in special]
        plain = known[_FIRST_PIECES_OF_A_VOCABULARY:] or known
        fits = min(_LONGEST, self._loaded.context_window, settled_length(config))
        # Some models skip padding tokens when they count positions (RoBERTa).
        padding: Any = getattr(text_config, "pad_token_id", None)
        pieces: dict[str, Tokens] = {}
        for name, length in (piece for text in _TEXTS for piece in text):
            shorter = max(1, int(length * (fits - STEPS) / (_LONGEST - STEPS)))
            if name not in pieces:
                pieces[name] = tuple(draw.choice(plain) for _ in range(shorter))
                if name in _WITH_PADDING and padding in range(text_config.vocab_size):
                    pieces[name] = (*pieces[name][:-1], padding)
        prompts = [tuple(t for name, _ in text for t in pieces[name]) for text in _TEXTS]
        return [Text(prompt, tuple(draw.choice(plain) for _ in range(STEPS))) for prompt in prompts]

    @cached_property
    def expected(self) -> Tensor:
        """Log-probabilities at each token of each answer, ``[N, S, V]`` in float32.

        Raises:
            DataError: the model cannot read plain text, its numbers are not finite, or they depend
                on later tokens.
        """
        try:
            made = [self._whole(text) for text in self.texts]
        except Exception as error:  # whatever a model's own code may raise
            _raise_if_memory_lacks(error)
            raise self._refused(f"it cannot be given plain text: {_reason(error)}") from error
        if any(bool(logprobs_TV.isnan().any()) for logprobs_TV in made):
            raise DataError(
                "the log-probabilities that the model gives are not finite",
                where=self._loaded.stamp.id,
                fix="its weights may come from a training that diverged; or its numbers do not fit "
                "into its type: try model.dtype=float32",
            )
        expected_NSV = torch.stack([logprobs_TV[-STEPS:] for logprobs_TV in made])
        if not self._loaded.is_encoder_decoder:
            one, other = (text.prompt for text in self.texts[:2])
            ahead = len(made[0]) - len(one) - STEPS + 1 + common_length(one, other)
            if not self._is_same(made[1][:ahead], made[0][:ahead], expected_NSV):
                raise self._refused("what it predicts depends on the tokens that come later")
        return expected_NSV

    def choose(self, ways: Iterable[Way], agrees: Callable[[Way], bool]) -> Way:
        """The first way with the same results as whole texts.

        Args:
            ways: the ways, the fastest first.
            agrees: tests a way; an exception means that the way does not work.

        Raises:
            DataError: no way has them; or see `expected`.
        """
        _ = self.expected  # first, so that an unusable model is refused for its own reason
        for way in ways:
            try:
                if agrees(way):
                    return way
            except Exception as error:  # noqa: BLE001 - IndexError, AttributeError, … were all seen
                _raise_if_memory_lacks(error)
        raise self._refused("it gives other numbers for a text in a batch than for the text alone")

    def agrees_step_by_step(self, start: Callable[..., Iterable[Rows]]) -> bool:
        """Whether token-by-token generation has the expected log-probabilities.

        After some steps, one row is dropped, as when an answer ends, and another is duplicated, as
        in beam search.

        Args:
            start: reads prompts, see `Reuse.start`.
        """
        prompts, order = [text.prompt for text in self.texts], range(len(self.texts))
        found = [one for rows in start(prompts, order) for one in self._driven(rows)]
        if {text for text, *_ in found} != set(order):
            return False
        expected = torch.stack([self.expected[text, step] for text, step, _ in found])
        return self._is_same(torch.stack([each for *_, each in found]), expected)

    def requests(self) -> list[TokenRequest]:
        """The texts as score requests, and one more that is a prefix of another."""
        whole = [ScoreRequest(text.prompt, text.answer) for text in self.texts]
        return [*whole, ScoreRequest(self.texts[0].prompt, self.texts[0].answer[:2])]

    def agrees_with_scores(self, scores: Sequence[Score]) -> bool:
        """Whether these are the scores of the `requests`."""
        answers_NS = torch.tensor([text.answer for text in self.texts])
        each_NS = self.expected.cpu().gather(2, answers_NS[..., None])[..., 0]
        expected = torch.cat([each_NS.sum(1), each_NS[:1, :2].sum(1)])
        found = torch.tensor([score.logprob for score in scores])
        return self._is_same(found[:, None], expected[:, None])

    def _driven(self, rows: Rows) -> Iterator[Chosen]:
        """The text, step and log-probabilities of each row at each step."""
        logits_BV = rows.logits_BV
        for step in range(STEPS):
            logprobs_BV = logits_BV.float().log_softmax(-1)
            yield from zip(rows.prompts, [step] * len(rows.prompts), logprobs_BV, strict=True)
            if step == 1:
                last = len(rows.prompts) - 1
                rows.select([*range(min(1, last), last), last, last])
            if step < STEPS - 1:
                logits_BV = rows.step([self.texts[text].answer[step] for text in rows.prompts])

    def _whole(self, text: Text) -> Tensor:
        """Log-probabilities after each token of a text in a batch of one, without a cache."""
        model = self._loaded.model
        prompt_1T = torch.tensor([text.prompt], device=model.device)
        answer_1S = torch.tensor([text.answer[:-1]], device=model.device)
        inputs = without_cache(model)
        if self._loaded.is_encoder_decoder:
            start_11 = torch.full_like(answer_1S[:, :1], decoder_start(model))
            inputs |= {
                "input_ids": prompt_1T,
                "decoder_input_ids": torch.cat([start_11, answer_1S], 1),
            }
        else:
            inputs |= {"input_ids": torch.cat([prompt_1T, answer_1S], 1)}
        logits_TV: Tensor = model(**inputs, return_dict=True).logits[0]
        return logits_TV.float().log_softmax(-1)

    def _is_same(self, found: Tensor, expected: Tensor, scale_NSV: Tensor | None = None) -> bool:
        """Whether log-probabilities differ only by rounding.

        Differences are relative to the spread of the texts' own numbers, because these are nearly
        alike for a random model and far apart for a trained one.

        Args:
            found: ``[..., V]``.
            expected: like ``found``.
            scale_NSV: the numbers that set the scale; None: `expected` of this trial.
        """
        scale_NSV = self.expected if scale_NSV is None else scale_NSV
        eps = torch.finfo(self._loaded.model.dtype).eps
        finite_NSV = scale_NSV.nan_to_num(neginf=0.0)
        spread = (finite_NSV - finite_NSV.mean((0, 1))).square().mean().sqrt()
        limit = 4 * eps**0.5 * spread + 64 * eps * finite_NSV.abs().amax()
        apart = (found - expected).masked_fill(found == expected, 0.0)  # -inf is equal to itself
        return bool(apart.square().mean(-1).sqrt().amax() <= limit)

    def _refused(self, reason: str) -> DataError:
        stamp = self._loaded.stamp
        return DataError(
            f"{stamp.architecture} models cannot be used here: {reason}",
            where=stamp.id,
            fix="choose another model; docs/architectures.md lists the architectures that work",
        )


def _special(config: Any) -> set[int]:
    """The special tokens that a configuration names."""
    named = [value for name, value in config.to_dict().items() if "token_id" in name]
    flat = [each for value in named for each in (value if isinstance(value, list) else [value])]
    return {each for each in flat if isinstance(each, int)}


def _reason(error: Exception) -> str:
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def _raise_if_memory_lacks(error: Exception) -> None:
    if isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error):
        raise error
    if isinstance(error, DataError):  # it explains itself already
        raise error
