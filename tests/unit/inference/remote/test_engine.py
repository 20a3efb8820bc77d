"""The engine that asks a server gives what the model gives here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.config import Decoding, ModelConfig, PromptConfig
from luthier.config.decoding import Beam, Sampling
from luthier.core.console import Console
from luthier.core.errors import DataError, LuthierError, ResourceError, UsageError
from luthier.core.example import Example, Message
from luthier.evaluation.asking.encode import TextEncoder
from luthier.evaluation.asking.served import ServedEncoder
from luthier.inference import ScoreRequest
from luthier.inference.local.engine import LocalEngine
from luthier.inference.remote import EndpointModel, open_endpoint
from luthier.prompts.prompt import Content, Conversation
from luthier.prompts.render import PromptRenderer
from luthier.records.result_cache import ResultCache

QUICK = {"backoff": 0.01, "retries": 1}
EXAMPLES = [
    Example(
        str(number),
        (Message("system", "Be short."), Message("user", f"What is {number} + 1?")),
        (),
    )
    for number in range(5)
]


def opened(server: Any, **settings: Any) -> EndpointModel:
    config = ModelConfig.model_validate({"id": server.url, "endpoint": {**QUICK, **settings}})
    return open_endpoint(config, Console(quiet=True))


def prompt_config(chat: str) -> PromptConfig:
    return PromptConfig.model_validate({"chat_template": chat})


def asked(model: EndpointModel, chat: str) -> list[Content]:
    renderer = model.renderer(prompt_config(chat))
    return [renderer.prompt(example).content for example in EXAMPLES]


def asked_here(model: Any, chat: str) -> list[Content]:
    renderer = PromptRenderer.from_config(
        prompt_config(chat), model.tokenizer, context_window=model.context_window
    )
    return [renderer.prompt(example).ids for example in EXAMPLES]


@pytest.mark.parametrize(
    ("chat", "path"), [("auto", "/chat/completions"), ("never", "/completions")]
)
def test_answers_are_those_of_the_model(server: Any, lively: Any, chat: str, path: str) -> None:
    decoding = Decoding(max_new_tokens=6)
    model, done = opened(server), []
    answers = model.engine().generate(asked(model, chat), decoding, done.append)
    expected = LocalEngine(lively).generate(asked_here(lively, chat), decoding)
    assert [answer.text for answer in answers] == [answer.text for answer in expected]
    assert [answer.finish for answer in answers] == [answer.finish for answer in expected]
    assert len({answer.text for answer in answers}) > 1
    assert sum(done) == len(EXAMPLES)
    assert len(server.bodies(path)) == len(EXAMPLES)


def test_a_conversation_arrives_turn_by_turn(server: Any) -> None:
    model = opened(server, concurrency=1)
    shown = Example(
        "x",
        (
            Message("user", "a <|user|> b"),
            Message("assistant", "c\nd"),
            Message("user", "  e <|assistant|>"),
        ),
        (),
    )
    content = model.renderer(prompt_config("auto")).prompt(shown).content
    model.engine().generate([content], Decoding(max_new_tokens=1, stop=("\n\n", "Q:")))
    (body,) = server.bodies("/chat/completions")
    assert body == {
        "model": "tiny",
        "messages": [
            {"role": "user", "content": "a <|user|> b"},
            {"role": "assistant", "content": "c\nd"},
            {"role": "user", "content": "  e <|assistant|>"},
        ],
        "max_tokens": 1,
        "temperature": 0,
        "stop": ["\n\n", "Q:"],
    }


def test_a_text_can_be_asked_as_a_message(server: Any) -> None:
    model = opened(server, completions=False)
    example = Example("x", (Message("user", "Hi"),), ())
    content = model.renderer(prompt_config("never")).prompt(example).content
    model.engine().generate([content], Decoding(max_new_tokens=1))
    (body,) = server.bodies("/chat/completions")
    assert body["messages"] == [{"role": "user", "content": "Hi\n"}]


def test_strategies_become_parameters(server: Any) -> None:
    engine = opened(server).engine()
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=20, seed=5)
    engine.generate(["Hi"], Decoding(max_new_tokens=1, strategy=sampling))
    (body,) = server.bodies("/completions")
    expected = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "seed": 5}
    assert body == {"model": "tiny", "prompt": "Hi", "max_tokens": 1, **expected}
    with pytest.raises(UsageError, match="beam"):
        engine.generate(["Hi"], Decoding(max_new_tokens=1, strategy=Beam()))


def test_scores_are_those_of_the_model(server: Any, lively: Any) -> None:
    contexts = ["The water is ", "Ice is very", "A fire burns. It is"]
    words = [" cold", " hot", " hot and bright"]
    remote = ServedEncoder(opened(server).renderer(PromptConfig()))
    here = TextEncoder(lively.tokenizer, lively.context_window)
    pairs = [(text, words) for text in contexts]
    asked = [request for pair in pairs for request in remote.pairs(*pair)]
    scores = opened(server).engine().score(asked)
    expected = LocalEngine(lively).score([r for pair in pairs for r in here.pairs(*pair)])
    assert [s.logprob for s in scores] == pytest.approx([s.logprob for s in expected], abs=1e-3)
    assert [s.greedy for s in scores] == [s.greedy for s in expected]


def test_what_is_greedy_is_known(server: Any, lively: Any) -> None:
    answer = LocalEngine(lively).generate(
        [lively.tokenizer("The water")["input_ids"]], Decoding(max_new_tokens=1)
    )[0]
    likeliest = lively.tokenizer.decode(answer.ids)
    engine = opened(server).engine()
    for continuation, greedy in ((likeliest, True), (" unlikely", False)):
        request = ScoreRequest("The water", continuation)
        assert engine.score([request])[0].greedy is greedy


def test_losses_are_those_of_the_model(server: Any, lively: Any) -> None:
    text = "A fire burns brightly in the night."
    found = opened(server).engine().losses([text])[0]
    expected = LocalEngine(lively).losses([lively.tokenizer(text)["input_ids"]])[0]
    assert found.tokens == expected.tokens
    assert found.nats == pytest.approx(expected.nats, abs=1e-3)


def test_a_server_without_logprobs_is_refused_once(loopback: Any) -> None:
    loopback.rule = lambda path, _body: (
        {"data": [{"id": "m"}]} if path == "/models" else {"choices": [{"text": "?"}]}
    )
    engine = opened(loopback).engine()
    with pytest.raises(UsageError, match="no log-probabilities") as caught:
        engine.score([ScoreRequest("A", "B")] * 50)
    assert caught.value.where == loopback.url
    assert len(loopback.bodies("/completions")) == 1


def test_a_server_that_scores_the_wrong_place_is_refused(server: Any) -> None:
    rule = server.rule

    def shifted(path: str, body: Any) -> Any:
        answer = rule(path, body)
        if body and body.get("echo"):
            logprobs = answer["choices"][0]["logprobs"]
            logprobs["top_logprobs"] = [None, *logprobs["top_logprobs"][2:], {"best": -1.0}]
        return answer

    server.rule = shifted
    with pytest.raises(UsageError, match="changes with the token") as caught:
        opened(server).engine().score([ScoreRequest("A", "B")] * 50)
    assert caught.value.where == server.url
    assert len(server.bodies("/completions")) == 3


def test_a_server_that_leaves_out_impossible_tokens_is_refused(server: Any) -> None:
    """The engine's trials are asked about as well, so it is noticed before an example is."""
    rule = server.rule

    def with_null(path: str, body: Any) -> Any:
        answer = rule(path, body)
        if body and body.get("echo"):
            values = answer["choices"][0]["logprobs"]["token_logprobs"]
            values[-2] = None  # the last one of the prompt; one is generated after it
        return answer

    server.rule = with_null
    with pytest.raises(LuthierError, match="has none") as caught:
        opened(server).engine().score([ScoreRequest("AB", "CD")] * 50)
    assert caught.value.where.startswith(server.url)
    assert len(server.bodies("/completions")) <= 3


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        None,
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"text": 5}]},
        {"choices": "x"},
    ],
)
def test_answers_in_another_form_are_refused(server: Any, answer: Any) -> None:
    engine = opened(server).engine()
    server.rule = lambda _path, _body: answer
    with pytest.raises(DataError, match="no answer of an OpenAI-compatible server") as caught:
        engine.generate(["Hi"], Decoding(max_new_tokens=1))
    assert caught.value.where == server.url + "/completions"


def test_an_answer_without_words_is_an_empty_one(server: Any) -> None:
    engine = opened(server).engine()
    server.rule = lambda _path, _body: {"choices": [{"message": {"content": None}}]}
    hello = Conversation((Message("user", "Hi"),))
    (answer,) = engine.generate([hello], Decoding(max_new_tokens=1))
    assert (answer.text, answer.finish) == ("", "stop")


@pytest.mark.parametrize(
    ("said", "stop", "text", "finish"),
    [
        ("Paris<|im_end|>\nuser", ("<|im_end|>",), "Paris", "stop"),
        ("Paris \n\nQ: Where?", ("</s>", "\n\n"), "Paris", "stop"),
        ("Paris", ("<|im_end|>",), "Paris", "length"),
    ],
)
def test_a_server_that_goes_on_after_a_stop_string_is_cut_there(
    server: Any, said: str, stop: tuple[str, ...], text: str, finish: str
) -> None:
    engine = opened(server).engine()
    server.rule = lambda _path, _body: {"choices": [{"text": said, "finish_reason": "length"}]}
    (answer,) = engine.generate(["Hi"], Decoding(max_new_tokens=9, stop=stop))
    assert (answer.text, answer.finish) == (text, finish)


def test_nothing_is_asked_twice(server: Any, tmp_path: Path) -> None:
    log, decoding = tmp_path / "log.jsonl", Decoding(max_new_tokens=4)
    model = opened(server)
    first = model.engine(ResultCache(log))
    answers = first.generate(asked(model, "auto"), decoding)
    scored = first.score([ScoreRequest("The sun", " is")])
    before = len(server.seen)
    again = opened(server).engine(ResultCache(log))
    assert again.generate(asked(model, "auto"), decoding) == answers
    assert len(server.seen) == before + 1  # the list of models
    assert again.score([ScoreRequest("The sun", " is")]) == scored
    assert again.usage.prompt_tokens == first.usage.prompt_tokens > 0
    assert again.usage.seconds > 0
    # Other settings, and a server that says something else of its model, are asked anew.
    again.generate(asked(model, "auto"), Decoding(max_new_tokens=5))
    rule = server.rule
    server.rule = lambda path, body: (
        {"data": [{"id": "tiny", "root": "other"}]} if path == "/models" else rule(path, body)
    )
    opened(server).engine(ResultCache(log)).generate(asked(model, "auto"), decoding)
    assert len(server.bodies("/chat/completions")) == 3 * len(EXAMPLES)


def test_answers_before_a_failure_are_kept(server: Any, tmp_path: Path) -> None:
    log, decoding = tmp_path / "log.jsonl", Decoding(max_new_tokens=2)
    model, rule = opened(server, concurrency=2, retries=0), server.rule
    prompts = asked(model, "never")

    def dying(path: str, body: Any) -> Any:
        if "3" in body["prompt"]:
            raise server.reply(500)
        return rule(path, body)

    server.rule = dying
    with pytest.raises(ResourceError):
        model.engine(ResultCache(log)).generate(prompts, decoding)
    kept = len(log.read_text().splitlines())
    assert kept >= 3
    server.rule = rule
    asked_before = len(server.bodies("/completions"))
    model.engine(ResultCache(log)).generate(prompts, decoding)
    assert len(server.bodies("/completions")) - asked_before == len(prompts) - kept


def test_the_only_model_needs_no_name(server: Any) -> None:
    model = opened(server)
    assert (model.id, model.stamp.endpoint, model.stamp.parameters) == ("tiny", server.url, 0)
    server.rule = lambda _path, _body: {"data": [{"id": "a"}, {"id": "b\x1b[31m"}]}
    with pytest.raises(UsageError, match="lists 2 models") as caught:
        opened(server)
    assert "it lists a, b [31m" in caught.value.fix
    assert opened(server, name="a").revision != opened(server, name="c").revision


def test_a_server_that_lists_nothing_is_asked_by_name(loopback: Any) -> None:
    def rule(_path: str, _body: Any) -> Any:
        raise loopback.reply(404)

    loopback.rule = rule
    assert opened(loopback, name="mine").id == "mine"
    with pytest.raises(UsageError, match="lists 0 models"):
        opened(loopback)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("sk-abc", None, "not the name of an environment variable"),
        ("LUTHIER_TEST_KEY", None, "LUTHIER_TEST_KEY is not set"),
        ("LUTHIER_TEST_KEY", "sk-a\nb", "no key has"),
    ],
)
def test_keys_are_in_no_message(
    loopback: Any, variable: str, value: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LUTHIER_TEST_KEY", raising=False)
    if value:
        monkeypatch.setenv("LUTHIER_TEST_KEY", value)
    with pytest.raises(UsageError, match=says) as caught:
        opened(loopback, api_key_env=variable)
    assert "sk-a" not in str(caught.value)
    assert not loopback.seen


def test_a_key_is_sent_and_stored_nowhere(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_TEST_KEY", "sk-secret")
    model = opened(server, api_key_env="LUTHIER_TEST_KEY")
    log = tmp_path / "log.jsonl"
    model.engine(ResultCache(log)).generate(["Hi"], Decoding(max_new_tokens=1))
    assert {headers["Authorization"] for _, _, headers in server.seen} == {"Bearer sk-secret"}
    assert "sk-secret" not in log.read_text() + repr(model.stamp) + repr(model.config)


def test_a_key_that_a_server_splits_between_pieces_is_told_to_nobody(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-0123456789abcdef"
    monkeypatch.setenv("LUTHIER_TEST_KEY", key)
    engine = opened(server, api_key_env="LUTHIER_TEST_KEY").engine()

    def repeating(_path: str, body: Any) -> Any:
        if not body.get("stream"):
            return {"choices": [{"text": f"It is {key}.", "finish_reason": "stop"}]}
        parts = [*f"It is {key}."]
        events = [{"choices": [{"text": part, "finish_reason": None}]} for part in parts]
        events += [{"choices": [{"text": "", "finish_reason": "stop"}]}]
        content = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        raise server.reply(200, content.encode(), Content_Type="text/event-stream")

    server.rule = repeating
    pieces: list[str] = []
    answer = engine.stream("Key?", Decoding(max_new_tokens=40), pieces.append)
    assert pieces == [answer.text] == ["It is [API key]."]


def test_a_context_that_is_missing_is_told(server: Any) -> None:
    with pytest.raises(LuthierError, match="predicts no first token"):
        opened(server).engine().score([ScoreRequest("", "The")])
