"""Hostile models, runs, data and configurations through the real commands: refused, in words.

Each artifact would do harm in a careless reader: run code, write elsewhere, be waited for, or fail
with a traceback. The exit code is 3 (2 for what the user wrote), and the message names the file.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.security.hostile_models import socket_at

from luthier.cli.main import run as luthier

Spoil = Callable[[Path], None]

DEEP = "[" * 200_000
ABSURD: dict[str, str] = {
    "null": "null",
    "true": "true",
    "minus": "-5",
    "zero": "0",
    "huge": "1000000000",
    "larger": "1000000000000",
    "64 bits": "9223372036854775808",
    "400 digits": "9" * 400,
    "1e400": "1e400",
    "-1e400": "-1e400",
    "NaN": "NaN",
    "text": '"4"',
    "list": "[[]]",
    "object": '{"a": 1}',
    "half": '"\\ud800"',
    "deep": "[" * 300 + "]" * 300,
}
SIZES = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "vocab_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)
# What a model may be without, or with another meaning.
HARMLESS = {
    ("head_dim", "null"),
    ("num_key_value_heads", "null"),
    *((name, "null") for name in SIZES),
    *((name, "true") for name in SIZES),
}
NO_JSON: dict[str, bytes] = {
    "deep": DEEP.encode(),
    "torn": b'{"a": ',
    "a list": b"[]",
    "a number": b"7",
    "no UTF-8": b'{"a": "\xff"}',
    "NUL": b"\0" * 64,
    "empty": b"",
    "400 digits": b'{"a": ' + b"9" * 400 + b"}",
}
MODEL_JSON = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "adapter_config.json",
)


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch it-ran",)


def write(name: str, content: bytes) -> Spoil:
    """Put content in the place of a file."""

    def spoil(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content)

    return spoil


def setting(name: str, value: str) -> Spoil:
    """Give a field of ``config.json`` a value, in the words of the file."""

    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config[name] = "\uf8ff"
        text = json.dumps(config, ensure_ascii=False).replace('"\uf8ff"', value)
        (folder / "config.json").write_text(text)

    return spoil


def instead(name: str, make: Callable[[Path], Any]) -> Spoil:
    """Put something that is no file in the place of one."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return spoil


def _index(**placed: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        index = {"metadata": {}, "weight_map": placed}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return spoil


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": _Harmful()}))


def _tarred(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with tarfile.open(folder / "model.safetensors", "w") as tar:
        member = tarfile.TarInfo("../../it-ran")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)


def _code(field: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "mine.py").write_text("open('it-ran', 'w')\n")
        path = folder / ("tokenizer_config.json" if field == "AutoTokenizer" else "config.json")
        values = json.loads(path.read_text())
        target = ["mine.Mine", None] if field == "AutoTokenizer" else "mine.Mine"
        values |= {"auto_map": {field: target}, "model_type": "mine"}
        values |= {"tokenizer_class": "Mine"} if field == "AutoTokenizer" else {}
        path.write_text(json.dumps(values))

    return spoil


def _models() -> Iterator[tuple[str, Spoil]]:
    for field in SIZES:
        for name, value in ABSURD.items():
            if (field, name) not in HARMLESS:
                yield f"{field} {name}", setting(field, value)
    for file in MODEL_JSON:
        for name, content in NO_JSON.items():
            yield f"{file} {name}", write(file, content)
    for file in ("config.json", "tokenizer.json", "model.safetensors", "generation_config.json"):
        yield f"{file} FIFO", instead(file, os.mkfifo)
        yield f"{file} /dev/zero", instead(file, lambda path: path.symlink_to("/dev/zero"))
        yield f"{file} socket", instead(file, socket_at)
    for name, content in NO_JSON.items():
        index = write("model.safetensors.index.json", content)
        yield f"index {name}", _both(lambda f: (f / "model.safetensors").unlink(), index)
    for name in ("../x.safetensors", "/etc/passwd", "a" * 5000, "a/b", "..", "", "x\0y", "~/x"):
        yield f"index names {name[:9]!r}", _index(x=name)
    for length in (2**63, 2**40, 0, 7):
        header = length.to_bytes(8, "little") + b"{}"
        yield f"header of {length} bytes", write("model.safetensors", header)
    huge = json.dumps({"x": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 4]}})
    header = len(huge).to_bytes(8, "little") + huge.encode() + b"\0\0\0\0"
    yield "a tensor larger than its file", write("model.safetensors", header)
    for factor in ("0", "-1", "1e400", "NaN"):
        rope = '{"rope_type": "linear", "rope_theta": 1e4, "factor": %s}'
        yield f"rope factor {factor}", setting("rope_parameters", rope % factor)
    yield "pickle", _pickled
    yield "a tar with a link", _tarred
    for field in ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer"):
        yield f"auto_map {field}", _code(field)
    for name in ("../x.safetensors", "/etc/passwd", "x.bin", "x.pkl"):
        yield f"transformers_weights {name}", setting("transformers_weights", json.dumps(name))


def _both(*each: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        for one in each:
            one(folder)

    return spoil


MODELS = dict(_models())
# One of each kind in every run of the tests, the others with the long ones.
QUICK = [*list(MODELS)[::12], "config.json FIFO", "model.safetensors /dev/zero"]


def _params(found: dict[str, Any], quick: list[str]) -> list[Any]:
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)),
            id=name,
            marks=() if name in quick else pytest.mark.long,
        )
        for name, value in found.items()
    ]


@pytest.mark.parametrize("spoil", _params(MODELS, QUICK))
def test_a_hostile_model_is_refused_by_name(
    spoil: Spoil,
    tiny_llama: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "place" / "model"))
    spoil(folder)
    monkeypatch.chdir(tmp_path)
    before = _files(tmp_path)
    code = luthier(["prompt", "--model", str(folder), "--input", "hi", "evaluate.max_new_tokens=1"])
    said = capsys.readouterr().err
    assert code in (3, 4), said
    assert "Traceback" not in said
    assert str(folder) in said.replace("\n", "").replace(" ", "")
    assert _files(tmp_path) == before


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


RECORDS: dict[str, bytes] = {
    **NO_JSON,
    "a key twice": b'{"a": 1, "a": 2}',
    "NaN": b'{"a": NaN}',
    "1e400": b'{"a": 1e400}',
    "half a character": b'{"a": "\\ud800"}',
}
RECORD_FILES = (
    "manifest.json",
    "ladder.json",
    "contamination.json",
    "rungs/lora/training.json",
    "rungs/lora/evaluation/parity.json",
    "rungs/zero-shot/evaluation/parity.json",
)
RUNS = {
    f"{file} {name}": write(file, content)
    for file in RECORD_FILES
    for name, content in RECORDS.items()
}
RUNS |= {f"{file} FIFO": instead(file, os.mkfifo) for file in RECORD_FILES}


@pytest.mark.parametrize("spoil", _params(RUNS, list(RUNS)[::6]))
def test_a_hostile_record_is_refused_by_name(
    spoil: Spoil, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(copied)
    code = luthier(["report", str(copied)])
    said = capsys.readouterr().err
    assert code in (2, 3), said
    assert "Traceback" not in said
    assert copied.name in said


TAGS = (
    "!!python/object/apply:os.system ['touch it-ran']",
    "!!python/object/new:os.system ['touch it-ran']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/tuple [1, 2]",
    "!!binary aGVsbG8=",
    "!!set {a, b}",
    "!!timestamp 2001-01-01",
    "!mine x",
    "[*a]",
    "&a [*a]",
    "[" * 300 + "]" * 300,
)
WRITTEN = {
    "config": ["config", "show", "{}"],
    "task": ["evaluate", "--tasks", "{}"],
    "template": ["evaluate", "prompt.template={}"],
}
TAGGED = {f"{kind} {tag[:24]}": (kind, tag) for kind in WRITTEN for tag in TAGS}


@pytest.mark.parametrize(("kind", "tag"), _params(TAGGED, list(TAGGED)[::5]))
def test_a_hostile_yaml_file_is_refused_by_name(
    kind: str,
    tag: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "given.yaml"
    file.write_text(f"name: x\nid: {tag}\n")
    code = luthier([part.format(file) for part in WRITTEN[kind]])
    said = capsys.readouterr().err
    assert code in (2, 3), said
    assert "Traceback" not in said
    assert "given.yaml" in said
    assert _files(tmp_path) == {"given.yaml"}
