"""The client for the server that the options name, or for one that is started."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

from reelsplit import TLS, Client, RetryPolicy
from reelsplit.channel import is_loopback
from reelsplit.cli.failures import usage
from reelsplit.cli.local_server import LocalServer
from reelsplit.cli.options import Access, MaybeServer, Server
from reelsplit.cli.signals import Interrupts

_RETRY = RetryPolicy(max_outage=60)
"""A person waits: a server that is gone for a minute counts as unreachable."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A server, as far as a command has to do with it."""

    client: Client
    check: Callable[[], None] = lambda: None
    """Raises when a server that was started has died."""
    log: Callable[[], str] = lambda: ""
    """The last error in the log of a server that was started."""


def connect(options: Server) -> Client:
    """The client for a running server."""
    return _client(options.server, options)


@contextlib.contextmanager
def connect_or_start(
    options: MaybeServer, roots: Callable[[], Sequence[str]], interrupts: Interrupts
) -> Iterator[Connection]:
    """The server that is named, or one that ends with this context."""
    if options.server is not None:
        with _client(options.server, options) as client:
            yield Connection(client=client)
        return
    if options.encrypted:
        flags = {
            "--ca-file": options.ca_file,
            "--client-cert": options.client_cert,
            "--client-key": options.client_key,
        }
        given = next((flag for flag, value in flags.items() if value), "--tls")
        usage(given, "goes with --server only")
    with (
        LocalServer(roots(), interrupts) as server,
        Client(server.target, token=server.token, retry=_RETRY) as client,
    ):
        yield Connection(client=client, check=server.check, log=server.log)


def _client(target: str, access: Access) -> Client:
    if (access.client_cert is None) != (access.client_key is None):
        missing = "--client-key" if access.client_key is None else "--client-cert"
        usage(missing, "is needed beside the other: a certificate and its key")
    tls = None
    if access.encrypted:
        tls = TLS(
            root_certificates=access.ca_file,
            client_certificate=access.client_cert,
            client_key=access.client_key,
        )
    if access.token and tls is None and not is_loopback(target):
        usage("--token", f"would cross the network to {target} in the clear; add --tls")
    try:
        return Client(target, token=access.token or None, tls=tls, retry=_RETRY)
    except OSError as error:
        files = {access.client_cert: "--client-cert", access.client_key: "--client-key"}
        usage(files.get(error.filename, "--ca-file"), f"{error.filename}: {error.strerror}")
    except ValueError as error:
        usage("", str(error))
