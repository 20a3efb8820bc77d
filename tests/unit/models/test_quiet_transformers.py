from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.models.quiet_transformers import _KERNELS_LOGGER, _NO_KERNEL


def test_an_optional_kernels_absence_is_not_a_warning_and_all_else_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger(_KERNELS_LOGGER)
    with caplog.at_level(logging.WARNING, logger=_KERNELS_LOGGER):
        logger.warning(_NO_KERNEL + ": %s. Please make sure …", "No module named 'kernels'")
        logger.warning("Something else failed: %s", "a product")
    assert [record.getMessage() for record in caplog.records] == [
        "Something else failed: a product"
    ]


def test_the_message_is_still_bitsandbytes_own() -> None:
    found = importlib.util.find_spec("bitsandbytes")
    if found is None or found.origin is None:
        pytest.skip("bitsandbytes is not installed")
    source = Path(found.origin).parent / "backends" / "cpu" / "ops.py"
    assert _NO_KERNEL in source.read_text(encoding="utf-8")


@pytest.mark.long
def test_whoever_imports_the_methods_imports_peft_quietly() -> None:
    code = "import luthier.methods, peft, bitsandbytes.backends.cpu.ops"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert _NO_KERNEL not in done.stderr
