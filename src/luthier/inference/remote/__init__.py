"""Inference with models on an OpenAI-compatible server, over HTTP."""

from luthier.inference.remote.engine import EndpointEngine
from luthier.inference.remote.model import EndpointModel, open_endpoint

__all__ = ["EndpointEngine", "EndpointModel", "open_endpoint"]
