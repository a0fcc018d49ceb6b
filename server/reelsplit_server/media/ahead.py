"""Running an iterator in a thread of its own, a few items ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

ItemT = TypeVar("ItemT")


@contextmanager
def ahead(source: Iterator[ItemT], most: int) -> Iterator[Iterator[ItemT]]:
    """Run `source` at most `most` items ahead of who takes them, and end it in any case.

    For work that lets go of Python's lock, as decoding, converting and scaling do: both threads
    really run then. What `source` raises comes through.
    """
    items: queue.Queue[tuple[ItemT] | BaseException | None] = queue.Queue(most)
    stop = threading.Event()

    def produce() -> None:
        last: BaseException | None = None
        try:
            for item in source:
                items.put((item,))
                if stop.is_set():
                    break
        except BaseException as error:
            last = error
        items.put(last)

    def consume() -> Iterator[ItemT]:
        while (item := items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    thread = threading.Thread(target=produce, name="decode", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stop.set()
        while thread.is_alive():
            # The thread may be waiting for room.
            while not items.empty():
                items.get_nowait()
            thread.join(timeout=0.01)
