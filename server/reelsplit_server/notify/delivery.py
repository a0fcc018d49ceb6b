"""Sending one callback: through the guard, without redirects, within seconds."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpcore

from reelsplit_server.access.outbound import Outbound, OutboundError

_LOOK_UPS = 64
"""As many as callbacks at once: a look-up that hangs goes on behind the end of its try, and must
not keep the others waiting."""
_MOST_TRIED = 4


class DeliveryError(Exception):
    """A callback that was not confirmed; the text tells no address that a name led to."""


class Delivery:
    """Sends callbacks; each on a connection of its own, so that each goes through the guard.

    ``timeout`` in seconds holds for all of one try, looking its host up included.
    """

    def __init__(self, guard: Outbound, timeout: float) -> None:
        self._guard = guard
        self._timeout = timeout
        # Looking names up blocks, and a name server may take its time.
        self._resolvers = ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="callback-names")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=None,
            max_keepalive_connections=0,
            network_backend=_Guarded(guard, self._resolvers),
        )

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> None:
        """Send one callback; raises `DeliveryError` unless the answer is 200."""
        try:
            # Settings may have changed since the address was taken.
            self._guard.check_url(url)
            async with (
                asyncio.timeout(self._timeout),
                self._pool.stream(
                    "POST", url, headers=list(headers.items()), content=content
                ) as response,
            ):
                status = response.status
        except OutboundError as error:
            raise DeliveryError(f"the address may not be called: {error}") from error
        except TimeoutError as error:
            raise DeliveryError(f"there was no answer within {self._timeout:g} s") from error
        except (httpcore.ConnectError, httpcore.ConnectTimeout, OSError) as error:
            raise DeliveryError("the address could not be connected to") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise DeliveryError("the connection broke, or the answer was no HTTP") from error
        except (httpcore.UnsupportedProtocol, ValueError) as error:
            raise DeliveryError("the address cannot be read") from error
        if status != 200:
            raise DeliveryError(f"the answer was {status}, and only 200 confirms")

    async def close(self) -> None:
        """Close what is open."""
        await self._pool.aclose()
        self._resolvers.shutdown(wait=False, cancel_futures=True)


class _Guarded(httpcore.AnyIOBackend):
    """Connects only to addresses that the guard has judged."""

    def __init__(self, guard: Outbound, resolvers: ThreadPoolExecutor) -> None:
        super().__init__()
        self._guard = guard
        self._resolvers = resolvers

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one of the addresses that a host was found to have just now."""
        loop = asyncio.get_running_loop()
        places = await loop.run_in_executor(self._resolvers, self._guard.look_up, host, port)
        failure: Exception = httpcore.ConnectError("the host has no address")
        for address, number in places[:_MOST_TRIED]:
            try:
                return await super().connect_tcp(
                    address, number, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never asked for by a URL."""
        raise httpcore.ConnectError("callbacks go over TCP")
