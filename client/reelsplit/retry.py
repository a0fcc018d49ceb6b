"""When a call is sent again, and after which pause. Pure: it reads no clock and never sleeps."""

from __future__ import annotations

import dataclasses
import random

from reelsplit import errors


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How calls are repeated when the server cannot be reached or is too busy.

    Repeating is always safe: what makes something carries a token that the server knows again.
    The times are seconds.
    """

    attempts: int = 5
    """How often a call is sent at most; 1 never repeats it."""

    initial: float = 0.2
    """The pause after the first attempt."""

    maximum: float = 10.0
    """The longest pause, unless the server asks for a longer one."""

    multiplier: float = 2.0
    """How much longer each pause is than the one before."""

    jitter: float = 0.2
    """The share of each pause, 0 to 1, that is left to chance, so that many clients of one
    server do not come back at the same moment."""

    max_outage: float = 300.0
    """How long a watch that has begun outlasts a server that cannot be reached. Watches are not
    bound by ``attempts`` once their first event has come."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts must be at least 1")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter must be from 0 to 1")
        if self.initial < 0 or self.maximum < self.initial or self.multiplier < 1:
            raise ValueError("pauses must not be negative and must not shrink")
        if self.max_outage < 0:
            raise ValueError("max_outage must not be negative")

    def pause(self, failures: int, error: errors.ReelsplitError) -> float:
        """The pause after this many failures in a row, of which ``error`` is the last."""
        # The exponent is bounded, for a long outage would overflow a float.
        growing = self.initial * self.multiplier ** min(failures - 1, 64)
        spread = 1 + self.jitter * random.uniform(-1, 1)  # noqa: S311 - no secret
        asked_for = getattr(error, "retry_after", None)
        # Only later than the server asked for, never sooner.
        return float(max(min(growing, self.maximum) * spread, asked_for or 0))


def is_retryable(error: errors.ReelsplitError) -> bool:
    """Whether the same call may pass when it is sent again."""
    match error:
        case errors.UnavailableError():
            return True
        case errors.ResourceExhaustedError():
            return error.retry_after is not None
        case _:
            return False


class Attempts:
    """The attempts of one call, which share one timeout."""

    def __init__(self, policy: RetryPolicy, timeout: float, now: float) -> None:
        self._policy = policy
        self._deadline = now + timeout
        self.failures = 0
        self._repeated: errors.ReelsplitError | None = None

    def remaining(self, now: float) -> float:
        """The seconds that the next attempt has."""
        return max(0.0, self._deadline - now)

    def pause_after(self, error: errors.ReelsplitError, now: float) -> float:
        """The pause before the next attempt.

        Raises:
            ReelsplitError: there is none. It is ``error``, or the failure before it where
                ``error`` is only that the shared time ran out in a repeated attempt: what kept
                the call from its answer says more.
        """
        self.failures += 1
        if isinstance(error, errors.DeadlineExceededError) and self._repeated is not None:
            raise self._repeated from error
        if not is_retryable(error) or self.failures >= self._policy.attempts:
            raise error
        self._repeated = error
        pause = self._policy.pause(self.failures, error)
        if pause >= self.remaining(now):
            raise error
        return pause
