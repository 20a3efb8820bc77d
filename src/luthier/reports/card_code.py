"""Code of a model card: the base model, and lines that load a saved model and ask it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from luthier.reports.markdown import fenced

_HERE = "this folder, or the id under which it is published"
_MAX_NEW_TOKENS = 64
_HELLO = "Say hello."


@dataclass(frozen=True, slots=True)
class Base:
    """The base model, as others can obtain it.

    Attributes:
        name: its Hub id, or the name of a folder or file, never a path.
        on_hub: whether the name is a Hub id.
        revision: its commit on the Hub, if known.
        note: a further remark, in sentences.
        file: its GGUF file, if it has one.
        auto_class: the transformers class that loads it.
        rows: rows of the embedding, if it was enlarged.
        luthier_name: its name in Luthier, if different.
        licence: its licence, as the Hub abbreviates it; ``other``: unknown; empty: not looked for.
    """

    name: str
    on_hub: bool
    auto_class: str
    revision: str = ""
    note: str = ""
    file: str = ""
    rows: int | None = None
    luthier_name: str = ""
    licence: str = ""

    @property
    def arguments(self) -> str:
        """The arguments of ``from_pretrained`` that follow the variable ``base``."""
        more = {"revision": self.revision, "gguf_file": self.file}
        given = (f", {name}={_literal(value)}" for name, value in more.items() if value)
        return "base" + "".join(given)


@dataclass(frozen=True, slots=True)
class Question:
    """The way in which a card's code asks.

    Attributes:
        text: the question.
        system: the system message before it, if there is one.
        has_chat_template: whether the tokenizer has a chat template.
        writes_after_encoder: whether the model is an encoder-decoder model.
        max_new_tokens: the maximum length of the answer.
        template_arguments: arguments of the chat template.
    """

    text: str = _HELLO
    system: str = ""
    has_chat_template: bool = False
    writes_after_encoder: bool = False
    max_new_tokens: int = _MAX_NEW_TOKENS
    template_arguments: Mapping[str, Any] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Python code that asks ``model`` with ``tokenizer``."""
        if "{{" in self.text:
            yield "# put the values of a row in place of {{ … }}"
        if self.has_chat_template:
            yield "question = ["
            if self.system:
                yield f"    {_literal({'role': 'system', 'content': self.system})},"
            yield f"    {_literal({'role': 'user', 'content': self.text})},"
            yield "]"
            yield "inputs = tokenizer.apply_chat_template("
            given = f'return_tensors="pt", return_dict=True{self._arguments}'
            yield f"    question, add_generation_prompt=True, {given}"
            yield ")"
        else:
            yield f'inputs = tokenizer({_literal(self.text)}, return_tensors="pt")'
        limit = f"max_new_tokens={self.max_new_tokens}, do_sample=False"
        yield f"tokens = model.generate(**inputs, {limit})[0]"
        start = "" if self.writes_after_encoder else '[inputs["input_ids"].shape[1] :]'
        yield f"print(tokenizer.decode(tokens{start}, skip_special_tokens=True))"

    @property
    def _arguments(self) -> str:
        given = dict(self.template_arguments)
        return f", **{given!r}" if given else ""


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved model, as its card's code names it.

    Attributes:
        base: its base model.
        repo: the Hub id under which it is published, or its folder; empty: the working directory.
        has_tokenizer: whether it has a tokenizer beside the weights.
    """

    base: Base
    repo: str = ""
    has_tokenizer: bool = True

    @property
    def folder(self) -> str:
        """The Python line that names the folder."""
        return f"folder = {_literal(self.repo)}" if self.repo else f'folder = "."  # {_HERE}'

    @property
    def tokenizer(self) -> str:
        """The Python line that loads the tokenizer after the model.

        The model's configuration is given, because an adapter's repository has none, and
        transformers would look for it there.
        """
        place = "folder" if self.has_tokenizer else self.base.arguments
        return f"tokenizer = AutoTokenizer.from_pretrained({place}, config=model.config)"


@dataclass(frozen=True, slots=True)
class Form:
    """A form of saved models.

    Attributes:
        relation: its relation to the base model, in the Hub's vocabulary.
        library: the library that loads it, in the Hub's vocabulary.
        loading: from a saved model to Python lines that load it into ``model``.
    """

    relation: str
    library: str
    loading: Callable[[Saved], Sequence[str]] | None


def _literal(value: object) -> str:
    """A string, or a list or mapping of strings, as Python source."""
    return json.dumps(value, ensure_ascii=False)


def _load_adapter(saved: Saved) -> Sequence[str]:
    base = saved.base
    resized = [f"model.resize_token_embeddings({base.rows})"] if base.rows else []
    return (
        "from peft import PeftModel",
        f"from transformers import {base.auto_class}, AutoTokenizer",
        "",
        f"base = {_literal('.' if base.file else base.name)}",
        saved.folder,
        f"model = {base.auto_class}.from_pretrained({base.arguments})",
        saved.tokenizer,
        *resized,
        "model = PeftModel.from_pretrained(model, folder)",
    )


def _load_whole(saved: Saved) -> Sequence[str]:
    return (
        f"from transformers import {saved.base.auto_class}, AutoTokenizer",
        "",
        saved.folder,
        f"model = {saved.base.auto_class}.from_pretrained(folder)",
        saved.tokenizer,
    )


PEFT_ADAPTER = Form("adapter", "peft", _load_adapter)
OWN_ADAPTER = Form("adapter", "luthier", None)
WHOLE_MODEL = Form("finetune", "transformers", _load_whole)


def python_code(form: Form, saved: Saved, question: Question) -> str:
    """Python code that loads a saved model with transformers or peft, and asks it.

    Empty if only Luthier loads models of this form.
    """
    if form.loading is None:
        return ""
    return "\n".join([*form.loading(saved), "", *question.lines()])


def loading_lines(form: Form, saved: Saved, question: Question) -> Iterator[str]:
    """Markdown with code that loads a saved model and asks it.

    Args:
        form: its form.
        saved: the model.
        question: the question to ask.
    """
    if code := python_code(form, saved, question):
        yield from ("", "With transformers" + (" and peft:" if form is PEFT_ADAPTER else ":"), "")
        yield from fenced(code, "python")
    yield from ("", "With Luthier:", "")
    base = saved.base
    settings: dict[str, object] = {"model.id": saved.repo or "."}
    if form.relation == "adapter" and not base.on_hub and not base.luthier_name:
        settings["model.base"] = base.file or base.name
    if saved.repo:
        settings["evaluate.max_new_tokens"] = question.max_new_tokens
    if question.system:
        settings["prompt.system"] = question.system
    asked = f"question={_literal(question.text)}"
    lines = (
        "import luthier",
        "",
        "answers = luthier.prompt(",
        f"    overrides={_literal(settings)},",
        f"    {asked},",
        ")",
        "print(answers[0].prediction)",
    )
    yield from fenced("\n".join(lines), "python")
    if saved.repo:
        yield from _task_lines(saved.repo)


def _task_lines(repo: str) -> Iterator[str]:
    """Markdown with commands that ask rows of data in the words of the task."""
    yield from ("", "Rows of a file are asked in the words of `task.yaml`:", "")
    lines = (
        f"hf download {repo} --local-dir model",
        "luthier evaluate --model model --data rows.csv --template model/task.yaml",
        "",
        "# with the run that made it, also for rows without answers",
        "luthier predict RUN rows.csv -o answers.csv",
    )
    yield from fenced("\n".join(lines), "sh")
