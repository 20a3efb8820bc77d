"""Settings of the base model."""

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
    """The base model and its loading options."""

    id: Annotated[str, NAMES_MODEL, NotEmpty] = "smollm2-135m-instruct"
    """A bundled name, a Hub id, a local folder, a .gguf file, or the URL of an OpenAI-compatible
    server, such as http://127.0.0.1:8000/v1. A folder or Hub id may also be a peft adapter."""
    base: Annotated[str | None, NAMES_MODEL] = None
    """The base model of an adapter given as id; None: the one that the adapter names."""
    tokenizer: Annotated[str | None, NAMES_MODEL] = None
    """The tokenizer, if not stored with the weights: a folder, a Hub id or a bundled name."""
    revision: Annotated[str | None, NAMES_REVISION] = None
    """The Hub revision: a branch, a tag, or (best) a commit."""
    dtype: Dtype = "auto"
    """The dtype of the weights in memory. auto: bfloat16 where this machine multiplies it faster
    than float32; float16 on CUDA devices with matrix units for float16 but not bfloat16 (V100, T4);
    otherwise float32. Float16 is trained with a loss scale and float32 copies of the trained
    weights; activations of some models, such as T5, exceed its range."""
    quantisation: Quantisation | None = None
    """Quantise linear layers to 4 bits (nf4) or 8 (int8); adapters can be trained on them."""
    trust_remote_code: Annotated[bool, RUNS_CODE] = False
    """Run Python code from the model's repository. Leave off unless you have read it."""
    allow_pickle: Annotated[bool, OPENS_PICKLE] = False
    """Accept weights in pickle files, which can run code when opened."""
    resize_embeddings: bool = False
    """Add embedding rows if the tokenizer has more tokens than the embedding. New rows are
    meaningless until trained."""
    endpoint: EndpointConfig = EndpointConfig()
    """Request settings, if id is the URL of a server."""

    @property
    def is_remote(self) -> bool:
        """Whether the model is on a server."""
        return is_server(self.id)
