"""Models for the tests: the real bundled one, and small random ones made on the spot."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from hypothesis import settings
from tests.command_server import CommandServer

# The same examples in every run; make test-long searches with new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile("repeatable")

# No test may wait for a network that is not there.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny models lose more on sharing work between threads than they gain, and on a busy machine the
# waiting for each other is most of the time. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tables are as wide as in a pipe, whatever the terminal or the test's worker says.
os.environ.pop("COLUMNS", None)

BUNDLED = "smollm2-135m-instruct"
# Of the tiny decoder-only models.
VOCABULARY = 2048


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave all but a sample of the variants of a test to ``make test-long``.

    The variants are evenly spaced, and each test begins at a place of its own, so that tests over
    the same models or methods do not all take the same ones.
    """
    variants: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sample"):
            variants.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for name, found in variants.items():
        size = found[0].get_closest_marker("sample").args[0]  # type: ignore[union-attr]
        start = zlib.crc32(name.encode()) % len(found)
        kept = {(start + number * len(found) // size) % len(found) for number in range(size)}
        for place, item in enumerate(found):
            if place not in kept:
                item.add_marker(pytest.mark.long)


@pytest.fixture(scope="module", autouse=True)
def kept_imports() -> None:
    """What is imported stays, so garbage is not looked for in it: each training does that anew."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def bundled_handle() -> Any:
    """The real bundled model, described; it is converted once into the user's cache."""
    from luthier.config import ModelConfig
    from luthier.core.console import Console
    from luthier.models.bundled import BUNDLED_MODELS, find
    from luthier.models.load import open_model

    if find(BUNDLED_MODELS[BUNDLED]) is None:
        pytest.skip(f"the bundled model is missing: run 'luthier models pull {BUNDLED}'")
    return open_model(ModelConfig(id=BUNDLED), Console(quiet=True))


@pytest.fixture(scope="session")
def bundled_model(bundled_handle: Any) -> Any:
    """The real bundled model with its weights. Tests must leave it as it is."""
    from luthier.models.load import load_model

    return load_model(bundled_handle)


@pytest.fixture(scope="session")
def word_tokenizer() -> Any:
    """A tokenizer of 1,000 pieces without a chat template, as T5's: it ends texts with </s>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=["<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([topics[name] for name in sorted(topics)[:20]], trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture(scope="session")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory, bundled_handle: Any) -> Any:
    """The bundled tokenizer with its first 2,048 pieces alone, in the order they were learned.

    Most of the time of a tiny model with all 49,152 would go into reading and writing them.
    """
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    bundled_handle.tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"
    rules = json.loads(path.read_text(encoding="utf-8"))
    pieces = rules["model"]["vocab"]
    kept = {piece: number for piece, number in pieces.items() if number < VOCABULARY}
    merges = [pair for pair in rules["model"]["merges"] if "".join(pair) in kept]
    rules["model"] |= {"vocab": kept, "merges": merges}
    path.write_text(json.dumps(rules), encoding="utf-8")
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Path:
    """A folder with a random two-layer Llama that has the bundled chat template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    small_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Path:
    """A folder with a random two-layer GPT-2, which has biases."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny-gpt2"
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=1024,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    small_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory, word_tokenizer: Any) -> Path:
    """A folder with a random two-layer T5."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny-t5"
    config = T5Config(
        vocab_size=1000,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    word_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def load() -> Any:
    """Loads a fresh model: ``load(folder or name, dtype="float32", quantisation=None)``."""
    from functools import cache

    from luthier.config import ModelConfig
    from luthier.core.console import Console
    from luthier.models.load import load_model, open_model

    @cache
    def opened(name: str, dtype: Any, quantisation: Any) -> Any:
        config = ModelConfig(id=name, dtype=dtype, quantisation=quantisation)
        return open_model(config, Console(quiet=True))

    def loaded(model: Any, dtype: str = "float32", quantisation: str | None = None) -> Any:
        return load_model(opened(str(model), dtype, quantisation))

    return loaded


@pytest.fixture(scope="session")
def load_lively(load: Any) -> Any:
    """Loads a random model whose answers differ by prompt: fresh weights are too small for that."""
    import torch

    def loaded_and_drawn(model: Any) -> Any:
        loaded = load(model)
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in loaded.model.parameters():
                if parameter.ndim > 1:
                    parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
        return loaded

    return loaded_and_drawn


@pytest.fixture(scope="session")
def bundled_float32(load: Any, bundled_handle: Any) -> Any:
    """The real bundled model in float32. Tests must leave it as it is."""
    return load(BUNDLED)


@pytest.fixture(scope="session")
def make_examples() -> Any:
    """Makes tokenised training examples of real English: ``make_examples(loaded, count)``."""
    from luthier.config import PromptConfig
    from luthier.core.example import Example, Message
    from luthier.prompts.render import PromptRenderer

    names = [name for name in sorted(topics) if len(topics[name].split()) > 60]

    def make(loaded: Any, count: int) -> tuple[Any, ...]:
        renderer = PromptRenderer.from_config(
            PromptConfig(),
            loaded.tokenizer,
            context_window=loaded.context_window,
            encoder_decoder=loaded.is_encoder_decoder,
        )
        made = []
        for position, name in enumerate(names[:count]):
            words = topics[name].split()
            asked = " ".join(words[: 10 + 5 * (position % 4)])
            answer = " ".join(words[40 : 44 + 3 * (position % 5)])
            example = Example(name, (Message("user", asked),), (answer,))
            made.append(renderer.training(example, completion_only_loss=True))
        return tuple(made)

    return make


@pytest.fixture(scope="session")
def parity_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task that a tiny model learns half of in seconds: sixty numbers, even or odd."""
    path = tmp_path_factory.mktemp("data") / "parity.jsonl"
    rows = [
        {
            "prompt": f"Is the number {number} even or odd?",
            "completion": "odd" if number % 2 else "even",
        }
        for number in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def quick_settings(parity_file: Path) -> dict[str, Any]:
    """Settings by dotted key with which a tiny model climbs the whole ladder in seconds."""
    return {
        "data.source": str(parity_file),
        "data.test_fraction": 0.3,
        # Which type auto chooses depends on the CPU, and with it what so few steps teach.
        "model.dtype": "float32",
        # The question is the number itself, so a baseline adds time only.
        "adapt.baselines": [],
        "evaluate.metrics": ["exact_match", "chrf"],
        "evaluate.max_new_tokens": 4,
        "evaluate.general_tokens": 256,
        "evaluate.resamples": 200,
        "train.batch_size": 8,
        "train.epochs": 8,
        "train.schedule": "constant",
        "methods.prompt-tuning.learning_rate": 1.0,
        "methods.lora.learning_rate": 0.1,
        "methods.full.learning_rate": 0.02,
    }


@pytest.fixture(scope="session")
def command_server() -> Iterator[CommandServer]:
    """Starts commands in processes of their own that have imported everything already."""
    server = CommandServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models are slower on more threads, which would wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data files that LUTHIER_DATA names."""
    root = os.environ.get("LUTHIER_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("LUTHIER_DATA does not name a folder of data files")
    return Path(root)


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def files_limited_to() -> Any:
    """No file may grow beyond a size: ``with files_limited_to(100): …``. Writes really fail."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def limited(limit: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


class Reply(Exception):  # noqa: N818 - a rule raises it to answer otherwise than with JSON
    """An answer that is not plain JSON with status 200.

    Args:
        status: of HTTP; 0: the connection is closed without a word.
        content: the body.
        headers: more headers; a Content-Length here is not corrected.
    """

    def __init__(self, status: int, content: bytes = b"", **headers: str) -> None:
        super().__init__(status)
        self.status, self.content = status, content
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Loopback(ThreadingHTTPServer):
    """A real server on this machine that answers by a rule.

    Attributes:
        rule: from path and body (None for a GET) to what is answered as JSON; it may raise `Reply`.
        seen: path, body and headers of each request.
    """

    daemon_threads = True
    reply = Reply

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rule: Callable[[str, Any], Any] = lambda _path, _body: {}
        self.seen: list[tuple[str, Any, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def bodies(self, path: str) -> list[Any]:
        return [body for seen, body, _ in self.seen if seen == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Loopback

    def do_GET(self) -> None:
        self._answer(None)

    def do_HEAD(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        path = self.path.removeprefix("/v1")
        self.server.seen.append((path, body, dict(self.headers)))
        try:
            answer = Reply(200, json.dumps(self.server.rule(path, body)).encode())
        except Reply as raised:
            answer = raised
        self.close_connection = True
        if not answer.status:
            return
        self.send_response(answer.status)
        usual = {"Content-Length": str(len(answer.content)), "Connection": "close"}
        for name, value in {**usual, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(OSError):  # who asked may be gone
            self.wfile.write(answer.content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A server for one test: set its ``rule``; raise its ``reply`` to answer otherwise."""
    with Loopback() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
