"""A model's chat template: how it is called, and which of its many dialects it speaks.

What a template understands is tried out, not looked up: a probe is written, and looked for in the
text. So templates of one's own and of models yet unknown work alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

from jinja2 import TemplateError

from luthier.core.errors import DataError
from luthier.core.example import Message, ToolCall
from luthier.core.given import home, read_given
from luthier.prompts.thoughts import KNOWN_TAGS, ThinkTags, thought_of
from luthier.prompts.tokens import Tokenizer

# Words that no template writes itself.
PROBE = "zqxprobe"
_ASKED, _SAID, _THOUGHT, _RULE = "zqxasked", "zqxsaid", "zqxthought", "zqxrule"
# What templates take for today: a run that goes on tomorrow, or is compared with one of yesterday,
# sees the same text. It is what Llama 3's write where there is no clock.
_TODAY = datetime(2024, 7, 26, tzinfo=UTC)
_CLOCK = "strftime_now"
# transformers gives templates a clock of that name; a macro stands before it.
_STOPPED_CLOCK = (
    f"{{% macro {_CLOCK}(format) %}}{{{{ format"
    + "".join(f"|replace('%{code}', '{_TODAY:%{code}}')" for code in "aAbBdeHIjmMpSyY")
    + " }}{% endmacro %}\n"
)
_MAX_TEMPLATE_BYTES = 2**20
_REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
_FAILURES = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class _Form(NamedTuple):
    """How turns are given to a template.

    Attributes:
        parts: the roles whose content is a list of parts.
        reasoning_key: where an assistant's reasoning goes; empty: into the content.
        arguments_are_text: a call's arguments are JSON as text, not an object.
        numbers_ids: calls get ids of nine letters and digits, whatever the data says.
    """

    parts: frozenset[str] = frozenset()
    reasoning_key: str = ""
    arguments_are_text: bool = False
    numbers_ids: bool = False


@dataclass(frozen=True)  # no slots: they exclude cached properties
class Dialect:
    """A chat template, and how conversations are given to it.

    Attributes:
        tokenizer: renders it, in the sandbox of transformers.
        own: a template to use instead of the tokenizer's.
        values: further arguments, such as ``enable_thinking``.
    """

    tokenizer: Tokenizer
    own: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def write(
        self, turns: Sequence[Message], where: str, *, ask: bool, tools: Sequence[Any] = ()
    ) -> str:
        """The text of a conversation.

        Args:
            turns: who says what.
            where: the row's place, for error messages.
            ask: end with what stands before an answer.
            tools: what the assistant may call.

        Raises:
            DataError: the template refuses the conversation.
        """
        try:
            try:
                return self._render(turns, self._form, ask, tools)
            except _FAILURES:
                if not any(turn.tool_calls or turn.tool_call_id for turn in turns):
                    raise
                # Mistral's want ids of nine letters and digits.
                numbered = self._form._replace(numbers_ids=True)
                return self._render(turns, numbered, ask, tools)
        except _FAILURES as error:
            roles = ", ".join(turn.role for turn in turns) or "none"
            raise DataError(
                f"the chat template refuses the conversation: {error}",
                where=where,
                fix=f"its roles are: {roles}; most templates want user and assistant in turns",
            ) from None

    @cached_property
    def tags(self) -> ThinkTags:
        """What the template writes around reasoning; what is usual where it writes none."""
        turns = (Message("user", _ASKED), Message("assistant", _SAID, reasoning=_THOUGHT))
        if self._form.reasoning_key:
            text = self._try(turns, self._form) or ""
            asked = self._try(turns[:1], self._form, ask=True) or ""
            before, _, rest = text.partition(_THOUGHT)
            between, found, _ = rest.partition(_SAID)
            opened = before.removeprefix(asked) if before.startswith(asked) else ""
            opened = opened.strip() or _last_tag(before)
            if found and opened and between.strip():
                return ThinkTags(opened, between.strip())
        return self._inline_tags

    @cached_property
    def _inline_tags(self) -> ThinkTags:
        """What stands around reasoning that is given as a part of the content."""
        source = self._template(False) or ""
        return next((tags for tags in KNOWN_TAGS if tags.close in source), KNOWN_TAGS[0])

    @cached_property
    def opens_thought(self) -> bool:
        """Whether a prompt ends with the tag that opens reasoning."""
        asked = self._try((Message("user", _ASKED),), self._form, ask=True) or ""
        return any(asked.rstrip().endswith(tags.open) for tags in (self.tags, *KNOWN_TAGS))

    @cached_property
    def takes_system(self) -> bool:
        """Whether a system message is written, and stays when the question is answered."""
        turns = (Message("system", _RULE), Message("user", _ASKED), Message("assistant", _SAID))
        asked = self._try(turns[:2], self._form, ask=True)
        answered = self._try(turns, self._form)
        return all(text is not None and _RULE in text for text in (asked, answered))

    @cached_property
    def takes_tools(self) -> bool:
        """Whether tools that are offered are written."""
        function = {"name": PROBE, "description": _RULE, "parameters": {}}
        tools = ({"type": "function", "function": function},)
        user = Message("user", _ASKED)
        texts = (
            self._try(turns, self._form, ask=True, tools=tools)
            for turns in ((user,), (Message("system", _SAID), user))
        )
        return any(text is not None and PROBE in text for text in texts)

    @cached_property
    def default_system(self) -> str:
        """The text that the template puts in the place of a missing system message."""
        user = Message("user", _ASKED)
        bare = self._try((user,), self._form) or ""
        ruled = self._try((Message("system", _RULE), user), self._form) or ""
        if _RULE not in ruled or _ASKED not in bare:
            return ""
        before, after = ruled.partition(_ASKED)[0].split(_RULE, 1)
        bare = bare.partition(_ASKED)[0]
        shared = _shared_prefix(before, bare)
        rest = bare[len(shared) :]
        tail = _shared_prefix(after[::-1], rest[::-1])
        return rest[: len(rest) - len(tail)].strip() if shared == before else ""

    @cached_property
    def _form(self) -> _Form:
        parts = self._parts()
        form = _Form(parts, self._reasoning_key(parts))
        return form._replace(arguments_are_text=self._arguments_are_text(form))

    def _parts(self) -> frozenset[str]:
        """Content is text, unless it is lost so and found as a list of parts."""
        turns = (Message("user", _ASKED), Message("assistant", _SAID))
        for answers, asks in product(((), ("assistant",)), ((), ("user", "system", "tool"))):
            parts = frozenset((*asks, *answers))
            text = self._try(turns, _Form(parts))
            if text is not None and _ASKED in text and _SAID in text:
                return parts
        return frozenset()

    def _reasoning_key(self, parts: frozenset[str]) -> str:
        turns = (Message("user", _ASKED), Message("assistant", _SAID, reasoning=_THOUGHT))
        for key in _REASONING_KEYS:
            text = self._try(turns, _Form(parts, key))
            if text is not None and _THOUGHT in text and _SAID in text:
                return key
        return ""

    def _arguments_are_text(self, form: _Form) -> bool:
        call = ToolCall(_RULE, json.dumps({_ASKED: _SAID}), "call00000")
        turns = (Message("user", PROBE), Message("assistant", "", tool_calls=(call,)))
        tools = ({"type": "function", "function": {"name": _RULE, "parameters": {}}},)

        def is_written(text: str | None) -> bool:
            spoilt = (f"'{_ASKED}'", f'\\"{_ASKED}')  # as Python shows a dict; escaped twice
            if text is None or any(sign in text for sign in spoilt):
                return False
            return all(word in text for word in (_RULE, _ASKED, _SAID))

        texts = (
            self._try(turns, form._replace(arguments_are_text=as_text), tools=tools)
            for as_text in (False, True)
        )
        as_object, as_text = map(is_written, texts)
        return as_text and not as_object

    def _try(
        self,
        turns: Sequence[Message],
        form: _Form,
        *,
        ask: bool = False,
        tools: Sequence[Any] = (),
    ) -> str | None:
        try:
            return self._render(turns, form, ask, tools)
        except _FAILURES:
            return None

    def _render(
        self, turns: Sequence[Message], form: _Form, ask: bool, tools: Sequence[Any]
    ) -> str:
        turns = _matched_calls(turns, renumber=form.numbers_ids)
        options: dict[str, Any] = {"date_string": f"{_TODAY:%d %b %Y}", **self.values}
        if tools:
            options["tools"] = list(tools)
        if template := self._template(bool(tools)):
            options["chat_template"] = template
        text = self.tokenizer.apply_chat_template(
            [self._given(turn, form) for turn in turns],
            tokenize=False,
            add_generation_prompt=ask,
            **options,
        )
        return str(text)

    def _given(self, turn: Message, form: _Form) -> dict[str, Any]:
        """A turn as templates read it."""
        thought, content = thought_of(turn, self._inline_tags)
        given: dict[str, Any] = {"role": turn.role}
        if thought.reasoning and form.reasoning_key:
            given[form.reasoning_key] = thought.reasoning
        else:
            content = thought.text + content
        is_parts = turn.role in form.parts
        given["content"] = [{"type": "text", "text": content}] if is_parts else content
        if turn.tool_calls:
            given["tool_calls"] = [_call(call, form) for call in turn.tool_calls]
        if turn.name:
            given["name"] = turn.name
        if turn.tool_call_id:
            given["tool_call_id"] = turn.tool_call_id
        return given

    def _template(self, has_tools: bool) -> str | None:
        """The template with a clock that stands; None: the tokenizer knows which one it takes."""
        source = self.own or self.tokenizer.chat_template
        if isinstance(source, Mapping):
            names = ("tool_use", "default") if has_tools else ("default",)
            source = next((source[name] for name in names if name in source), None)
        if not isinstance(source, str):
            return None
        return _STOPPED_CLOCK + source if _CLOCK in source else source


def read_own_template(setting: str) -> str | None:
    """The text of a user's own chat template.

    Args:
        setting: a file, or a word that names none: ``auto`` or ``never``.

    Raises:
        DataError: the file cannot be read, is not text, or is too large.
    """
    if setting in ("auto", "never"):
        return None
    try:
        return read_given(home(setting), _MAX_TEMPLATE_BYTES).decode("utf-8")
    except (DataError, UnicodeDecodeError) as error:
        problem = error.problem if isinstance(error, DataError) else str(error)
        raise DataError(
            f"the chat template cannot be read: {problem}",
            where=setting,
            fix="name a text file with a Jinja template in prompt.chat_template",
        ) from None


def _call(call: ToolCall, form: _Form) -> dict[str, Any]:
    arguments: Any = call.arguments
    if not form.arguments_are_text:
        # A model that wrote other than JSON made a mistake, and the row says so.
        with suppress(ValueError, RecursionError):
            arguments = json.loads(call.arguments or "{}")
    made = {"type": "function", "function": {"name": call.name, "arguments": arguments}}
    return {"id": call.id, **made} if call.id else made


def _matched_calls(turns: Sequence[Message], *, renumber: bool) -> list[Message]:
    """The turns with the name of the function in each result, by its id or else in order.

    Args:
        turns: a conversation.
        renumber: give calls and results new ids of nine letters and digits.
    """
    matched: list[Message] = []
    waiting: list[tuple[ToolCall, ToolCall]] = []  # as the row has it, and as it is given
    number = 0
    for turn in turns:
        given = list(turn.tool_calls)
        if renumber:
            given = [
                replace(call, id=f"call{number + index:05d}") for index, call in enumerate(given)
            ]
            number += len(given)
        waiting += zip(turn.tool_calls, given, strict=True)
        if given:
            turn = replace(turn, tool_calls=tuple(given))
        if turn.role == "tool" and waiting:
            same = (i for i, (call, _) in enumerate(waiting) if call.id == turn.tool_call_id)
            call = waiting.pop(next(same, 0))[1]
            turn = replace(
                turn,
                name=turn.name or call.name,
                tool_call_id=call.id if renumber else turn.tool_call_id,
            )
        matched.append(turn)
    return matched


def _last_tag(text: str) -> str:
    """The tag that ends a text, as one that opens reasoning does."""
    match = re.search(r"(<[^<>\s]+>|\[[^\[\]\s]+\])\s*$", text)
    return match[1] if match else ""


def _shared_prefix(one: str, other: str) -> str:
    size = min(len(one), len(other))
    return one[: next((i for i in range(size) if one[i] != other[i]), size)]
