"""What every worker needs, loaded once into the process that workers are forked from."""

from reelsplit_server.work import entry  # noqa: F401
