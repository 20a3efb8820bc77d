"""A real server, transformers serve, with the real bundled model: the answers are those of here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from luthier.config import Decoding, ModelConfig, PromptConfig
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.example import Example, Message
from luthier.inference import ScoreRequest
from luthier.inference.local.engine import LocalEngine
from luthier.inference.remote import open_endpoint
from luthier.prompts.prompt import Conversation
from luthier.prompts.render import PromptRenderer

_START_SECONDS = 120
QUESTIONS = ["Name a fruit.", "What is the capital of France?"]


@pytest.fixture(scope="module")
def served(bundled_handle: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the server, which ends with the tests."""
    from transformers.utils.import_utils import is_serve_available

    if not is_serve_available():
        pytest.skip("transformers serve needs fastapi, uvicorn and openai")
    cache = tmp_path_factory.mktemp("hf")
    (cache / "hub").mkdir()  # it lists what is there, and fails where there is no such folder
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()"]
    command += ["serve", str(bundled_handle.folder.path), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--device", "cpu", "--dtype", "float32"]
    log = cache / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env={**os.environ, "HF_HOME": str(cache)}
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


@pytest.mark.sample(1)
@pytest.mark.parametrize("chat", ["auto", "never"])
def test_answers_are_those_of_the_model_here(
    chat: str, served: str, bundled_handle: Any, bundled_float32: Any
) -> None:
    name = str(bundled_handle.folder.path)
    settings = {"id": served, "endpoint": {"name": name, "concurrency": 1}}
    model = open_endpoint(ModelConfig.model_validate(settings), Console(quiet=True))
    examples = [Example(text, (Message("user", text),), ()) for text in QUESTIONS]
    decoding = Decoding(max_new_tokens=6)
    config = PromptConfig.model_validate({"chat_template": chat})
    here = PromptRenderer.from_config(
        config, bundled_float32.tokenizer, context_window=bundled_float32.context_window
    )
    pairs = ((model.engine(), model.renderer(config)), (LocalEngine(bundled_float32), here))
    answers = [
        engine.generate([renderer.prompt(e).content for e in examples], decoding)
        for engine, renderer in pairs
    ]
    texts, expected = ([answer.text for answer in each] for each in answers)
    assert texts == expected
    assert [a.finish for a in answers[0]] == [a.finish for a in answers[1]]
    assert all(texts)
    with pytest.raises(UsageError, match="no log-probabilities"):  # it ignores the wish for them
        model.engine().score([ScoreRequest("A", "B")])


def test_a_streamed_answer_is_the_answer(served: str, bundled_handle: Any) -> None:
    name = str(bundled_handle.folder.path)
    settings = {"id": served, "endpoint": {"name": name, "concurrency": 1}}
    engine = open_endpoint(ModelConfig.model_validate(settings), Console(quiet=True)).engine()
    question = Conversation((Message("user", QUESTIONS[0]),))
    decoding, pieces = Decoding(max_new_tokens=12), []
    answer = engine.stream(question, decoding, pieces.append)
    (expected,) = engine.generate([question], decoding)
    assert "".join(pieces) == answer.text == expected.text
    assert len(pieces) > 1
    assert answer.finish == expected.finish
