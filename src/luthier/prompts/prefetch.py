"""Prefetching: work for the next items, done ahead in batches and in a thread.

Results do not change: a caller looks up the prefetched results, and computes missing ones itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")
Made = TypeVar("Made")
_ITEMS = 256
_CHARACTERS = 2**20


class Request(Protocol):
    """A request for work; equal requests are computed once."""

    def __hash__(self) -> int:
        """Requests are keys."""

    @property
    def characters(self) -> int:
        """The size of the work, in characters."""


Wanted = TypeVar("Wanted", bound=Request)


def nothing() -> None:
    """Do nothing."""


def ahead(
    items: Iterable[T],
    needed: Callable[[T], Iterable[Wanted]],
    make: Callable[[Sequence[Wanted]], Mapping[Wanted, Made]],
    stop: Callable[[], object] = nothing,
) -> Iterator[tuple[list[T], Mapping[Wanted, Made]]]:
    """The items in batches, with the results of their requests.

    The next batch is read, and its work started, before the current one is returned.

    Args:
        items: the items, possibly a stream.
        needed: returns the requests of an item.
        make: computes results in a thread; it may omit some.
        stop: ends ``make`` early if its results are no longer needed, as after Ctrl-C.
    """
    waiting: tuple[list[T], Future[Mapping[Wanted, Made]]] | None = None
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            for batch, requests in _batches(items, needed):
                future = pool.submit(make, requests)
                if waiting is not None:
                    yield waiting[0], waiting[1].result()
                waiting = batch, future
            if waiting is not None:
                yield waiting[0], waiting[1].result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()
            raise


def _batches(
    items: Iterable[T], needed: Callable[[T], Iterable[Wanted]]
) -> Iterator[tuple[list[T], list[Wanted]]]:
    batch: list[T] = []
    requests: dict[Wanted, None] = {}
    size = 0
    for item in items:
        batch.append(item)
        for request in needed(item):
            requests[request] = None
            size += request.characters
        if len(batch) >= _ITEMS or size >= _CHARACTERS:
            yield batch, list(requests)
            batch, requests, size = [], {}, 0
    if batch:
        yield batch, list(requests)
