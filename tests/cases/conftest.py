"""Inputs that once gave wrong values, used as their owners would: through the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import call

from luthier.config.data import DataConfig
from luthier.config.prompt import PromptConfig
from luthier.core.console import Console
from luthier.core.example import Example
from luthier.data.dataset import Dataset, load_dataset
from luthier.data.splits import SPLITS
from luthier.prompts.render import PromptRenderer

__all__ = ["call"]
INPUTS = Path(__file__).parent / "inputs"


@dataclass(frozen=True)
class Rendered:
    """A row as a training sees it: its tokens as text, and those that are trained."""

    example: Example
    whole: str
    trained: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Reading:
    """All rows of a file, read and rendered."""

    dataset: Dataset
    rows: tuple[Rendered, ...]


@pytest.fixture(scope="session")
def inputs() -> Path:
    """The folder with the inputs."""
    return INPUTS


@pytest.fixture(scope="session")
def reading() -> Callable[..., Reading]:
    """Renders every row of a file: ``reading(file, tokenizer, prompt={...}, source settings)``."""

    def read(
        file: str, tokenizer: Any, *, prompt: dict[str, Any] | None = None, **data: Any
    ) -> Reading:
        shown = PromptConfig.model_validate(prompt or {})
        dataset = load_dataset(
            DataConfig(source=str(INPUTS / file), **data), shown, 0, Console(quiet=True)
        )
        renderer = PromptRenderer.from_config(shown, tokenizer, context_window=512)
        return Reading(dataset, tuple(_rendered(dataset, renderer, tokenizer)))

    return read


def _rendered(dataset: Dataset, renderer: PromptRenderer, tokenizer: Any) -> Iterator[Rendered]:
    for name in SPLITS:
        for example in dataset.split(name):
            if not example.references:
                continue
            tokens = renderer.training(example, completion_only_loss=True)
            pairs = zip(tokens.input_ids, tokens.trained, strict=True)
            trained = tokenizer.decode([token for token, is_trained in pairs if is_trained])
            ids = tuple(tokens.input_ids)
            yield Rendered(example, tokenizer.decode(ids), trained, ids)


@pytest.fixture(scope="session")
def tiny_with(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Callable[[str], Path]:
    """A copy of the tiny Llama with another chat template."""

    def make(template: str) -> Path:
        folder = tmp_path_factory.mktemp("templates") / "tiny"
        shutil.copytree(tiny_llama, folder)
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def tokenizer_of() -> Callable[[Path], Any]:
    """The tokenizer in a model's folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained
