"""Transformers prints bars and warnings of its own; Luthier speaks for itself."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Where a CPU has bfloat16 products, bitsandbytes looks for a faster kernel in a package that is not
# asked for, and warns of its absence in every process that imports peft, quantised base or not.
_KERNELS_LOGGER = "bitsandbytes.backends.cpu.ops"
_NO_KERNEL = "Failed to load CPU gemm_4bit_forward from kernels-community"


def _tells_more(record: logging.LogRecord) -> bool:
    """Whether a record says anything else than that the optional kernel is absent."""
    return not str(record.msg).startswith(_NO_KERNEL)


# Here, because this module is imported before peft is.
logging.getLogger(_KERNELS_LOGGER).addFilter(_tells_more)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars and advice for a while."""
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
