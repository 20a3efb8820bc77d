"""Templates that attack: named ones, and expressions that grow in every place of a template."""

from __future__ import annotations

from itertools import product

_LOOP = "{{% for {0} in range(100000) %}}"
_END = "{% endfor %}"


def _doublings(first: str, twice: str, last: str, times: int) -> str:
    steps = "".join(f"{{% set a{n + 1} = {twice.format(a=f'a{n}')} %}}" for n in range(times))
    return f"{{% set a0 = {first} %}}{steps}{{{{ {last.format(a=f'a{times}')} }}}}"


# Expressions that take too much time or memory, or make too much text.
GROWING = {
    "repeated text": "'a' * 10**10",
    "text of 1 GB": "'a' * 10**9",
    "repeated list": "[0] * 10**10",
    "list of 1 GB": "([0] * 10**8)|length",
    "centred": "'x'|center(10**9)",
    "just": "'x'.ljust(10**9)",
    "zeros": "'1'.zfill(10**9)",
    "width by percent": "'%1000000000d' % 1",
    "width by star": "'%*d' % (10**9, 1)",
    "width by format": "'{:1000000000}'.format(1)",
    "width by format filter": "'%1000000000s'|format('x')",
    "precision": "'%.1000000000f' % 1.5",
    "power": "10**(10**8)",
    "power of power": "(7**(7**9)) % 10",
    "power printed": "(10**1000000)|string",
    "joined": "(range(100000)|map('string')|join('a' * 100000))|length",
    "replaced": "('a' * 100000)|replace('a', 'b' * 100000)",
    "replaced method": "('a' * 100000).replace('a', 'b' * 100000)",
    "expanded tabs": "('\t' * 1000).expandtabs(10**7)",
    "indented": "('\n' * 100000)|indent(100000, true, true)",
    "wrapped": "('a' * 1000000)|wordwrap(1)",
    "batches": "range(1)|batch(10**9, 0)|list",
    "slices": "range(1)|slice(10**9)|list",
    "lipsum": "lipsum(n=10**7)",
    "translated": "('a' * 1000000).translate({97: 'b' * 10000})",
    "encoded": "('\ud7ff' * 10**8).encode('utf-32')",
    "urls": "('http://a.b ' * 10**6)|urlize",
    "dates": "strftime_now('%Y' * 10**9)",
    "pretty": "(range(100000)|list * 100)|pprint",
    "json": "([[0] * 1000] * 10**6)|tojson",
    "json indented": "[[[0]]]|tojson(indent=10**9)",
    "sorted": "(range(100000)|list * 1000)|sort",
    "unique": "(range(100000)|list * 1000)|unique|list",
    "sum of lists": "([range(100000)|list] * 100000)|sum(start=[])",
    "text of a number": "(3**5000000) ~ ''",
    "factors of a number": "(10**1000000) // (7**10000) % 3",
    "case": "('\u00df' * 10**9)|upper",
    "split": "('a ' * 10**8).split()",
    "tuples": "(0,) * 10**10",
    "bytes": "1.5.hex() * 10**9",
    "int to bytes": "(1).to_bytes(10**10, 'big')",
    "many keys": "dict.fromkeys(range(100000)|list * 100000)",
    "comparison": "('a' * 10**8 ~ 'b') in ('a' * 10**9)",
}
# Where in a template an expression may stand.
PLACES = {
    "printed": "{{{{ {0} }}}}",
    "set": "{{% set x = {0} %}}{{{{ x|string|length }}}}",
    "asked": "{{% if {0} %}}{{{{ messages[0].content }}}}{{% endif %}}",
    "in a macro": "{{% macro m(n) %}}{{{{ {0} }}}}{{% endmacro %}}{{{{ m(1)|length }}}}",
    "in a namespace": "{{% set n = namespace(x={0}) %}}{{{{ n.x }}}}",
}
LOOPS = {
    "loop of 10^10": "{% for i in range(10**10) %}x{% endfor %}",
    "nested ranges": _LOOP.format("a") + _LOOP.format("b") + _END * 2,
    "five nested ranges": "".join(_LOOP.format(c) for c in "abcde") + _END * 5,
    "printing ranges": _LOOP.format("a") + _LOOP.format("b") + "x" + _END * 2,
    "silent after the text": "{{ messages[0].content }}" + _LOOP.format("a") * 3 + _END * 3,
    "only with tools": "{% if tools %}" + _LOOP.format("a") * 3 + _END * 3 + "{% endif %}",
    "only for answers": "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}"
    + _LOOP.format("a") * 3 + _END * 3 + "{% endif %}{% endfor %}",
    "half a second each time": _LOOP.format("a") * 1 + "{{ '' }}" * 20 + _END
    + "{% for m in messages %}{{ m.role }}{{ m.content }}{% endfor %}",
    "a second in each row": "{% for m in messages %}{{ m.content }}{% endfor %}"
    + _LOOP.format("a") + "{% for b in range(100) %}{% endfor %}" + _END,
    "recursive loop": "{% for i in [[1]] recursive %}{{ loop([i]) }}{% endfor %}",
    "recursive loop on itself": "{% set l = [1, 1] %}{% for i in l recursive %}"
    "{{ loop(l) }}{% endfor %}",
    "recursive macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "doubly recursive macro": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
    "{% endmacro %}{{ f(60) }}",
    "macros that call each other": "{% macro f() %}{{ g() }}{% endmacro %}"
    "{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
    "caller": "{% macro f() %}{{ caller() }}{{ caller() }}{% endmacro %}"
    + "{% call f() %}" * 40 + "x" + "{% endcall %}" * 40,
    "self-referring block": "{% block a %}{{ self.a() }}{% endblock %}",
    "doubled text": _doublings("'ab'", "{a} ~ {a}", "{a}|length", 40),
    "doubled lists": _doublings("[1]", "{a} + {a}", "{a}|length", 40),
    "lists of lists": _doublings("[1]", "[{a}, {a}]", "{a}", 40),
    "lists of lists compared": _doublings("[1]", "[{a}, {a}]", "{a} == {a}|list", 40),
    "lists of lists as JSON": _doublings("[1]", "[{a}, {a}]", "{a}|tojson", 40),
    "deep list": _doublings("[1]", "[{a}]", "{a}", 900),
    "deep list as JSON": _doublings("[1]", "[{a}]", "{a}|tojson", 900),
    "squares": _doublings("3", "{a} * {a}", "{a} % 7", 60),
    "a deep expression": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep brackets": "{{ " + "[" * 3000 + "1" + "]" * 3000 + " }}",
    "a long sum": "{{ " + "1+" * 60_000 + "1 }}",
    "many nots": "{{ " + "not " * 20_000 + "1 }}",
    "many minus": "{{ " + "-" * 50_000 + "1 }}",
    "many filters": "{{ 'a'" + "|upper" * 20_000 + " }}",
    "many dots": "{{ a" + ".a" * 20_000 + " }}",
    "deep ifs": "{% if 1 %}" * 3000 + "x" + "{% endif %}" * 3000,
    "deep loops": "{% for i in [1] %}" * 120 + "x" + _END * 120,
    "many macros": "".join(f"{{% macro m{n}() %}}x{{% endmacro %}}" for n in range(6000)),
    "many strings": "{{ 'x' }}" * 25_000,
    "a large template": "x" * 300_000,
    "a large comment": "{#" + "x" * 300_000 + "#}",
    "an open comment": "{#" * 100_000,
    "an open string": "{{ '" + "\\'" * 100_000,
    "a long number": "{{ " + "9" * 100_000 + " }}",
    "many blocks opened": "{%" * 100_000,
    "a cycler": "{% set c = cycler('a', 'b') %}" + _LOOP.format("a") * 2 + "{{ c.next() }}"
    + _END * 2,
    "loop.cycle": "{% for i in range(100000) %}{{ loop.cycle('a' * 10**6, 'b') }}{% endfor %}",
    "a joiner": "{% set j = joiner('x' * 10**6) %}" + _LOOP.format("a") + "{{ j() }}" + _END,
    "while by namespace": "{% set n = namespace(l=[1]) %}{% for i in n.l %}"
    "{% set n.l = n.l + n.l %}{% for j in n.l %}{% endfor %}{% endfor %}"
    + _LOOP.format("a") + "{% set n.l = n.l + [a] %}" + _END,
    "itself in a namespace": "{% set n = namespace() %}{% set n.a = n %}{{ n }}{{ [n]|tojson }}",
    "break never": _LOOP.format("a") + _LOOP.format("b") + "{% if b < 0 %}{% break %}{% endif %}"
    + _END * 2,
    "continue always": _LOOP.format("a") + _LOOP.format("b") + "{% continue %}" + _END * 2,
    "generation": "{% generation %}{{ 'a' * 10**10 }}{% endgeneration %}",
    "filter block": "{% filter replace('a', 'b' * 10**5) %}" + "a" * 10**5 + "{% endfilter %}",
    "set block": "{% set x %}" + _LOOP.format("a") * 2 + "x" + _END * 2 + "{% endset %}",
    "groupby": "{{ ([{'a': 1}] * 10**8)|groupby('a')|length }}",
    "selectattr": "{{ ([{'a': 1}] * 10**8)|selectattr('a')|list|length }}",
    "a generator that never ends": "{{ range(100000)|map('string')|map('center', 10**6)|list }}",
    "content many times": "{{ messages[0].content * 10**9 }}",
    "messages many times": "{% for m in messages * 10**8 %}{{ m.content }}{% endfor %}",
}  # fmt: skip
RAISING = {
    "division by zero": "{{ 1//0 }}",
    "modulo zero": "{{ 1 % 0 }}",
    "overflow": "{{ 10.0**1000 }}",
    "overflow of int": "{{ (10**400)|float }}",
    "a range too large": "{% for i in range(10**12) %}{% endfor %}",
    "a key that is missing": "{{ messages[99].content.x.y }}",
    "an index": "{{ [][0].x }}",
    "no text": "{{ 1 + 'a' }}",
    "not callable": "{{ 'a'() }}",
    "raises": "{{ raise_exception('no') }}",
    "raises a list": "{{ raise_exception([1]) }}",
    "raises 1 MB": "{{ raise_exception('a' * 10**6) }}",
    "raises nothing": "{{ raise_exception() }}",
    "raises a surrogate": "{{ raise_exception('\\ud800') }}",
    "a surrogate": "{{ '\\ud800' }}",
    "NUL": "{{ '\\0' }}\0",
    "unhashable": "{{ {[1]: 2} }}",
    "JSON of undefined": "{{ nothing|tojson }}",
    "JSON of a function": "{{ range|tojson }}",
    "a bad codec": "{{ 'a'.encode('idna_x') }}",
    "a bad format": "{{ '%q' % 1 }}",
    "a bad width": "{{ '{:{}}'.format(1, 'x') }}",
    "a bad date": "{{ strftime_now('%') }}{{ strftime_now(1) }}",
    "no filter": "{{ 1|nothing }}",
    "no test": "{{ 1 is nothing }}",
    "a bad chr": "{{ '%c' % 99999999 }}",
    "a million digits": "{{ ('9' * 10**6)|int }}",
    "unpacking": "{% for a, b in [1] %}{% endfor %}",
}
REACHING = {
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "class by key": "{{ ''['__class__']['__mro__'] }}",
    "class by filter": "{{ ''|attr('__class__')|attr('__mro__') }}",
    "class by map": "{{ ['']|map(attribute='__class__')|list }}",
    "class by format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "class by format_map": "{{ '{a.__class__.__init__.__globals__}'.format_map({'a': dict}) }}",
    "class by indirect format": "{{ ['{0.__class__}']|map('format', '')|list }}",
    "format by attr": "{{ ('{0.__class__}'|attr('format'))('') }}",
    "globals of a macro": "{% macro m() %}{% endmacro %}{{ m.__globals__ }}{{ m._func }}",
    "globals of cycler": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "globals of joiner": "{{ joiner.__init__.__globals__ }}",
    "globals of lipsum": "{{ lipsum.__globals__['os'].system('id') }}",
    "globals of namespace": "{{ namespace.__init__.__globals__ }}",
    "globals of raise": "{{ raise_exception.__globals__ }}",
    "environment": "{{ self._TemplateReference__context.environment }}",
    "context": "{{ self.__init__.__globals__ }}",
    "a generator's frame": "{{ (messages|map('string')).gi_frame.f_globals }}",
    "a coroutine's frame": "{% for m in messages %}{{ loop._iterator.gi_frame }}{% endfor %}",
    "underscore in a namespace": "{% set n = namespace(__class__=1) %}{{ n }}",
    "underscore set": "{% set n = namespace() %}{% set n.__class__ = dict %}{{ n }}",
    "attrs of a namespace": "{% set n = namespace() %}{{ n._Namespace__attrs }}{{ n.__dict__ }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}{{ os }}",
    "from": "{% from '/etc/passwd' import x %}",
    "extends": "{% extends '/etc/passwd' %}",
    "extends an object": "{% extends messages %}",
    "include of many": "{% include ['a'] * 10**9 ignore missing %}",
    "debug": "{% debug %}",
    "do": "{% do messages.append(1) %}",
    "changes a list": "{{ messages.append(1) }}",
    "changes a dict": "{{ messages[0].update(role='x') }}{{ messages[0].clear() }}",
    "changes an own list": "{% set l = [] %}{{ l.append(l) }}{{ l }}",
    "changes dict": "{{ dict.update(a=1) }}{{ dict.__setitem__ }}",
    "every variable": "{% for k in self %}{{ k }}{% endfor %}{{ context }}{{ environment }}",
    "print of a function": "{{ range.__self__ }}{{ dict.fromkeys.__self__ }}{{ dict.__call__ }}",
    "super": "{% block a %}{{ super() }}{% endblock %}",
    "xmlattr": "{{ {'a b': 1}|xmlattr }}",
}  # fmt: skip
PLACED = {
    f"{name}, {place}": form.format(expression)
    for (name, expression), (place, form) in product(GROWING.items(), PLACES.items())
}
HOSTILE = {**LOOPS, **RAISING, **REACHING, **PLACED}
"""All of them by name: at least 100, and as many again by the places of an expression."""
