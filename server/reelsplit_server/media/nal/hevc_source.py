"""The parameter sets of an HEVC source, by id, as its packets bring them."""

from __future__ import annotations

from collections.abc import Iterator

from reelsplit_server.media.nal.bits import BrokenSyntax
from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.nal.hevc_sets import Pps, Sps, read_pps, read_sps, set_id
from reelsplit_server.media.nal.hevc_units import PPS, SPS, VPS, kind

#: Bytes; legal ones are far smaller.
_LARGEST_SET = 1 << 12


class SourceSets:
    """One version of each set: in an output, an id means the same from beginning to end."""

    def __init__(self) -> None:
        self._units: dict[tuple[int, int], bytes] = {}
        self._sps: dict[int, Sps] = {}
        self._pps: dict[int, Pps] = {}
        self._used: set[tuple[int, int]] = set()
        self._active: Sps | None = None
        self._entered = self._frozen = False
        self.version = 0
        """How often a set that pictures had used was replaced."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._units.values())

    def unit(self, of: int, identity: int) -> bytes:
        """The set of this type and id, which must be there."""
        return self._units[of, identity]

    @property
    def active(self) -> Sps:
        """The SPS in use, or, before any picture, one of them. Raises `CannotJoin` without."""
        active = self._active or next(iter(self._sps.values()), None)
        if active is None:
            raise CannotJoin("the source has no parameter sets")
        return active

    def enter(self) -> None:
        """From now on sets that were used must not change: their pictures are in the output."""
        self._entered = True

    def freeze(self) -> None:
        """From now on no set may change: they are in the output."""
        self._frozen = True

    def keep(self, unit: bytes) -> None:
        """Keep a set. Raises `CannotJoin` where it cannot replace its namesake any more, and
        `BrokenSyntax`."""
        unit = unit.rstrip(b"\x00")
        if len(unit) > _LARGEST_SET:
            raise BrokenSyntax("a parameter set is far too large")
        identity = (kind(unit), set_id(unit))
        if self._units.get(identity) == unit:
            return
        if self._frozen or (self._entered and identity in self._used):
            raise CannotJoin("the source's parameter sets change in the segment")
        if identity in self._used:
            self.version += 1
            self._used.clear()
        if kind(unit) == SPS:
            self._sps[identity[1]] = read_sps(unit)
        elif kind(unit) == PPS:
            self._pps[identity[1]] = read_pps(unit)
        self._units[identity] = unit

    def use(self, pps_id: int) -> tuple[Pps, Sps]:
        """The sets that a slice names by its PPS, from now on in use. Raises `BrokenSyntax`
        where they are missing, `CannotJoin` where the picture's size or format changes."""
        pps = self._pps.get(pps_id)
        sps = self._sps.get(pps.sps_id) if pps is not None else None
        if pps is None or sps is None:
            raise BrokenSyntax("a slice names a parameter set that is missing")
        if self._entered and self._active is not None and self._active.picture != sps.picture:
            raise CannotJoin("the size of its pictures changes in the segment")
        self._used |= {(PPS, pps_id), (SPS, sps.id), (VPS, sps.vps_id)}
        self._active = sps
        return pps, sps

    def free(self, of: int, ids: range) -> int:
        """The highest of `ids` that no set of this type has. Raises `CannotJoin` without."""
        for each in reversed(ids):
            if (of, each) not in self._units:
                return each
        raise CannotJoin("the source uses all parameter-set ids")
