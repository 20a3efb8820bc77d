"""Suppression of transformers' own progress bars and warnings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# On CPUs with bfloat16 products, bitsandbytes looks for a faster kernel in an optional package, and
# warns of its absence in every process that imports peft, quantised base or not.
_KERNELS_LOGGER = "bitsandbytes.backends.cpu.ops"
_NO_KERNEL = "Failed to load CPU gemm_4bit_forward from kernels-community"


def _tells_more(record: logging.LogRecord) -> bool:
    """Whether a record is about anything other than the missing optional kernel."""
    return not str(record.msg).startswith(_NO_KERNEL)


# Here, because this module is imported before peft.
logging.getLogger(_KERNELS_LOGGER).addFilter(_tells_more)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Suppress transformers' progress bars and advice within the block."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
