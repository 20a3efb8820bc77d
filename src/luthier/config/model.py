"""Which base model."""

from __future__ import annotations

from typing import Annotated

from luthier.config.base import Config, NotEmpty
from luthier.config.endpoint import EndpointConfig
from luthier.config.methods import Quantisation
from luthier.config.permission import (
    NAMES_MODEL,
    NAMES_REVISION,
    OPENS_PICKLE,
    RUNS_CODE,
    is_server,
)
from luthier.core.choices import Dtype


class ModelConfig(Config):
    """The base model and how it may be loaded."""

    id: Annotated[str, NAMES_MODEL, NotEmpty] = "smollm2-135m-instruct"
    """A bundled name, a Hub id, a local folder, a .gguf file, or the URL of an OpenAI-compatible
    server, such as http://127.0.0.1:8000/v1. A folder or Hub id may also be a peft adapter."""
    base: Annotated[str | None, NAMES_MODEL] = None
    """The model that an adapter given as id belongs to; None: the one that the adapter names."""
    tokenizer: Annotated[str | None, NAMES_MODEL] = None
    """Where the tokenizer is, if not beside the weights: a folder, a Hub id or a bundled name."""
    revision: Annotated[str | None, NAMES_REVISION] = None
    """The Hub revision: a branch, a tag, or (best) a commit."""
    dtype: Dtype = "auto"
    """Weights in memory. auto: bfloat16 where this machine multiplies it faster than float32;
    float16 on CUDA devices that have matrix units for that and not for bfloat16 (V100, T4);
    else float32. Float16 is trained with a loss scale and float32 copies of the trained weights;
    some models, T5 among them, have activations beyond its range."""
    quantisation: Quantisation | None = None
    """Store linear layers in 4 bits (nf4) or 8 (int8); adapters can be trained beside them."""
    trust_remote_code: Annotated[bool, RUNS_CODE] = False
    """Run Python code that the model's repository carries. Leave off unless you have read it."""
    allow_pickle: Annotated[bool, OPENS_PICKLE] = False
    """Accept weights in pickle files, which can run code when opened."""
    resize_embeddings: bool = False
    """Add rows to the embedding where the tokenizer has more tokens than it. New rows mean nothing
    before they are trained."""
    endpoint: EndpointConfig = EndpointConfig()
    """How it is asked, where id is the URL of a server."""

    @property
    def is_remote(self) -> bool:
        """Whether the model is on a server."""
        return is_server(self.id)
