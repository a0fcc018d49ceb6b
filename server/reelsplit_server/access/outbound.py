"""The guard on outbound connections: which hosts and addresses a caller's URL may lead to."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Sequence
from contextlib import closing
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Literal
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"http": 80, "https": 443}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_MOST_TRIED = 4

# Named here, since the standard library's own idea of what is global differs between releases.
_NOT_PUBLIC_4 = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        # Azure answers its virtual machines there: a public number with private secrets.
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
# All unicast addresses that were ever given out; IPv4-compatible and local ones lie elsewhere.
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
# 6to4, Teredo and the like are tunnels to an IPv4 address: no file is served behind one.
_NOT_PUBLIC_6 = [
    ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
]
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class OutboundError(Exception):
    """A host that may not be reached; the text holds no address that its name led to. ``remedy``
    is what an operator would have to allow for it, where that would help."""

    def __init__(
        self, host: str, why: str, remedy: Literal["hosts", "networks"] | None = None
    ) -> None:
        super().__init__(f"{host} {why}")
        self.host = host
        self.why = why
        self.remedy = remedy


class Outbound:
    """Lets connections go to public addresses and to some networks, and nowhere else.

    ``hosts`` are names or patterns such as ``*.example.com``, with a port where it is not the
    scheme's own; ``networks`` are those within which addresses need not be public, such as
    ``10.1.0.0/16``. Without ``hosts`` no URL passes. Raises ValueError for what is no network.
    """

    def __init__(self, *, hosts: Sequence[str], networks: Sequence[str] = ()) -> None:
        self._hosts = tuple(host.lower() for host in hosts)
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def check_url(self, url: str) -> None:
        """Check all of a URL that can be checked without looking its host up; raises
        `OutboundError`."""
        if not url.isascii() or any(ord(sign) <= 32 or ord(sign) == 127 for sign in url):
            raise OutboundError("The address", "holds characters that must be escaped")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise OutboundError("The address", "has a host or port that cannot be read") from None
        if parts.scheme not in _PORTS:
            raise OutboundError("The address", "is neither http: nor https:")
        if not host or "\\" in parts.netloc or "%" in parts.netloc or port == 0:
            raise OutboundError("The address", "has a host or port that cannot be read")
        if "@" in parts.netloc:
            raise OutboundError(host, "is named together with a user name or password")
        named = f"[{host}]" if ":" in host else host
        if port not in (None, _PORTS[parts.scheme]):
            named = f"{named}:{port}"
        # A pattern takes the brackets of an address for a set of letters.
        if not any(named == pattern or fnmatchcase(named, pattern) for pattern in self._hosts):
            raise OutboundError(named, "is not among the allowed hosts", "hosts")
        literal = _literal(host)
        if literal is not None and not (_is_public(literal) or self._is_listed(literal)):
            raise OutboundError(named, "is not public", "networks")

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """A connection to a host that is looked up once, here; ``timeout`` in seconds holds for
        all of it, and is then the socket's own.

        Every address of the host is judged, and one that is not allowed refuses the host: a name
        that leads inside as well as outside is an attack or a mistake. What is connected to is
        the address that was judged. Raises `OutboundError`, or OSError where no address answers.
        """
        deadline = time.monotonic() + timeout
        places = self.look_up(host, port)[:_MOST_TRIED]
        failure = OSError(f"{host} has no address")
        for number, place in enumerate(places):
            left = deadline - time.monotonic()
            if left <= 0:
                failure = TimeoutError(f"looking up {host} and connecting to it took too long")
                break
            family = _FAMILIES[6 if ":" in place[0] else 4]
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                connection.settimeout(left / (len(places) - number))
                connection.connect(place)
                _check_peer(connection, place, host)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.settimeout(timeout)
            except OSError as error:
                connection.close()
                failure = error
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        raise failure

    def look_up(self, host: str, port: int) -> list[tuple[str, int]]:
        """The addresses of a host, all of them judged, in the order to try them; at most so many
        should be tried as `connect` does. Blocks; raises `OutboundError`, or OSError where the
        host has none."""
        name = host.removeprefix("[").removesuffix("]")
        if not name.isascii() or "%" in name or "\0" in name:
            raise OutboundError("The address", "has a host that cannot be read")
        try:
            answers = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise OutboundError(host, "is no host name") from None
        found: dict[int, list[tuple[str, int]]] = {}
        for family, _, _, _, place in answers:
            if family not in (socket.AF_INET, socket.AF_INET6):
                continue
            address = _literal(str(place[0]))
            scoped = "%" in str(place[0]) or (len(place) == 4 and place[3] != 0)
            if address is None or scoped or not (_is_public(address) or self._is_listed(address)):
                raise OutboundError(host, "does not lead to public addresses alone", "networks")
            if not self._is_listed(address) and _is_own(address):
                raise OutboundError(host, "leads to the server's own machine", "networks")
            # The port is the one asked for, whatever a resolver answers.
            places = found.setdefault(address.version, [])
            if (str(address), port) not in places:
                places.append((str(address), port))
        # In turns, so that an IPv6 that leads nowhere does not use all tries up.
        turns = zip_longest(*found.values())
        return [place for turn in turns for place in turn if place is not None]

    def _is_listed(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _literal(text: str) -> Address | None:
    """The address that a text is; that of IPv4 where it is wrapped as one of IPv6."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_public(address: Address) -> bool:
    """Whether an address is one of the public internet's, of a single machine."""
    if not address.is_global:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address in _NAT64:
        # The way from networks without IPv4 to all of it; what counts is where it leads.
        return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def _is_own(address: Address) -> bool:
    """Whether an address is one of this machine's; its services may trust whoever comes from it.

    A datagram socket tells by the address that it would send from; nothing is sent.
    """
    with closing(socket.socket(_FAMILIES[address.version], socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:
            return False
        return _literal(probe.getsockname()[0]) == address


def _check_peer(connection: socket.socket, place: tuple[str, int], host: str) -> None:
    """Hold the system to what was asked of it."""
    peer = connection.getpeername()
    if _literal(peer[0]) != _literal(place[0]) or peer[1] != place[1]:
        raise OutboundError(host, "answered from another address")
