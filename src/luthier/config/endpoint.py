"""How a model on a server is asked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from luthier.config.base import Config, Seconds
from luthier.config.permission import SENDS_KEY


class EndpointConfig(Config):
    """An OpenAI-compatible server, where model.id is the URL of one."""

    name: str | None = None
    """What the server calls the model; None: the only one it lists."""
    api_key_env: Annotated[str | None, SENDS_KEY] = None
    """The environment variable that holds the key. The key itself is stored nowhere."""
    completions: bool = True
    """Text without roles is continued at /completions; false: it is asked at /chat/completions, as
    the message of a user."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Requests at the same time."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """The most requests in a minute; None: as many as the server takes."""
    timeout: Seconds = Field(default=600.0, gt=0)
    """How long one exchange may take, from looking up the server's name to the last byte of its
    answer. Then it is asked again, so too short a time for a slow server only adds to what it has
    to do. In all a request takes at most (retries + 1) times as long, and the waits between."""
    retries: int = Field(default=5, ge=0, le=20)
    """How often a request is sent again when the server is busy, fails or cannot be reached."""
    backoff: Seconds = Field(default=1.0, gt=0)
    """The first wait before that; each further one is twice as long, up to a minute."""
