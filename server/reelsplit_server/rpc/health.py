"""Health as gRPC's own service tells it, to anybody who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

_MOST_WATCHES = 1024
"""Open at once: anybody may open one."""


class Health(HealthServicer):  # type: ignore[misc]
    """Tells the same of all ``services``.

    The servicer of grpcio-health-checking holds a lock while it writes to one who watches, and asks
    for it before anything is changed: one client that reads nothing, and nobody need know it, would
    keep the server from ever saying that it drains. Here nobody waits for those who watch.
    """

    def __init__(self, services: Collection[str]) -> None:
        self._services = services
        self._status = HealthCheckResponse.NOT_SERVING
        self._changed = asyncio.Event()
        self._watches = 0

    def tell(self, serves: bool) -> None:
        """Change what is told."""
        status = HealthCheckResponse
        self._status = status.SERVING if serves else status.NOT_SERVING
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> HealthCheckResponse:
        """Answer how a service is just now."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service here.")
        return HealthCheckResponse(status=self._status)

    async def Watch(
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Tell how a service is, now and whenever that changes, until the client leaves."""
        if self._watches >= _MOST_WATCHES:
            message = f"{_MOST_WATCHES} watches of health are open already; use Check."
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        known = request.service in self._services
        told = None
        self._watches += 1
        try:
            while True:
                # Taken first: what changes while this one is told is not missed.
                changed = self._changed
                status = self._status if known else HealthCheckResponse.SERVICE_UNKNOWN
                if status != told:
                    await context.write(HealthCheckResponse(status=status))
                    told = status
                await changed.wait()
        finally:
            self._watches -= 1
