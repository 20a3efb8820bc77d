"""Bad input of every kind: never a traceback, always where it is wrong and what to do."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from luthier.cli.main import run as luthier
from luthier.config import RunConfig, load_config
from luthier.config.load import to_yaml
from luthier.core.errors import UsageError

GOOD = [{"prompt": f"Is {n} odd?", "completion": "yes" if n % 2 else "no"} for n in range(40)]


def _keys(values: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        yield (*at, key)
        if isinstance(value, dict):
            yield from _keys(value, (*at, key))


KEYS = list(_keys(yaml.safe_load(to_yaml(RunConfig()))))


def _nested(at: tuple[str, ...], value: Any) -> str:
    for key in reversed(at):
        value = {key: value}
    return str(yaml.safe_dump(value))


WRONG: dict[str, tuple[str, str]] = {}
for _at in KEYS:
    # Without a strategy it is not known which keys there are, so the missing one is named.
    _named = _at[-1] if _at[-1] == "strategy" else _at[-1] + "x"
    WRONG[".".join(_at) + " misspelt"] = (_nested((*_at[:-1], _at[-1] + "x"), 1), _named)
    WRONG[".".join(_at) + " an odd value"] = (_nested(_at, [[{"a": [None]}]]), _at[-1])


@pytest.mark.parametrize(("text", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_configuration_is_explained(text: str, named: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_config(file)
    assert str(file) in str(caught.value)
    assert named in str(caught.value)


def _line(row: Any) -> bytes:
    return json.dumps(row).encode() + b"\n"


BAD_LINES: dict[str, bytes] = {
    "torn": b'{"prompt": "a", "comple\n',
    "NUL": b'{"prompt": "a\0", "completion": "b"}\n',
    "no UTF-8": b'{"prompt": "\x81", "completion": "b"}\n',
    "half a character": b'{"prompt": "\\ud800", "completion": "b"}\n',
    "a key twice": b'{"prompt": "a", "prompt": "b", "completion": "c"}\n',
    "a list": b"[1, 2]\n",
    "a number": b"7\n",
    "text": b'"x"\n',
    "null": b"null\n",
    "deep": b'{"prompt": ' + b"[" * 100_000 + b"\n",
    "no completion": _line({"prompt": "a"}),
    "an empty completion": _line({"prompt": "a", "completion": ""}),
    "a number as prompt": _line({"prompt": 7, "completion": "b"}),
    "a list as completion": _line({"prompt": "a", "completion": ["b"]}),
    "null as completion": _line({"prompt": "a", "completion": None}),
    "an object as prompt": _line({"prompt": {"a": 1}, "completion": "b"}),
    "a number of 5000 digits": b'{"prompt": ' + b"9" * 5000 + b', "completion": "b"}\n',
    "two documents": b'{"prompt": "a", "completion": "b"} {"prompt": "c"}\n',
    "a comment": b"// prompts\n",
    "single quotes": b"{'prompt': 'a', 'completion': 'b'}\n",
}
DATA = {
    f"{name}, {kind}": (line, kind)
    for name, line in BAD_LINES.items()
    for kind in (".jsonl", ".jsonl.gz")
}


@pytest.mark.parametrize(("line", "kind"), DATA.values(), ids=DATA)
def test_a_bad_line_is_named_and_the_dry_run_says_the_same(
    line: bytes, kind: str, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = b"".join([*map(_line, GOOD[:20]), line, *map(_line, GOOD[20:])])
    file = tmp_path / f"rows{kind}"
    file.write_bytes(gzip.compress(content) if kind.endswith(".gz") else content)
    assert f"rows{kind}:21" in refusal(file, tiny_llama, capsys)


def refusal(file: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The error of tuning on a file, which the dry run says in the same words."""
    said = []
    for dry in (["--dry-run"], []):
        given = ["tune", "--model", str(model), "--data", str(file), *dry]
        code = luthier([*given, f"output={file.parent / 'runs'}"])
        said.append(" ".join(capsys.readouterr().err.split()))
        assert code == 3, said
    assert said[0] == said[1]
    assert "Traceback" not in said[0]
    return said[0]


@pytest.mark.parametrize(
    "source", ["~nosuchuser/x.jsonl", "a" * 5000 + ".jsonl", "x\0y.jsonl", "/dev/zero", "/etc"]
)
def test_a_name_that_is_no_file_is_refused(
    source: str, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert luthier(["data", "show", "--model", str(tiny_llama), "--data", source]) == 3
    assert "Traceback" not in capsys.readouterr().err
