"""Chat templates in files, which are read and checked before the first row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from luthier.core.errors import DataError
from luthier.core.user_files import home, read_given
from luthier.prompts import template_process
from luthier.prompts.dialect import over_the_limit
from luthier.prompts.template_process import TemplateLimit, TemplateRaised, TemplateSyntax
from luthier.prompts.tokens import Tokenizer

_MAX_TEMPLATE_BYTES = 2**20
_FILE = "chat_template.jinja"
_NAME = re.compile(r"[^\W_][\w .+-]{0,99}")
_SHOWN = 100  # characters
_OWN = "name a text file with a Jinja template in prompt.chat_template"
_OTHERS = (
    "give a template with prompt.chat_template=FILE.jinja, or set prompt.chat_template to never"
)


def read_own_template(setting: str) -> str | None:
    """The text of a user's own chat template.

    Args:
        setting: a file, or one of the words ``auto`` and ``never``.

    Raises:
        DataError: the file cannot be read, is not text, is empty, or is too large.
    """
    if setting in ("auto", "never"):
        return None
    try:
        text = read_given(home(setting), _MAX_TEMPLATE_BYTES).decode("utf-8")
    except (DataError, UnicodeDecodeError) as error:
        problem = error.problem if isinstance(error, DataError) else str(error)
        raise DataError(
            f"the chat template cannot be read: {problem}", where=setting, fix=_OWN
        ) from None
    if not text.strip():
        raise DataError("the chat template is empty", where=setting, fix=_OWN)
    return text


def require_usable(tokenizer: Tokenizer, own: str | None, setting: str) -> None:
    """Check that the chat template to be used is valid.

    Args:
        tokenizer: the model's tokenizer.
        own: a template to use instead of the tokenizer's.
        setting: the file that ``own`` is from.

    Raises:
        DataError: the template is empty, is not valid Jinja, or exceeds a limit. The error has its
            file and, if known, the line.
    """
    found = own or tokenizer.chat_template
    named = found if isinstance(found, Mapping) else {"": found}
    for name, source in named.items():
        if not isinstance(source, str):
            continue
        where = setting if own else _place(tokenizer, name)
        if not source.strip():
            raise DataError("the model's chat template is empty", where=where, fix=_OTHERS)
        try:
            _try(source)
        except TemplateLimit as error:
            raise over_the_limit(error, where) from None
        except TemplateSyntax as error:
            raise DataError(
                f"the chat template is not valid Jinja: {error}",
                where=f"{where}:{error.line}",
                fix="mend the template" if own else _OTHERS,
            ) from None


def require_names(tokenizer: Tokenizer, where: str) -> None:
    """Check that a tokenizer's chat templates can be saved, each as a file of its name.

    Args:
        tokenizer: the model's tokenizer.
        where: the file that names them.

    Raises:
        DataError: a name is not that of a file in the folder, or a template is not text.
    """
    named = tokenizer.chat_template
    if named is None or isinstance(named, str):
        return
    for name, source in named.items():
        is_name = isinstance(name, str) and _NAME.fullmatch(name)
        if not is_name or not isinstance(source, str):
            problem = "is no text" if is_name else "cannot be the name of a file"
            raise DataError(
                f"the chat template {str(name)[:_SHOWN]!r} {problem}",
                where=f'{where}, field "chat_template"',
                fix="rename it, or leave it out",
            )


def template_place(tokenizer: Tokenizer, own: str | None, setting: str) -> str:
    """The file of the chat template that will be used.

    Args:
        tokenizer: the model's tokenizer.
        own: a template to use instead of the tokenizer's.
        setting: the file that ``own`` is from.
    """
    return setting if own else _place(tokenizer, "")


def _try(source: str) -> None:
    """Parse and run a template; it may refuse this conversation."""
    with suppress(TemplateRaised):
        template_process.render(source, {"messages": [{"role": "user", "content": ""}]})


def _place(tokenizer: Tokenizer, name: str) -> str:
    """The file of a tokenizer's template, or else the template's name."""
    folder = str(getattr(tokenizer, "name_or_path", "") or "")
    own = Path(folder) / _FILE
    with suppress(OSError, ValueError):
        if folder and own.is_file() and not name:
            return str(own)
    called = f"chat template {name!r}" if name else "chat template"
    return f"{folder or 'tokenizer'} ({called})"
