"""Puts the server together: the only place that knows every part."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from reelsplit_server import bounds_setup, metrics, tasks
from reelsplit_server.access.certificates import Certificates
from reelsplit_server.access.credentials import Credentials
from reelsplit_server.access.key_file import KeyFileError
from reelsplit_server.access.outbound import Outbound
from reelsplit_server.access.principals import Principals
from reelsplit_server.access.vault import VaultError
from reelsplit_server.app.addresses import check_address
from reelsplit_server.app.buckets import Buckets
from reelsplit_server.app.callbacks import Callbacks
from reelsplit_server.app.jobs import Jobs
from reelsplit_server.app.media import MediaLibrary
from reelsplit_server.app.tokens import Sealer
from reelsplit_server.app.watching import Watching
from reelsplit_server.assets.files import Files
from reelsplit_server.assets.prober import Prober
from reelsplit_server.assets.store import MediaStore
from reelsplit_server.data_folder import DATABASE, StartError, data_folder
from reelsplit_server.engine.local import LocalEngine
from reelsplit_server.ims.actions import UseCases
from reelsplit_server.ims.face import Face
from reelsplit_server.ims.gate import Gate as ImsGate
from reelsplit_server.jobs.census import Census
from reelsplit_server.jobs.database import Database, StoreUnavailableError
from reelsplit_server.jobs.log import EventLog
from reelsplit_server.jobs.outage import Outage
from reelsplit_server.jobs.outbox import told
from reelsplit_server.jobs.records import StoredEvent
from reelsplit_server.jobs.scheduler import Scheduler
from reelsplit_server.jobs.store import Store
from reelsplit_server.notify.accounts import Accounts, EventCallback, EventNames
from reelsplit_server.notify.delivery import Delivery
from reelsplit_server.notify.dispatcher import DAY, QUICK, Dispatcher
from reelsplit_server.notify.entries import Outbox
from reelsplit_server.rpc.interceptors import Gate
from reelsplit_server.rpc.server import RpcServer
from reelsplit_server.scraping import MetricsServer
from reelsplit_server.settings import Settings
from reelsplit_server.store_setup import stores

if TYPE_CHECKING:
    from reelsplit_server.ims.server import ImsServer

__all__ = ["StartError", "running", "tell"]

log = structlog.get_logger(__name__)
_SWEEP = 3600.0
_ANSWERS = 2.0
"""How long calls under way may take to be answered at the end, in seconds."""


@asynccontextmanager
async def running(settings: Settings, folder: Path | None = None) -> AsyncIterator[str]:
    """A server that answers, until the block ends; gives its real address. Drains at the end.
    `folder` is the data folder where it is held already."""
    async with AsyncExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(data_folder(settings.data_dir))
        events = EventLog()
        bell = asyncio.Event()
        census = Census(_now)

        def committed(happened: list[StoredEvent]) -> None:
            tell(happened, events, prober, bell, census)

        database = Database(folder / DATABASE, committed, _now)
        stack.push_async_callback(database.close)
        await asyncio.to_thread(database.open)
        await census.open(database)
        # What may keep the server from starting is looked at before workers are started.
        access = await _access(settings, folder, database)
        tokens = {name: token.get_secret_value() for name, token in settings.tokens.items()}
        principals = Principals(tokens, access.keys)
        _check_open(settings, principals)
        certificates = _certificates(settings)
        engine = LocalEngine(
            settings.workers,
            folder / "scratch",
            stores(settings),
            bounds_setup.worker_limits(settings),
            logs=(settings.log_level, settings.log_format),
        )
        metrics.WORKERS.set(settings.workers)
        metrics.WATCHERS_LIMIT.set(settings.max_streams)
        stack.push_async_callback(engine.stop)
        await engine.start()
        store = Store(database)
        events.begin(await store.last_position())
        guard = Outbound(hosts=settings.callback_hosts, networks=settings.callback_networks)
        accounts, dispatcher = _callbacks(settings, database, access, guard, bell)
        await accounts.set_default(_default_callback(settings, guard))
        scheduler = Scheduler(
            store,
            events,
            engine,
            bounds_setup.unit_limits(settings, folder / "scratch"),
            most_running=settings.max_running,
            most_running_of_one=settings.max_running_per_caller,
        )
        sealer = Sealer(await store.property("token_key", lambda: secrets.token_bytes(32)))
        assets, bounds = MediaStore(database), bounds_setup.bounds(settings, guard)
        limits = bounds_setup.probe_limits(settings, folder / "scratch")
        prober = Prober(assets, engine, limits)
        jobs = Jobs(store, events, scheduler, sealer, bounds, assets)
        media = MediaLibrary(assets, prober, Files(engine), sealer, bounds)
        watching = Watching(jobs, store, events, sealer, settings.max_watches)
        gate = Gate(principals, settings.max_calls, settings.max_streams)
        server = RpcServer(
            jobs,
            watching,
            media,
            gate,
            most_message_bytes=settings.max_message_bytes,
            keepalive=settings.keepalive,
            keepalive_timeout=settings.keepalive_timeout,
        )
        cases = UseCases(
            jobs=jobs,
            media=media,
            callbacks=Callbacks(accounts, guard),
            buckets=Buckets(bounds.routes),
            time_to_live=bounds_setup.ims_time_to_live(bounds),
        )
        ims = _ims(settings, cases, access, certificates)
        try:
            address = server.bind(settings.listen, certificates)
            ims_address = ims.bind(settings.ims_listen) if ims and settings.ims_listen else None
            scraped = MetricsServer(settings.metrics_listen) if settings.metrics_listen else None
        except OSError as error:
            raise StartError(str(error)) from error
        await scheduler.start()
        dispatcher.start()
        prober.start()
        await server.start()
        if ims is not None:
            await ims.start()
            log.info("serving_ims", address=ims_address)
        if scraped is not None:
            stack.push_async_callback(asyncio.to_thread, scraped.stop)
            scraped.start()
            log.info("serving_metrics", address=scraped.address)
        outage = Outage(database, server.take)
        stack.push_async_callback(outage.stop)
        outage.start()
        sweeper = asyncio.create_task(_sweep(store, assets, events))
        follower = asyncio.create_task(access.follow())
        log.info("serving", address=address, workers=settings.workers, data_dir=str(folder))
        try:
            yield address
        finally:
            log.info("draining", grace=settings.grace)
            jobs.draining = media.draining = True
            await server.drain()
            await tasks.end(sweeper, follower)
            await prober.stop()
            await scheduler.stop(settings.grace)
            await dispatcher.stop()
            events.wake_all()
            if ims is not None:
                await ims.stop(_ANSWERS)
            await server.stop(_ANSWERS)
    log.info("stopped")


def tell(
    happened: list[StoredEvent],
    events: EventLog,
    prober: Prober,
    bell: asyncio.Event,
    census: Census,
) -> None:
    """Tell all who wait for it what was committed."""
    events.commit(happened)
    prober.committed(happened)
    if any(told(stored.event) for stored in happened):
        bell.set()
    try:
        census.committed(happened)
    except Exception:
        # The last, since nobody waits for it: what cannot be counted is told all the same.
        log.exception("census_failed")


async def _access(settings: Settings, folder: Path, database: Database) -> Credentials:
    try:
        return await Credentials.open(
            database,
            folder,
            key_file=settings.secret_key_file,
            keys_file=settings.keys_file,
            most_nonces=settings.max_nonces,
        )
    except VaultError as error:
        raise StartError(str(error)) from error
    except KeyFileError as error:
        raise StartError(f"the keys file {settings.keys_file}: {error}") from error


def _check_open(settings: Settings, principals: Principals) -> None:
    """Refuse to serve anybody on the network who shows nothing, unless that is asked for."""
    shut = principals.required or settings.tls_client_ca is not None
    if not (shut or settings.loopback or settings.allow_insecure_listen):
        raise StartError(
            f"listening on {settings.listen} would let anybody on the network use this server: "
            "make an access key with reelsplit keys create, give --keys-file, tokens in "
            "REELSPLIT_TOKENS or --tls-client-ca, or --allow-insecure-listen"
        )


def _ims(
    settings: Settings, cases: UseCases, access: Credentials, certificates: Certificates | None
) -> ImsServer | None:
    if settings.ims_listen is None:
        return None
    if not access.keys.can_sign:
        raise StartError(
            "the IMS face is never served without access keys: make one with reelsplit keys "
            "create, give --keys-file, or leave out --ims-listen"
        )
    # Loads a web server, a tenth of the time that a start takes.
    from reelsplit_server.ims.server import ImsServer

    gate = ImsGate(access.keys, access.nonces, _now, settings.ims_requests_per_second)
    context = certificates.context() if certificates is not None else None
    return ImsServer(Face(cases, gate, settings.max_calls), context)


async def _sweep(store: Store, assets: MediaStore, events: EventLog) -> None:
    while True:
        try:
            while expired := await store.sweep():
                for job_id in expired:
                    events.deleted(job_id)
                log.info("jobs_forgotten", count=len(expired))
            while await store.sweep_tokens():
                pass
            await assets.sweep()
        except StoreUnavailableError:
            # Told of already; what is over waits for the next time.
            pass
        except Exception:
            # Nothing may end this loop: what is over would be kept for ever, in silence.
            log.exception("sweep_failed")
        await asyncio.sleep(_SWEEP)


def _callbacks(
    settings: Settings,
    database: Database,
    access: Credentials,
    guard: Outbound,
    bell: asyncio.Event,
) -> tuple[Accounts, Dispatcher]:
    names = EventNames(job=settings.callback_job_event, segment=settings.callback_segment_event)
    accounts = Accounts(database, access.vault, names)
    return accounts, Dispatcher(
        Outbox(database),
        Delivery(guard, settings.callback_timeout),
        accounts,
        access.keys,
        names=names,
        patience=DAY if settings.callback_retries == "day" else QUICK,
        bell=bell,
        clock=_now,
    )


def _default_callback(settings: Settings, guard: Outbound) -> EventCallback | None:
    url, secret = settings.callback_url, settings.callback_secret
    if url is None:
        return None
    if why := check_address(url, guard):
        raise StartError(f"--callback-url {why}")
    return EventCallback(
        url=url, secret=None if secret is None else secret.get_secret_value(), event_types=()
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _certificates(settings: Settings) -> Certificates | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        return Certificates(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    except OSError as error:
        # `ssl.SSLError` is one, and names no file.
        named = error.filename or f"{settings.tls_certificate} with {settings.tls_key}"
        raise StartError(f"{named} cannot be read: {error.strerror or error}") from error
