"""What a worker tells of its work besides what comes of it: when it did what, and what it read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from reelsplit_server.media.stages import Noted, noting
from reelsplit_server.work.units import Account


@dataclass(slots=True)
class Book:
    """What was noted since it was told last."""

    notes: list[Noted]
    read: list[Callable[[], int]] = field(default_factory=list)
    told: int = 0

    def settle(self) -> Account:
        """All that was noted, to be told."""
        stages, total = list(self.notes), sum(fetched() for fetched in self.read)
        self.notes.clear()
        read, self.told = total - self.told, total
        return Account(stages=stages, read=read)


_book: ContextVar[Book | None] = ContextVar("book", default=None)


@contextmanager
def keeping_book() -> Iterator[Book]:
    """Note what this thread does within the block."""
    with noting() as notes:
        book = Book(notes)
        token = _book.set(book)
        try:
            yield book
        finally:
            _book.reset(token)


def reads(fetched: Callable[[], int]) -> None:
    """A source is open: ``fetched`` tells the bytes that were taken from it so far."""
    book = _book.get()
    if book is not None:
        book.read.append(fetched)
