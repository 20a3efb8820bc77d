"""A model's chat template and the dialect of its inputs.

The features of a template are tested, not looked up: a probe is rendered and searched for in the
text. So users' own templates and those of unknown models work too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

from luthier.core.errors import DataError
from luthier.core.example import Message, ToolCall
from luthier.prompts import template_process
from luthier.prompts.calls import MakeId, by_function, matched_calls, nine_letters, own_id
from luthier.prompts.prefetch import T, ahead
from luthier.prompts.reasoning import KNOWN_TAGS, ThinkTags, thought_of
from luthier.prompts.template_process import TemplateLimit, TemplateRaised, TemplateSyntax
from luthier.prompts.template_requests import Draft
from luthier.prompts.tokens import Tokenizer

# Words that no template writes itself.
PROBE = "zqxprobe"
_ASKED, _SAID, _THOUGHT, _RULE = "zqxasked", "zqxsaid", "zqxthought", "zqxrule"
# Templates see a fixed date, so that a run that is resumed or compared on another day has the same
# text. This date is the one that Llama 3's templates write without a clock.
_TODAY = datetime(2024, 7, 26, tzinfo=UTC)
_CLOCK = "strftime_now"
_CODES = {code: f"{_TODAY:%{code}}" for code in "aAbBdeHIjmMpSyY"} | {
    "-d": f"{_TODAY.day}",  # these are not the same everywhere
    "-m": f"{_TODAY.month}",
    "F": f"{_TODAY:%Y-%m-%d}",
    "D": f"{_TODAY:%m/%d/%y}",
    "T": f"{_TODAY:%H:%M:%S}",
    "R": f"{_TODAY:%H:%M}",
    "z": "+0000",
    "Z": "UTC",
}
# transformers gives templates a clock of that name; a macro overrides it.
_STOPPED_CLOCK = (
    f"{{% macro {_CLOCK}(format) %}}{{{{ format"
    + "".join(f"|replace('%{code}', '{text}')" for code, text in _CODES.items())
    + " }}{% endmacro %}\n"
)
# transformers removes null from turns, but some templates test for it beside tool calls.
_NULL_BESIDE_CALLS = (
    "{% set given = namespace(turns=[]) %}{% for turn in messages %}"
    "{% set silent = turn.tool_calls and not turn.content %}"
    "{% set given.turns = given.turns + [dict(turn, content=none) if silent else turn] %}"
    "{% endfor %}{% set messages = given.turns %}\n"
)
_REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
_FAILURES = (
    TemplateRaised, TemplateSyntax, ArithmeticError, AttributeError, LookupError, TypeError,
    ValueError,
)  # fmt: skip


class _Form(NamedTuple):
    """The form in which a template takes turns.

    Attributes:
        parts: the roles whose content is a list of parts.
        reasoning_key: the key of an assistant's reasoning; empty: it goes into the content.
        arguments_are_text: whether a call's arguments are JSON as text, not an object.
        make_id: makes the ids of calls.
        silence_is_null: whether a turn with only calls has null, not an empty text, as content.
        tools_in_system: whether tools are a key of the system message, not an argument.
    """

    parts: frozenset[str] = frozenset()
    reasoning_key: str = ""
    arguments_are_text: bool = False
    make_id: MakeId = own_id
    silence_is_null: bool = False
    tools_in_system: bool = False


@dataclass(frozen=True)  # no slots: they exclude cached properties
class Dialect:
    """A chat template, called in its own dialect.

    Attributes:
        tokenizer: the tokenizer with the template.
        own: a template to use instead of the tokenizer's.
        values: further arguments, such as ``enable_thinking``.
        place: the file of the template, for error messages.
    """

    tokenizer: Tokenizer
    own: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""
    _known: dict[Draft, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def ahead(self, items: Iterable[T], needed: Callable[[T], Iterable[Draft]]) -> Iterator[T]:
        """The items, one by one, while the drafts for the next items are rendered.

        Results do not change: `write` finds a text that was rendered ahead.
        """
        for batch, known in ahead(items, needed, self._rendered, template_process.stop):
            self._known.clear()
            self._known.update(known)
            yield from batch
        self._known.clear()

    def _rendered(self, drafts: Sequence[Draft]) -> dict[Draft, str]:
        form, source = self._form, self._source(False)
        if source is None:
            return {}
        values = [self._variables(draft.turns, form, draft.ask, ()) for draft in drafts]
        texts = template_process.render_many(_completed(source, form), values)
        return {draft: text for draft, text in zip(drafts, texts, strict=True) if text is not None}

    def write(
        self, turns: Sequence[Message], where: str, *, ask: bool, tools: Sequence[Any] = ()
    ) -> str:
        """The text of a conversation.

        Args:
            turns: the turns of the conversation.
            where: the row's place, for error messages.
            ask: end the text with the generation prompt.
            tools: the tools that the assistant may call.

        Raises:
            DataError: the template refuses the conversation, or exceeds its limits of time, memory
                or text.
        """
        known = self._known.get(Draft(tuple(turns), ask)) if self._known and not tools else None
        if known is not None:
            return known
        try:
            try:
                return self._render(turns, self._form, ask, tools)
            except _FAILURES:
                if not any(turn.tool_calls or turn.tool_call_id for turn in turns):
                    raise
                # Mistral's templates require ids of nine letters and digits.
                numbered = self._form._replace(make_id=nine_letters)
                return self._render(turns, numbered, ask, tools)
        except _FAILURES as error:
            roles = ", ".join(turn.role for turn in turns) or "none"
            system = "" if "system" in roles else "; prompt.system gives all a system message"
            the_template = f"; the template is {self.place}" if self.place else ""
            raise DataError(
                f"the chat template refuses the conversation: {error}",
                where=where,
                fix=f"its roles are: {roles}; most templates want user and assistant in turns"
                f"{system}{the_template}",
            ) from None

    @cached_property
    def tags(self) -> ThinkTags:
        """The template's tags around reasoning, or the usual tags if it has none."""
        turns = (Message("user", _ASKED), Message("assistant", _SAID, reasoning=_THOUGHT))
        if self._form.reasoning_key:
            text = self._try(turns, self._form) or ""
            asked = self._try(turns[:1], self._form, ask=True) or ""
            before, _, rest = text.partition(_THOUGHT)
            between, found, _ = rest.partition(_SAID)
            opened = before.removeprefix(asked) if before.startswith(asked) else ""
            if not opened.strip():
                plain = self._try((turns[0], replace(turns[1], reasoning="")), self._form) or ""
                opened = before[len(_shared_prefix(before, plain)) :]
            opened = opened.strip() or _last_tag(before)
            if found and opened and between.strip():
                return ThinkTags(opened, between.strip())
        return self._inline_tags

    @cached_property
    def _inline_tags(self) -> ThinkTags:
        """The tags around reasoning that is a part of the content."""
        source = self._source(False) or ""
        return next((tags for tags in KNOWN_TAGS if tags.close in source), KNOWN_TAGS[0])

    @cached_property
    def opens_thought(self) -> bool:
        """Whether a prompt ends with the tag that opens reasoning."""
        asked = self._try((Message("user", _ASKED),), self._form, ask=True) or ""
        return any(asked.rstrip().endswith(tags.open) for tags in (self.tags, *KNOWN_TAGS))

    @cached_property
    def takes_system(self) -> bool:
        """Whether the template writes a system message, with and without an answer."""
        turns = (Message("system", _RULE), Message("user", _ASKED), Message("assistant", _SAID))
        asked = self._try(turns[:2], self._form, ask=True)
        answered = self._try(turns, self._form)
        return all(text is not None and _RULE in text for text in (asked, answered))

    @cached_property
    def takes_tools(self) -> bool:
        """Whether the template writes the list of tools."""
        return self._writes_tools(self._form)

    def _writes_tools(self, form: _Form) -> bool:
        function = {"name": PROBE, "description": _RULE, "parameters": {}}
        tools = ({"type": "function", "function": function},)
        user = Message("user", _ASKED)
        texts = (
            self._try(turns, form, ask=True, tools=tools)
            for turns in ((user,), (Message("system", _SAID), user))
        )
        return any(text is not None and PROBE in text for text in texts)

    @cached_property
    def default_system(self) -> str:
        """The template's default system message; empty if it has none."""
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
        places = (form._replace(tools_in_system=is_there) for is_there in (False, True))
        form = next(filter(self._writes_tools, places), form)
        ways = (
            form._replace(make_id=make_id, arguments_are_text=as_text, silence_is_null=as_null)
            for make_id, as_null, as_text in product(
                (own_id, by_function), (False, True), (False, True)
            )
        )
        return next(filter(self._takes_calls, ways), form)

    def _parts(self) -> frozenset[str]:
        """The roles whose content must be a list of parts, because text would be lost."""
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

    def _takes_calls(self, form: _Form) -> bool:
        """Whether the template writes a call with unchanged arguments."""
        call = ToolCall(_RULE, json.dumps({_ASKED: _SAID}), "call00000")
        turns = (Message("user", PROBE), Message("assistant", "", tool_calls=(call,)))
        tools = ({"type": "function", "function": {"name": _RULE, "parameters": {}}},)
        text = self._try(turns, form, tools=tools)
        offered = (self._try(turns[:1], form, tools=tools) or "").count(_RULE)
        spoilt = (f"'{_ASKED}'", f'\\"{_ASKED}')  # as Python shows a dict; escaped twice
        if text is None or any(sign in text for sign in spoilt):
            return False
        return text.count(_RULE) > offered and _ASKED in text and _SAID in text

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
        source = self._source(bool(tools))
        if source is None:  # no Jinja source: a tokenizer of Luthier's or Mistral's
            given, options = self._conversation(turns, form, tools), self._options(tools)
            text = self.tokenizer.apply_chat_template(
                given, tokenize=False, add_generation_prompt=ask, **options
            )
            return str(text)
        try:
            values = self._variables(turns, form, ask, tools)
            return template_process.render(_completed(source, form), values)
        except TemplateLimit as error:
            raise over_the_limit(error, self.place) from None

    def _variables(
        self, turns: Sequence[Message], form: _Form, ask: bool, tools: Sequence[Any]
    ) -> dict[str, Any]:
        return {
            "tools": None,
            "documents": None,
            "add_generation_prompt": ask,
            **self.tokenizer.special_tokens_map,
            **self._options(tools),
            "messages": self._conversation(turns, form, tools),
        }

    def _options(self, tools: Sequence[Any]) -> dict[str, Any]:
        options = {"date_string": f"{_TODAY:%d %b %Y}", **self.values}
        return {**options, "tools": list(tools)} if tools else options

    def _conversation(
        self, turns: Sequence[Message], form: _Form, tools: Sequence[Any]
    ) -> list[dict[str, Any]]:
        given = [self._given(turn, form) for turn in matched_calls(turns, form.make_id)]
        if tools and form.tools_in_system:
            if given[0]["role"] != "system":
                given.insert(0, {"role": "system", "content": ""})
            given[0]["tools"] = json.dumps(list(tools), ensure_ascii=False)
        return given

    def _given(self, turn: Message, form: _Form) -> dict[str, Any]:
        """A turn as the template takes it."""
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
        if form.reasoning_key in given:  # transformers lets templates find it by these names
            thought_through = given[form.reasoning_key]
            given = {"thinking": thought_through, **given, "reasoning_content": thought_through}
        return given

    def _source(self, has_tools: bool) -> str | None:
        """The template's source; None if the tokenizer's template is not Jinja."""
        source = self.own or self.tokenizer.chat_template
        if isinstance(source, Mapping):
            names = ("tool_use", "default") if has_tools else ("default",)
            source = next((source[name] for name in names if name in source), None)
        return source if isinstance(source, str) else None


def over_the_limit(error: TemplateLimit, place: str) -> DataError:
    """The error for a template that exceeds its limits."""
    return DataError(
        f"the chat template {error}",
        where=place,
        fix="a template writes one conversation; give another one with "
        "prompt.chat_template=FILE.jinja, or set prompt.chat_template to never",
    )


def _completed(source: str, form: _Form) -> str:
    """The template's source after the macros that it needs."""
    before = _STOPPED_CLOCK if _CLOCK in source else ""
    return before + (_NULL_BESIDE_CALLS if form.silence_is_null else "") + source


def _call(call: ToolCall, form: _Form) -> dict[str, Any]:
    arguments: Any = call.arguments
    if not form.arguments_are_text:
        # A model that wrote invalid JSON made a mistake, which the row keeps.
        with suppress(ValueError, RecursionError):
            arguments = json.loads(call.arguments or "{}")
    made = {"type": "function", "function": {"name": call.name, "arguments": arguments}}
    return {"id": call.id, **made} if call.id else made


def _last_tag(text: str) -> str:
    """The tag at the end of a text, which may open reasoning; empty if there is none."""
    match = re.search(r"(<[^<>\s]+>|\[[^\[\]\s]+\])\s*$", text)
    return match[1] if match else ""


def _shared_prefix(one: str, other: str) -> str:
    size = min(len(one), len(other))
    return one[: next((i for i in range(size) if one[i] != other[i]), size)]
