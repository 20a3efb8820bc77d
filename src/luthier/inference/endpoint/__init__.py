"""Models on an OpenAI-compatible server, asked over HTTP."""

from luthier.inference.endpoint.engine import EndpointEngine
from luthier.inference.endpoint.model import EndpointModel, open_endpoint

__all__ = ["EndpointEngine", "EndpointModel", "open_endpoint"]
