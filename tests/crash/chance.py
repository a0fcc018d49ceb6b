"""How often, and by which seed: both may be given, to try longer or to repeat a failure."""

from __future__ import annotations

import os
import random

_ANY = 20_061 if os.environ.get("CI") else random.randrange(10**6)
SEED = int(os.environ.get("REELSPLIT_CRASH_SEED") or _ANY)
"""Where a run that failed shall be repeated, give the seed that it printed. With ``CI`` set it is
always the same one: what lands is judged by the change, not by luck."""

CRASHES = int(os.environ.get("REELSPLIT_CRASHES") or 52)
"""Times that servers are killed by all tests together."""

PATIENCE = 300 + 15 * CRASHES
"""Seconds that a test may take on a busy machine."""

TURNS = max(1, CRASHES // 13)
"""How often other things are broken, where that takes longer or is done several times."""


def dice(name: str) -> random.Random:
    """Chance for one test; prints how to repeat it."""
    print(f"REELSPLIT_CRASH_SEED={SEED} ({name})")
    return random.Random(f"{SEED} {name}")
