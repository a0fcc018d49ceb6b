"""Signatures against what the real SDKs sent."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelsplit_server.ims.errors import ImsError
from reelsplit_server.ims.received import MOST_BYTES, Received, parameters, read
from reelsplit_server.ims.signatures import canonical, claim, escaped
from tests.unit.ims.recorded import FOLDER, KEY_ID, NAMES, SECRET, SHA1, raw, split

STS = "14_GetSmartHandleJob_sts"
# What travels with a request and is not signed; of the older scheme no header is.
_UNSIGNED = (b"accept-encoding", b"content-length", b"connection")


def is_signed(request: bytes, secret: str = SECRET) -> bool:
    """Whether a request proves that it comes from who knows the secret of the tests' key."""
    try:
        shown = claim(read(*split(request)))
    except (ImsError, ValueError):
        return False
    return shown.key_id in (KEY_ID, "STS.testak") and shown.is_signed_with(secret)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_requests_are_signed_as_they_say(name: str) -> None:
    assert is_signed(raw(name))
    assert not is_signed(raw(name), SECRET + "x")
    assert not is_signed(raw(name), "")


@pytest.mark.parametrize("name", NAMES)
def test_recorded_requests_tell_what_they_are_for(name: str) -> None:
    shown = claim(read(*split(raw(name))))
    assert shown.version == "2020-11-09"
    assert shown.action.casefold()[:6] in name.replace("_", "").casefold() or "ubmit" in name
    assert len(shown.nonce) == 32
    assert (shown.security_token == "stsToken/abc==") == (name == STS)


def signed_places(name: str) -> Iterator[int]:
    """The places of a request whose bytes are under the signature, or are it."""
    request = raw(name)
    line = request.index(b"\r\n")
    query = request.index(b"?") if b"?" in request[:line] else line
    yield from range(request.index(b" "))
    yield from range(query + 1, request.rindex(b" HTTP", 0, line) if query < line else query)
    head = request.index(b"\r\n\r\n")
    if name not in SHA1:
        for found in re.finditer(rb"(?<=\r\n)([^:\r]+): ([^\r]*)", request[: head + 2]):
            if found[1].lower() not in _UNSIGNED:
                yield from range(*found.span(1))
                yield from range(*found.span(2))
    yield from range(head + 4, len(request))


@pytest.mark.parametrize("name", [n for n in NAMES if n[:2] in ("01", "03", "14", "15", "21")])
def test_no_signed_byte_can_be_another(name: str) -> None:
    request = raw(name)
    assert is_signed(request)
    places = list(signed_places(name))
    assert len(places) > 200
    for place in places:
        changed = bytearray(request)
        changed[place] ^= 1 + place % 2
        assert not is_signed(bytes(changed)), changed[max(0, place - 20) : place + 20]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_can_be_added_or_taken_away(name: str) -> None:
    method, query, headers, body = split(raw(name))
    for other in (b"&X=1", b"&JobId=job-2", b"&=", b"&ClientToken="):
        assert not is_signed_parts(method, query + other, headers, body)
    assert not is_signed_parts("GET" if method == "POST" else "POST", query, headers, body)
    assert not is_signed_parts(method, query, headers, body + b"&X=1")
    if query.count(b"&"):
        assert not is_signed_parts(method, query.rpartition(b"&")[0], headers, body)


def is_signed_parts(
    method: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> bool:
    try:
        shown = claim(read(method, query, headers, body))
    except ImsError:
        return False
    return shown.is_signed_with(SECRET)


def test_the_worked_vector() -> None:
    received = read(*split(raw("01_SubmitSegmentationJob")))
    assert canonical(received.query).startswith(
        "ClientToken=12e8864746a0a398-0001&JobParams=%7B%22Mode%22%3A%20%22UserDefined%22%2C%20"
    )
    assert "x%3D1%26y%3D~%2A" in canonical(received.query)
    given = parameters(received)
    assert given["InputConfig"] == (
        '{"Type": "OSS", "Media": '
        '"http://test-bucket.oss-cn-shanghai.aliyuncs.com/dir/视频 a+b.mp4"}'
    )


# --- What must be signed ---------------------------------------------------------------------


def resigned(
    change: dict[str, str | None], signed: str | None = None, body: bytes = b""
) -> Received:
    """A request whose signature is right, whatever it signs."""
    headers: dict[str, str] = {
        "host": "127.0.0.1",
        "x-acs-action": "GetSmartHandleJob",
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-acs-date": "2026-11-21T19:18:03Z",
        "x-acs-signature-nonce": "n",
        "x-acs-version": "2020-11-09",
    }
    for name, value in change.items():
        headers.pop(name, None)
        if value is not None:
            headers[name] = value
    names = signed or ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers.get(name, '')}\n" for name in names.split(";"))
    content = headers.get("x-acs-content-sha256", "")
    request = f"POST\n/\n\n{lines}\n{names}\n{content}"
    text = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode('latin-1')).hexdigest()}"
    signature = hmac.digest(SECRET.encode(), text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"ACS3-HMAC-SHA256 Credential={KEY_ID},SignedHeaders={names},Signature={signature}"
    )
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return read("POST", b"", pairs, body)


def test_what_is_signed_by_the_rules_is_taken() -> None:
    assert claim(resigned({})).is_signed_with(SECRET)
    assert claim(resigned({"x-acs-security-token": "t"})).is_signed_with(SECRET)
    assert claim(resigned({"x-odd": "caf\xe9"})).is_signed_with(SECRET)
    # The last byte of an "à" in UTF-8 is a space to those who take it for Latin-1.
    assert claim(resigned({"x-odd": "voilà".encode().decode("latin-1")})).is_signed_with(SECRET)


@pytest.mark.parametrize(
    ("change", "signed", "code"),
    [
        ({"x-acs-action": None}, None, "MissingAction"),
        ({"x-acs-signature-nonce": None}, None, "MissingParameter"),
        ({"x-acs-date": None}, None, "MissingParameter"),
        ({"x-acs-date": "yesterday"}, None, "InvalidTimeStamp.Format"),
        ({"x-acs-date": "2026-13-21T19:18:03Z"}, None, "InvalidTimeStamp.Format"),
        ({"x-acs-date": "2026-11-21T19:18:03+00:00"}, None, "InvalidTimeStamp.Format"),
        ({"x-acs-content-sha256": "0" * 64}, None, "SignatureDoesNotMatch"),
        ({"x-acs-accesskey-id": "another"}, None, "SignatureDoesNotMatch"),
        ({"x-acs-signature-nonce": "n" * 129}, None, "InvalidParameter"),
        ({}, "host", "SignatureDoesNotMatch"),
        ({}, "host;host", "SignatureDoesNotMatch"),
    ],
)
def test_what_is_wrong_has_its_code(
    change: dict[str, str | None], signed: str | None, code: str
) -> None:
    with pytest.raises(ImsError) as caught:
        claim(resigned(change, signed))
    assert caught.value.code == code


_ALL = [
    *("host", "x-acs-action", "x-acs-content-sha256", "x-acs-date"),
    *("x-acs-signature-nonce", "x-acs-version"),
]


@pytest.mark.parametrize("missing", _ALL)
def test_each_of_these_headers_must_be_signed(missing: str) -> None:
    names = ";".join(name for name in _ALL if name != missing)
    with pytest.raises(ImsError) as caught:
        claim(resigned({}, names))
    assert caught.value.code == "SignatureDoesNotMatch"
    assert missing in caught.value.message


def test_a_security_token_must_be_signed() -> None:
    with pytest.raises(ImsError, match="x-acs-security-token"):
        claim(resigned({"x-acs-security-token": "t"}, ";".join(_ALL)))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (b"", "MissingAction"),
        (b"Action=A", "MissingParameter"),
        (b"Action=A&AccessKeyId=k&Signature=s&SignatureNonce=n", "MissingParameter"),
        (
            b"Action=A&AccessKeyId=k&Signature=s&SignatureNonce=n&Timestamp=t&Version=v"
            b"&SignatureMethod=HMAC-MD5&SignatureVersion=1.0",
            "InvalidSignatureMethod",
        ),
        (
            b"Action=A&AccessKeyId=k&Signature=s&SignatureNonce=n&Timestamp=t&Version=v"
            b"&SignatureMethod=HMAC-SHA1&SignatureVersion=2.0",
            "InvalidSignatureMethod",
        ),
        (
            b"Action=A&AccessKeyId=k&Signature=s&SignatureNonce=n&Timestamp=t&Version=v"
            b"&SignatureMethod=HMAC-SHA1&SignatureVersion=1.0",
            "InvalidTimeStamp.Format",
        ),
        (b"Action=A&Action=B", "InvalidParameter"),
        (b"Action=%ff", "InvalidParameter"),
        (b"Action=\xff", "InvalidParameter"),
        (b"&".join(b"p%d=1" % n for n in range(300)), "InvalidParameter"),
        (b"Action=" + b"a" * MOST_BYTES, "InvalidParameter"),
    ],
)
def test_queries_that_cannot_be_read(query: bytes, code: str) -> None:
    with pytest.raises(ImsError) as caught:
        claim(read("GET", query, [], b""))
    assert caught.value.code == code


def test_other_schemes_are_refused() -> None:
    for value in (b"Bearer abc", b"ACS3-RSA-SHA256 Credential=a,SignedHeaders=b,Signature=c"):
        with pytest.raises(ImsError) as caught:
            claim(read("GET", b"", [(b"Authorization", value)], b""))
        assert caught.value.code == "InvalidSignatureMethod"


@given(st.text())
def test_escapes_leave_only_what_may_stand(text: str) -> None:
    try:
        made = escaped(text)
    except UnicodeEncodeError:
        return
    assert re.fullmatch(r"([A-Za-z0-9._~-]|%[0-9A-F]{2})*", made)


def test_the_recordings_are_all_there() -> None:
    assert len(NAMES) == len(list(FOLDER.iterdir())) == 21
