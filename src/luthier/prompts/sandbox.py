"""A small, bounded subset of Jinja for untrusted templates.

Jinja's sandbox stops code but does not limit work: a loop over ``range(10**10)`` hangs, and a
repeatedly doubled string exhausts memory. So templates here are a language without calls: a fixed
set of nodes, filters and tests, in which all loops and new texts are charged to a `Meter`. All
other syntax is refused when the template is compiled, before the first row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS

from luthier.core.errors import DataError
from luthier.core.names import did_you_mean
from luthier.prompts.filters import FILTERS, INTERNAL_FILTERS, charge, start_meter, text_of

MAX_SOURCE_CHARACTERS = 2**16
MAX_NODES = 2_000
MAX_INTEGER = 2**63

ROW = "row"
"""The name under which a template sees the whole row: ``{{ row["a column with spaces"] }}``."""

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign,
    nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Getattr, nodes.Getitem, nodes.Filter,
    nodes.Test, nodes.Keyword, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
    nodes.CondExpr, nodes.Concat, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv,
    nodes.Mod, nodes.Neg,
)  # fmt: skip
_ALLOWED_TESTS = ("defined", "undefined", "none", "string", "number", "even", "odd")
_FAILURES = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, SyntaxError,
    TypeError, ValueError, jinja2.TemplateError,
)  # fmt: skip


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja without a loader, globals, calls, or attributes of Python objects."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def __init__(self) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            finalize=text_of,
            autoescape=False,  # prompts are not HTML
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            optimized=False,  # constant folding would do work before it can be charged
            cache_size=0,
        )
        self.globals.clear()
        self.filters = {**FILTERS, **INTERNAL_FILTERS}
        self.tests = {name: TESTS[name] for name in _ALLOWED_TESTS}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only ``loop`` has attributes; a dot on anything else looks up a key."""
        return isinstance(obj, LoopContext) and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic only on numbers of bounded size; text and lists would grow without limit."""
        charge(context, 1)
        for operand in (left, right):
            if not isinstance(operand, int | float):
                raise SecurityError(f"{operator!r} works on numbers; join text with ~")
            if isinstance(operand, int) and abs(operand) > MAX_INTEGER:
                raise SecurityError("a number is too large")
        return super().call_binop(context, operator, left, right)


_ENVIRONMENT = _Environment()


@dataclass(frozen=True, slots=True)
class Snippet:
    """A compiled template text.

    Attributes:
        compiled: Jinja's compiled template.
        columns: the columns that it needs.
        optional: columns that it tests with ``is defined`` or ``|default``.
    """

    compiled: jinja2.Template
    columns: frozenset[str]
    optional: frozenset[str]

    def render(self, row: Mapping[str, Any]) -> str:
        """The text for one row.

        Raises:
            DataError: a value cannot be printed, or the template exceeds a limit.
        """
        values, meter = start_meter({**row, ROW: row})
        pieces: list[str] = []
        try:
            for piece in self.compiled.generate(values):
                meter.charge(len(piece))
                pieces.append(piece)
        except _FAILURES as error:
            raise DataError(f"the template cannot be rendered: {_explain(error)}") from None
        return "".join(pieces)


@lru_cache(maxsize=1024)
def compile_snippet(source: str) -> Snippet:
    """Compile a template text.

    Raises:
        DataError: the text is not valid, is too long, or uses refused syntax.
    """
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise DataError(
            f"the template has {len(source)} characters",
            fix=f"keep it below {MAX_SOURCE_CHARACTERS}; long texts belong in the rows",
        )
    try:
        tree = _ENVIRONMENT.parse(source)
        parts = _checked(tree)
        optional = _optional_names(parts)
        columns = _names(tree, parts) - optional
        _charge_for_work(parts)
        return Snippet(_ENVIRONMENT.from_string(tree), columns, optional)
    except _FAILURES as error:
        line = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise DataError(f"the template is refused: {line}{_explain(error)}") from None


def _checked(tree: nodes.Template) -> list[nodes.Node]:
    """All nodes of ``tree``, after a check that each is allowed."""
    parts: list[nodes.Node] = []
    waiting: list[nodes.Node] = [tree]
    while waiting:
        node = waiting.pop()
        _check(node)
        parts.append(node)
        if len(parts) > MAX_NODES:
            raise SecurityError(f"it has more than {MAX_NODES} parts")
        waiting.extend(node.iter_child_nodes())
    return parts


def _check(node: nodes.Node) -> None:
    if isinstance(node, nodes.Call):
        raise SecurityError(f"nothing can be called; filters are {', '.join(FILTERS)}")
    if not isinstance(node, _ALLOWED):
        raise SecurityError(f"{type(node).__name__.lower()!r} is not part of the language")
    if isinstance(node, nodes.Filter):
        _check_name("filter", node.name, FILTERS)
        if node.node is None:
            raise SecurityError("a filter needs a value")
    if isinstance(node, nodes.Filter | nodes.Test) and (node.dyn_args or node.dyn_kwargs):
        raise SecurityError("arguments cannot be unpacked")
    if isinstance(node, nodes.Test):
        _check_name("test", node.name, _ALLOWED_TESTS)
    if isinstance(node, nodes.For) and node.recursive:
        raise SecurityError("loops cannot be recursive")
    # Nested lists could double with every line, so that a comparison of them never ends.
    items = node.items if isinstance(node, nodes.List) else []
    if not all(isinstance(item, nodes.Const) for item in items):
        raise SecurityError("a list may hold literal values only")
    if isinstance(node, nodes.Tuple) and node.ctx == "load":
        raise SecurityError("write a list in square brackets")


def _check_name(kind: str, name: str, known: Iterable[str]) -> None:
    known = list(known)
    if name not in known:
        hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
        raise SecurityError(f"there is no {kind} {name!r}; {hint}")


def _names(tree: nodes.Template, parts: list[nodes.Node]) -> frozenset[str]:
    """Columns that are used by name or as ``row["name"]``."""
    names = meta.find_undeclared_variables(tree) - {ROW}
    for node in parts:
        if (
            isinstance(node, nodes.Getitem)
            and isinstance(node.node, nodes.Name)
            and node.node.name == ROW
            and isinstance(node.arg, nodes.Const)
        ):
            names.add(str(node.arg.value))
    return frozenset(names)


def _optional_names(parts: list[nodes.Node]) -> frozenset[str]:
    return frozenset(
        node.node.name
        for node in parts
        if isinstance(node, nodes.Filter | nodes.Test)
        and node.name in ("default", "defined", "undefined")
        and isinstance(node.node, nodes.Name)
    )


def _charge_for_work(parts: list[nodes.Node]) -> None:
    """Insert charging filters for loops and joins, which Jinja would not charge."""
    for node in reversed(parts):  # children before their parents
        for field, value in node.iter_fields():
            if isinstance(value, list):
                value[:] = [_joined(part) for part in value]
            else:
                setattr(node, field, _joined(value))
        if isinstance(node, nodes.For):
            node.iter = _call_filter("each item", cast("nodes.Expr", node.iter))


def _joined(value: Any) -> Any:
    """A filter instead of ``a ~ b``; any other node unchanged."""
    return _call_filter("joined text", *value.nodes) if isinstance(value, nodes.Concat) else value


def _call_filter(name: str, value: nodes.Expr, *arguments: nodes.Expr) -> nodes.Filter:
    call = nodes.Filter(value, name, list(arguments), [], None, None, lineno=value.lineno)
    call.set_environment(_ENVIRONMENT)
    return call


def _explain(error: BaseException) -> str:
    if isinstance(error, RecursionError | MemoryError):
        return "it is nested too deeply"
    return (str(error) or type(error).__name__)[:300]  # it may quote a whole row
