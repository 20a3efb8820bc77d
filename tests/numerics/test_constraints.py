"""What a model's generation config demands is obeyed as transformers' ``generate`` obeys it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.decoding import our_answers, prompts_of, that_ends, transformers_answers

from luthier.config import Beam, Greedy, Sampling
from luthier.core.errors import DataError

MODELS = ("tiny_llama", "tiny_gpt2", "tiny_t5")
WORDS = list(range(5, 14))
DEMANDS: list[dict[str, Any]] = [
    {"repetition_penalty": 1.7},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"encoder_repetition_penalty": 1.6},
    {"encoder_no_repeat_ngram_size": 1},
    {"bad_words_ids": [[word] for word in WORDS] + [[20, 21]]},
    {"min_length": 20},
    {"min_new_tokens": 5},
    {"forced_bos_token_id": 17},
    {"forced_eos_token_id": 2},
    {"suppress_tokens": WORDS},
    {"begin_suppress_tokens": list(range(3, 30))},
    {"exponential_decay_length_penalty": (2, 1.5)},
    {"sequence_bias": [[[word], -9.0] for word in WORDS] + [[[15, 16], 4.0]]},
    {"eos_token_id": [1, 2, *WORDS]},
    # As BART is published for summaries.
    {
        "min_length": 9,
        "no_repeat_ngram_size": 2,
        "forced_bos_token_id": 4,
        "forced_eos_token_id": 2,
    },
    # As Qwen 2.5 is published (lm-evaluation-harness#3154).
    {"repetition_penalty": 1.1, "do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8},
    # None of these is the strategy that is asked for.
    {"max_length": 3, "num_beams": 4, "length_penalty": 2.0, "max_new_tokens": 2},
]


STRATEGY_ONLY = DEMANDS[-1]


def obeying(loaded: Any, demands: dict[str, Any]) -> list[int]:
    """Let a model demand something; the tokens that end its answers."""
    loaded.model.generation_config.update(**demands)
    ends = loaded.model.generation_config.eos_token_id
    return ends if isinstance(ends, list) else [ends]


@pytest.mark.sample(5)
@pytest.mark.parametrize("demands", DEMANDS, ids=str)
def test_greedy_answers_are_transformers_own(
    demands: dict[str, Any], request: pytest.FixtureRequest, load_lively: Any
) -> None:
    changed = set()
    for name in MODELS:
        loaded = that_ends(load_lively(request.getfixturevalue(name)))
        prompts = prompts_of(loaded)[1::2]
        free = our_answers(loaded, prompts, Greedy())
        ends = obeying(loaded, demands)
        ours = our_answers(loaded, prompts, Greedy())
        theirs = transformers_answers(loaded, prompts, ends, num_beams=1, use_cache=False)
        assert [answer.ids for answer in ours] == theirs
        assert our_answers(loaded, prompts, Greedy(), 100) == ours
        changed.add(ours != free)
    assert changed == {False} if demands is STRATEGY_ONLY else True in changed


@pytest.mark.parametrize("demands", [DEMANDS[index] for index in (0, 2, 7, -3)], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_beam_answers_are_transformers_own(
    name: str, demands: dict[str, Any], request: pytest.FixtureRequest, load_lively: Any
) -> None:
    loaded = that_ends(load_lively(request.getfixturevalue(name)))
    prompts = prompts_of(loaded)[1::2]
    ends = obeying(loaded, demands)
    settings = {"num_beams": 3, "length_penalty": 1.0, "early_stopping": False}
    theirs = transformers_answers(loaded, prompts, ends, use_cache=False, **settings)
    ours = our_answers(loaded, prompts, Beam(num_beams=3))
    assert [answer.ids for answer in ours] == theirs


def test_what_is_drawn_obeys(tiny_gpt2: Any, load_lively: Any) -> None:
    loaded = that_ends(load_lively(tiny_gpt2))
    sampling, prompts = Sampling(temperature=2.0), prompts_of(loaded)
    free = our_answers(loaded, prompts, sampling)
    assert any(set(answer.ids) & set(WORDS) for answer in free)
    obeying(loaded, {"suppress_tokens": WORDS, "min_new_tokens": 4})
    drawn = our_answers(loaded, prompts, sampling)
    assert not any(set(answer.ids) & set(WORDS) for answer in drawn)
    assert min(len(answer.ids) for answer in drawn) >= 4 > min(len(each.ids) for each in free)
    one_word = our_answers(loaded, prompts, Sampling(top_k=1))
    assert one_word == our_answers(loaded, prompts, Greedy())


@pytest.mark.parametrize(
    ("name", "value"), [("guidance_scale", 1.5), ("token_healing", True)], ids=str
)
def test_what_cannot_be_obeyed_is_refused(
    name: str, value: Any, tiny_gpt2: Any, load_lively: Any
) -> None:
    loaded = load_lively(tiny_gpt2)
    obeying(loaded, {name: value})
    with pytest.raises(DataError, match=f"asks for {name} = {value}"):
        our_answers(loaded, [[5, 6]], Greedy())


def test_texts_that_end_an_answer_are_those_of_the_model_too(
    tiny_gpt2: Any, load_lively: Any
) -> None:
    loaded = that_ends(load_lively(tiny_gpt2))
    prompts = prompts_of(loaded)
    (longest,) = sorted(our_answers(loaded, prompts, Greedy()), key=lambda a: len(a.ids))[-1:]
    middle = loaded.tokenizer.decode(longest.ids[4:5])
    for stop in (middle, [middle, "never said"]):
        obeying(loaded, {"stop_strings": stop})
        for answer in our_answers(loaded, prompts, Greedy()):
            assert middle not in answer.text
