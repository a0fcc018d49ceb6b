"""How long tests wait."""

PATIENCE = 90.0
"""Seconds that a test waits for what must come, on a busy machine."""
