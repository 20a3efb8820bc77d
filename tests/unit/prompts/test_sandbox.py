from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from luthier.core.errors import DataError
from luthier.prompts.sandbox import MAX_SOURCE_CHARACTERS, compile_snippet

NESTED_LOOPS = "".join(f"{{% for i{n} in items %}}" for n in range(10)) + "{% endfor %}" * 10
BUSY_LOOPS = (
    "".join(f"{{% for i{n} in items %}}" for n in range(4))
    + "{% if text == copy %}{% endif %}" * 200
    + "{% endfor %}" * 4
)
DOUBLINGS = "".join(f"{{% set a{n + 1} = a{n} ~ a{n} %}}" for n in range(40))
LISTS = "".join(f"{{% set a{n + 1} = [a{n}, a{n}] %}}" for n in range(40))
SQUARES = "".join(f"{{% set a{n + 1} = a{n} * a{n} %}}" for n in range(60))
KEPT = "".join(f"{{% set a{n} = text | upper %}}" for n in range(450))
REPLACED = "".join(f"{{% set a{n + 1} = a{n}|replace('a', 'aaaaaaaaaa') %}}" for n in range(20))

CODE = {
    "class": "{{ ''.__class__ }}",
    "class by key": "{{ ''['__class__'] }}",
    "subclasses": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "class in a condition": "{% if ''.__class__ %}x{% endif %}",
    "attr filter": "{{ '' | attr('__class__') }}",
    "format map": "{{ '{0.__class__}'.format(1) }}",
    "method": "{{ items.append(1) }}",
    "method without a call": "{{ items.append }}",
    "globals": "{{ self.__init__.__globals__ }}",
    "context": "{{ self._TemplateReference__context }}",
    "loop's generator": "{% for i in items %}{{ loop._iterator.gi_frame }}{% endfor %}",
    "call of loop": "{% for i in items %}{{ loop(items) }}{% endfor %}",
    "cycler": "{{ cycler('a') }}",
    "joiner": "{{ joiner.__init__ }}",
    "lipsum": "{{ lipsum(n=100000) }}",
    "namespace": "{% set n = namespace(a=1) %}",
    "include": "{% include '/etc/passwd' %}",
    "include of a column": "{% include text %}",
    "import": "{% import 'os' as os %}",
    "from": "{% from 'os' import path %}",
    "extends": "{% extends 'x' %}",
    "do": "{% do items.append(1) %}",
    "map filter": "{{ items | map(attribute='__class__') | join }}",
    "unpacking": "{{ text | trim(*items) }}",
    "an internal filter": "{{ items | each item }}",
}
WORK = {
    "range of 10^10": "{% for i in range(10**10) %}{% endfor %}",
    "range printed": "{{ range(10**10) }}",
    "nested loops": NESTED_LOOPS,
    "nested loops with work": BUSY_LOOPS,
    "loop over text": "{% for c in text %}{{ loop.length }}{% endfor %}",
    "filtered loop": NESTED_LOOPS.replace("items %}", "items if 0 %}", 1) + NESTED_LOOPS,
    "recursive loop": "{% for i in items recursive %}{{ loop(items) }}{% endfor %}",
    "macro": "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    "call block": "{% call m() %}{% endcall %}",
    "filter block": "{% filter upper %}x{% endfilter %}",
    "block": "{% block b %}{{ self.b() }}{% endblock %}",
    "repeated text": "{{ 'a' * 10**9 }}",
    "repeated text without a power": "{{ 'a' * 1000000000 }}",
    "repeated list": "{% for i in [1] * 1000000000 %}{% endfor %}",
    "percent formatting": "{{ '%1000000000d' % 1 }}",
    "format filter": "{{ '%1000000000d' | format(1) }}",
    "power": "{{ 9 ** 9 ** 9 ** 9 }}",
    "squares": "{% set a0 = 123456789 %}" + SQUARES + "{{ a60 }}",
    "rounding to a power of ten": "{{ 1 | round(-1000000000) }}",
    "long integer": "{{ " + "9" * 60_000 + " }}",
    "text to a long integer": "{{ ('9' ~ text) | int }}",
    "centred": "{{ 'a' | center(1000000000) }}",
    "left-justified": "{{ 'a'.ljust(1000000000) }}",
    "indented": "{{ text | indent(1000000) }}",
    "replaced and replaced": "{% set a0 = 'aaaaaaaaaa' %}" + REPLACED + "{{ a20 }}",
    "nested replace": "{{ text" + " | replace('x', text)" * 10 + " }}",
    "replaced nothing": "{{ text | replace('', text) }}",
    "doubled text": "{% set a0 = 'aaaaaaaaaa' %}" + DOUBLINGS + "{{ a40 }}",
    "doubled text unprinted": "{% set a0 = text %}" + DOUBLINGS,
    "tilde within tilde": "{{ text" + " ~ (text" * 60 + ")" * 60 + " }}",
    "doubled lists": "{% set a0 = 1 %}" + LISTS + "{{ a40 }}",
    "doubled lists compared": "{% set a0 = 1 %}" + LISTS + "{% if a39 == a40 %}{% endif %}",
    "joined by a long text": "{{ items | join(text) }}",
    "many long texts kept": KEPT,
    "printed over and over": "{{ text }}" * 600,
    "a slice kept": "{% set a = text[1:] %}",
    "long source": "x" * (MAX_SOURCE_CHARACTERS + 1),
    "many parts": "{{ text == text }}" * 3000,
    "deep brackets": "{{ " + "(" * 30_000 + "1" + ")" * 30_000 + " }}",
    "deep sum": "{{ " + "1+" * 30_000 + "1 }}",
    "deep not": "{{ " + "not " * 15_000 + "1 }}",
    "deep attributes": "{{ text" + ".a" * 30_000 + " }}",
    "deep conditions": "{% if 1 %}" * 400 + "{% endif %}" * 400,
    "deep loops": "{% for i in items %}" * 150 + "{% endfor %}" * 150,
    "open brackets": "{{" * 32_000,
    "open tags": "{%-" * 21_000,
    "open comments": "{#" * 32_000,
    "blanks before a tag": " " * 65_000 + "{%",
    "blanks in a tag": "{{ 1" + " " * 65_000,
    "raw": "{% raw %}" * 7_000,
    "quotes": "{{ '" + "\\'" * 32_000,
}
# Runs beside the tests with a limit of its own, so that a failure cannot take the machine along.
RUNNER = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
from luthier.core.errors import DataError
from luthier.prompts.sandbox import compile_snippet
row = {"items": list(range(1000)), "text": "x" * 10_000, "copy": "x" * 9_999 + "y"}
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
compile_snippet("{{ a }}").render({"a": 1})
start = peak()
for name, source in json.load(sys.stdin).items():
    began, problem = time.process_time(), ""
    try:
        compile_snippet(source).render(row)
    except DataError as error:
        problem = str(error)
    print(json.dumps([name, problem, time.process_time() - began, peak() - start]), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[str, float, float]]:
    """What became of each attack: the problem, processor seconds, and peak memory in MiB so far."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps({**CODE, **WORK}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(CODE | WORK), done.stderr
    return {name: (problem, seconds, memory) for name, problem, seconds, memory in lines}


@pytest.mark.parametrize("name", [*CODE, *WORK])
def test_attack_is_refused_quickly(
    name: str, outcomes: dict[str, tuple[str, float, float]]
) -> None:
    problem, seconds, memory = outcomes[name]
    assert problem
    assert seconds < 2
    assert memory < 256


def render(source: str, **row: Any) -> str:
    return compile_snippet(source).render(row)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ a }} and {{ b.c }} and {{ b['c'] }}", "x and 1 and 1"),
        ("{{ row['a b'] }}", "spaced"),
        ("{{ a ~ 1 ~ (a ~ true) }}", "x1xtrue"),
        ("{% for i in xs if i > 1 %}{{ loop.index }}:{{ i }} {% endfor %}", "1:2 2:3 "),
        ("{% for i in xs %}{{ loop.index ~ 'of' ~ loop.length }} {% endfor %}", "1of3 2of3 3of3 "),
        ("{% for i in xs %}\n {{ 'xabc'[i] }}\n{% endfor %}", " a\n b\n c\n"),
        ("{{ xs | join(', ') }}", "1, 2, 3"),
        ("{{ (7 * 3 - 1) // 2 % 4 }}", "2"),
        ("{{ 4.26 | round(1) }} {{ 4.6 | round }}", "4.3 5"),
        ("{{ ' Ab ' | trim | upper | replace('B', 'cc') }}", "Acc"),
        ("{{ nothing | default('none') }}{{ absent | default('!') }}", "none!"),
        ("{{ 'yes' if a in ['x', 'y'] and a is string else 'no' }}", "yes"),
        ("{% if absent is defined %}a{% else %}b{% endif %}", "b"),
        ("{% set y = a %}{{ y }}{# a comment #}{% raw %}{{ }}{% endraw %}", "x{{ }}"),
        ("<b>{{ '<&>' }}</b>\n", "<b><&></b>\n"),
    ],
)  # fmt: skip
def test_language(source: str, expected: str) -> None:
    row = {"a": "x", "b": {"c": 1}, "xs": [1, 2, 3], "a b": "spaced", "nothing": None}
    assert render(source, **row) == expected


def test_columns_are_found() -> None:
    snippet = compile_snippet(
        "{% set y = 1 %}{{ a }}{{ row['b c'] }}{% for i in xs %}{{ i }}{{ loop.index }}{% endfor %}"
        "{{ y }}{{ d | default }}{% if e is defined %}{{ e }}{% endif %}"
    )
    assert snippet.columns == {"a", "b c", "xs"}
    assert snippet.optional == {"d", "e"}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ a | lowr }}", "did you mean 'lower'"),
        ("{{ a.strip() }}", "trim"),
        ("{{ a", "line 1"),
        ("{{ xs }}", "|join"),
        ("{{ nothing }}", "null"),
        ("{{ a.b }}", "no attribute 'b'"),
        ("{{ a + 'x' }}", "~"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% for i in nothing %}{% endfor %}", "null"),
    ],
)
def test_mistakes_are_explained(source: str, words: str) -> None:
    with pytest.raises(DataError, match="template") as caught:
        render(source, a="x", xs=[1], nothing=None)
    assert words in str(caught.value)


def test_a_long_row_is_no_attack() -> None:
    text = "ü" * 1_500_000
    assert render("{{ text | trim }}!", text=text) == text + "!"
