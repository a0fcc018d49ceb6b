"""The gRPC server: services, health, reflection, keepalive and TLS."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from grpc_health.v1.health_pb2 import DESCRIPTOR as HEALTH
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from reelsplit.v1 import job_service_pb2, media_service_pb2
from reelsplit.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from reelsplit.v1.media_service_pb2_grpc import add_MediaServiceServicer_to_server
from reelsplit_server.access.certificates import Certificates, Identity
from reelsplit_server.app.jobs import Jobs
from reelsplit_server.app.media import MediaLibrary
from reelsplit_server.app.watching import Watching
from reelsplit_server.rpc.health import Health
from reelsplit_server.rpc.interceptors import Gate
from reelsplit_server.rpc.job_servicer import JobServicer
from reelsplit_server.rpc.media_servicer import MediaServicer

_JOBS = job_service_pb2.DESCRIPTOR.services_by_name["JobService"].full_name
_MOST_PENDING = 8192
"""Calls that wait for their turn to be looked at."""
_MEDIA = media_service_pb2.DESCRIPTOR.services_by_name["MediaService"].full_name


def _configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(identity.key, identity.certificate)], root_certificates=identity.client_ca
    )


def _renewed(
    certificates: Certificates,
) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """What gRPC asks at each handshake: the new certificates, or None where they are the same."""
    shown = certificates.current()

    def look() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        found = certificates.current()
        if found is shown:
            return None
        shown = found
        return _configuration(found)

    return look


class RpcServer:
    """Serves the use cases on one address."""

    def __init__(
        self,
        jobs: Jobs,
        watching: Watching,
        media: MediaLibrary,
        gate: Gate,
        *,
        most_message_bytes: int,
        keepalive: float,
        keepalive_timeout: float,
    ) -> None:
        """``keepalive`` is how many seconds a client may say nothing before it is asked whether it
        is still there, which it has ``keepalive_timeout`` seconds to answer."""
        self._server = grpc.aio.server(
            interceptors=[gate],
            options=[
                ("grpc.max_receive_message_length", most_message_bytes),
                # A dead peer is noticed, also one that only listens.
                ("grpc.keepalive_time_ms", round(keepalive * 1000)),
                ("grpc.keepalive_timeout_ms", round(keepalive_timeout * 1000)),
                # Without it a minute goes by, whatever the line above says.
                ("grpc.http2.ping_timeout_ms", round(keepalive_timeout * 1000)),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ("grpc.http2.max_pings_without_data", 0),
                # Thousands of watches come back at once when a server was restarted. Those that are
                # too many are told so by the gate; gRPC would just break them off.
                ("grpc.server.max_pending_requests", _MOST_PENDING),
                ("grpc.server.max_pending_requests_hard_limit", 2 * _MOST_PENDING),
                # A second server on the same port is refused instead of sharing it.
                ("grpc.so_reuseport", 0),
            ],
        )
        add_JobServiceServicer_to_server(JobServicer(jobs, watching), self._server)
        add_MediaServiceServicer_to_server(MediaServicer(media), self._server)
        self._draining = False
        # The empty name is the whole server.
        self._health = Health(("", _JOBS, _MEDIA))
        add_HealthServicer_to_server(self._health, self._server)
        names = (_JOBS, _MEDIA, HEALTH.services_by_name["Health"].full_name)
        reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), self._server)

    def bind(self, address: str, certificates: Certificates | None) -> str:
        """Take an address; answers it with the real port. Raises `OSError` where it is taken."""
        try:
            if certificates is None:
                port = self._server.add_insecure_port(address)
            else:
                credentials = grpc.dynamic_ssl_server_credentials(
                    _configuration(certificates.current()),
                    _renewed(certificates),  # type: ignore[arg-type]
                    require_client_authentication=certificates.asks_clients,
                )
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: it is taken, or not ours") from error
        if port == 0:
            raise OSError(f"cannot listen on {address}")
        return f"{address.rpartition(':')[0]}:{port}"

    async def start(self) -> None:
        """Answer calls."""
        await self._server.start()
        self._health.tell(serves=True)

    async def take(self, takes: bool) -> None:
        """Tell balancers whether jobs are taken just now; nothing is once it drains."""
        self._health.tell(serves=takes and not self._draining)

    async def drain(self) -> None:
        """Tell balancers that nothing more should come."""
        self._draining = True
        self._health.tell(serves=False)

    async def stop(self, grace: float) -> None:
        """End: calls under way have ``grace`` seconds."""
        await self._server.stop(grace)
