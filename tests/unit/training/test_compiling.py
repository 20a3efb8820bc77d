"""Compiled layers change the time of a training, and nothing else."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tests.objectives import SUPERVISED
from tests.observers import StopAt

from luthier.core.console import Console
from luthier.core.errors import PreemptedError, UsageError
from luthier.core.files import read_lines
from luthier.prompts.training_example import TrainingExample
from luthier.records.run_directory import RunDirectory
from luthier.training import Limits
from luthier.training.compiling import first_passes, has_compiler

needs_compiler = pytest.mark.skipif(
    not has_compiler(torch.device("cpu")), reason="there is no C++ compiler"
)
COMPILED = {"compile": True}
# So few tokens that every pass is of one example, which saves the compiling of others.
ALONE = {"micro_batch_tokens": 1}


def losses(run: RunDirectory) -> list[float]:
    return [line["loss"] for line in read_lines(run.metrics)]


def layers(loaded: Any) -> list[Any]:
    return [module for module in loaded.model.modules() if type(module).__name__.endswith("Layer")]


def names_in(folder: Path) -> list[str]:
    files = sorted(folder.rglob("*.safetensors"))
    assert files
    return [name for file in files for name in safe_open(file, "pt").keys()]  # noqa: SIM118


@needs_compiler
def test_the_losses_are_those_of_the_model_as_it_is_written(small_tune: Any) -> None:
    """And what is saved has the same names; after the training the layers are as before."""
    _, _, plain = small_tune(run="plain", train=ALONE)
    out = io.StringIO()
    loaded, _, compiled = small_tune(run="compiled", train=ALONE | COMPILED, console=Console(out))
    assert "layers compiled in" in out.getvalue()
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-5)
    assert losses(compiled) != losses(plain)
    for folder in ("model", "checkpoints"):
        assert names_in(compiled.path / folder) == names_in(plain.path / folder)
    assert layers(loaded)
    assert all(layer._compiled_call_impl is None for layer in layers(loaded))


CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("tiny_llama", "lora", {}, {}),
    ("tiny_llama", "lora", {"packing": True, "batch_size": 4}, {}),
    ("tiny_llama", "full", {"activation_checkpointing": "selective"}, {}),
    ("tiny_llama", "full", {"activation_checkpointing": "full"}, {}),
    ("tiny_llama", "last-layers", {}, {"layers": 1}),
    ("tiny_llama", "adapters", {}, {}),
    ("tiny_llama", "prefix-tuning", {}, {}),
    ("tiny_gpt2", "full", {}, {}),
    ("tiny_t5", "lora", {}, {}),
]


@needs_compiler
@pytest.mark.long
@pytest.mark.parametrize(("model", "method", "loop", "settings"), CASES)
def test_so_they_are_with_every_method_and_when_resumed(
    model: str, method: str, loop: dict[str, Any], settings: dict[str, Any], small_tune: Any
) -> None:
    """To 1e-5 beside the model as written, and bit for bit after a stop."""
    chosen = {"model": model, "method": method, "settings": settings}
    _, _, plain = small_tune(**chosen, run="plain", train=loop)
    _, _, whole = small_tune(**chosen, run="whole", train=loop | COMPILED)
    with pytest.raises(PreemptedError):
        small_tune(**chosen, run="broken", train=loop | COMPILED, observers=[StopAt(2)])
    _, _, broken = small_tune(**chosen, run="broken", train=loop | COMPILED)
    assert losses(whole) == pytest.approx(losses(plain), rel=1e-5)
    assert losses(broken) == losses(whole)


@pytest.mark.parametrize("method", ["lora", "vera"])
def test_an_adapter_with_dropout_is_not_compiled(method: str, small_tune: Any) -> None:
    """Its losses part from those as written by a thousandth after some steps."""
    with pytest.raises(UsageError, match="with dropout by more than rounding") as caught:
        small_tune(method=method, train=COMPILED, settings={"dropout": 0.2})
    assert caught.value.where == "train.compile"


@needs_compiler
@pytest.mark.long
def test_a_run_keeps_to_what_it_began_with(small_tune: Any) -> None:
    """A later plan may judge otherwise, on a machine that was measured since."""
    began, later = Limits(compiling_pays=True), Limits()
    _, _, whole = small_tune(run="whole", limits=began)
    with pytest.raises(PreemptedError):
        small_tune(run="broken", limits=began, observers=[StopAt(2)])
    _, _, broken = small_tune(run="broken", limits=later)
    assert losses(broken) == losses(whole)


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    assert shutil.which(str(tmp_path / "no-such-compiler")) is None


def test_without_a_compiler_a_training_goes_on_as_it_is(
    small_tune: Any, without_compiler: None
) -> None:
    _, _, plain = small_tune(run="plain")
    out = io.StringIO()
    _, _, run = small_tune(limits=Limits(compiling_pays=True), console=Console(out))
    assert "the layers are not compiled: there is no C++ compiler" in out.getvalue()
    assert losses(run) == losses(plain)


def test_what_was_asked_for_is_refused_without_a_compiler(
    small_tune: Any, without_compiler: None
) -> None:
    with pytest.raises(UsageError, match=r"no C\+\+ compiler") as caught:
        small_tune(train=COMPILED)
    assert caught.value.where == "train.compile"


@pytest.mark.parametrize(
    ("lengths", "tokens", "expected"),
    [
        ([10, 20, 45, 100], 512, [[100], [45, 45], [45, 10]]),
        ([30, 31, 32], 512, [[32], [31, 31], [31, 30]]),  # alike: two together are longer
        ([30, 31, 32], 40, [[32]]),  # and there are never two
        ([7, 7, 7], 512, [[7], [7, 7]]),
        ([5], 512, [[5], [5, 5]]),
    ],
)
def test_what_is_compiled_follows_from_the_lengths(
    lengths: list[int], tokens: int, expected: list[list[int]]
) -> None:
    examples = [TrainingExample("", (1,) * n, (True,) * n, 0) for n in lengths]
    passes = first_passes(SUPERVISED, examples, tokens)
    assert [[len(one.input_ids) for one in made] for made in passes] == expected
