"""A model on a server, found and described as far as the server describes it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property

from luthier.config import ModelConfig, PromptConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.seeds import fingerprint
from luthier.inference.remote.answers import Listed, Models, parse
from luthier.inference.remote.engine import EndpointEngine
from luthier.inference.remote.http import NotFoundError, Transport, printable
from luthier.inference.remote.retries import Client
from luthier.prompts.served import ServedRenderer
from luthier.records.evaluation import ModelStamp
from luthier.records.result_cache import ResultCache

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"[\x21-\x7e]+")
_LISTED = 8


@dataclass(frozen=True)  # no slots: they exclude cached properties
class EndpointModel:
    """A model that a server runs.

    Attributes:
        config: the model's settings, its URL among them.
        client: the client of the server.
        id: the server's name for the model.
        revision: a fingerprint of the URL, the kind of requests for texts, and the server's
            description of the model. It does not cover the weights, which are not known: a server
            may change them under the same name.
    """

    config: ModelConfig
    client: Client
    id: str
    revision: str

    @property
    def stamp(self) -> ModelStamp:
        """The model's identity for the records, as far as it is known."""
        return ModelStamp(
            id=self.id,
            revision=self.revision,
            parameters=0,
            dtype="unknown",
            architecture="unknown",
            endpoint=self.client.url,
        )

    def renderer(self, prompt: PromptConfig) -> ServedRenderer:
        """The renderer of prompts for this model.

        Raises:
            UsageError: the configuration gives a chat template, and the server has its own.
        """
        return ServedRenderer.from_config(prompt, continues=self.config.endpoint.completions)

    def engine(self, log: ResultCache | None = None) -> EndpointEngine:
        """The inference engine for this model, with ``log`` as its answer cache."""
        return EndpointEngine(self.client, self.id, self.revision, log)

    @cached_property
    def can_score(self) -> bool:
        """Whether the server returns the log-probabilities of texts; asks it once.

        Raises:
            ResourceError: the server cannot be reached.
        """
        try:
            self.engine().require_scores()
        except UsageError:
            return False
        return True


def open_endpoint(config: ModelConfig, console: Console) -> EndpointModel:
    """The model on a server that a configuration names.

    Raises:
        UsageError: the URL, the key or the name is wrong.
        DataError: the server is not OpenAI-compatible.
        ResourceError: the server cannot be reached.
    """
    settings = config.endpoint
    transport = Transport(config.id, _key(settings.api_key_env), settings.timeout)
    client = Client(transport, settings, console)
    listed = {model.id: model for model in _models(client)}
    name = settings.name or _only(listed, client.url)
    if not name.isprintable():
        raise DataError(
            f"the model's name holds characters that cannot be shown: {printable(name)}",
            where=client.url,
            fix="let the server give it another name",
        )
    known = listed[name].content if name in listed else ""
    console.say(
        f"{printable(name)} at {client.url}: its weights are not known, so the same name may "
        "answer otherwise some other day"
    )
    revision = fingerprint(client.url, name, known, str(settings.completions))
    return EndpointModel(config, client, name, f"endpoint:{revision}")


def _models(client: Client) -> tuple[Listed, ...]:
    """The models that the server lists; some servers list none."""
    try:
        answer = client.ask("/models")
    except NotFoundError:
        return ()
    return parse(Models, answer, client.url + "/models").data


def _only(listed: dict[str, Listed], url: str) -> str:
    """The name of the server's only model.

    Raises:
        UsageError: there are several, or none is listed.
    """
    if len(listed) == 1:
        return next(iter(listed))
    names = ", ".join(map(printable, list(listed)[:_LISTED])) or "none"
    raise UsageError(
        f"the server lists {len(listed)} models, and one has to be named",
        where=url,
        fix=f"give --model-name (model.endpoint.name); it lists {names}",
    )


def _key(variable: str | None) -> str | None:
    """The API key in an environment variable.

    Raises:
        UsageError: the variable is not set, or the name is not that of a variable. The message
            holds neither the key nor such a name, which could be a key.
    """
    if variable is None:
        return None
    where = "model.endpoint.api_key_env"
    if not _VARIABLE.fullmatch(variable):
        raise UsageError(
            "this is not the name of an environment variable",
            where=where,
            fix="name the variable that holds the key, such as OPENAI_API_KEY, not the key",
        )
    key = os.environ.get(variable, "").strip()
    if not _KEY.fullmatch(key):
        problem = "holds characters that no key has" if key else "is not set"
        raise UsageError(
            f"the environment variable {variable} {problem}",
            where=where,
            fix=f"set it: export {variable}=…",
        )
    return key
