"""How many bytes requests may hold together before it is known who sent them."""

from __future__ import annotations

_FREE = 16 * 2**10


class Budget:
    """``most`` bytes for all requests."""

    def __init__(self, most: int) -> None:
        self.left = most


class Share:
    """What one request holds of a budget. Its first bytes are not counted: nearly all requests are
    that small, and those who hold all of the budget keep none of them out."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = self._counted = 0

    def grow(self, size: int) -> bool:
        """Hold so many bytes more; false where there is no room for them."""
        self._size += size
        more = max(0, self._size - _FREE) - self._counted
        if more > self._budget.left:
            return False
        self._budget.left -= more
        self._counted += more
        return True

    def end(self) -> None:
        """Hold nothing any more."""
        self._budget.left += self._counted
        self._size = self._counted = 0
