"""Keys are found as a server may write them, and other words stay."""

from __future__ import annotations

import base64
import html
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.secrets import REPLACEMENT, Secrets

KEY = "sk-SECRET-123/a+b"
FORMS = {
    "plain": KEY,
    "bearer": f"Bearer {KEY}",
    "lower": KEY.lower(),
    "swapped": KEY.swapcase(),
    "quoted": repr({"Authorization": KEY}),
    "json": json.dumps({"key": KEY}).replace("/", "\\/"),
    "json-escapes": "".join(f"\\u{ord(sign):04x}" for sign in KEY),
    "escapes-twice": "".join(f"\\\\u{ord(sign):04X}" for sign in KEY),
    "hex-escapes": "".join(f"\\x{ord(sign):02x}" for sign in KEY),
    "url": urllib.parse.quote(KEY, safe=""),
    "url-all": "".join(f"%{ord(sign):02X}" for sign in KEY),
    "url-twice": urllib.parse.quote(urllib.parse.quote(KEY, safe="")),
    "html-numbers": "".join(f"&#{ord(sign)};" for sign in KEY),
    "html-hex": "".join(f"&#X{ord(sign):04x};" for sign in KEY),
    "html-twice": "".join(f"&amp;#{ord(sign)};" for sign in KEY),
    "lines": "\r\n ".join(KEY),
    "no-width": "\u200b".join(KEY),
    "soft-hyphens": "\xad".join(KEY),
    "control": "\x1b".join(KEY),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64-bearer": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    "base64-basic": base64.b64encode(f"user:{KEY}".encode()).decode(),
    "base64-url": base64.urlsafe_b64encode(f"{KEY}??".encode()).decode(),
    "base64-lines": base64.encodebytes(f"{'x' * 53}{KEY}".encode()).decode(),
    "hex": KEY.encode().hex(),
    "backwards": KEY[::-1],
    "cut": f"you sent Bearer {KEY[:5]}",
    "beginning": f"not {KEY[:12]}…",
    "end": f"…{KEY[-12:]} is wrong",
    "thrice": KEY * 3,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_found_in_each_form(form: str) -> None:
    scrubbed = Secrets(KEY).scrub(f"before {FORMS[form]} after")
    assert REPLACEMENT in scrubbed
    assert scrubbed.startswith("before ")
    assert scrubbed.endswith(" after")
    flat = "".join(scrubbed.split()).lower()
    assert not any(KEY[at : at + 5].lower() in flat for at in range(len(KEY) - 4))


def test_html_of_signs_is_found() -> None:
    key = "a&b<c>\"d'e/f"
    assert Secrets(key).scrub(f"<p>{html.escape(key)}</p>") == f"<p>{REPLACEMENT}</p>"


def test_other_words_stay() -> None:
    text = "A key is required; no-key is required. Skip the secret 123 times, Bearer sk."
    assert Secrets("sk-no-key-required", KEY).scrub(text) == text


def test_a_short_key_is_replaced_by_itself_alone() -> None:
    text = "EMPTY is not empty, nor EMPTYING: [EMPTY]"
    expected = f"{REPLACEMENT} is not empty, nor EMPTYING: [{REPLACEMENT}]"
    assert Secrets("EMPTY").scrub(text) == expected


def test_without_a_key_nothing_changes() -> None:
    assert Secrets(None, "").scrub(f"Bearer {KEY}") == f"Bearer {KEY}"


def test_several_keys_are_all_found() -> None:
    found = Secrets("hf_abcdefghijklmnop", KEY).scrub(f"{KEY} and hf_abcdefghijklmnop")
    assert found == f"{REPLACEMENT} and {REPLACEMENT}"


@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=60),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_no_key_is_left_in_any_text(key: str, before: str, after: str) -> None:
    scrubbed = Secrets(key).scrub(before + key + after)
    assert key not in scrubbed.replace(REPLACEMENT, "\n")
    assert REPLACEMENT in scrubbed
