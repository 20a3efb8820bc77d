"""The judge's prompt template and verdict extractor, as data."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from luthier.config.base import Config
from luthier.config.documents import validate_document
from luthier.config.yaml import parse_yaml, read_yaml
from luthier.core.example import Example, Message
from luthier.core.seeds import fingerprint
from luthier.prompts.jinja import Jinja
from luthier.prompts.sandbox import compile_snippet
from luthier.records.evaluation import TemplateStamp
from luthier.tasks.generation import Extractor

Place = Literal["first", "second", "tie"]
_COLUMNS = frozenset({"question", "reference", "first", "second"})


class JudgeTemplate(Config):
    """A template that asks which of two answers is better."""

    name: str = Field(min_length=1)
    """Its name."""
    system: Jinja | None = None
    """A system message before the question."""
    prompt: Jinja
    """The question to the judge, using question, reference (empty if there is none), first and
    second."""
    verdict: Extractor
    """The extractor of the verdict from the judge's output."""
    words: dict[Place, str]
    """The judge's words for the first answer, the second, and a tie."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Maximum length of the judge's output, in tokens."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        missing = {"first", "second"} - self.words.keys()
        if missing or len({*self.words.values()}) < len(self.words):
            raise ValueError("words must name first and second, and tie if there is one, each once")
        columns = compile_snippet(self.prompt).columns
        if unknown := columns - _COLUMNS:
            raise ValueError(
                f"the prompt can use {', '.join(sorted(_COLUMNS))}, not {min(unknown)}"
            )
        if not {"first", "second"} <= columns:
            raise ValueError("the prompt must use first and second")
        return self

    @property
    def stamp(self) -> TemplateStamp:
        """The template's name, and a fingerprint of everything that decides a verdict."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return TemplateStamp(id=self.name, hash=fingerprint(content))

    def example(self, name: str, values: dict[str, str]) -> Example:
        """The question to the judge as a conversation.

        Raises:
            DataError: it cannot be rendered.
        """
        user = Message("user", compile_snippet(self.prompt).render(values))
        if self.system is None:
            return Example(name, (user,), ())
        system = Message("system", compile_snippet(self.system).render(values))
        return Example(name, (system, user), ())

    def read(self, said: str) -> Place | None:
        """The verdict in the judge's output; None if it contains none of the words."""
        word = self.verdict.find(said)
        return next((place for place, name in self.words.items() if name == word), None)


def load_judge_template(path: str | Path | None = None) -> JudgeTemplate:
    """Luthier's own template, or that of a YAML file.

    Raises:
        UsageError: the file is unreadable.
        DataError: it is not a valid template; lists every problem with its line.
    """
    if path is None:
        resource = files("luthier.evaluation.judge") / "library" / "pairwise.yaml"
        document = parse_yaml(resource.read_text(encoding="utf-8"), resource.name)
    else:
        document = read_yaml(Path(path))
    return validate_document(JudgeTemplate, "judge template", document)
