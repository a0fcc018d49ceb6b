"""What every worker needs, loaded once into the process that workers are forked from."""

from reelsplit_server.work import analyse, entry, render, scan

__all__ = ["analyse", "entry", "render", "scan"]
