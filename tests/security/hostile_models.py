"""Model folders that would harm a careless reader, each of its own kind, made from a whole one.

Each has a name, the file that is hostile, and what makes it of a copy of a tiny Llama.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Spoil = Callable[[Path], object]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MARKER = "it-ran"


class Artifact(NamedTuple):
    """What is hostile, and where.

    Attributes:
        file: what the error has to name, inside of the folder; empty: the folder.
        harmless: nobody reads it, so that the command may succeed.
    """

    spoil: Spoil
    file: str = ""
    harmless: bool = False


class Bomb:
    """Writes a file into the working directory where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {MARKER}",)


def put(name: str, content: bytes) -> Spoil:
    """Put content in the place of a file."""

    def spoil(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content)

    return spoil


def all_of(*each: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        for one in each:
            one(folder)

    return spoil


def without(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink(missing_ok=True)


def changed(name: str, **values: Any) -> Spoil:
    """Change values of a JSON file, which may not be there."""

    def spoil(folder: Path) -> None:
        path = folder / name
        document = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(document | values))

    return spoil


def socket_at(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name has 108 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


IRREGULAR: dict[str, Callable[[Path], Any]] = {
    "FIFO": os.mkfifo,
    "socket": socket_at,
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "/dev/full": lambda path: path.symlink_to("/dev/full"),
    "a folder": lambda path: path.mkdir(),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a TiB of nothing": _sparse,
}
"""What is no file, or none that ends, in the place of one."""


def instead(name: str, make: Callable[[Path], Any]) -> Spoil:
    return all_of(without(name), lambda folder: make(folder / name))


# --- pickles ---------------------------------------------------------------------------------


def _zipped(inner: str) -> bytes:
    """As torch.save writes it since 1.6."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(inner, pickle.dumps({"a": Bomb()}))
        archive.writestr("archive/version", "3\n")
    return made.getvalue()


def _numpy() -> bytes:
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    padded = head.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + pickle.dumps([Bomb()])


PICKLES: dict[str, bytes] = {
    **{f"protocol {n}": pickle.dumps({"a": Bomb()}, protocol=n) for n in (0, 2, 4, 5)},
    "torch's archive": _zipped("archive/data.pkl"),
    "torch's old format": b"".join(
        pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {}, Bomb())
    ),
    "gzip": gzip.compress(pickle.dumps(Bomb())),
    "numpy": _numpy(),
}
PICKLED_WEIGHTS = (
    "pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl", "consolidated.00.pth",
    "model.joblib", "flax_model.msgpack", "tf_model.h5", "diffusion_pytorch_model.bin",
    "optimizer.pt", "model.bin",
)  # fmt: skip
PICKLED_SETTINGS = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
    "special_tokens_map.json", "added_tokens.json", INDEX,
)  # fmt: skip
ASIDE = ("training_args.bin", "scheduler.pt", "rng_state.pth", "vocab.pkl", "processor.pkl")


def pickled() -> Iterator[tuple[str, Artifact]]:
    forms = list(PICKLES)
    for turn, name in enumerate(PICKLED_WEIGHTS):
        content = PICKLES[forms[turn % len(forms)]]
        yield f"pickle {name}", Artifact(all_of(without(WEIGHTS), put(name, content)))
    for form, content in PICKLES.items():
        yield f"{form} in safetensors", Artifact(put(WEIGHTS, content), WEIGHTS)
    for turn, name in enumerate(PICKLED_SETTINGS):
        spoil = put(name, PICKLES[forms[turn % len(forms)]])
        yield f"pickle in {name}", Artifact(_alone(name, spoil), name)
    for name in ("pytorch_model-00001-of-00002.bin", "a.pkl", "a.safetensors.bin", "x.pt"):
        spoil = all_of(put(name, PICKLES["protocol 2"]), _index({"a": name}))
        yield f"index names {name}", Artifact(spoil, INDEX)
        old = "pytorch_model.bin.index.json"
        named = put(old, json.dumps({"weight_map": {"a": name}}).encode())
        spoil = all_of(without(WEIGHTS), put(name, PICKLES["protocol 4"]), named)
        yield f"old index names {name}", Artifact(spoil)
    for name in ASIDE:
        yield f"{name} beside", Artifact(put(name, PICKLES["protocol 2"]), name, harmless=True)


def _alone(name: str, spoil: Spoil) -> Spoil:
    """An index is read where the weights are not in one file."""
    return all_of(without(WEIGHTS), spoil) if name == INDEX else spoil


# --- code of its own -------------------------------------------------------------------------

_CODE = f"open({MARKER!r}, 'w').close()\n\n\nclass Mine:\n    pass\n"
AUTO = (
    "AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM",
    "AutoModelForSequenceClassification", "AutoTokenizer", "AutoProcessor",
)  # fmt: skip
PLACES = ("mine.Mine", "other/repository--mine.Mine", "../mine.Mine", "a.b.mine.Mine")


def with_code() -> Iterator[tuple[str, Artifact]]:
    code = put("mine.py", _CODE.encode())
    for name in AUTO:
        spoil = all_of(code, changed("config.json", auto_map={name: PLACES[0]}, model_type="mine"))
        yield f"auto_map {name}", Artifact(spoil, "config.json")
    for place in PLACES[1:]:
        mapped = {"AutoConfig": place, "AutoModelForCausalLM": place}
        spoil = all_of(code, changed("config.json", auto_map=mapped, model_type="own"))
        yield f"auto_map {place}", Artifact(spoil, "config.json")
    for place in PLACES:
        mapped = {"AutoTokenizer": [place, place]}
        spoil = changed("tokenizer_config.json", auto_map=mapped, tokenizer_class="Mine")
        yield f"tokenizer auto_map {place}", Artifact(all_of(code, spoil), "tokenizer_config.json")
    for name, values in {
        "generation_config.json": {"custom_generate": "mine.py", "auto_map": {"a": "mine.Mine"}},
        "processor_config.json": {"auto_map": {"AutoProcessor": "mine.Mine"}},
        "preprocessor_config.json": {"auto_map": {"AutoImageProcessor": "mine.Mine"}},
    }.items():
        spoil = all_of(code, changed(name, **values))
        yield f"auto_map in {name}", Artifact(spoil, name, harmless=True)
    for name in ("custom_generate/generate.py", "tokenizer.py", "modeling_llama.py", "setup.py",
                 "__init__.py", "conftest.py", "sitecustomize.py", "torch.py"):  # fmt: skip
        yield f"{name} beside", Artifact(put(name, _CODE.encode()), name, harmless=True)
    asked = changed(
        "config.json", trust_remote_code=True, auto_map={"AutoModelForCausalLM": "mine.M"}
    )
    yield "trust_remote_code in config.json", Artifact(all_of(code, asked), "", harmless=True)
    for field in ("quantization_config", "text_config", "attn_implementation", "torch_dtype"):
        for number, value in enumerate(("__import__('os')", {"a": ["mine.Mine"]})):
            spoil = all_of(code, changed("config.json", **{field: value}))
            yield f"{field} {number}", Artifact(spoil, "", harmless=True)


# --- names that lead elsewhere ---------------------------------------------------------------

LEADING = (
    "../x.safetensors", "../../x.safetensors", "a/../../x.safetensors", "./../x.safetensors",
    "/etc/passwd", "/x.safetensors", "//x.safetensors", "~/x.safetensors", "$HOME/x.safetensors",
    "C:\\x.safetensors", "C:x.safetensors", "\\\\host\\share\\x.safetensors", "..\\x.safetensors",
    "file:///etc/x.safetensors", "http://127.0.0.1:9/x.safetensors", "%2e%2e/x.safetensors",
    "．．/x.safetensors", "..／x.safetensors", "\u202e..x.safetensors", "x\0.safetensors",
    "x\n.safetensors", "x\x1b[2J.safetensors", "a" * 300 + ".safetensors", "..", ".", "", " ",
    "a/", "model.safetensors/", "sub/x.safetensors", "con.safetensors", "x.safetensors ",
)  # fmt: skip


def _index(placed: dict[str, Any], **more: Any) -> Spoil:
    """An index in the place of the weights; a whole file lies where it leads to."""

    def spoil(folder: Path) -> None:
        whole = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).unlink()
        for place in (folder.parent / "x.safetensors", folder / "sub" / "x.safetensors"):
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(whole)
        index = {"metadata": {}, "weight_map": placed, **more}
        (folder / INDEX).write_text(json.dumps(index))

    return spoil


def leading_elsewhere() -> Iterator[tuple[str, Artifact]]:
    for name in LEADING:
        yield f"index names {name[:24]!r}", Artifact(_index({"model.norm.weight": name}), INDEX)
    for value in (None, 7, ["x.safetensors"], {"a": "b"}, True, "model.safetensors\0"):
        yield f"index names {value!r}", Artifact(_index({"a": value}), INDEX)
    for value in ([], "x", 7, None, {}):
        spoil = _index({}, weight_map=value)
        yield f"weight_map {value!r}", Artifact(spoil, INDEX)
    for name in (
        "../x.safetensors",
        "/x.safetensors",
        "..\\x.safetensors",
        "x.bin",
        "x.pkl",
        "",
        7,
    ):
        spoil = changed("config.json", transformers_weights=name)
        yield f"transformers_weights {name!r}", Artifact(spoil, "")
    for name in ("../model", "/etc", "~", "http://127.0.0.1:9/m", "file:///etc", "C:\\m", "a\0b",
                 "..", "", "owner/../../etc", "ｏｗｎｅｒ/．．"):  # fmt: skip
        yield f"adapter of {name!r}", Artifact(_adapter(base_model_name_or_path=name))
    for kind in ("PICKLE", "../x", "", None, 7, "MINE"):
        spoil = _adapter(peft_type=kind, base_model_name_or_path="owner/nowhere")
        yield f"adapter type {kind!r}", Artifact(spoil)


def _adapter(**values: Any) -> Spoil:
    """An adapter in the place of the model."""
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj"]}
    return all_of(
        without("config.json"),
        put("adapter_config.json", json.dumps(config | values).encode()),
        lambda folder: (folder / WEIGHTS).rename(folder / "adapter_model.safetensors"),
    )


TEMPLATES = (
    "../../../it-ran", "..", "/it-ran", "a/b", "..\\it-ran", "C:\\it-ran", "", " ", "a\0b", "a\nb",
    "\x1b[2J", "a" * 300, "\u202ea", "~/a", ".hidden", "．．／a", 7, None,
)  # fmt: skip


def named_templates() -> Iterator[tuple[str, Artifact]]:
    """A chat template is saved with the tuned model, in a file of its name."""
    good = {"name": "default", "template": "{{ messages[0]['content'] }}"}
    for name in TEMPLATES:
        named = [good, {"name": name, "template": "x"}]
        yield f"template {name!r}"[:60], Artifact(_named(named), "tokenizer_config.json")
    for number, template in enumerate((7, None, ["x"], {"a": "b"})):
        named = [good, {"name": "other", "template": template}]
        yield (
            f"a template that is no text {number}",
            Artifact(_named(named), "tokenizer_config.json"),
        )


def _named(templates: list[dict[str, Any]]) -> Spoil:
    """The templates in the place of the one in a file of its own."""
    stated = changed("tokenizer_config.json", chat_template=templates)
    return all_of(without("chat_template.jinja"), stated)


# --- places where files are expected ---------------------------------------------------------

NEEDED = ("config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json")
OPTIONAL = (
    "generation_config.json", "chat_template.jinja", "special_tokens_map.json", "added_tokens.json",
    INDEX, "adapter_config.json",
)  # fmt: skip


def irregular() -> Iterator[tuple[str, Artifact]]:
    for name in (*NEEDED, *OPTIONAL):
        for kind, make in IRREGULAR.items():
            # An index that is none is no index, so it is the weights that are missing.
            file = "" if name == INDEX and kind == "a link to nothing" else name
            yield f"{name} {kind}", Artifact(_alone(name, instead(name, make)), file)


def artifacts() -> dict[str, Artifact]:
    """All of them by name."""
    found = [*pickled(), *with_code(), *leading_elsewhere(), *named_templates(), *irregular()]
    named = dict(found)
    assert len(named) == len(found), "two artifacts have one name"
    return named
