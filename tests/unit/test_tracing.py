"""Where spans are, as they are named on the wire, and what it costs where nobody exports them."""

from __future__ import annotations

import threading

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from reelsplit_server import tracing
from reelsplit_server.tracing import Place

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("parent", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        # A later version, of which this one reads what it knows.
        (f"cc-{TRACE}-{SPAN}-03-more", True),
    ],
)
def test_what_names_a_span_is_read(parent: str, sampled: bool) -> None:
    place = Place.of(parent)
    assert place == Place(trace_id=TRACE, span_id=SPAN, sampled=sampled)
    assert str(place) == f"00-{TRACE}-{SPAN}-0{int(sampled)}"


@pytest.mark.parametrize(
    "parent",
    [
        None,
        "",
        TRACE,
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"cc-{TRACE}-{SPAN}-01-" + "x" * 300,
    ],
)
def test_what_names_none_is_as_if_there_were_none(parent: str | None) -> None:
    assert Place.of(parent) is None


@given(st.text(max_size=80))
def test_whatever_is_sent_is_no_error(parent: str) -> None:
    place = Place.of(parent)
    assert place is None or Place.of(str(place)) == place


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_SERVICE_NAME": "mine"},
    ],
)
def test_nothing_is_exported_that_was_not_asked_for(environment: dict[str, str]) -> None:
    tracing.configure(environment)()
    assert not tracing.is_on()


def test_a_collector_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider

    begun, answered = threading.Event(), threading.Event()

    def shutdown(provider: TracerProvider) -> None:
        begun.set()
        answered.wait(20)
        answered.set()

    monkeypatch.setattr(TracerProvider, "shutdown", shutdown)
    monkeypatch.setattr(tracing, "_END", 0.01)
    end = tracing.configure({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    assert tracing.is_on()
    end()
    assert not answered.is_set()
    assert begun.wait(60)
    answered.set()
    assert not tracing.is_on()


def test_where_nothing_is_exported_the_callers_ids_are_logged_all_the_same() -> None:
    place = Place(trace_id=TRACE, span_id=SPAN)
    span = tracing.start("call", place, kind=tracing.Kind.SERVER, rpc__method="x")
    span.set(more=1)
    with tracing.within(span):
        assert tracing.current() == place
        logged = structlog.contextvars.get_contextvars()
    span.fail("WRONG")
    span.end()
    assert logged == {"trace_id": TRACE, "span_id": SPAN}
    assert tracing.current() is None
    with tracing.within(tracing.start("call", None)):
        assert structlog.contextvars.get_contextvars() == {}
