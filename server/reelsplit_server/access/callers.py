"""Who is calling, and what he may do."""

from __future__ import annotations

from dataclasses import dataclass

from reelsplit_server.access.permissions import ORDINARY, Permission
from reelsplit_server.access.reach import EVERYTHING, Reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A principal, with the rights of the credentials that it showed. ``key_id`` names the access
    key, where it was one."""

    principal: str
    permissions: frozenset[Permission] = ORDINARY
    reach: Reach = EVERYTHING
    key_id: str | None = None

    def may(self, permission: Permission) -> bool:
        """Whether it has a permission."""
        return permission in self.permissions

    @property
    def sees(self) -> str | None:
        """The principal whose jobs it sees; None where it sees those of all."""
        return None if self.may(Permission.ADMIN) else self.principal
