"""YAML without its traps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.config.yaml import parse_scalar, parse_yaml, read_yaml
from luthier.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 0.0001),
        ("1E5", 100000.0),
        ("+2e3", 2000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("3", 3),
        ("-3", -3),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("1.0.2", "1.0.2"),
        ("3abc", "3abc"),
        ("trueish", "trueish"),
        ("2026-01-31", "2026-01-31"),
        (".inf", ".inf"),
        ("0x1F", "0x1F"),
        ("30m", "30m"),
        ("[1, 1e-4, no]", [1, 0.0001, "no"]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_values_are_what_they_look_like(text: str, value: Any) -> None:
    for found in (parse_yaml(f"key: {text}", "a.yaml").values["key"], parse_scalar(text)):
        assert found == value
        assert type(found) is type(value)


def test_a_scalar_that_is_not_yaml_is_text() -> None:
    assert parse_scalar("[") == "["
    assert parse_scalar("a: b: c") == "a: b: c"
    assert parse_scalar("!!python/name:os.system") == "!!python/name:os.system"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", 3),
        ("train:\n  epochs: 1\n  batch_size: 2\n  epochs: 2\n", 4),
        ("list:\n- a: 1\n  a: 2\n", 3),
    ],
)
def test_a_repeated_key_is_refused(text: str, line: int) -> None:
    with pytest.raises(UsageError, match="duplicate key") as caught:
        parse_yaml(text, "a.yaml")
    assert caught.value.where == f"a.yaml:{line}"


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch sprung']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!unknown 3",
    ],
)
def test_tags_are_refused_and_run_nothing(tag: str, in_tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="invalid YAML") as caught:
        parse_yaml(f"a: 1\nb: {tag}\n", "a.yaml")
    assert caught.value.where == "a.yaml:2"
    assert not list(in_tmp_path.iterdir())


def test_aliases_are_refused_before_they_multiply() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(UsageError, match="aliases are not supported") as caught:
        parse_yaml("\n".join(lines), "a.yaml")
    assert caught.value.where == "a.yaml:2"


@pytest.mark.parametrize(
    "text", ["a: [1", "a: 'open", "a:\n\t- 1", "a: b: c", "- &x [*x]", "\x00", "a: 1\n---\nb: 2"]
)
def test_what_is_not_yaml_is_a_users_mistake(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_yaml(text, "a.yaml")
    assert caught.value.where.startswith("a.yaml")


def test_deep_nesting_is_a_users_mistake() -> None:
    with pytest.raises(UsageError):
        parse_yaml("a: " + "[" * 100_000, "a.yaml")


@pytest.mark.parametrize("text", ["3", "- a\n- b", "just words"])
def test_the_document_is_a_mapping(text: str) -> None:
    with pytest.raises(UsageError, match="not a mapping"):
        parse_yaml(text, "a.yaml")


@pytest.mark.parametrize("text", ["", "# only a comment\n", "{}"])
def test_an_empty_document_is_an_empty_mapping(text: str) -> None:
    assert parse_yaml(text, "a.yaml").values == {}


def test_places_of_values_and_of_their_nearest_parents() -> None:
    document = parse_yaml("# head\na:\n  b:\n  - x\n  - y\nc: 1\n", "a.yaml")
    assert document.where(("a", "b", 1)) == "a.yaml:5"
    assert document.where(("a", "b")) == "a.yaml:3"
    assert document.where(("a", "missing", "deeper")) == "a.yaml:2"
    assert document.where(("missing",)) == "a.yaml"


def test_a_part_laid_over_the_rest_keeps_its_places() -> None:
    text = "a: 1\nb:\n  c: 2\nparts:\n  one:\n    a: 3\n    d: {e: 4}\n  two: {}\n"
    laid = parse_yaml(text, "f").laid_over("parts", "one")
    assert laid.values == {"a": 3, "b": {"c": 2}, "d": {"e": 4}}
    places = [laid.where(at) for at in (("a",), ("b", "c"), ("d", "e"), ("parts",))]
    assert places == ["f:6", "f:3", "f:7", "f"]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: caf\xc3\xa9\r\nseed: 1\r\n")
    assert read_yaml(path).values == {"name": "café", "seed": 1}
    path.write_bytes(b"name: \xff")
    with pytest.raises(UsageError, match="UTF-8") as caught:
        read_yaml(path)
    assert caught.value.where == str(path)
    with pytest.raises(UsageError, match="does not exist"):
        read_yaml(tmp_path / "missing.yaml")
    with pytest.raises(UsageError, match="not a regular file"):
        read_yaml(tmp_path)
