"""Files given as data that would harm a careless reader, each of its own kind."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.security.hostile_models import (
    IRREGULAR,
    PICKLES,
    Artifact,
    Bomb,
    all_of,
    instead,
    put,
)

KINDS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ".jsonl.gz", ".csv.gz")
ROW = b'{"prompt": "Is 1 odd?", "completion": "yes"}\n'


def _tar(kind: bytes, name: str, target: str = "") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        if kind == tarfile.REGTYPE:
            member.size = len(ROW)
        tar.addfile(member, io.BytesIO(ROW))
    return made.getvalue()


def _zip(name: str, content: bytes = ROW, mode: int = 0o644) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


ARCHIVES: dict[str, bytes] = {
    "tar": _tar(tarfile.REGTYPE, "rows.jsonl"),
    "tar with ..": _tar(tarfile.REGTYPE, "../../it-ran"),
    "tar with an absolute name": _tar(tarfile.REGTYPE, "/tmp/it-ran"),
    "tar with a link": _tar(tarfile.SYMTYPE, "rows.jsonl", "/etc/passwd"),
    "tar with a hard link": _tar(tarfile.LNKTYPE, "rows.jsonl", "../../etc/passwd"),
    "tar with a device": _tar(tarfile.CHRTYPE, "rows.jsonl"),
    "zip": _zip("rows.jsonl"),
    "zip with ..": _zip("../../it-ran"),
    "zip with a drive": _zip("C:\\it-ran"),
    "zip with a link": _zip("rows.jsonl", b"/etc/passwd", 0o120777),
    "zip of nothing": _zip("rows.jsonl", bytes(2**24)),
}
DAMAGED: dict[str, tuple[str, bytes]] = {
    "a gzip that ends early": (".jsonl.gz", gzip.compress(ROW * 999)[:-20]),
    "a gzip of a gzip": (".jsonl.gz", gzip.compress(gzip.compress(ROW))),
    "a gzip with a wrong sum": (".jsonl.gz", gzip.compress(ROW)[:-8] + bytes(8)),
    "a gzip of nothing but NUL": (".jsonl.gz", gzip.compress(bytes(2**26))),
    "a gzip of a billion brackets": (".json.gz", gzip.compress(b"[" * 2**26)),
    "plain text that says it is gzip": (".jsonl.gz", ROW),
    "a gzip that says it is text": (".jsonl", gzip.compress(ROW * 9)),
    "a parquet without an end": (".parquet", b"PAR1" + bytes(64)),
    "a parquet with a footer of 2^31": (
        ".parquet", b"PAR1" + bytes(64) + struct.pack("<I", 2**31 - 1) + b"PAR1",
    ),
    "a parquet with no footer": (".parquet", b"PAR1" + struct.pack("<I", 0) + b"PAR1"),
    "a parquet of thrift noise": (
        ".parquet", b"PAR1" + b"\x19\xff" * 200 + struct.pack("<I", 400) + b"PAR1",
    ),
    "an arrow file that says it is parquet": (".parquet", b"ARROW1\0\0" + bytes(64) + b"ARROW1"),
    "NUL in the middle of cells": (".csv", b"prompt,completion\na\0b,c\n"),
    "a quote that never ends": (".csv", b'prompt,completion\n"' + b"a" * 2**20),
    "cells that are not UTF-8": (".csv", b"prompt,completion\n\x81\xfe,b\n"),
    "UTF-16 that says nothing of it": (".jsonl", ROW.decode().encode("utf-16-le")),
    "a document that is too deep": (".json", b"[" * 10**6),
    "a number of a million digits": (".jsonl", b'{"prompt": ' + b"9" * 10**6 + b"}\n"),
    "a line of a hundred MiB": (".jsonl", b'{"prompt": "' + b"a" * (100 * 2**20)),
    "a row that ends nowhere": (".jsonl", ROW + b'{"prompt": "a'),
    "YAML tags": (".jsonl", b"!!python/object/apply:os.system ['touch it-ran']\n"),
    "a sheet": (".xlsx", _zip("xl/workbook.xml", b"<!DOCTYPE a [<!ENTITY b SYSTEM 'x'>]>")),
    "SQLite": (".sqlite", b"SQLite format 3\0" + bytes(84)),
    "HDF5": (".h5", b"\x89HDF\r\n\x1a\n" + bytes(64)),
    "arrow": (".arrow", b"ARROW1\0\0" + bytes(64)),
    "a script": (".py", b"open('it-ran', 'w')\n"),
    "a shell script": (".sh", b"touch it-ran\n"),
    "msgpack": (".msgpack", b"\xc9" + bytes(64)),
    "XML": (".xml", b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>"),
    "no suffix": ("", ROW),
}  # fmt: skip
PICKLED = (".pkl", ".pickle", ".pt", ".npy", ".joblib", ".bin")


def data() -> Iterator[tuple[str, Artifact]]:
    for turn, (name, content) in enumerate(ARCHIVES.items()):
        for kind in (KINDS[turn % len(KINDS)], ".tar" if "tar" in name else ".zip"):
            yield f"{name} as {kind}", _given(kind, content)
    for turn, kind in enumerate((*KINDS, *PICKLED)):
        content = list(PICKLES.values())[turn % len(PICKLES)]
        if kind.endswith(".gz"):
            content = gzip.compress(content)
        yield f"pickle as {kind}", _given(kind, content)
    for name, (kind, content) in DAMAGED.items():
        yield name, _given(kind, content)
    for turn, (name, make) in enumerate(IRREGULAR.items()):
        for kind in (".jsonl", (".json", ".csv", ".parquet", ".jsonl.gz")[turn % 4]):
            file = f"rows-{turn}{kind}"
            yield f"{name} as {kind}", Artifact(instead(file, make), file)
    yield "a script of a data set", Artifact(_loading_script, "a-folder")
    yield (
        "a folder of a pickle",
        Artifact(all_of(put("a-folder/train.pkl", pickle.dumps(Bomb()))), "a-folder"),
    )
    yield "a folder of links", Artifact(_links, "a-folder")


def _given(kind: str, content: bytes) -> Artifact:
    return Artifact(put(f"rows{kind}", content), f"rows{kind}")


def _loading_script(folder: Path) -> None:
    (folder / "a-folder").mkdir()
    (folder / "a-folder" / "a-folder.py").write_text("open('it-ran', 'w')\n")
    (folder / "a-folder" / "loading.txt").write_text("a-folder.py\n")


def _links(folder: Path) -> None:
    (folder / "a-folder").mkdir()
    (folder / "a-folder" / "train.jsonl").symlink_to("/dev/zero")
    (folder / "a-folder" / "loop").symlink_to("loop")


def artifacts() -> dict[str, Artifact]:
    """All of them by name."""
    found = list(data())
    named = dict(found)
    assert len(named) == len(found), "two artifacts have one name"
    return named
