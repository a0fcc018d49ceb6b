"""The client for the server that the options name, or for one that is started."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from reelsplit import TLS, Client
from reelsplit.channel import is_loopback
from reelsplit.cli.failures import usage
from reelsplit.cli.local_server import LocalServer
from reelsplit.cli.options import Access, MaybeServer, Server
from reelsplit.cli.signals import Interrupts


def connect(options: Server) -> Client:
    """The client for a running server."""
    return _client(options.server, options)


@contextlib.contextmanager
def connect_or_start(
    options: MaybeServer, roots: Callable[[], Sequence[str]], interrupts: Interrupts
) -> Iterator[tuple[Client, Callable[[], None]]]:
    """The client, and what raises when a server that was started has died."""
    if options.server is not None:
        with _client(options.server, options) as client:
            yield client, _nothing
        return
    if options.tls or options.ca_file:
        usage("--ca-file" if options.ca_file else "--tls", "goes with --server only")
    with (
        LocalServer(roots(), interrupts) as server,
        Client(server.target, token=server.token) as client,
    ):
        yield client, server.check


def _client(target: str, access: Access) -> Client:
    tls = TLS(root_certificates=access.ca_file) if access.tls or access.ca_file else None
    if access.token and tls is None and not is_loopback(target):
        usage("--token", f"would cross the network to {target} in the clear; add --tls")
    try:
        return Client(target, token=access.token or None, tls=tls)
    except OSError as error:
        usage("--ca-file", f"{access.ca_file}: {error.strerror}")
    except ValueError as error:
        usage("", str(error))


def _nothing() -> None:
    pass
