"""The Hugging Face Hub, where there may be no network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_TIMEOUT_S = 10.0


@contextmanager
def hub_or_offline(*libraries: Any) -> Iterator[None]:
    """Within, where the Hub does not answer, its libraries take what is on this machine, or fail.

    By themselves they would first ask again and again, for half a minute and on the screen.

    Args:
        libraries: modules that have a switch ``HF_HUB_OFFLINE`` besides that of huggingface_hub.
    """
    from huggingface_hub import constants

    if _answers(constants.ENDPOINT):
        yield
        return
    switches = (constants, *libraries)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    try:
        for switch in switches:
            switch.HF_HUB_OFFLINE = True
        yield
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = was


def _answers(endpoint: str) -> bool:
    """Whether there is a server; what it says does not matter."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=_TIMEOUT_S)
    except Exception:  # noqa: BLE001 - of whichever HTTP library huggingface_hub uses
        return False
    return True
