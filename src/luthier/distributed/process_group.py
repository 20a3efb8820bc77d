"""The process group of a training, and its collective operations.

A process reads its rank from the environment set by torchrun or ``luthier tune --nproc``:
``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from luthier.core.errors import ResourceError, UsageError
from luthier.distributed.environment import environment_number

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """A process in a group; a single process communicates with nobody.

    Attributes:
        rank: the world rank.
        size: the number of processes.
        device: the device on which it computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU

    @property
    def is_first(self) -> bool:
        """Whether this process prints and writes for all."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of the tensors of all processes, in place."""
        if self.size > 1:
            there = tensor.to(self.device)
            dist.all_reduce(there)
            tensor.copy_(there)
        return tensor

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether any process has set it."""
        raised = torch.tensor(flags, dtype=torch.int64)
        return tuple(bool(count) for count in self.sum(raised).tolist())

    def largest(self, value: int) -> int:
        """The maximum over all processes."""
        numbers = torch.zeros(self.size, dtype=torch.int64)
        numbers[self.rank] = value
        return int(self.sum(numbers).max())

    def share_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite the tensors of all processes with those of the first."""
        if self.size > 1:
            for tensor in tensors:
                there = tensor.to(self.device)
                dist.broadcast(there, src=0)
                tensor.copy_(there)

    def wait(self) -> None:
        """Block until all processes have arrived here."""
        self.any(False)


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def joined_process_group() -> Iterator[ProcessGroup]:
    """The process group of this process, for the duration of the block.

    Raises:
        UsageError: the environment variables are invalid.
        ResourceError: other processes cannot be reached, or one has ended.
    """
    size = environment_number("WORLD_SIZE", 1)
    if size == 1:
        yield SINGLE_PROCESS
        return
    rank, on_gpu = environment_number("RANK", 0), torch.cuda.is_available()
    if not 0 <= rank < size:
        raise UsageError(f"rank {rank} is not possible among {size}", fix="see RANK and WORLD_SIZE")
    device = torch.device("cuda", environment_number("LOCAL_RANK", 0)) if on_gpu else _CPU
    if on_gpu:
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo", rank=rank, world_size=size)
        yield ProcessGroup(rank, size, device)
    except dist.DistError as error:
        raise _lost(error) from error
    except RuntimeError as error:
        # gloo's errors have no class of their own.
        if "gloo" not in str(error).lower() and "connection" not in str(error).lower():
            raise
        raise _lost(error) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _lost(error: Exception) -> ResourceError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ResourceError(
        f"the other processes of this training cannot be reached: {reason}",
        fix="see their output; run the same command again to continue from the last checkpoint",
    )
