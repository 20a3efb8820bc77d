"""Event files for TensorBoard."""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.training.trackers.base import Opening, Tracker

_STEM = "events.out.tfevents"


class TensorBoard(Tracker):
    """Event files in the run directory, for ``tensorboard --logdir runs``.

    Records are framed here, because the package's own writer uses a thread that dies on a full
    disk, after which a training would hang.
    """

    def __init__(self, opening: Opening) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder = opening.run.tensorboard
        folder.mkdir(exist_ok=True)
        now = time.time()
        path = folder / f"{_STEM}.{_after(folder, int(now)):010d}.{secrets.token_hex(8)}"
        self._file = path.open("xb", buffering=0)
        self._write(Event(wall_time=now, file_version="brain.Event:2"))
        # TensorBoard ignores entries of earlier files for this step and later ones.
        session = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=now, step=opening.step + 1, session_log=session))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Append an event."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))

    def close(self, failed: bool) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: Any) -> None:
        """Append a record: length, its checksum, data, its checksum (TFRecord)."""
        from tensorboardX.record_writer import masked_crc32c

        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
        self._file.write(length + checksums[0] + data + checksums[1])


def _after(folder: Path, now: int) -> int:
    """The timestamp of a new file's name, later than all others there even if a clock went back.

    TensorBoard reads the files in the order of their names.
    """
    named = (path.name.removeprefix(f"{_STEM}.") for path in folder.glob(f"{_STEM}.*"))
    seconds = [int(name[:10]) for name in named if name[:10].isascii() and name[:10].isdecimal()]
    return min(max([now, *(second + 1 for second in seconds)]), 10**10 - 1)
