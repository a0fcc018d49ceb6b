"""Where a caller's URI must never lead, by the whole way that it takes: nothing is sent there."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.location import LocationError
from reelsplit_server.storage.web import open_web
from tests.unit.storage.site import Site, file_answer, grant_for, redirect

FILM = bytes(range(256)) * 40
GOOD = "127.0.0.2"
SECRETS = ("secret", "10.1.2.3", "169.254.169.254")


class Net:
    """The network of a test: what names lead to, and where connections were tried."""

    def __init__(self) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.looked_up: list[str] = []
        self.connected: list[tuple[str, int]] = []

    def name(self, host: str, *turns: Sequence[str]) -> None:
        """Let a name lead to other addresses each time; the last ones stay."""
        self.names[host] = [list(turn) for turn in turns]


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    made = Net()
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def answered(host: str, port: int, *rest: int, **more: int) -> list[object]:
        made.looked_up.append(host)
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        turns = made.names.get(host)
        if turns is None:
            return [*look_up(host, port, *rest, **more)]
        found: list[object] = []
        for address in turns[0] if len(turns) == 1 else turns.pop(0):
            text, _, scope = address.partition("%")
            if ":" in text:
                place: tuple[str | int, ...] = (text, port, 0, int(scope or 0))
                found.append((socket.AF_INET6, socket.SOCK_STREAM, 6, "", place))
            else:
                found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)))
        return found

    def connected(self: socket.socket, place: tuple[str, int]) -> None:
        if self.type != socket.SOCK_STREAM:
            return connect(self, place)
        made.connected.append((place[0], place[1]))
        if place[0] not in (GOOD, "127.0.0.1", "::1", "0.0.0.0", "::"):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "no test goes out")
        return connect(self, place)

    monkeypatch.setattr(socket, "getaddrinfo", answered)
    monkeypatch.setattr(socket.socket, "connect", connected)
    return made


@pytest.fixture(scope="module")
def traps() -> Iterator[list[Site]]:
    """Two servers on loopback that would serve whoever comes, at one port."""
    with (
        Site(file_answer(FILM), address="127.0.0.1") as four,
        Site(file_answer(FILM), address="::1", port=four.port) as six,
    ):
        yield [four, six]


@pytest.fixture
def untouched(traps: list[Site]) -> Iterator[int]:
    """The port of the traps; at the end, nobody has come."""
    yield traps[0].port
    assert [(trap.accepted, trap.received) for trap in traps] == [(0, 0), (0, 0)]


@pytest.fixture
def good() -> Iterator[Site]:
    """A server at an address that the operator allows."""
    with Site(file_answer(FILM), address=GOOD) as site:
        yield site


def refused(uri: str, folder: Path, **more: object) -> Exception:
    """The refusal of a URI; a user reads no secret in it."""
    with pytest.raises((LocationError, StorageError)) as caught:
        open_web(grant_for(uri, folder, **more))  # type: ignore[arg-type]
    error = caught.value
    if isinstance(error, StorageError):
        assert error.reason == "SOURCE_FORBIDDEN"
        assert not error.transient
        assert "?" not in error.metadata["uri"]
        assert "secret" not in error.message
    return error


# Every way to write what is not public; {p} is the port of the traps.
TARGETS = [
    # Loopback
    "http://127.0.0.1:{p}/v",
    "HTTP://127.0.0.1:{p}/v",
    "hTTp://LOCALHOST:{p}/v",
    "http://localhost:{p}/v",
    "http://localhost.:{p}/v",
    "http://127.0.0.1.:{p}/v",
    "http://127.1:{p}/v",
    "http://127.0.1:{p}/v",
    "http://2130706433:{p}/v",
    "http://017700000001:{p}/v",
    "http://0177.0.0.1:{p}/v",
    "http://0177.0.0.01:{p}/v",
    "http://127.0.0.01:{p}/v",
    "http://0x7f000001:{p}/v",
    "http://0X7F000001:{p}/v",
    "http://0x7f.0.0.1:{p}/v",
    "http://0x7f.1:{p}/v",
    "http://127.0.0.0x1:{p}/v",
    "http://127.255.255.254:{p}/v",
    "http://0:{p}/v",
    "http://0.0.0.0:{p}/v",
    "http://0x0:{p}/v",
    "http://000.000.000.000:{p}/v",
    "http://[::]:{p}/v",
    "http://[::1]:{p}/v",
    "http://[0:0:0:0:0:0:0:1]:{p}/v",
    "http://[0000::0001]:{p}/v",
    "http://::1:{p}/v",
    # IPv4 within IPv6
    "http://[::ffff:127.0.0.1]:{p}/v",
    "http://[::ffff:7f00:1]:{p}/v",
    "http://[::FFFF:7F00:0001]:{p}/v",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{p}/v",
    "http://[::ffff:0:127.0.0.1]:{p}/v",
    "http://[::127.0.0.1]:{p}/v",
    "http://[2002:7f00:1::1]:{p}/v",
    "http://[2001:0:0:0:0:0:80ff:fffe]:{p}/v",
    "http://[64:ff9b::127.0.0.1]:{p}/v",
    "http://[64:ff9b::a9fe:a9fe]/v",
    "http://[64:ff9b:1::127.0.0.1]:{p}/v",
    # Link-local, and the metadata services of AWS, GCP, Azure, Alibaba and Oracle
    "http://169.254.169.254/latest/meta-data/iam?secret",
    "http://169.254.170.2/v2/credentials",
    "http://[fd00:ec2::254]/latest/meta-data",
    "http://[fd20:ce::254]/computeMetadata/v1",
    "http://168.63.129.16/machine",
    "http://100.100.100.200/latest/meta-data",
    "http://192.0.0.192/opc/v1",
    "http://2852039166/latest/meta-data",
    "http://0xa9fea9fe/latest/meta-data",
    "http://0251.0376.0251.0376/latest/meta-data",
    "http://[::ffff:169.254.169.254]/latest/meta-data",
    "http://[fe80::1]/v",
    "http://[fe80::1%25eth0]/v",
    "http://[fe80::1%eth0]/v",
    "http://[::1%25lo]:{p}/v",
    # Private, shared, documentation, benchmarks, multicast, broadcast, reserved
    "http://10.0.0.1/v",
    "http://172.16.0.1/v",
    "http://172.31.255.255/v",
    "http://192.168.1.1/v",
    "http://100.64.0.1/v",
    "http://192.0.2.1/v",
    "http://198.51.100.1/v",
    "http://203.0.113.1/v",
    "http://198.18.0.1/v",
    "http://198.19.255.255/v",
    "http://224.0.0.1/v",
    "http://239.255.255.250:1900/v",
    "http://240.0.0.1/v",
    "http://255.255.255.255/v",
    "http://[fc00::1]/v",
    "http://[fec0::1]/v",
    "http://[ff02::1]/v",
    "http://[2001:db8::1]/v",
    "http://[100::1]/v",
    # Userinfo, and what readers of URLs disagree about
    "http://good.example@127.0.0.1:{p}/v",
    "http://good.example:80@127.0.0.1:{p}/v",
    "http://127.0.0.1:{p}#@good.example/v",
    "http://127.0.0.1:{p}?@good.example/v",
    "http://good.example#@127.0.0.1:{p}/v",
    "http://127.0.0.1:{p}\\@good.example/v",
    "http://good.example\\@127.0.0.1:{p}/v",
    "http:\\\\127.0.0.1:{p}\\v",
    "http://127.0.0.1:{p};good.example/v",
    "http://127.0.0.1,good.example:{p}/v",
    "http://127.0.0.1 :{p}/v",
    "http://127.0.0.1\t:{p}/v",
    "http://127.0.0.1\n:{p}/v",
    "http://127.0.0.1\r\nHost: good.example\r\n:{p}/v",
    "http://127.0.0.1:{p}/v\r\nX: y",
    "ht\ntp://127.0.0.1:{p}/v",
    " http://127.0.0.1:{p}/v",
    "http://127.0.0.1\0.good.example:{p}/v",
    "http://[::1]good.example:{p}/v",
    "http://[::1].good.example:{p}/v",
    "http:127.0.0.1:{p}/v",
    "http:/127.0.0.1:{p}/v",
    "http:///127.0.0.1:{p}/v",
    "//127.0.0.1:{p}/v",
    # Unicode and escapes
    "http://１２７.０.０.１:{p}/v",
    "http://127。0。0。1:{p}/v",
    "http://127．0．0．1:{p}/v",
    "http://127｡0｡0｡1:{p}/v",
    "http://①②⑦.⓪.⓪.①:{p}/v",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{p}/v",
    "http://ｌocalhost:{p}/v",
    "http://localho\u00adst:{p}/v",
    "http://localhost\u200b:{p}/v",
    "http://١٢٧.0.0.1:{p}/v",
    "http://127.0.0.1:８0/v",
    "http://exam\u2100ple:{p}/v",
    "http://127%2e0%2e0%2e1:{p}/v",
    "http://%31%32%37.0.0.1:{p}/v",
    "http://127.0.0.1%2f.good.example:{p}/v",
    "http://%6c%6f%63alhost:{p}/v",
    "http://127.0.0.1%00.good.example:{p}/v",
    # Ports
    "http://127.0.0.1:/v",
    "http://127.0.0.1:0/v",
    "http://127.0.0.1:65536/v",
    "http://127.0.0.1:-1/v",
    "http://127.0.0.1:{p}:80/v",
    # Other protocols
    "ftp://127.0.0.1:{p}/v",
    "gopher://127.0.0.1:{p}/_v",
    "dict://127.0.0.1:{p}/v",
    "tcp://127.0.0.1:{p}",
    "rtmp://127.0.0.1:{p}/v",
    "hls+http://127.0.0.1:{p}/v",
    "concat:http://127.0.0.1:{p}/v|http://127.0.0.1:{p}/v",
    "data:text/plain,127.0.0.1",
    "unix://tmp/socket",
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_hostile_target_is_refused(target: str, untouched: int, net: Net, tmp_path: Path) -> None:
    refused(target.replace("{p}", str(untouched)), tmp_path, networks=())
    assert net.connected == []


def test_there_are_enough_targets() -> None:
    assert len(set(TARGETS)) >= 120


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["0.0.0.0"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["fd00:ec2::254"],
        ["100.100.100.200"],
        ["168.63.129.16"],
        ["255.255.255.255"],
        ["fe80::1%2"],
        ["2606:4700:4700::1111%2"],
        # One good and one bad: which is taken is not left to luck.
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
        ["2606:4700:4700::1111", "8.8.8.8", "1.1.1.1", "8.8.4.4", "9.9.9.9", "10.1.2.3"],
        ["2606:4700:4700::1111", "::1"],
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_leads_inside_is_refused(
    scheme: str, addresses: list[str], untouched: int, net: Net, tmp_path: Path
) -> None:
    net.name("video.example", addresses)
    uri = f"{scheme}://video.example:{untouched}/v?token=secret"
    error = refused(uri, tmp_path, networks=())
    assert isinstance(error, StorageError)
    assert net.connected == []
    assert net.looked_up == ["video.example"]
    assert ": video.example does not lead to" in error.message
    assert "--allow-networks" in error.message
    assert not any(address in error.message for address in addresses)


def test_a_name_that_leads_elsewhere_the_second_time_is_refused_then(
    untouched: int, net: Net, tmp_path: Path
) -> None:
    def answer(asked: object, send: Callable[[bytes], None]) -> bool:
        file_answer(FILM)(asked, send)  # type: ignore[arg-type]
        return False  # The next request needs a new connection.

    with Site(answer, address=GOOD, port=untouched) as site:
        net.name("video.example", [GOOD], ["127.0.0.1"])
        file, _ = open_web(grant_for(f"http://video.example:{site.port}/v", tmp_path))
        with file, pytest.raises(StorageError) as caught:
            file.read()
        assert caught.value.reason == "SOURCE_FORBIDDEN"
        assert site.accepted >= 1
    assert {host for host, _ in net.connected} == {GOOD}


def test_only_the_address_that_was_judged_is_connected_to(
    untouched: int, net: Net, tmp_path: Path
) -> None:
    with Site(file_answer(FILM), address=GOOD, port=untouched) as site:
        net.name("video.example", [GOOD], ["127.0.0.1"])
        file, _ = open_web(grant_for(f"http://video.example:{site.port}/v", tmp_path))
        with file:
            assert file.read() == FILM
    assert net.connected == [(GOOD, untouched)]


REDIRECTS = [
    "http://127.0.0.1:{p}/v",
    "http://127.1:{p}/v",
    "http://0:{p}/v",
    "http://[::1]:{p}/v",
    "http://[::ffff:127.0.0.1]:{p}/v",
    "http://localhost:{p}/v",
    "//127.0.0.1:{p}/v",
    "http:\\\\127.0.0.1:{p}\\v",
    "/\\127.0.0.1:{p}/v",
    "\\\\127.0.0.1:{p}\\v",
    "http://inside.example:{p}/v",
    "//inside.example:{p}/v",
    "http://both.example:{p}/v",
    "http://good.example:{g}@127.0.0.1:{p}/v",
    "http://user:secret@good.example:{g}/v",
    "http://127.0.0.1:{p}#@good.example/v",
    "http://169.254.169.254/latest/meta-data?secret",
    "http://10.1.2.3/v",
    "http://[fe80::1%25lo]/v",
    "http://１２７.0.0.1:{p}/v",
    "file:///etc/passwd",
    "FILE:/etc/passwd",
    "ftp://good.example/v",
    "gopher://127.0.0.1:{p}/_v",
    "data:video/mp4;base64,AAAA",
    "javascript:alert(1)",
    "s3://bucket/key",
    "oss://bucket/key",
    "unix:/run/docker.sock",
    "http://good.example:{g}:80/v",
    "http://good.example:0/v",
    "http://good.example:{g}/v\x01",
    "http://good.\texample:{g}/v",
    "ht\ttp://good.example:{g}/v",
]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["http://127.0.0.1:{p}/v", "//inside.example:{p}/v", "file:///v"])
def test_no_kind_of_redirect_leads_inside(
    status: int, to: str, untouched: int, good: Site, net: Net, tmp_path: Path
) -> None:
    net.name("inside.example", ["127.0.0.1"])
    good.answer = redirect(to.replace("{p}", str(untouched)), status)
    refused(good.url("/v?secret"), tmp_path)
    assert net.connected == [(GOOD, good.port)]
    assert len(good.asked) == 1


@pytest.mark.parametrize("to", REDIRECTS)
def test_a_redirect_is_held_to_what_uris_are_held_to(
    to: str, untouched: int, good: Site, net: Net, tmp_path: Path
) -> None:
    net.name("good.example", [GOOD])
    net.name("inside.example", ["127.0.0.1"])
    net.name("both.example", [GOOD, "127.0.0.1"])
    to = to.replace("{p}", str(untouched)).replace("{g}", str(good.port))
    good.answer = redirect(to.encode().decode("latin-1"))
    error = refused(good.url("/v?secret", "good.example"), tmp_path)
    assert isinstance(error, StorageError)
    assert f"http://good.example:{good.port}/v" in error.message
    assert not any(secret in error.message for secret in SECRETS)
    assert net.connected == [(GOOD, good.port)]


@pytest.mark.parametrize("to", ["///127.0.0.1:{p}/v", "/@127.0.0.1:{p}/v", "127.0.0.1:{p}/v"])
def test_what_browsers_might_take_for_a_host_is_a_path(
    to: str, untouched: int, good: Site, net: Net, tmp_path: Path
) -> None:
    good.answer = redirect(to.replace("{p}", str(untouched)))
    with pytest.raises(StorageError) as caught:
        open_web(grant_for(good.url("/v"), tmp_path))
    assert caught.value.reason in ("SOURCE_UNAVAILABLE", "SOURCE_FORBIDDEN")
    assert {host for host, _ in net.connected} == {GOOD}


@pytest.mark.parametrize(
    ("hosts", "to"),
    [
        # To a host, a port or a scheme that is not listed.
        (("good.example:{g}",), "http://other.example:{g}/v"),
        (("good.example:{g}",), "http://good.example:{p}/v"),
        (("good.example:{g}",), "http://good.example/v"),
        (("good.example:{g}",), "http://good.example.other.example:{g}/v"),
        (("good.example:{g}",), f"http://{GOOD}:{{g}}/v"),
    ],
)
def test_a_redirect_leads_to_listed_hosts_only(
    hosts: tuple[str, ...], to: str, untouched: int, good: Site, net: Net, tmp_path: Path
) -> None:
    for name in ("good.example", "other.example", "good.example.other.example"):
        net.name(name, [GOOD])

    def filled(text: str) -> str:
        return text.replace("{p}", str(untouched)).replace("{g}", str(good.port))

    good.answer = redirect(filled(to))
    error = refused(
        good.url("/v", "good.example"), tmp_path, hosts=tuple(filled(host) for host in hosts)
    )
    assert "--http-hosts" in str(error)
    assert "it redirects to" in str(error)
    assert len(good.asked) == 1


LISTED = ("good.com:{g}", "*.good.com:{g}")


@pytest.mark.parametrize(
    "host",
    [
        "good.com.evil.com",
        "evilgood.com",
        "good.com-evil.com",
        "good.comevil",
        "xgood.com",
        "evil.com",
        "com",
        "a.good.com.evil.com",
        "good.com.evil.com.",
        "good.co",
        "g\u043eod.com",
        "xn--gd-0ja.com",
        "a.good.com%2eevil.com",
        "evil.com%2fgood.com",
        "evil.com%23.good.com",
        "evil.com#.good.com",
        "evil.com?.good.com",
        "evil.com\\.good.com",
        "evil.com/.good.com",
        "evil.com:80#.good.com",
        "good.com@evil.com",
        "*.good.com",
        ".good.com",
        "a..good.com",
    ],
)
def test_a_host_that_only_looks_like_a_listed_one_is_refused(
    host: str, good: Site, net: Net, tmp_path: Path
) -> None:
    # Whatever is looked up leads to a server that the address guard lets through.
    net.names = _Everything([[GOOD]])
    hosts = tuple(pattern.replace("{g}", str(good.port)) for pattern in LISTED)
    refused(f"http://{host}:{good.port}/v", tmp_path, hosts=hosts)
    assert (good.accepted, net.looked_up) == (0, [])


class _Everything(dict[str, list[list[str]]]):
    """Every name leads to the same."""

    def __init__(self, turns: list[list[str]]) -> None:
        self._turns = turns

    def get(self, name: str, default: object = None) -> list[list[str]]:
        return self._turns


@pytest.mark.parametrize(
    ("host", "hosts"),
    [
        ("good.com", LISTED),
        ("GOOD.com.", LISTED),
        ("a.b.good.com", LISTED),
        ("good.com", ("*",)),
        ("good.com", ("good.com:*",)),
        (GOOD, (f"{GOOD}:{{g}}",)),
        ("[::1]", ("[::1]:{g}",)),
        ("localhost", ("localhost:{g}",)),
    ],
)
def test_what_the_operator_allows_is_read(
    host: str, hosts: tuple[str, ...], net: Net, tmp_path: Path
) -> None:
    for name in ("good.com", "a.b.good.com", "localhost"):
        net.name(name, [GOOD])
    with Site(file_answer(FILM), address="::1" if host == "[::1]" else GOOD) as site:
        allowed = tuple(pattern.replace("{g}", str(site.port)) for pattern in hosts)
        uri = f"http://{host}:{site.port}/v?token=secret"
        networks = (f"{GOOD}/32", "::1/128")
        file, pin = open_web(grant_for(uri, tmp_path, hosts=allowed, networks=networks))
        with file:
            assert file.read() == FILM
        assert (pin.size, pin.tag) == (len(FILM), '"one"')
        assert site.asked[0].target == "/v?token=secret"


def test_names_that_lead_nowhere_are_no_secret(net: Net, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        open_web(grant_for("https://nowhere.invalid/v?secret", tmp_path))
    assert (caught.value.reason, caught.value.transient) == ("SOURCE_UNAVAILABLE", False)
    assert "nowhere.invalid" in caught.value.message
    assert "secret" not in caught.value.message
