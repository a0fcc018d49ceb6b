from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from reelsplit import Client, JobEvent
from reelsplit.watching import Watching
from tests.unit.client.scripted import QUICK, TAKEN, Scripted, driven, serving


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What clients read is counted."""
    accept = Watching.accept

    def count(self: Watching, event: JobEvent) -> JobEvent | None:
        TAKEN.count += 1
        return accept(self, event)

    monkeypatch.setattr(Watching, "accept", count)


@pytest.fixture
def server() -> Scripted:
    return Scripted()


@pytest.fixture
def target(server: Scripted) -> Iterator[str]:
    with serving(server) as target:
        yield target


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients of either kind, which behave alike."""
    with ExitStack() as stack:

        def make(*args: Any, **kwargs: Any) -> Any:
            kwargs.setdefault("retry", QUICK)
            kind = Client if request.param == "sync" else driven
            return stack.enter_context(kind(*args, **kwargs))

        yield make


@pytest.fixture
def client(connect: Callable[..., Any], target: str) -> Any:
    return connect(target)
