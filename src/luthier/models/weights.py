"""Selection of a model's weight files among all files in a folder.

A repository may have the same weights in several formats, each with an index. Only the files that
transformers loads are considered; others are neither required nor downloaded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from luthier.core.errors import DataError
from luthier.core.untrusted import reading_foreign
from luthier.core.user_files import is_there, open_given, read_given_json

_INDEX = ".index.json"
# Stems and suffixes of names, in transformers' order of preference.
_SAFE, _PICKLED = ("model", ".safetensors"), ("pytorch_model", ".bin")
_SHARD = re.compile(r"(model|pytorch_model).*-\d+-of-\d+\.(safetensors|bin)")
# Other formats found in place of loadable weights, with advice.
_INSTEAD = (
    (
        r"consolidated.*\.safetensors",
        "the weights exist only as consolidated.safetensors, a format that transformers does not "
        "load",
        "download the repository's model*.safetensors, or a version of the model with them",
    ),
    (
        r".*\.gguf",
        "the weights of this folder are in a GGUF file",
        "give the path of the .gguf file",
    ),
    (
        r"zero_to_fp32\.py|global_step\d+",
        "this is a DeepSpeed checkpoint with sharded weights",
        "consolidate them with its zero_to_fp32.py (--safe_serialization)",
    ),
    (
        r"pytorch_model_fsdp_\d+|.*\.distcp",
        "this is an FSDP checkpoint with sharded weights",
        "consolidate them with 'accelerate merge-weights'",
    ),
    (
        r"consolidated\.\d+\.pth",
        "the weights are in Meta's own format",
        "download the version of the model for transformers, or convert it with transformers' "
        "convert_llama_weights_to_hf",
    ),
    (
        r"tf_model.*\.h5|flax_model.*\.msgpack",
        "the weights are for another framework, TensorFlow or Flax",
        "download a version of the model with safetensors",
    ),
    (
        r"(?!optimizer|scheduler|scaler|rng_state).*\.(ckpt|pth|pt)",
        "the weights are in a trainer's own format, not a transformers model",
        "load it with that trainer, and save the model with save_pretrained",
    ),
)
_AGAIN = "download it again"
_SHOWN = 100  # of a displayed name
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Entry:
    """The file at which transformers starts loading weights.

    Attributes:
        name: a file with all tensors, or an index of several files.
        variant: the precision variant in its name; empty for the usual one.
    """

    name: str
    variant: str = ""

    @property
    def is_index(self) -> bool:
        """Whether it is an index of other files."""
        return self.name.endswith(".json")


def find_entry(names: Collection[str], *, allow_pickle: bool) -> Entry | None:
    """The file at which loading starts; None: there are no permitted weights.

    Args:
        names: all file names in the model's folder.
        allow_pickle: whether pickle files are permitted, as the last choice.

    Raises:
        DataError: there are only variants, and more than one.
    """
    kinds = (_SAFE, _PICKLED) if allow_pickle else (_SAFE,)
    for stem, suffix in kinds:
        for name in (f"{stem}{suffix}", f"{stem}{suffix}{_INDEX}"):
            if name in names:
                return Entry(name)
    variants = [entry for kind in kinds for entry in _variants(names, *kind)]
    if len({entry.variant for entry in variants}) > 1:
        raise DataError(
            "the weights exist only in several variants: "
            + ", ".join(entry.name for entry in variants),
            fix="keep the files of one variant",
        )
    return variants[0] if variants else None


def weight_files(folder: Path, entry: Entry) -> tuple[Path, ...]:
    """The files with the tensors, sorted by name.

    Raises:
        DataError: the index is invalid or names files outside the folder; or a file is missing or a
            Git LFS pointer.
    """
    names = read_index(folder / entry.name) if entry.is_index else (entry.name,)
    missing = [name for name in names if not is_there(folder / name)]
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"the weights are incomplete: {missing[0]} is missing{more}",
            where=str(folder / entry.name),
            fix="download the missing files",
        )
    files = tuple(folder / name for name in names)
    for file in files:
        require_content(file)
    if entry.is_index:
        _require_metadata(folder / entry.name)
    return files


def read_index(path: Path) -> tuple[str, ...]:
    """The sorted files named by an index of weights.

    Raises:
        DataError: it is unreadable, or names files outside its folder or of another format.
    """
    try:
        index = read_given_json(path)
    except DataError as error:
        problem = f"invalid index of weights: {error.problem}"
        raise DataError(problem, where=str(path), fix=_AGAIN) from None
    placed = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(placed, dict) or not all(isinstance(name, str) for name in placed.values()):
        raise DataError(
            "invalid index of weights",
            where=str(path),
            fix=_AGAIN,
        )
    shards = sorted({str(Path(name)) for name in placed.values()})
    if not shards:
        raise DataError(
            "this index of weights names no files",
            where=str(path),
            fix=_AGAIN,
        )
    for shard in shards:
        if Path(shard).name != shard or shard == "..":
            raise DataError(
                f"the index names a file outside the model's folder: {shard[:_SHOWN]}",
                where=str(path),
            )
        if _SAFE[1] in path.name and not shard.endswith(_SAFE[1]):
            raise DataError(
                f"an index of safetensors names a file of another kind: {shard[:_SHOWN]}",
                where=str(path),
                fix=_AGAIN,
            )
    return tuple(shards)


def _require_metadata(path: Path) -> None:
    """Reject an index without the metadata that transformers requires.

    Raises:
        DataError: it has no metadata, which may be empty.
    """
    if not isinstance(read_given_json(path).get("metadata"), dict):
        raise DataError(
            "this index of weights has no metadata, which transformers requires",
            where=str(path),
            fix='add the field "metadata": {}, or download the index again',
        )


def count_numbers(files: Iterable[Path]) -> int:
    """The number of elements in all tensors of some weight files; 0 for pickle files.

    Raises:
        DataError: a file is damaged.
    """
    return sum(math.prod(shape) for shape in stored_shapes(files).values())


def stored_shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in safetensors files, by name, from their headers.

    Raises:
        DataError: a file is damaged.
    """
    found: dict[str, tuple[int, ...]] = {}
    for file in files:
        if file.suffix != _SAFE[1]:
            continue
        with (
            reading_foreign("this file of weights is damaged", str(file), _AGAIN),
            safe_open(file, framework="numpy") as tensors,
        ):
            for name in tensors.keys():  # noqa: SIM118 - it is not a mapping
                found[name] = tuple(tensors.get_slice(name).get_shape())
    return found


def weightless(folder: Path, names: Collection[str], *, allow_pickle: bool) -> DataError:
    """The error to raise if `find_entry` finds nothing, depending on the other files."""
    where = str(folder)
    if shards := sorted(name for name in names if _SHARD.fullmatch(name)):
        safe = [name for name in shards if name.endswith(_SAFE[1])]
        if safe or allow_pickle:
            stem, suffix = _SAFE if safe else _PICKLED
            return DataError(
                f"the weights are sharded, but their index is missing: {stem}{suffix}{_INDEX}",
                where=where,
                fix="download the index too",
            )
    if not allow_pickle and find_entry(names, allow_pickle=True):
        return DataError(
            "this model has no safetensors weights",
            where=where,
            fix="convert it, or set model.allow_pickle=true if you trust where it comes from: "
            "pickle files can run code",
        )
    for pattern, said, fix in _INSTEAD:
        if any(re.fullmatch(pattern, name) for name in names):
            return DataError(said, where=where, fix=fix)
    return DataError(
        "this model has no safetensors weights",
        where=where,
        fix="give a folder with model.safetensors, or with its shards and their index",
    )


def _variants(names: Iterable[str], stem: str, suffix: str) -> list[Entry]:
    """Weight files with a variant in their names, in transformers' scheme."""
    whole = re.compile(rf"{stem}\.([A-Za-z0-9_]+){re.escape(suffix)}")
    index = re.compile(rf"{stem}{re.escape(suffix)}\.index\.([A-Za-z0-9_]+)\.json")
    return [
        Entry(name, found.group(1))
        for pattern in (whole, index)
        for name in sorted(names)
        if (found := pattern.fullmatch(name))
    ]


def require_content(file: Path) -> None:
    """Reject placeholders of files that were not downloaded."""
    try:
        with open_given(file) as opened:
            start = opened.read(len(_LFS))
    except OSError as error:
        raise DataError(f"this file cannot be read: {error.strerror}", where=str(file)) from None
    if start == _LFS:
        raise DataError(
            "this is a Git LFS pointer, not the file itself",
            where=str(file),
            fix="run 'git lfs pull' in that folder, or download it with 'luthier models pull'",
        )
    if not start:
        raise DataError("this file is empty", where=str(file), fix="download it again")
