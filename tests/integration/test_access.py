"""Who may do what: every RPC with every permission, and what keys reach."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from reelsplit import (
    TLS,
    Client,
    Input,
    InvalidRequestError,
    Job,
    JobState,
    NotFoundError,
    Output,
    PermissionDeniedError,
    ReelsplitError,
    RetryPolicy,
    UnauthenticatedError,
    UnavailableError,
    every,
)
from reelsplit.v1 import job_service_pb2 as pb
from reelsplit.v1 import media_service_pb2 as media_pb
from reelsplit.v1.job_service_pb2_grpc import JobServiceStub
from reelsplit.v1.media_service_pb2_grpc import MediaServiceStub
from reelsplit_server.access.permissions import Permission
from tests.keys import disable_key, new_key
from tests.server import Served, ServerProcess, served, wait_for

ONCE = RetryPolicy(attempts=1)
NO_JOB = "0" * 32

NEEDS: dict[str, tuple[Permission, Any]] = {
    "SubmitJob": (Permission.SUBMIT, pb.SubmitJobRequest()),
    "GetJob": (Permission.READ, pb.GetJobRequest(job_id=NO_JOB)),
    "ListJobs": (Permission.READ, pb.ListJobsRequest()),
    "CancelJob": (Permission.CANCEL, pb.CancelJobRequest(job_id=NO_JOB)),
    "DeleteJob": (Permission.DELETE, pb.DeleteJobRequest(job_id=NO_JOB)),
    "RetryJob": (Permission.SUBMIT, pb.RetryJobRequest(job_id=NO_JOB)),
    "ListSegments": (Permission.READ, pb.ListSegmentsRequest(job_id=NO_JOB)),
    "WatchJob": (Permission.READ, pb.WatchJobRequest(job_id=NO_JOB)),
    "WatchJobs": (Permission.READ, pb.WatchJobsRequest()),
    "RegisterMedia": (Permission.MEDIA, media_pb.RegisterMediaRequest()),
    "GetMedia": (Permission.READ, media_pb.GetMediaRequest(media_id=NO_JOB)),
    "ListMedia": (Permission.READ, media_pb.ListMediaRequest()),
    "DeleteMedia": (Permission.MEDIA, media_pb.DeleteMediaRequest(media_id=NO_JOB)),
}


@dataclass(frozen=True)
class Keyed:
    """A server, and the tokens of keys with one permission each, and with all but one."""

    server: Served
    only: dict[Permission, str]
    without: dict[Permission, str]
    alice: str
    bob: str
    boss: str
    chief: str
    narrow: str
    repeater: str


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    root, data = folder / "root", folder / "data"
    (root / "in").mkdir(parents=True)

    def token(principal: str, *permissions: Permission, **values: Any) -> str:
        made = new_key(data, principal, permissions=permissions, **values).token
        assert made is not None
        return made

    everything = [*Permission]
    tokens = {
        "only": {one: token("team", one) for one in Permission},
        "without": {
            one: token("team", *(other for other in Permission if other is not one))
            for one in Permission
        },
    }
    ordinary = [one for one in Permission if one is not Permission.ADMIN]
    names = {
        "alice": token("alice", *ordinary),
        "bob": token("bob", *ordinary),
        "boss": token("boss", *everything),
        "chief": token("alice", *everything),
        "repeater": token("alice", Permission.SUBMIT, Permission.READ),
        "narrow": token("alice", *ordinary, read=[str(root / "in")], write=[str(root / "narrow")]),
    }
    with served(folder, workers=1) as server:
        yield Keyed(server, **tokens, **names)


def _code(server: Served, name: str, token: str) -> grpc.StatusCode:
    with grpc.insecure_channel(server.address) as channel:
        methods = vars(JobServiceStub(channel)) | vars(MediaServiceStub(channel))
        metadata = (("authorization", f"Bearer {token}"),)
        answer = None
        try:
            answer = methods[name](NEEDS[name][1], timeout=30, metadata=metadata)
            if name.startswith("Watch"):
                next(iter(answer))
        except grpc.RpcError as error:
            return error.code()  # type: ignore[no-any-return, attr-defined]
        finally:
            if name.startswith("Watch") and answer is not None:
                answer.cancel()
        return grpc.StatusCode.OK


def test_every_rpc_stands_in_the_matrix() -> None:
    services = [
        pb.DESCRIPTOR.services_by_name["JobService"],
        media_pb.DESCRIPTOR.services_by_name["MediaService"],
    ]
    assert set(NEEDS) == {method.name for service in services for method in service.methods}


@pytest.mark.parametrize("name", NEEDS)
def test_a_call_needs_its_permission_and_no_other(keyed: Keyed, name: str) -> None:
    denied = grpc.StatusCode.PERMISSION_DENIED
    needed = NEEDS[name][0]
    for permission in Permission:
        only = _code(keyed.server, name, keyed.only[permission])
        assert (only is denied) == (permission is not needed), (name, permission, only)
        without = _code(keyed.server, name, keyed.without[permission])
        assert (without is denied) == (permission is needed), (name, permission, without)


def test_without_a_key_nothing_is_answered(keyed: Keyed) -> None:
    for name, token in itertools.product(NEEDS, ["", "x" * 40]):
        assert _code(keyed.server, name, token) is grpc.StatusCode.UNAUTHENTICATED
    with Client(keyed.server.address, retry=ONCE) as nobody, pytest.raises(UnauthenticatedError):
        nobody.list_page()


def _client(keyed: Keyed, token: str) -> Client:
    return Client(keyed.server.address, token=token, retry=ONCE, timeout=60)


def _ended(client: Client, keyed: Keyed, **values: Any) -> Job:
    """A job that fails, since its source is missing."""
    missing = str(keyed.server.root / "in" / "missing.mp4")
    return client.submit(missing, every(1), **values).wait(timeout=60)


def test_what_is_denied_tells_nothing_of_jobs(keyed: Keyed) -> None:
    with _client(keyed, keyed.only[Permission.SUBMIT]) as mine:
        job = mine.submit(str(keyed.server.root / "missing.mp4"), every(1))
        said = set()
        for job_id in (job.job_id, NO_JOB):
            with pytest.raises(PermissionDeniedError) as caught:
                mine.get(job_id)
            assert caught.value.metadata == {"permission": "read"}
            said.add(caught.value.message)
        assert len(said) == 1


def test_another_principals_job_is_as_if_it_were_not(keyed: Keyed) -> None:
    with _client(keyed, keyed.alice) as alice, _client(keyed, keyed.bob) as bob:
        job = _ended(alice, keyed)
        calls: list[Callable[[str], object]] = [
            bob.get,
            bob.cancel,
            bob.retry,
            bob.delete,
            lambda job_id: list(bob.segments(job_id)),
            lambda job_id: list(bob.watch(job_id)),
        ]
        for call in calls:
            said = []
            for job_id in (job.job_id, NO_JOB):
                with pytest.raises(NotFoundError) as caught:
                    call(job_id)
                said.append(caught.value.message.replace(job_id, ""))
            assert said[0] == said[1]
        assert job.job_id not in {found.job_id for found in bob.list()}
        assert alice.get(job.job_id).state is JobState.FAILED


def test_a_watch_of_all_jobs_tells_only_the_callers_own(keyed: Keyed) -> None:
    with (
        _client(keyed, keyed.alice) as alice,
        _client(keyed, keyed.bob) as bob,
        alice.watch_jobs() as of_alice,
        bob.watch_jobs() as of_bob,
    ):
        both = [iter(of_alice), iter(of_bob)]
        for events in both:
            next(events)
        jobs = [_ended(alice, keyed).job_id, _ended(bob, keyed).job_id, _ended(alice, keyed).job_id]
        # The first job that each of them tells of is the caller's own.
        assert [next(events).job_id for events in both] == jobs[:2]
        own = {jobs[0], jobs[2]}
        seen = set()
        while own - seen:
            seen.add(next(both[0]).job_id)
        assert seen == own


def test_admins_see_the_jobs_of_all_and_act_on_them(keyed: Keyed) -> None:
    with _client(keyed, keyed.alice) as alice, _client(keyed, keyed.boss) as boss:
        with boss.watch_jobs() as events:
            following = iter(events)
            next(following)
            job = _ended(alice, keyed)
            assert next(event for event in following if event.job_id == job.job_id)
        assert boss.get(job.job_id).owner == "alice"
        assert job.job_id in {found.job_id for found in boss.list()}
        assert list(boss.segments(job.job_id)) == []
        assert next(iter(boss.watch(job.job_id))).sequence == 1
        assert boss.retry(job.job_id).attempt == 2
        boss.wait(job.job_id, timeout=60)
        assert boss.cancel(job.job_id).state is JobState.FAILED
        boss.delete(job.job_id)
        with pytest.raises(NotFoundError):
            alice.get(job.job_id)


def test_admins_use_the_media_of_all_and_nobody_else_does(keyed: Keyed) -> None:
    uri = str(keyed.server.root / "in" / "asset.mp4")
    with (
        _client(keyed, keyed.alice) as alice,
        _client(keyed, keyed.bob) as bob,
        _client(keyed, keyed.boss) as boss,
        _client(keyed, keyed.narrow) as narrow,
    ):
        outside = alice.register_media(str(keyed.server.root / "asset.mp4")).media_id
        media_id = alice.register_media(uri).media_id
        calls: list[Callable[[], object]] = [
            lambda: bob.get_media(media_id),
            lambda: bob.get_media(uri=uri),
            lambda: bob.delete_media(media_id, delete_file=True),
            lambda: bob.submit(Input(media_id=media_id), every(1)),
        ]
        for call in calls:
            with pytest.raises(NotFoundError):
                call()
        assert media_id not in {media.media_id for media in bob.list_media()}
        # An asset is no way around what a key may read, or write.
        with pytest.raises(PermissionDeniedError):
            narrow.submit(Input(media_id=outside), every(1))
        with pytest.raises(PermissionDeniedError):
            narrow.delete_media(media_id, delete_file=True)
        assert boss.get_media(media_id).owner == "alice"
        assert boss.get_media(uri=uri).media_id == media_id
        assert media_id in {media.media_id for media in boss.list_media()}
        assert boss.submit(Input(media_id=media_id), every(1)).get().owner == "boss"
        boss.delete_media(media_id)
        with pytest.raises(NotFoundError):
            alice.get_media(media_id)


def test_pages_and_tokens_of_an_admin_are_of_no_use_to_others(keyed: Keyed) -> None:
    with _client(keyed, keyed.boss) as boss, _client(keyed, keyed.alice) as alice:
        for _ in range(2):
            _ended(alice, keyed)
        page = boss.list_page(page_size=1)
        assert page.next_page_token
        with _client(keyed, keyed.chief) as chief, pytest.raises(InvalidRequestError):
            # Of the same principal, but of another list.
            alice.list_page(page_size=1, page_token=chief.list_page(page_size=1).next_page_token)
        for use in (
            lambda: alice.list_page(page_size=1, page_token=page.next_page_token),
            lambda: next(iter(alice.watch_jobs(resume_token=page.watch_token))),
        ):
            with pytest.raises(InvalidRequestError):
                use()


# --- Reach -----------------------------------------------------------------------------------


def _out(keyed: Keyed, name: str) -> Output:
    return Output(uri_template=f"{keyed.server.root}/{name}/{{index}}.mp4")


def test_a_key_is_held_to_its_folders(keyed: Keyed) -> None:
    root = keyed.server.root
    with _client(keyed, keyed.narrow) as narrow:
        for source, folder, field in (
            (root / "film.mp4", "narrow", "spec.input.uri"),
            (root / "in" / ".." / "film.mp4", "narrow", "spec.input.uri"),
            (root / "in" / "film.mp4", "wide", "spec.output.uri_template"),
        ):
            with pytest.raises(ReelsplitError) as caught:
                narrow.submit(str(source), every(1), _out(keyed, folder))
            assert field in caught.value.message
            # A path with '..' is wrong whoever names it.
            wrong = InvalidRequestError if ".." in str(source) else PermissionDeniedError
            assert isinstance(caught.value, wrong)
        job = _ended(narrow, keyed, output=_out(keyed, "narrow"))
        assert job.error is not None
        assert job.error.reason == "SOURCE_NOT_FOUND"


def test_a_key_neither_repeats_nor_unmakes_what_it_does_not_reach(keyed: Keyed) -> None:
    with _client(keyed, keyed.alice) as alice, _client(keyed, keyed.narrow) as narrow:
        job = _ended(alice, keyed, output=_out(keyed, "wide"))
        assert narrow.get(job.job_id).job_id == job.job_id
        with pytest.raises(PermissionDeniedError):
            narrow.retry(job.job_id)
        with pytest.raises(PermissionDeniedError):
            narrow.delete(job.job_id, delete_outputs=True)
        assert alice.get(job.job_id).attempt == 1
        assert narrow.delete(job.job_id) == 0


def test_running_a_job_again_that_exports_needs_what_submitting_it_did(keyed: Keyed) -> None:
    output = replace(_out(keyed, "exported"), export_as_media=True)
    with _client(keyed, keyed.alice) as alice, _client(keyed, keyed.repeater) as repeater:
        job = _ended(alice, keyed, output=output)
        for call in (
            lambda: repeater.submit("/missing.mp4", every(1), output),
            lambda: repeater.retry(job.job_id),
        ):
            with pytest.raises(PermissionDeniedError) as caught:
                call()
            assert caught.value.metadata == {"permission": "media"}
        assert alice.get(job.job_id).attempt == 1
        plain = _ended(alice, keyed, output=_out(keyed, "plain"))
        assert repeater.retry(plain.job_id).attempt == 2


# --- Keys that change ------------------------------------------------------------------------


def test_keys_change_while_the_server_runs(tmp_path: Path) -> None:
    with served(tmp_path, workers=1) as server:
        with Client(server.address, retry=ONCE) as nobody:
            assert list(nobody.list()) == []

            def shut() -> bool:
                try:
                    nobody.list_page()
                except UnauthenticatedError:
                    return True
                return False

            made = new_key(server.data, "alice")
            wait_for(shut)
        with Client(server.address, token=made.token, retry=ONCE) as alice:
            assert list(alice.list()) == []
            events = iter(alice.watch_jobs())
            next(events)
            other = new_key(server.data, "alice")
            with Client(server.address, token=other.token, retry=ONCE) as second:
                wait_for(lambda: not _refused(second))
                disable_key(server.data, made.key.key_id)
                wait_for(lambda: _refused(alice))
                # The watch that was open before tells nothing more.
                second.submit(str(server.root / "missing.mp4"), every(1))
                with pytest.raises(UnauthenticatedError):
                    next(events)
                disable_key(server.data, other.key.key_id)
                wait_for(lambda: _refused(second))
        with Client(server.address, retry=ONCE) as nobody:
            # Without an active key the door stays shut.
            assert _refused(nobody)


def test_the_first_key_ends_what_was_open_before(tmp_path: Path) -> None:
    with served(tmp_path, workers=1) as server, Client(server.address, retry=ONCE) as nobody:
        events = iter(nobody.watch_jobs())
        next(events)
        # Accepted while the door was open; it tells of itself behind the key.
        made = new_key(server.data, "local")
        wait_for(lambda: _refused(nobody))
        with Client(server.address, token=made.token, retry=ONCE) as mine:
            mine.submit(str(server.root / "missing.mp4"), every(1))
            with pytest.raises(UnauthenticatedError):
                next(events)


def _entry(principal: str, token: str, *more: str) -> str:
    digest = hashlib.sha256(token.encode()).hexdigest()
    lines = ("[[keys]]", f'id = "{principal}.1"', f'principal = "{principal}"')
    return "\n".join((*lines, f'token_sha256 = "{digest}"', *more, ""))


def test_keys_of_a_file_change_while_the_server_runs(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"

    def write(*entries: str) -> None:
        draft = tmp_path / "draft"
        draft.write_text("\n".join(entries))
        draft.chmod(0o600)
        os.replace(draft, file)

    first, second = "a" * 40, "b" * 40
    write(_entry("alice", first))
    with served(tmp_path, workers=1, keys_file=file) as server:
        assert _code(server, "ListJobs", "") is grpc.StatusCode.UNAUTHENTICATED
        with (
            Client(server.address, token=first, retry=ONCE) as alice,
            Client(server.address, token=second, retry=ONCE) as bob,
        ):
            assert _refused(bob)
            assert list(alice.list()) == []
            events = iter(alice.watch_jobs())
            next(events)
            # Another token for the same key: the one before is nobody's, and neither is its watch.
            write(_entry("alice", "c" * 40), _entry("bob", second, 'permissions = ["read"]'))
            wait_for(lambda: not _refused(bob))
            assert _refused(alice)
            with Client(server.address, token="c" * 40, retry=ONCE) as again:
                again.submit(str(server.root / "missing.mp4"), every(1))
            with pytest.raises(UnauthenticatedError):
                next(events)
            with pytest.raises(PermissionDeniedError):
                bob.submit(str(server.root / "missing.mp4"), every(1))
            # What cannot be used changes nothing.
            file.write_text("[[keys]")
            new_key(server.data, "carol")
            time.sleep(2.5)
            assert not _refused(bob)
            # An empty one lets nobody in.
            write("")
            wait_for(lambda: _refused(bob))
            with Client(server.address, retry=ONCE) as nobody:
                assert _refused(nobody)


def test_a_keys_file_that_cannot_be_used_keeps_the_server_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    flags = ("--listen", "127.0.0.1:0", "--keys-file", str(file))
    assert "cannot be read" in _refusal(tmp_path / "data", *flags)
    file.write_text(_entry("alice", "a" * 40))
    file.chmod(0o644)
    assert "chmod 600" in _refusal(tmp_path / "data", *flags)


def _refused(client: Client) -> bool:
    try:
        client.list_page()
    except UnauthenticatedError:
        return True
    return False


def test_no_secret_is_logged_or_kept_in_the_clear(tmp_path: Path) -> None:
    made = new_key(tmp_path / "data", "alice")
    with ServerProcess(tmp_path, "--log-level", "debug", "--workers", "1") as process:
        with Client(process.address, token=made.token, retry=ONCE) as alice:
            job = alice.submit(
                str(process.root / "missing.mp4"),
                every(1),
                notify_url="http://192.0.2.1.example.invalid/?token=hidden-token",
            )
            job.wait(timeout=60)
            with Client(process.address, token=made.token + "x", retry=ONCE) as wrong:
                assert _refused(wrong)
        assert process.terminate() == 0
        said = process.log
    assert "job_submitted" in said
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("reelsplit.db*"))
    assert made.token is not None
    for secret in (made.secret, made.token):
        assert secret not in said
        assert secret.encode() not in kept
    assert "hidden-token" not in said
    for name in ("secret.key", "reelsplit.db"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600


def _refusal(data: Path, *flags: str) -> str:
    """What a server says that does not start: one line."""
    given = ["--data-dir", str(data), "--workers", "1", *flags]
    made = subprocess.run(
        [sys.executable, "-m", "reelsplit_server", *given], capture_output=True, text=True
    )
    assert made.returncode == 1
    assert "Traceback" not in made.stderr
    return made.stderr


def test_a_lost_key_of_secrets_is_told_and_not_replaced(tmp_path: Path) -> None:
    data = tmp_path / "data"
    new_key(data)
    (data / "secret.key").unlink()
    assert "put back the file" in _refusal(data, "--listen", "127.0.0.1:0")
    assert not (data / "secret.key").exists()
    (data / "secret.key").write_text("00" * 32)
    assert "put back the key's file" in _refusal(data, "--listen", "127.0.0.1:0")


# --- TLS -------------------------------------------------------------------------------------


def _write(folder: Path, authority: trustme.CA, name: str) -> dict[str, Path]:
    made = authority.issue_cert("localhost", "127.0.0.1", common_name=name)
    # As a renewal does it: each file exchanged in one step.
    for path, blobs in (
        ("cert.pem", made.cert_chain_pems),
        ("key.pem", [made.private_key_pem]),
        ("ca.pem", [authority.cert_pem]),
    ):
        draft = folder / f".{path}"
        draft.write_bytes(b"".join(blob.bytes() for blob in blobs))
        os.replace(draft, folder / path)
    return {"tls_certificate": folder / "cert.pem", "tls_key": folder / "key.pem"}


def _trusting(authority: trustme.CA, client: trustme.LeafCert | None = None) -> TLS:
    own = {}
    if client is not None:
        own = {
            "client_certificate": b"".join(b.bytes() for b in client.cert_chain_pems),
            "client_key": client.private_key_pem.bytes(),
        }
    return TLS(root_certificates=authority.cert_pem.bytes(), **own)


def _answers(address: str, tls: TLS, token: str | None = None) -> bool:
    with Client(address, tls=tls, token=token, retry=ONCE, timeout=10) as client:
        try:
            client.list_page()
        except UnavailableError:
            return False
    return True


def test_certificates_are_exchanged_while_the_server_runs(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    identity = _write(tmp_path, old, "first")
    with served(tmp_path, workers=1, **identity) as server:
        assert _answers(server.address, _trusting(old))
        assert not _answers(server.address, _trusting(new))
        with Client(server.address, tls=_trusting(old), retry=ONCE) as before:
            before.list_page()
            # Half an exchange, and rubbish, change nothing.
            good = (tmp_path / "key.pem").read_bytes()
            (tmp_path / "key.pem").write_bytes(b"rubbish")
            assert _answers(server.address, _trusting(old))
            (tmp_path / "key.pem").write_bytes(good)
            _write(tmp_path, new, "second")
            wait_for(lambda: _answers(server.address, _trusting(new)))
            assert not _answers(server.address, _trusting(old))
            # Connections that are open go on.
            before.list_page()


def test_a_certificate_names_its_principal(tmp_path: Path) -> None:
    authority = trustme.CA()
    identity = _write(tmp_path, authority, "server")
    new_key(tmp_path / "data", "alice", certificate="alice.example.com")
    new_key(tmp_path / "data", "bob", certificate="Bob the builder")
    gone = new_key(tmp_path / "data", "carol", certificate="carol.example.com")
    disable_key(tmp_path / "data", gone.key.key_id)
    clients = {
        "alice": authority.issue_cert("alice.example.com"),
        "bob": authority.issue_cert("x.example.com", common_name="Bob the builder"),
        None: authority.issue_cert("nobody.example.com"),
        "carol": authority.issue_cert("carol.example.com"),
    }
    with served(tmp_path, workers=1, tls_client_ca=tmp_path / "ca.pem", **identity) as server:
        for name, certificate in clients.items():
            tls = _trusting(authority, certificate)
            with Client(server.address, tls=tls, retry=ONCE, timeout=30) as client:
                if name in ("alice", "bob"):
                    job = client.submit(str(server.root / "missing.mp4"), every(1))
                    assert job.get().owner == name
                else:
                    assert _refused(client)
        assert not _answers(server.address, _trusting(authority))
        stranger = trustme.CA().issue_cert("alice.example.com")
        assert not _answers(server.address, _trusting(authority, stranger))


def test_the_command_shows_a_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from reelsplit.cli.main import main as command

    authority = trustme.CA()
    identity = _write(tmp_path, authority, "server")
    mine = authority.issue_cert("alice.example.com")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "mine.pem")
    mine.private_key_pem.write_to_path(tmp_path / "mine.key")
    new_key(tmp_path / "data", "alice", certificate="alice.example.com")
    with served(tmp_path, workers=1, tls_client_ca=tmp_path / "ca.pem", **identity) as server:
        where = ["--server", server.address, "--ca-file", str(tmp_path / "ca.pem")]
        own = ["--client-cert", str(tmp_path / "mine.pem")]
        assert command(["list", "--json", *where, *own]) == 2
        assert "--client-key" in capsys.readouterr().err
        assert command(["list", "--json", *where, *own, "--client-key", "/none"]) == 2
        assert "--client-key" in capsys.readouterr().err
        key = ["--client-key", str(tmp_path / "mine.key")]
        assert command(["list", "--json", *where, *own, *key]) == 0


# --- Listening -------------------------------------------------------------------------------


def test_beyond_loopback_something_must_be_shown(tmp_path: Path) -> None:
    authority = trustme.CA()
    identity = _write(tmp_path, authority, "server")
    flags = [f"--{name.replace('_', '-')}={path}" for name, path in identity.items()]
    said = _refusal(tmp_path / "data", "--listen", "0.0.0.0:0", *flags)
    assert "reelsplit keys create" in said
    assert "--allow-insecure-listen" in said
    made = new_key(tmp_path / "data", "alice")
    process = ServerProcess(tmp_path, "--workers", "1", *flags)
    process.listen = "0.0.0.0:0"
    with process:
        address = f"localhost:{process.address.rpartition(':')[2]}"
        assert _answers(address, _trusting(authority), made.token)
        with pytest.raises(UnauthenticatedError):
            _answers(address, _trusting(authority))


def test_certificates_that_cannot_be_used_are_told_in_a_line(tmp_path: Path) -> None:
    authority = trustme.CA()
    identity = _write(tmp_path, authority, "server")
    authority.issue_cert("other").private_key_pem.write_to_path(tmp_path / "key.pem")
    flags = [f"--{name.replace('_', '-')}={path}" for name, path in identity.items()]
    assert "key.pem" in _refusal(tmp_path / "data", "--listen", "127.0.0.1:0", *flags)
