"""The guard on outbound connections: what it lets through, and what it never touches."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from reelsplit_server.access import outbound
from reelsplit_server.access.outbound import Outbound, OutboundError

Answers = Callable[[str], list[str]]


class Listener:
    """Takes connections at an address and counts them; greets each."""

    def __init__(self, address: str, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, port), family=family)
        self.port: int = self._socket.getsockname()[1]
        self.accepted = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            with connection, suppress(OSError):
                connection.sendall(b"hello")

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@contextmanager
def listening(*addresses: str) -> Iterator[list[Listener]]:
    """Listeners at several addresses, all on one port."""
    made: list[Listener] = []
    try:
        for address in addresses:
            made.append(Listener(address, made[0].port if made else 0))
        yield made
    finally:
        for listener in made:
            listener.close()


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], list[str]]:
    """Answer look-ups of names; gives the list of names that are looked up."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def install(answers: Answers) -> list[str]:
        def look_up(host: str, port: int, *rest: int, **more: int) -> list[object]:
            asked.append(host)
            found: list[object] = []
            for address in answers(host):
                text, _, scope = address.partition("%")
                six = ":" in text
                place = (text, port, 0, int(scope or 0)) if six else (text, port)
                family = socket.AF_INET6 if six else socket.AF_INET
                found.append((family, socket.SOCK_STREAM, 6, "", place))
            return found or [*real(host, port, *rest, **more)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        return asked

    return install


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The places that TCP sockets are asked to connect to; none of them is reached."""
    tried: list[object] = []
    real = socket.socket.connect

    def connect(self: socket.socket, place: tuple[str, int]) -> None:
        if self.type & socket.SOCK_STREAM == socket.SOCK_STREAM:
            tried.append(place)
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        real(self, place)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "168.63.129.17",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.254",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]

NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.9",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    # IPv4 within IPv6: mapped, compatible, translated, 6to4, Teredo, ISATAP's form, NAT64.
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::127.0.0.1",
    "::169.254.169.254",
    "::8.8.8.8",
    "::ffff:0:127.0.0.1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:808:808::1",
    "2001:0:0:0:0:0:80ff:fffe",
    "2001:0:808:808::1",
    "fe80::5efe:7f00:1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::100.100.100.200",
    "64:ff9b::224.0.0.1",
    "64:ff9b:1::127.0.0.1",
    "64:ff9b:1::8.8.8.8",
    "64:ff9b:1:ffff::a9fe:a9fe",
    "100::1",
    "100:0:0:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


def url_of(address: str, port: int = 80) -> str:
    return f"http://[{address}]:{port}/v" if ":" in address else f"http://{address}:{port}/v"


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(
    address: str, resolve: Callable[[Answers], list[str]], connects: list[object]
) -> None:
    guard = Outbound(hosts=["*"])
    with pytest.raises(OutboundError):
        guard.check_url(url_of(address))
    with pytest.raises(OutboundError):
        guard.connect(address, 80, 5)
    resolve(lambda host: [address])
    with pytest.raises(OutboundError) as caught:
        guard.connect("video.example", 80, 5)
    assert caught.value.host == "video.example"
    assert address not in str(caught.value)
    assert connects == []


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_let_through(
    address: str, resolve: Callable[[Answers], list[str]], connects: list[object]
) -> None:
    guard = Outbound(hosts=["*"])
    guard.check_url(url_of(address))
    resolve(lambda host: [address])
    with pytest.raises(ConnectionRefusedError):
        guard.connect("video.example", 80, 5)
    assert len(connects) == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "::1"])
def test_an_address_in_an_allowed_network_is_let_through(
    address: str, connects: list[object]
) -> None:
    guard = Outbound(hosts=["*"], networks=["127.0.0.0/8", "::1/128"])
    guard.check_url(url_of(address))
    with pytest.raises(ConnectionRefusedError):
        guard.connect(address, 80, 5)
    assert len(connects) == 1
    for beside in ("0.0.0.0", "::2", "::127.0.0.1", "10.0.0.1"):
        with pytest.raises(OutboundError):
            guard.connect(beside, 80, 5)
    assert len(connects) == 1


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "0",
        "0x0",
        "localhost",
        "[::1]",
        "fe80::1%1",
        "::1%1",
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.0.0.1",
        "a\0b",
        "a" * 64,
        "",
    ],
)
def test_no_other_way_of_writing_an_address_helps(host: str) -> None:
    with listening("127.0.0.1", "::1") as listeners:
        with pytest.raises((OutboundError, socket.gaierror)):
            Outbound(hosts=["*"]).connect(host, listeners[0].port, 5)
        assert [listener.accepted for listener in listeners] == [0, 0]


def test_a_name_with_one_bad_address_is_refused_as_a_whole(
    resolve: Callable[[Answers], list[str]], connects: list[object]
) -> None:
    good = ["8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "2606:4700:4700::1111"]
    for bad in ("10.0.0.1", "::1", "2606:4700:4700::1111%2"):
        for place in range(len(good) + 1):
            answers = [*good[:place], bad, *good[place:]]
            resolve(lambda host, answers=answers: answers)  # type: ignore[misc]
            with pytest.raises(OutboundError):
                Outbound(hosts=["*"]).connect("video.example", 80, 5)
    assert connects == []


def test_a_name_is_looked_up_once_for_each_connection(
    resolve: Callable[[Answers], list[str]],
) -> None:
    guard = Outbound(hosts=["*"], networks=["127.0.0.2/32"])
    turns = iter([["127.0.0.2"], ["127.0.0.1"]])
    with listening("127.0.0.2", "127.0.0.1") as (good, bad):
        asked = resolve(lambda host: next(turns))
        with guard.connect("video.example", good.port, 5) as connection:
            assert connection.getpeername() == ("127.0.0.2", good.port)
            assert connection.recv(5) == b"hello"
        assert asked == ["video.example"]
        # The name leads inside by now.
        with pytest.raises(OutboundError):
            guard.connect("video.example", good.port, 5)
        assert (good.accepted, bad.accepted) == (1, 0)


def test_the_next_address_is_tried_where_one_does_not_answer(
    resolve: Callable[[Answers], list[str]],
) -> None:
    guard = Outbound(hosts=["*"], networks=["127.0.0.0/8"])
    with listening("127.0.0.2") as (good,):
        resolve(lambda host: ["127.0.0.3", "127.0.0.3", "127.0.0.2"])
        with guard.connect("video.example", good.port, 5) as connection:
            assert connection.getpeername()[0] == "127.0.0.2"
            assert connection.gettimeout() == 5


def test_only_some_addresses_are_tried_and_both_kinds_in_turns(
    resolve: Callable[[Answers], list[str]], connects: list[object]
) -> None:
    six = [f"2606:4700::{number}" for number in range(1, 50)]
    resolve(lambda host: [*six, *(f"8.8.8.{number}" for number in range(1, 50))])
    with pytest.raises(ConnectionRefusedError):
        Outbound(hosts=["*"]).connect("video.example", 80, 5)
    assert connects == [(six[0], 80), ("8.8.8.1", 80), (six[1], 80), ("8.8.8.2", 80)]


def test_one_timeout_holds_for_all_addresses(
    resolve: Callable[[Answers], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    def connect(self: socket.socket, place: tuple[str, int]) -> None:
        given.append(self.gettimeout() or 0)
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "connect", connect)
    resolve(lambda host: [f"127.0.0.{number}" for number in range(1, 9)])
    with pytest.raises(TimeoutError):
        Outbound(hosts=["*"], networks=["127.0.0.0/8"]).connect("video.example", 80, 60)
    assert len(given) == 4
    assert given[0] <= 15
    assert all(0 < seconds <= 60 for seconds in given)


def test_a_look_up_that_takes_all_the_time_ends_in_a_timeout(
    resolve: Callable[[Answers], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 100.0, 200.0])
    monkeypatch.setattr(
        "reelsplit_server.access.outbound.time", SimpleNamespace(monotonic=lambda: next(clock))
    )
    resolve(lambda host: ["8.8.8.8"])
    with pytest.raises(TimeoutError):
        Outbound(hosts=["*"]).connect("video.example", 80, 30)


def test_who_answers_must_be_who_was_asked(
    resolve: Callable[[Answers], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket.connect
    with listening("127.0.0.1", "127.0.0.2") as (bad, _):
        monkeypatch.setattr(
            socket.socket, "connect", lambda self, place: real(self, ("127.0.0.1", place[1]))
        )
        with pytest.raises(OutboundError):
            Outbound(hosts=["*"], networks=["127.0.0.0/8"]).connect("127.0.0.2", bad.port, 5)


def test_a_public_address_of_the_machine_itself_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Loopback stands for a public address that this machine has.
    monkeypatch.setattr(outbound, "_is_public", lambda address: True)
    with listening("127.0.0.1", "::1") as listeners:
        for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
            with pytest.raises(OutboundError, match="own machine"):
                Outbound(hosts=["*"]).connect(host, listeners[0].port, 5)
        assert [listener.accepted for listener in listeners] == [0, 0]


def test_nothing_is_connected_to_that_does_not_listen() -> None:
    with listening("127.0.0.1") as (listener,):
        port = listener.port
    with pytest.raises(ConnectionRefusedError):
        Outbound(hosts=["*"], networks=["127.0.0.0/8"]).connect("127.0.0.1", port, 5)


ALLOWED = ["good.example", "*.good.example", "good.example:8443", "any.example:*"]


@pytest.mark.parametrize(
    "url",
    [
        "http://good.example/v",
        "https://good.example/v?x=@y:z",
        "HTTPS://GOOD.example:443/v",
        "http://good.example:80/v",
        "https://good.example:8443/v",
        "https://a.b.good.example/v",
        "http://any.example:81/v",
    ],
)
def test_a_listed_host_passes(url: str) -> None:
    Outbound(hosts=ALLOWED).check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "good.example/v",
        "//good.example/v",
        "http:///v",
        "http://",
        "ftp://good.example/v",
        "file:///etc/passwd",
        "file://good.example/etc/passwd",
        "gopher://good.example/v",
        "http://other.example/v",
        "http://good.example.other.example/v",
        "http://evilgood.example/v",
        "http://good.example:443/v",
        "https://good.example:80/v",
        "https://good.example:8444/v",
        "https://a.good.example:8443/v",
        "http://any.example/v",
        "http://good.example:0/v",
        "http://good.example:99999/v",
        "http://good.example:a/v",
        "http://good.example@127.0.0.1/v",
        "http://127.0.0.1@good.example/v",
        "http://good.example:80@127.0.0.1/v",
        "http://127.0.0.1#@good.example/v",
        "http://127.0.0.1\\@good.example/v",
        "http://127.0.0.1%2f@good.example/v",
        "http://127.0.0.1%2f.good.example/v",
        "http://good.example\t/v",
        "http://good.example /v",
        "http://good.example\n/v",
        " http://good.example/v",
        "http://gооd.example/v",
        "http://good。example/v",
        "http://[::1/v",
        "http://[fe80::1%25eth0]/v",
    ],
)
def test_another_url_does_not(url: str) -> None:
    with pytest.raises(OutboundError):
        Outbound(hosts=ALLOWED).check_url(url)


@pytest.mark.parametrize("url", ["http://ex\u00e4mple/v", "http://example/\u00e4", "http://a/ b"])
def test_what_servers_are_not_asked_in_does_not_pass(url: str) -> None:
    with pytest.raises(OutboundError):
        Outbound(hosts=["*"]).check_url(url)


def test_a_refusal_says_what_would_have_to_be_allowed() -> None:
    def remedy(url: str) -> str | None:
        with pytest.raises(OutboundError) as caught:
            Outbound(hosts=["10.0.0.1"]).check_url(url)
        return caught.value.remedy

    assert remedy("http://good.example/v") == "hosts"
    assert remedy("http://10.0.0.1/v") == "networks"
    assert remedy("http://a@10.0.0.1/v") is None


def test_without_hosts_nothing_passes() -> None:
    with pytest.raises(OutboundError):
        Outbound(hosts=[]).check_url("https://good.example/v")


@pytest.mark.parametrize("network", ["", "10.0.0.1/8", "10.0.0.0/33", "good.example"])
def test_what_is_no_network_is_told_at_once(network: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Outbound(hosts=["*"], networks=[network])
