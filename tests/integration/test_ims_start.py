"""When the IMS face is served, and when it is not."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from pathlib import Path

import pytest
import trustme
from alibabacloud_tea_openapi.exceptions import ClientException
from pydantic import ValidationError

from reelsplit_server.composition import StartError
from reelsplit_server.settings import Settings
from tests.ims import KEY_ID, SECRET, ice
from tests.keys import disable_key, new_key
from tests.ports import free_ports
from tests.server import served, wait_for

# The SDK asks for the time in a way that newer versions of Python warn of.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow:DeprecationWarning")


def test_it_is_never_served_without_keys(tmp_path: Path) -> None:
    with (
        pytest.raises(StartError, match="reelsplit keys create"),
        served(tmp_path, workers=1, ims_listen="127.0.0.1:0"),
    ):
        pass
    new_key(tmp_path / "data", key_id=KEY_ID, secret=SECRET)
    disable_key(tmp_path / "data", KEY_ID)
    with (
        pytest.raises(StartError, match="never served without access keys"),
        served(tmp_path, workers=1, ims_listen="127.0.0.1:0"),
    ):
        pass


def test_keys_of_a_file_sign(tmp_path: Path) -> None:
    """Exchanged while the server runs, too; a key without a secret signs nothing."""
    file = tmp_path / "keys.toml"

    def write(key_id: str, proof: str) -> None:
        lines = ("[[keys]]", f'id = "{key_id}"', 'principal = "team"', proof)
        draft = tmp_path / "draft"
        draft.write_text("\n".join(lines))
        draft.chmod(0o600)
        draft.replace(file)

    (port,) = free_ports(1)
    face = f"127.0.0.1:{port}"
    settings = {"workers": 1, "ims_listen": face, "keys_file": file}
    write(KEY_ID, 'certificate = "somebody"')
    with pytest.raises(StartError, match="--keys-file"), served(tmp_path, **settings):
        pass

    def code(key_id: str) -> str | None:
        try:
            ice(face, key_id=key_id).get_event_callback()
        except ClientException as error:
            return error.code
        return None

    write(KEY_ID, f'secret = "{SECRET}"')
    with served(tmp_path, **settings):
        assert code(KEY_ID) is None
        write("another.key", f'secret = "{SECRET}"')
        wait_for(lambda: code("another.key") is None)
        assert code(KEY_ID) == "InvalidAccessKeyId.NotFound"
        write("another.key", f'secret = "{SECRET}"\ndisabled = true')
        wait_for(lambda: code("another.key") == "InvalidAccessKeyId.Inactive")
        write("another.key", 'certificate = "somebody"')
        wait_for(lambda: code("another.key") == "SignatureDoesNotMatch")


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    new_key(tmp_path / "data", key_id=KEY_ID, secret=SECRET)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with (
            pytest.raises(StartError, match=address),
            served(tmp_path, workers=1, ims_listen=address),
        ):
            pass


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "10.1.2.3:8080"])
def test_beyond_loopback_it_needs_tls(listen: str) -> None:
    with pytest.raises(ValidationError, match=r"listening on .*8080 without TLS"):
        Settings(ims_listen=listen)
    assert Settings(ims_listen=listen, allow_insecure_listen=True).ims_listen == listen
    with pytest.raises(ValidationError, match="HOST:PORT"):
        Settings(ims_listen="8080")


@pytest.mark.parametrize("asks", [False, True])
def test_over_tls(tmp_path: Path, asks: bool) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    _write(tmp_path, issued)
    new_key(tmp_path / "data", key_id=KEY_ID, secret=SECRET)
    (port,) = free_ports(1)
    given = {"tls_certificate": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    if asks:
        given["tls_client_ca"] = tmp_path / "ca.pem"

    def ask(context: ssl.SSLContext) -> tuple[int, str]:
        line = http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
        try:
            line.request("GET", "/?Action=GetSmartHandleJob")
            answer = line.getresponse()
            return answer.status, json.loads(answer.read())["Code"]
        finally:
            line.close()

    with served(tmp_path, workers=1, ims_listen=f"127.0.0.1:{port}", **given):
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        if asks:
            with pytest.raises((ssl.SSLError, OSError)):
                ask(context)
            authority.issue_cert("client").configure_cert(context)
        assert ask(context) == (400, "MissingParameter")
        plain = http.client.HTTPConnection("localhost", port, timeout=20)
        plain.request("GET", "/")
        with pytest.raises((OSError, http.client.HTTPException)):
            plain.getresponse()
        plain.close()
        if not asks:
            # Exchanged while the server runs.
            other = trustme.CA()
            _write(tmp_path, other.issue_cert("localhost", "127.0.0.1"))
            anew = ssl.create_default_context()
            other.configure_trust(anew)

            def exchanged() -> bool:
                with contextlib.suppress(ssl.SSLError):
                    return ask(anew) == (400, "MissingParameter")
                return False

            wait_for(exchanged)
            with pytest.raises(ssl.SSLError):
                ask(context)


def _write(folder: Path, issued: trustme.LeafCert) -> None:
    issued.private_key_pem.write_to_path(folder / "key.pem")
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    (folder / "cert.pem").write_bytes(chain)
