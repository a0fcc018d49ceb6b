"""Uploading in parts and to a session: whole, in order, whatever the weather."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.grants import Part, PartsUpload, Request, SessionUpload, Wire
from reelsplit_server.storage.uploading import upload
from tests.unit.storage import weather as sky
from tests.unit.storage.weather import QUICK, Weather, certificates

if TYPE_CHECKING:
    from tests.services import Service

LABEL = "s3://films/out/001.mp4"
KIB = 2**10
DATA = random.Random(2).randbytes(1000 * KIB)
SHORT = Wire(timeout=20, patience=0.5)


@pytest.fixture
def weather() -> Iterator[Weather]:
    with Weather() as made:
        yield made
        assert made.errors == []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "segment.mp4"
    path.write_bytes(DATA)
    return path


@dataclass
class Signer:
    """Signs as a server does, and notes what it was asked."""

    weather: Weather
    asked: list[list[Part]] = field(default_factory=list)
    threads: set[threading.Thread] = field(default_factory=set)

    def __call__(self, parts: Sequence[Part]) -> list[Request]:
        self.threads.add(threading.current_thread())
        self.asked.append(list(parts))
        turn = len(self.asked)
        return [
            Request(
                url=self.weather.url(f"/out?part={part.number}&turn={turn}&signature=secret"),
                headers={"Content-MD5": part.md5},
            )
            for part in parts
        ]

    @property
    def parts(self) -> list[int]:
        """The numbers that were asked for."""
        return [part.number for parts in self.asked for part in parts]


def parts_grant(size: int = 64 * KIB, wire: Wire = QUICK) -> PartsUpload:
    return PartsUpload(wire=wire, part_size=size)


def arrived(weather: Weather) -> bytes:
    """What the parts make together."""
    numbered = {
        int(path.partition("part=")[2].partition("&")[0]): body
        for path, body in weather.puts.items()
    }
    return b"".join(numbered[number] for number in sorted(numbered))


def failing(
    file: Path, grant: PartsUpload | SessionUpload, signer: Signer, *, transient: bool
) -> StorageError:
    with pytest.raises(StorageError) as caught:
        upload(file, grant, signer, LABEL)
    assert caught.value.metadata == {"uri": LABEL}
    assert LABEL in caught.value.message
    for secret in ("secret", "127.0.0.1"):
        assert secret not in caught.value.message
    assert caught.value.transient is transient
    assert not [t for t in threading.enumerate() if t.name.startswith("upload")]
    return caught.value


# --- Parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5 * KIB, 64 * KIB, len(DATA) - 1, len(DATA), 10 * len(DATA)])
def test_parts_arrive_whole_and_their_tags_come_in_order(
    weather: Weather, file: Path, size: int
) -> None:
    signer = Signer(weather)
    etags = upload(file, parts_grant(size), signer, LABEL)
    pieces = [DATA[place : place + size] for place in range(0, len(DATA), size)]
    assert arrived(weather) == DATA
    assert etags == [f'"{hashlib.md5(piece).hexdigest()}"' for piece in pieces]
    assert signer.parts == list(range(1, len(pieces) + 1))
    assert max(len(parts) for parts in signer.asked) <= 16
    assert signer.threads == {threading.main_thread()}
    assert len(weather.open) <= 3


def test_a_file_without_bytes_has_one_part(weather: Weather, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert len(upload(tmp_path / "empty", parts_grant(), Signer(weather), LABEL)) == 1


@pytest.mark.parametrize(
    "answer",
    [
        sky.status(503),
        sky.status(429, {"Retry-After": "0"}),
        sky.status(500),
        sky.refused(400, "RequestTimeout"),
        sky.refused(400, "BadDigest"),
        sky.lost,
        sky.hung_up,
    ],
)
def test_what_may_pass_is_repeated(weather: Weather, file: Path, answer: sky.Sky) -> None:
    weather.will(answer, answer, None, answer)
    signer = Signer(weather)
    assert len(upload(file, parts_grant(), signer, LABEL)) == 16
    assert arrived(weather) == DATA
    assert len(signer.parts) == 16


def test_silence_ends(weather: Weather, file: Path) -> None:
    weather.will(sky.silent)
    upload(file, parts_grant(wire=Wire(timeout=1, patience=60)), Signer(weather), LABEL)
    assert arrived(weather) == DATA


def test_patience_ends(weather: Weather, file: Path) -> None:
    weather.will(*[sky.status(503)] * 1000)
    error = failing(file, parts_grant(wire=SHORT), Signer(weather), transient=True)
    assert error.reason == "OUTPUT_UNAVAILABLE"
    assert "503" in error.message


@pytest.mark.parametrize(
    "answer",
    [sky.refused(403, "AccessDenied"), sky.refused(400, "ExpiredToken"), sky.status(401)],
)
def test_a_signature_that_ran_out_is_asked_for_again(
    weather: Weather, file: Path, answer: sky.Sky
) -> None:
    weather.will(answer, None, answer)
    signer = Signer(weather)
    assert len(upload(file, parts_grant(), signer, LABEL)) == 16
    assert arrived(weather) == DATA
    assert len(signer.parts) == 18
    assert signer.threads == {threading.main_thread()}


@pytest.mark.parametrize("answer", [sky.refused(403, "AccessDenied"), sky.refused_early])
def test_a_refusal_is_told_after_one_more_signature(
    weather: Weather, file: Path, answer: sky.Sky
) -> None:
    weather.will(*[answer] * 100)
    signer = Signer(weather)
    error = failing(file, parts_grant(), signer, transient=False)
    assert error.reason == "OUTPUT_FORBIDDEN"
    assert max(signer.parts.count(number) for number in signer.parts) == 2


def test_credentials_that_have_expired_are_told(weather: Weather, file: Path) -> None:
    weather.will(*[sky.refused(400, "ExpiredToken")] * 100)
    error = failing(file, parts_grant(), Signer(weather), transient=False)
    assert error.reason == "OUTPUT_FORBIDDEN"
    assert "have expired" in error.message


@pytest.mark.parametrize(
    ("answer", "transient"),
    [
        (sky.refused(404, "NoSuchUpload"), True),
        (sky.refused(409, "OperationAborted"), True),
        (sky.refused(413, "EntityTooLarge"), False),
        (sky.refused(400, "InvalidArgument"), False),
        (sky.status(302, {"Location": "http://127.0.0.1/"}), False),
        (sky.status(200), False),
    ],
)
def test_other_answers_are_told(
    weather: Weather, file: Path, answer: sky.Sky, *, transient: bool
) -> None:
    weather.will(*[answer] * 100)
    error = failing(file, parts_grant(), Signer(weather), transient=transient)
    assert error.reason == "OUTPUT_UNAVAILABLE"


def test_what_signing_is_refused_with_comes_through(weather: Weather, file: Path) -> None:
    refused = StorageError("OUTPUT_FORBIDDEN", "no", {})

    def sign(parts: Sequence[Part]) -> list[Request]:
        raise refused

    with pytest.raises(StorageError) as caught:
        upload(file, parts_grant(), sign, LABEL)
    assert caught.value is refused


def test_one_part_that_fails_ends_the_others(weather: Weather, file: Path) -> None:
    weather.will(sky.silent, sky.silent, sky.refused(404, "NoSuchUpload"))
    grant = parts_grant(wire=Wire(timeout=300, patience=300))
    assert failing(file, grant, Signer(weather), transient=True).reason == "OUTPUT_UNAVAILABLE"


def test_parts_go_up_over_tls(tmp_path: Path, file: Path) -> None:
    context, ca = certificates(tmp_path, "127.0.0.1")
    with Weather(tls=context) as weather:
        upload(file, parts_grant(wire=replace(QUICK, ca=ca)), Signer(weather), LABEL)
        assert arrived(weather) == DATA
        error = failing(file, parts_grant(), Signer(weather), transient=False)
        assert "not trusted" in error.message


def test_parts_go_up_to_a_real_store(seaweed: Service, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(12 * 2**20)
    file = tmp_path / "segment.mp4"
    file.write_bytes(data)
    client = seaweed.client()
    try:
        bucket = seaweed.bucket("uploading")
        place = {"Bucket": bucket, "Key": "out/001.mp4"}
        begun = {**place, "UploadId": client.create_multipart_upload(**place)["UploadId"]}
        turns = []

        def sign(parts: Sequence[Part]) -> list[Request]:
            turns.append(1)
            # The first ones have run out by the time that they are used.
            seconds = -10 if len(turns) == 1 else 300
            return [
                Request(
                    url=client.generate_presigned_url(
                        "upload_part",
                        Params={**begun, "PartNumber": part.number, "ContentMD5": part.md5},
                        ExpiresIn=seconds,
                    ),
                    headers={"Content-MD5": part.md5},
                )
                for part in parts
            ]

        etags = upload(file, parts_grant(5 * 2**20), sign, LABEL)
        parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
        client.complete_multipart_upload(**begun, MultipartUpload={"Parts": parts})
        assert client.get_object(**place)["Body"].read() == data
        assert len(turns) > 1
    finally:
        client.close()


# --- A session -----------------------------------------------------------------------------------


def session(weather: Weather, wire: Wire = QUICK, size: int = 256 * KIB) -> SessionUpload:
    request = Request(url=weather.url("/session?upload_id=secret"), headers={"X-Job": "one"})
    return SessionUpload(wire=wire, session=request, chunk_size=size)


@pytest.mark.parametrize("size", [256 * KIB, len(DATA), 10 * len(DATA)])
def test_a_session_takes_the_whole_file(weather: Weather, file: Path, size: int) -> None:
    assert upload(file, session(weather, size=size), Signer(weather), LABEL) == []
    assert bytes(weather.session) == DATA
    assert weather.finished
    assert {asked.headers["x-job"] for asked in weather.asked} == {"one"}
    assert len(weather.asked) == -(-len(DATA) // size)


def test_a_session_takes_a_file_without_bytes(weather: Weather, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert upload(tmp_path / "empty", session(weather), Signer(weather), LABEL) == []
    assert [asked.headers["content-range"] for asked in weather.asked] == ["bytes */0"]
    assert weather.finished


def partly(handler: sky.Handler) -> None:
    sky.take_chunk(handler, 100 * KIB)


@pytest.mark.parametrize(
    "answer",
    [
        sky.status(503),
        sky.status(500),
        sky.lost,
        sky.hung_up,
        sky.taken_in_part(1000),
        partly,
    ],
)
def test_a_session_goes_on_with_what_the_store_lacks(
    weather: Weather, file: Path, answer: sky.Sky
) -> None:
    weather.will(answer, None, answer, None, None, answer)
    upload(file, session(weather), Signer(weather), LABEL)
    assert bytes(weather.session) == DATA
    assert weather.finished


def test_a_session_whose_end_was_not_told_is_asked_for_it(weather: Weather, file: Path) -> None:
    weather.will(sky.lost)
    upload(file, session(weather, size=len(DATA)), Signer(weather), LABEL)
    assert bytes(weather.session) == DATA
    assert weather.asked[-1].headers["content-range"] == f"bytes */{len(DATA)}"


def test_silence_in_a_session_ends(weather: Weather, file: Path) -> None:
    weather.will(None, sky.silent)
    upload(file, session(weather, Wire(timeout=1, patience=60)), Signer(weather), LABEL)
    assert bytes(weather.session) == DATA


@pytest.mark.parametrize(
    ("code", "reason", "transient"),
    [
        (412, "OUTPUT_EXISTS", False),
        (401, "OUTPUT_FORBIDDEN", False),
        (403, "OUTPUT_FORBIDDEN", False),
        (404, "OUTPUT_UNAVAILABLE", True),
        (410, "OUTPUT_UNAVAILABLE", True),
        (400, "OUTPUT_UNAVAILABLE", False),
        (302, "OUTPUT_UNAVAILABLE", False),
    ],
)
def test_a_session_that_is_refused(
    weather: Weather, file: Path, code: int, reason: str, *, transient: bool
) -> None:
    weather.will(None, *[sky.status(code)] * 10)
    error = failing(file, session(weather), Signer(weather), transient=transient)
    assert error.reason == reason
    assert len(weather.asked) == 2


def test_a_session_that_takes_nothing_ends(weather: Weather, file: Path) -> None:
    weather.will(*[sky.status(308)] * 10_000)
    error = failing(file, session(weather, SHORT), Signer(weather), transient=True)
    assert "did not take" in error.message


def test_a_session_that_claims_too_much_is_not_believed(weather: Weather, file: Path) -> None:
    weather.will(sky.status(308, {"Range": f"bytes=0-{len(DATA)}"}))
    error = failing(file, session(weather), Signer(weather), transient=False)
    assert "more bytes" in error.message


def test_patience_with_a_session_ends(weather: Weather, file: Path) -> None:
    weather.will(*[sky.status(503)] * 10_000)
    error = failing(file, session(weather, SHORT), Signer(weather), transient=True)
    assert error.reason == "OUTPUT_UNAVAILABLE"
