"""What a caller may do, by name."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Permission(StrEnum):
    """One thing that an access key allows."""

    SUBMIT = "submit"
    """Submit jobs, run failed ones again, and say where their callbacks go."""
    READ = "read"
    """See jobs, their segments and events, media assets, and where callbacks go."""
    CANCEL = "cancel"
    DELETE = "delete"
    """Forget jobs, stopping those that run, and delete what they published."""
    MEDIA = "media"
    """Register and delete media assets."""
    ADMIN = "admin"
    """Do all this with the jobs and media of every principal."""


ORDINARY = frozenset(Permission) - {Permission.ADMIN}
"""What a key allows that names nothing."""


def read_permissions(names: Iterable[str]) -> frozenset[Permission]:
    """The permissions of these names; raises ValueError for what is none."""
    found = set()
    for name in names:
        try:
            found.add(Permission(name))
        except ValueError:
            known = ", ".join(Permission)
            raise ValueError(f"{name!r} is no permission; take some of {known}") from None
    return frozenset(found)
