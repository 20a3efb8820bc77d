"""Headers that lie: safetensors and GGUF files whose numbers are not those of the file."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.security.hostile_models import WEIGHTS, Artifact, Spoil, put
from tests.tiny_gguf import write_gguf

GGUF = "model.gguf"

# --- safetensors -----------------------------------------------------------------------------


def _file(
    header: bytes | dict[str, Any], data: bytes = bytes(8), length: int | None = None
) -> bytes:
    """A safetensors file; ``length`` is what it says of its header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _one(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


def _two(first: Sequence[int], second: Sequence[int]) -> dict[str, Any]:
    return {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": list(first)},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": list(second)},
    }


SAFETENSORS: dict[str, bytes] = {
    "no bytes": b"",
    "seven bytes": bytes(7),
    "a header of nothing": struct.pack("<Q", 0),
    "a length of 2^63": _file(b"{}", length=2**63),
    "a length of 2^64 - 1": _file(b"{}", length=2**64 - 1),
    "a length beyond the file": _file(_one(), length=4000),
    "a length in the middle": _file(_one(), length=10),
    "a header that is a list": _file(b"[]"),
    "a header that is a number": _file(b"7"),
    "a header of brackets": _file(b"[" * 100_000),
    "a header of objects": _file(b'{"a":' * 50_000),
    "a header that is no UTF-8": _file(b'{"\xff": 1}'),
    "a header that is no JSON": _file(b"{'a': 1}"),
    "a key twice": _file(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, '
                         b'"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'),
    "an empty header": _file({}, b""),
    "offsets that overlap": _file(_two((0, 8), (4, 12)), bytes(12)),
    "offsets that are the same": _file(_two((0, 8), (0, 8))),
    "a gap between offsets": _file(_two((0, 8), (12, 20)), bytes(20)),
    "offsets in reverse": _file(_one(data_offsets=[8, 0])),
    "a negative offset": _file(_one(data_offsets=[-8, 0])),
    "an offset of 2^63": _file(_one(data_offsets=[0, 2**63])),
    "an offset of 2^70": _file(_one(data_offsets=[0, 2**70])),
    "an offset that is a fraction": _file(_one(data_offsets=[0, 8.5])),
    "an offset that is NaN": _file(_one(data_offsets=[0, float("nan")])),
    "three offsets": _file(_one(data_offsets=[0, 4, 8])),
    "one offset": _file(_one(data_offsets=[8])),
    "offsets that are text": _file(_one(data_offsets=["0", "8"])),
    "no offsets": _file({"a": {"dtype": "F32", "shape": [2]}}),
    "bytes behind the last tensor": _file(_one(), bytes(64)),
    "fewer bytes than the tensors": _file(_one(), bytes(4)),
    "a shape of more than its bytes": _file(_one(shape=[2**20])),
    "a shape that overflows": _file(_one(shape=[2**33, 2**33])),
    "a shape of 2^63": _file(_one(shape=[2**63])),
    "a negative shape": _file(_one(shape=[-2])),
    "a shape of fractions": _file(_one(shape=[2.0])),
    "a shape that is text": _file(_one(shape="2")),
    "a shape of 100,000 dimensions": _file(_one(shape=[1] * 100_000 + [2])),
    "an unknown type": _file(_one(dtype="PICKLE")),
    "a type in lower case": _file(_one(dtype="f32")),
    "a type that is a number": _file(_one(dtype=32)),
    "a wider type than its bytes": _file(_one(dtype="F64")),
    "a tensor that is a list": _file({"a": []}),
    "a tensor that is null": _file({"a": None}),
    "metadata that is a list": _file({"__metadata__": [1], **_one()}),
    "metadata of objects": _file({"__metadata__": {"a": {"b": 1}}, **_one()}),
    "another model's tensors": _file(_one()),
    "a name of 200,000 characters": _file({"a" * 200_000: _one()["a"]}),
    "a name with an escape": _file({"\x1b[2J": _one()["a"]}),
    "a name that is empty": _file({"": _one()["a"]}),
}  # fmt: skip

ANOTHER_MODEL = {
    "a key twice", "an empty header", "another model's tensors", "a name with an escape",
    "a name that is empty", "a name of 200,000 characters", "a shape of 100,000 dimensions",
}  # fmt: skip
"""Sound by themselves: they are refused since they are not what ``config.json`` says."""


# --- GGUF ------------------------------------------------------------------------------------


def _text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def _field(name: bytes, kind: int, value: bytes) -> bytes:
    return _text(name) + struct.pack("<I", kind) + value


def _number(name: bytes, value: int) -> bytes:
    return _field(name, 4, struct.pack("<I", value))


def _tensor(name: bytes = b"token_embd.weight", shape: Sequence[int] = (32,), kind: int = 0,
            offset: int = 0) -> bytes:  # fmt: skip
    sizes = b"".join(struct.pack("<Q", size) for size in shape)
    return _text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)


LLAMA = _field(b"general.architecture", 8, _text(b"llama"))
SIZES = _number(b"llama.block_count", 1), _number(b"llama.embedding_length", 32)


def _gguf(*fields: bytes, tensors: Sequence[bytes] = (), version: int = 3, magic: bytes = b"GGUF",
          counts: tuple[int, int] | None = None, data: bytes = bytes(256)) -> bytes:  # fmt: skip
    counted = counts or (len(tensors), len(fields))
    head = magic + struct.pack("<IQQ", version, *counted)
    return head + b"".join(fields) + b"".join(tensors) + data


def _array(kind: int, count: int, values: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + values


def _nested(depth: int) -> bytes:
    return _array(9, 1) * depth + _array(0, 0)


def _sized(name: bytes, value: int) -> bytes:
    fields = [field for field in SIZES if name not in field]
    return _gguf(LLAMA, *fields, _number(b"llama." + name, value), tensors=[_tensor()])


def _aligned(to: int) -> bytes:
    return _number(b"general.alignment", to)


GGUFS: dict[str, bytes] = {
    "no bytes": b"",
    "another beginning": _gguf(LLAMA, magic=b"GGML"),
    "the other end first": b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(64),
    "version 0": _gguf(LLAMA, version=0),
    "version 2^32 - 1": _gguf(LLAMA, version=2**32 - 1),
    "2^63 tensors": _gguf(LLAMA, counts=(2**63, 1)),
    "2^64 - 1 fields": _gguf(LLAMA, counts=(0, 2**64 - 1)),
    "more fields than there are": _gguf(LLAMA, counts=(0, 9)),
    "more tensors than there are": _gguf(LLAMA, counts=(9, 1), data=b""),
    "no fields": _gguf(tensors=[_tensor()]),
    "no layers told": _gguf(LLAMA, SIZES[1], tensors=[_tensor()]),
    "no width told": _gguf(LLAMA, SIZES[0], tensors=[_tensor()]),
    "a width of no tensor": _gguf(LLAMA, *SIZES, tensors=[_tensor(shape=(31,))]),
    "a key of 2^63 bytes": _gguf(struct.pack("<Q", 2**63) + b"general", counts=(0, 1)),
    "a key that is no UTF-8": _gguf(_field(b"\xff\xfe", 8, _text(b"x")), LLAMA),
    "an empty key": _gguf(_field(b"", 8, _text(b"x")), LLAMA),
    "a text of 2^63 bytes": _gguf(_field(b"general.architecture", 8, struct.pack("<Q", 2**63))),
    "a text beyond the file": _gguf(_field(b"general.architecture", 8, struct.pack("<Q", 5000))),
    "a value of type 99": _gguf(_field(b"general.architecture", 99, bytes(8))),
    "an array of 2^63 numbers": _gguf(LLAMA, _field(b"a", 9, _array(4, 2**63))),
    "an array of 2^62 texts": _gguf(LLAMA, _field(b"a", 9, _array(8, 2**62))),
    "an array of type 99": _gguf(LLAMA, _field(b"a", 9, _array(99, 1, bytes(8)))),
    "arrays in arrays": _gguf(LLAMA, _field(b"a", 9, _nested(5000))),
    "an architecture that is a number": _gguf(_number(b"general.architecture", 7)),
    "an unknown architecture": _gguf(_field(b"general.architecture", 8, _text(b"../../x"))),
    "an architecture of a mebibyte": _gguf(_field(b"general.architecture", 8, _text(b"a" * 2**20))),
    "an architecture twice": _gguf(LLAMA, LLAMA),
    "10^9 layers": _sized(b"block_count", 10**9),
    "2^32 - 1 heads": _sized(b"attention.head_count", 2**32 - 1),
    "no heads": _sized(b"attention.head_count", 0),
    "no width": _sized(b"embedding_length", 0),
    "a width of 2^32 - 1": _sized(b"embedding_length", 2**32 - 1),
    "an alignment of 0": _gguf(LLAMA, *SIZES, _aligned(0), tensors=[_tensor()]),
    "an alignment of 3": _gguf(LLAMA, *SIZES, _aligned(3), tensors=[_tensor()]),
    "an alignment of 2^31": _gguf(LLAMA, *SIZES, _aligned(2**31), tensors=[_tensor()]),
    "2^32 - 1 dimensions": _gguf(LLAMA, *SIZES, tensors=[_text(b"a") + b"\xff" * 4]),
    "dimensions that overflow": _gguf(LLAMA, *SIZES, tensors=[_tensor(shape=(2**33, 2**33))]),
    "a dimension of 2^63": _gguf(LLAMA, *SIZES, tensors=[_tensor(shape=(2**63,))]),
    "a dimension of 0": _gguf(LLAMA, *SIZES, tensors=[_tensor(shape=(0, 2**40))]),
    "a tensor of type 99": _gguf(LLAMA, *SIZES, tensors=[_tensor(kind=99)]),
    "an offset beyond the file": _gguf(LLAMA, *SIZES, tensors=[_tensor(offset=2**40)]),
    "an offset of 2^64 - 1": _gguf(LLAMA, *SIZES, tensors=[_tensor(offset=2**64 - 1)]),
    "an offset that is not aligned": _gguf(LLAMA, *SIZES, tensors=[_tensor(offset=5)]),
    "tensors in one place": _gguf(LLAMA, *SIZES, tensors=[_tensor(), _tensor(b"output.weight")]),
    "a tensor twice": _gguf(LLAMA, *SIZES, tensors=[_tensor(), _tensor()]),
    "a tensor named ../x": _gguf(LLAMA, *SIZES, tensors=[_tensor(b"../../x")]),
    "a tensor's name of 2^63 bytes": _gguf(LLAMA, *SIZES, tensors=[struct.pack("<Q", 2**63)]),
}  # fmt: skip

CUTS = (3, 8, 20, 24, 60, 1000, 20_000)
"""Bytes of a whole file that are there."""


def lying() -> Iterator[tuple[str, Artifact]]:
    for name, content in SAFETENSORS.items():
        file = "" if name in ANOTHER_MODEL else WEIGHTS
        yield f"safetensors: {name}", Artifact(put(WEIGHTS, content), file)
    for name, content in GGUFS.items():
        yield f"GGUF: {name}", Artifact(put(GGUF, content), GGUF)
    for left in CUTS:
        yield f"safetensors cut at {left}", Artifact(_rewritten(WEIGHTS, _cut(left)), WEIGHTS)
        yield f"GGUF cut at {left}", Artifact(_rewritten(GGUF, _cut(left)), GGUF)
    for name, change in PATCHES.items():
        yield f"whole GGUF: {name}", Artifact(_rewritten(GGUF, change), GGUF)


def _rewritten(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Change the weights as they are in one of the two formats."""

    def spoil(folder: Path) -> None:
        if name == GGUF:
            write_gguf(folder, folder / GGUF)
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return spoil


def _cut(length: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:length]


def _patched(name: bytes, behind: int, code: str, value: int) -> Callable[[bytes], bytes]:
    """Another number so many bytes behind the first place of a name."""

    def patch(content: bytes) -> bytes:
        at = content.index(_text(name)) + 8 + len(name) + behind
        made = struct.pack(f"<{code}", value)
        return content[:at] + made + content[at + len(made) :]

    return patch


_MATRIX = b"blk.0.attn_q.weight"
# Behind a tensor's name: dimensions (I), two lengths (Q, Q), type (I), offset (Q).
PATCHES: dict[str, Callable[[bytes], bytes]] = {
    "one dimension of two": _patched(_MATRIX, 0, "I", 1),
    "nine dimensions": _patched(_MATRIX, 0, "I", 9),
    "a length of 2^40": _patched(_MATRIX, 4, "Q", 2**40),
    "a length of 0": _patched(_MATRIX, 4, "Q", 0),
    "a length less": _patched(_MATRIX, 12, "Q", 31),
    "an unknown type": _patched(_MATRIX, 20, "I", 99),
    "an offset of 2^60": _patched(_MATRIX, 24, "Q", 2**60),
    "the offset of another": _patched(_MATRIX, 24, "Q", 0),
    "another width": _patched(b"llama.embedding_length", 4, "I", 64),
    "more heads": _patched(b"llama.attention.head_count", 4, "I", 7),
    "no heads for keys": _patched(b"llama.attention.head_count_kv", 4, "I", 0),
    "another inner width": _patched(b"llama.feed_forward_length", 4, "I", 2**30),
    "another vocabulary": _patched(b"llama.vocab_size", 4, "I", 2**30),
    "more layers": _patched(b"llama.block_count", 4, "I", 15),
    "half the pieces": _patched(b"tokenizer.ggml.tokens", 8, "Q", 1024),
    "more pieces": _patched(b"tokenizer.ggml.tokens", 8, "Q", 2**32),
}
