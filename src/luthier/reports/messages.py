"""Prompts as messages: the turns that a chat template wrote into one text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from luthier.reports.excerpts import MARK, ROLE

_ROLE_MARK = rf"<[|｜](?P<mark>{ROLE})(?:_token)?[|｜]>"
_NAMED_ROLE = rf"(?:{MARK}\s*)(?P<named>{ROLE})\b[ \t]*"
_END = rf"(?:(?!{_ROLE_MARK.replace('?P<mark>', '?:')}){MARK})?"
_TURN = re.compile(rf"(?:{_ROLE_MARK}|{_NAMED_ROLE}|(?P<inst>\[/?INST\])){_END}", re.IGNORECASE)
"""The start of a turn: a role between special tokens, or one that is a special token itself."""
_STARTS = re.compile(rf"(?:\s|{MARK})*", re.IGNORECASE)
_LAST_MARK = re.compile(rf"{MARK}\Z", re.IGNORECASE)
_LONGEST_MARK = 64
_SYSTEM = re.compile(r"<<SYS>>(.*?)<</SYS>>", re.DOTALL)
_INST = {"[inst]": "user", "[/inst]": "assistant"}
_USUAL = {"model": "assistant", "human": "user"}
PROMPT = "prompt"
"""The role of a text that no chat template wrote."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a prompt.

    Attributes:
        role: such as ``user``; `PROMPT` for a text without roles.
    """

    role: str
    text: str


def messages_of(prompt: str) -> tuple[Message, ...]:
    """The messages of a prompt, without special tokens; empty turns are left out.

    A prompt without turns of a known form is one message with the role `PROMPT`.

    Args:
        prompt: the text that the model got.
    """
    starts = list(_TURN.finditer(prompt))
    if not starts:
        return (Message(PROMPT, prompt.strip()),)
    ends = [*(start.start() for start in starts[1:]), len(prompt)]
    turns = [(PROMPT, prompt[: starts[0].start()])]
    turns += [(_role(s), prompt[s.end() : end]) for s, end in zip(starts, ends, strict=True)]
    found = [message for role, text in turns for message in _split(role, _bare(text))]
    return tuple(found) or (Message(PROMPT, prompt.strip()),)


def _role(start: re.Match[str]) -> str:
    if start["inst"]:
        return _INST[start["inst"].lower()]
    role = (start["mark"] or start["named"]).lower()
    return _USUAL.get(role, role)


def _bare(text: str) -> str:
    """A turn without white space and special tokens at its ends."""
    begun = _STARTS.match(text)
    rest = text[begun.end() :] if begun else text
    tail = rest.rstrip()
    while ended := _LAST_MARK.search(tail, max(0, len(tail) - _LONGEST_MARK)):
        tail = tail[: ended.start()].rstrip()
    return tail


def _split(role: str, text: str) -> tuple[Message, ...]:
    """The message, and before it the system message that a user's turn contains."""
    system = _SYSTEM.match(text) if role == "user" else None
    if system is None:
        return (Message(role, text),) if text else ()
    rest = text[system.end() :].strip()
    return tuple(Message(*m) for m in (("system", system[1].strip()), (role, rest)) if m[1])
