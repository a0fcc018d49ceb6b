"""What the address of a callback must be, as far as it tells itself."""

from __future__ import annotations

from reelsplit_server.access.outbound import Outbound, OutboundError

_MOST_URL = 2048


def check_address(url: str, guard: Outbound) -> str | None:
    """What is wrong with an address for callbacks, as the end of a sentence; None where nothing
    is. Where its name leads is looked at when it is called, each time."""
    if len(url) > _MOST_URL:
        return f"is longer than {_MOST_URL:,} characters"
    try:
        guard.check_url(url)
    except OutboundError as error:
        return f"cannot be called: {error.host} {error.why}"
    return None
