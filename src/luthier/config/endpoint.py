"""Requests to a model on a server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from luthier.config.base import Config, Seconds
from luthier.config.permission import SENDS_KEY


class EndpointConfig(Config):
    """An OpenAI-compatible server; used if model.id is a URL."""

    name: str | None = None
    """The model's name on the server; None: the only one listed."""
    api_key_env: Annotated[str | None, SENDS_KEY] = None
    """The environment variable with the API key. The key itself is never stored."""
    completions: bool = True
    """Send text without roles to /completions; false: to /chat/completions, as a user message."""
    concurrency: int = Field(default=8, ge=1, le=256)
    """Number of concurrent requests."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Maximum requests per minute; None: unlimited."""
    timeout: Seconds = Field(default=600.0, gt=0)
    """Timeout of one exchange, from the name lookup to the last byte of the response. A timed-out
    request is sent again, so a timeout too short for a slow server only adds to its load. A request
    takes at most (retries + 1) times as long, plus the waits between attempts."""
    retries: int = Field(default=5, ge=0, le=20)
    """Number of retries if the server is busy, fails or cannot be reached."""
    backoff: Seconds = Field(default=1.0, gt=0)
    """Wait before the first retry; it doubles each time, up to a minute."""
