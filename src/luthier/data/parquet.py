"""Rows of parquet files, within a memory budget.

A column may be stored as a dictionary of values and an index per row, so that a text of megabytes
takes one bit in each further row. Texts are therefore read as dictionaries, whose sizes are counted
before any row is created.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core.errors import DataError
from luthier.core.untrusted import reason
from luthier.data.budget import OBJECT_BYTES, VALUE_BYTES, Budget
from luthier.data.bytestream import open_bytes
from luthier.data.columns import require_distinct_columns, require_few_columns

_ROWS_PER_BATCH = 1024
_BYTES_AT_ONCE = 32 * 2**20
_VAST_BYTES = 2**30
_DENSE = 20
_LEAF_BYTES = 2 * VALUE_BYTES
"""A value in a column, with its share of the enclosing lists and objects."""
_TEXTS = frozenset({"STRING", "NONE", "JSON", "ENUM", "BSON"})


def rows_of_parquet(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """The rows of a parquet file, possibly in a ``.gz`` file.

    Args:
        path: the file.
        name: its name in errors.

    Raises:
        DataError: pyarrow is not installed, the file is unreadable, has duplicate columns, or would
            become far larger in memory than on disk.
    """
    try:
        import pyarrow
    except ImportError:
        raise DataError(
            "reading parquet files needs pyarrow, which is not installed",
            where=name,
            fix="run: pip install 'luthier[hub]'",
        ) from None
    budget = Budget(path.stat().st_size, "if you trust the file, save it as .jsonl")
    index = 0
    with open_bytes(path, name) as stream:
        whole = stream if path.suffix != ".gz" else io.BytesIO(stream.read())
        try:
            for batch in _batches(whole, name, budget):
                for values in batch.to_pylist():
                    index += 1
                    yield values
        except DataError as error:
            where = error.where or f"{name} row {index + 1}"
            raise DataError(error.problem, where=where, fix=error.fix) from None
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise DataError(
                f"invalid parquet file: {reason(error)}",
                where=f"{name} row {index + 1}",
            ) from None


def _batches(stream: Any, name: str, budget: Budget) -> Iterator[Any]:
    """Chunks of a table, each counted before it is yielded.

    Raises:
        DataError: the columns are unusable, or the file becomes too large.
        pyarrow.ArrowException: the file is damaged.
    """
    from pyarrow import parquet

    file = parquet.ParquetFile(stream)
    columns = file.schema_arrow
    require_few_columns(columns.names, name)
    require_distinct_columns(columns.names, name)
    leaves = [file.schema.column(index) for index in range(len(file.schema))]
    texts = [
        leaf.path
        for leaf in leaves
        if leaf.physical_type == "BYTE_ARRAY" and leaf.logical_type.type in _TEXTS
    ]
    metadata = file.metadata
    counting = parquet.ParquetFile(stream, metadata=metadata, read_dictionary=texts)
    for number in range(metadata.num_row_groups):
        # Damaged column statistics crash the process when accessed, but raise an error when a row
        # is read.
        next(file.iter_batches(1, row_groups=[number]), None)
        group = metadata.row_group(number)
        chunks = [group.column(index) for index in range(group.num_columns)]
        budget.allow(sum(chunk.total_uncompressed_size for chunk in chunks))
        budget.spend(
            OBJECT_BYTES * group.num_rows
            + sum(
                (_LEAF_BYTES + max(0, leaf.length)) * chunk.num_values
                for leaf, chunk in zip(leaves, chunks, strict=True)
            )
        )
        if any(map(_is_vast, chunks)):
            parts = file.iter_batches(_ROWS_PER_BATCH, row_groups=[number])
        else:
            parts = iter((counting.read_row_group(number),))
        for part in parts:
            size = sum(map(_text_bytes, part.columns))
            budget.spend(size)
            at_once = max(1, part.num_rows * _BYTES_AT_ONCE // max(size, _BYTES_AT_ONCE))
            rows = min(_ROWS_PER_BATCH, at_once)
            for start in range(0, part.num_rows, rows):
                yield _undone(part.slice(start, rows), columns)


def _is_vast(chunk: Any) -> bool:
    """Whether a part of a column is too large to be read as a dictionary.

    It is as large on disk, so it cannot expand unexpectedly.
    """
    size = chunk.total_uncompressed_size
    return bool(size > _VAST_BYTES and size < _DENSE * chunk.total_compressed_size)


def _text_bytes(array: Any) -> int:
    """The bytes of texts and binary values in an array, counted once per use."""
    import pyarrow
    from pyarrow import compute, types

    kind = array.type
    if isinstance(array, pyarrow.ChunkedArray):
        return sum(map(_text_bytes, array.chunks))
    if isinstance(array, pyarrow.ExtensionArray):
        return _text_bytes(array.storage)
    if types.is_dictionary(kind):
        if not _is_text(kind.value_type):
            return 0
        lengths = compute.binary_length(array.dictionary)
        return compute.sum(compute.take(lengths, array.indices)).as_py() or 0
    if _is_text(kind):
        return compute.sum(compute.binary_length(array)).as_py() or 0
    if types.is_struct(kind):
        return sum(map(_text_bytes, array.flatten()))
    if types.is_map(kind):
        return _text_bytes(array.keys) + _text_bytes(array.items)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _text_bytes(array.flatten())
    return 0


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kinds = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return any(is_one(kind) for is_one in kinds)


def _undone(part: Any, columns: Any) -> Any:
    """The part without dictionary encoding if possible, which converts to rows faster."""
    import pyarrow

    try:
        return part.cast(columns)
    except (pyarrow.ArrowNotImplementedError, pyarrow.ArrowInvalid):
        return part
