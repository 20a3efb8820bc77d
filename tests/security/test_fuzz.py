"""Every reader of foreign files, each given some spoilt ones. `benchmarks/fuzz.py` gives more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
READERS = (
    "data", "parquet", "configuration", "task and templates", "chat template", "run", "checkpoint",
    "model settings", "tokenizer", "weights", "adapter", "gguf", "server",
)  # fmt: skip


@pytest.fixture(scope="module")
def readers(tmp_path_factory: Any) -> Any:
    """The readers by name, and what fuzzes them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        patched.setenv("LUTHIER_CACHE", str(tmp_path_factory.mktemp("cache")))
        import fuzz
        from fuzz_targets import make_readers

        yield fuzz.fuzz, make_readers(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", READERS)
def test_what_is_spoilt_is_refused_in_words(readers: Any, name: str) -> None:
    fuzz, known = readers
    assert set(known) == set(READERS)
    outcome = fuzz(known[name], seconds=1.0, seed=0)
    assert not outcome.faults, "\n".join(outcome.faults.values())
    assert outcome.refused
