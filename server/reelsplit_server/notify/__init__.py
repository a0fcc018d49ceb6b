"""Telling callers' own addresses what became of their jobs."""
