"""Every setting of the server: from flags, the environment (``REELSPLIT_…``) and a TOML file."""

from __future__ import annotations

import ipaddress
import os
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from reelsplit_server.machine import cores, memory
from reelsplit_server.setting_types import (
    Address,
    AddressOrNone,
    BucketAliases,
    EventName,
    Folders,
    Hosts,
    Networks,
    Time,
    TimeOrNone,
    Tokens,
)
from reelsplit_server.store_settings import StoreSettings

CONFIG_VARIABLE = "REELSPLIT_CONFIG"


def _data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "reelsplit"


class Settings(BaseSettings):
    """Flags win over the environment, the environment over the file that REELSPLIT_CONFIG names."""

    model_config = SettingsConfigDict(
        env_prefix="REELSPLIT_",
        env_nested_delimiter="__",
        cli_prog_name="reelsplit serve",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        extra="forbid",
        frozen=True,
    )

    listen: Address = Field(
        "127.0.0.1:50051", description="Where gRPC is served: HOST:PORT; port 0 takes a free one."
    )
    ims_listen: AddressOrNone = Field(
        None,
        description="Where the HTTP face in the dialect of Intelligent Media Services is served, "
        "as HOST:PORT; without it there is none. It needs an access key.",
    )
    ims_requests_per_second: float | None = Field(
        None,
        gt=0,
        description="How many requests one access key may send to that face in a second; as many "
        "as it likes by default.",
    )
    data_dir: Path = Field(_data_dir(), description="The folder of the database and working files.")
    root: Folders = Field(
        [],
        description="A folder below which local files are read and written. May be repeated.",
    )
    workers: int = Field(
        cores(),
        ge=1,
        le=1024,
        description="Worker processes; by default one a core.",
    )
    stores: dict[str, StoreSettings] = Field(
        {},
        description='Object stores by name, as JSON: {"main": {"kind": "s3", "buckets": '
        '["videos"], "endpoint": "https://…"}}. Better given in the file; docs/storage.md lists '
        "what a store takes.",
    )
    bucket_aliases: BucketAliases = Field(
        {},
        description="Other names of buckets, as JSON: "
        '{"oss://old-name": "s3://videos"} leads to the bucket videos of an S3 store.',
    )
    http_hosts: Hosts = Field(
        [],
        description="A host from which sources are read over HTTP(S), with its port where that is "
        "not the usual one; * stands for anything. May be repeated.",
    )
    allow_networks: Networks = Field(
        [],
        description="A network such as 10.0.0.0/8 that sources may be read from over HTTP(S), "
        "beside the public ones. May be repeated.",
    )
    max_spool_bytes: int = Field(
        2 * 2**30,
        ge=0,
        description="The largest file that is taken from a web server that cannot send ranges: it "
        "is kept on disk while its job runs.",
    )
    storage_timeout: float = Field(
        30.0, gt=0, le=600, description="Seconds without a byte after which a store is given up."
    )
    storage_patience: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="Seconds for which a request to a store is repeated before it has failed.",
    )
    trust_callers: bool = Field(
        False,
        description="Callers may name every bucket that this server's own credentials reach, and "
        "every address: for a server of one's own, on loopback and with tokens.",
    )
    tls_certificate: Path | None = Field(None, description="A PEM file: the certificate chain.")
    tls_key: Path | None = Field(None, description="A PEM file: the certificate's key.")
    tls_client_ca: Path | None = Field(
        None, description="A PEM file: clients must show a certificate of this authority."
    )
    tokens: Tokens = Field(
        {},
        description='Bearer tokens by principal, as JSON: {"name": "token"}. Better given in the '
        "environment or the file than on the command line.",
    )
    keys_file: Path | None = Field(
        None,
        description="A TOML file of access keys, beside those of reelsplit keys; read again when "
        "it changes. Nobody else may be able to read it.",
    )
    secret_key_file: Path | None = Field(
        None,
        description="A file with 64 hexadecimal digits, the key that secrets in the database are "
        "encrypted with; by default one is made in the data folder.",
    )
    allow_insecure_listen: bool = Field(
        False, description="Listen beyond loopback without TLS, or without any credentials."
    )
    max_nonces: int = Field(
        500_000, ge=1, description="Nonces of signed requests remembered for one access key."
    )
    callback_url: str | None = Field(
        None, description="An address that is told of the jobs of all who have set none."
    )
    callback_secret: SecretStr | None = Field(
        None, description="What callbacks to --callback-url are signed with."
    )
    callback_hosts: Hosts = Field(
        ["*"],
        description="A host that callbacks may go to, with its port where that is not the usual "
        "one; * stands for anything. May be repeated.",
    )
    callback_networks: Networks = Field(
        [],
        description="A network such as 10.0.0.0/8 that callbacks may go to, beside the public "
        "ones. May be repeated.",
    )
    callback_timeout: float = Field(
        3.0, gt=0, le=60, description="Seconds in which a callback must be answered."
    )
    callback_retries: Literal["day", "quick"] = Field(
        "day",
        description="How often callbacks are tried: with growing pauses for a day, or three times "
        "with a second between, as the original does.",
    )
    callback_job_event: EventName = Field(
        "SegmentationComplete", description="What callbacks call the end of a job."
    )
    callback_segment_event: EventName = Field(
        "SegmentPublished", description="What callbacks call a published segment."
    )
    metrics_listen: AddressOrNone = Field(
        None,
        description="Where metrics are served for Prometheus, as HOST:PORT, in the clear and to "
        "anybody who reaches that; without it they are not.",
    )
    allow_insecure_metrics: bool = Field(False, description="Serve metrics beyond loopback.")
    max_calls: int = Field(256, ge=1, description="Calls answered at once, streams apart.")
    max_streams: int = Field(4096, ge=1, description="Watches open at once.")
    max_watches: int = Field(2048, ge=1, description="Watches open at once for one caller.")
    keepalive: float = Field(
        20.0,
        ge=1,
        le=3600,
        description="Seconds without a word from a connected client after which it is asked "
        "whether it is still there.",
    )
    keepalive_timeout: float = Field(
        10.0,
        ge=1,
        le=600,
        description="Seconds in which it must answer, or is given up with all its watches.",
    )
    max_message_bytes: int = Field(
        4 * 2**20, ge=2**16, le=64 * 2**20, description="The largest request, in bytes."
    )
    max_ranges: int = Field(10_000, ge=1, description="Ranges in one job.")
    max_segments: int = Field(100_000, ge=1, description="Segments of one job.")
    max_queued: int = Field(
        10_000, ge=1, description="Jobs waiting; further ones are refused until some were begun."
    )
    max_queued_per_caller: int | None = Field(
        None, ge=1, description="Jobs waiting of one caller; as many as --max-queued by default."
    )
    max_running: int = Field(
        256, ge=1, description="Jobs running at once; further ones wait for their turn."
    )
    max_running_per_caller: int | None = Field(
        None,
        ge=1,
        description="Jobs of one caller running at once; no limit of its own by default.",
    )
    max_pixels: int = Field(8192 * 4320, ge=1, description="Pixels of a source's picture.")
    max_segment_frames: int = Field(
        10_000_000, ge=1, description="Frames of one segment, where a frame rate is asked for."
    )
    max_frame_rate: int = Field(240, ge=1, description="Frames a second that may be asked for.")
    max_template: int = Field(1024, ge=16, description="Characters of an output template.")
    tries: int = Field(
        3, ge=1, le=20, description="How often a unit of work is tried that may pass another time."
    )
    stall_timeout: float = Field(
        300.0,
        gt=0,
        description="Seconds without a sign of life after which a worker is ended; at least five "
        "times --storage-timeout.",
    )
    max_worker_memory: int = Field(
        memory() * 3 // 4,
        ge=2**28,
        description="Resident bytes of memory of one worker, which is ended beyond that; by "
        "default three quarters of the machine's.",
    )
    max_file_bytes: int = Field(
        2**40, ge=2**20, description="The largest file that a worker may write, in bytes."
    )
    job_timeout: TimeOrNone = Field(
        timedelta(days=7),
        description="The longest time for a job that names none: seconds or ISO 8601.",
    )
    segment_timeout: TimeOrNone = Field(
        timedelta(days=1), description="The longest time for a segment where the job names none."
    )
    time_to_live: Time = Field(
        timedelta(days=30), description="How long ended jobs are kept that name no time."
    )
    max_time_to_live: Time = Field(
        timedelta(days=366), description="The longest time that a job may ask to be kept."
    )
    grace: float = Field(
        10.0, ge=0, description="Seconds that running work has to end when the server stops."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least that is logged; debug tells every call."
    )
    log_format: Literal["json", "text"] = Field(
        "json", description="Log lines on standard error: JSON, or text for people."
    )
    announce: Path | None = Field(
        None, description="A file that gets the real address once the server is ready."
    )
    exit_with_stdin: bool = Field(
        False, description="End when standard input ends: for a parent process that may die."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags are added in front by the caller."""
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if config := os.environ.get(CONFIG_VARIABLE):
            if not Path(config).is_file():
                raise SettingsError(f"{CONFIG_VARIABLE} names {config}, which is no file")
            sources.append(TomlConfigSettingsSource(settings_cls, Path(config)))
        return tuple(sources)

    @model_validator(mode="after")
    def _is_safe(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("--tls-certificate and --tls-key need each other")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("--tls-client-ca needs --tls-certificate and --tls-key")
        if self.trust_callers and not self.loopback:
            raise ValueError("--trust-callers is for servers that listen on loopback")
        if self.trust_callers and not self.tokens:
            # Others on the machine reach loopback too.
            raise ValueError(
                "--trust-callers needs REELSPLIT_TOKENS, which say whose calls they are"
            )
        metrics = self.metrics_listen
        if metrics and not (_is_loopback(metrics) or self.allow_insecure_metrics):
            raise ValueError(
                f"metrics on {metrics} would be there for anybody on the network: give a loopback "
                "address, or --allow-insecure-metrics"
            )
        self._check_buckets()
        if self.callback_job_event == self.callback_segment_event:
            raise ValueError("--callback-job-event and --callback-segment-event are the same")
        # Whether there are credentials, the database knows as well: composition looks at both.
        if self.tls_certificate is None and not (self.loopback or self.allow_insecure_listen):
            open_to_all = next(
                listen
                for listen in (self.listen, self.ims_listen)
                if listen and not _is_loopback(listen)
            )
            raise ValueError(
                f"listening on {open_to_all} without TLS would let anybody on the network read "
                "along: give --tls-certificate and --tls-key, or --allow-insecure-listen"
            )
        return self

    def _check_buckets(self) -> None:
        listed: dict[tuple[str, str], str] = {}
        for name, store in self.stores.items():
            for bucket in store.buckets:
                other = listed.setdefault((store.scheme, bucket), name)
                if other != name and not (store.endpoint and self.stores[other].endpoint):
                    raise ValueError(
                        f"the stores {other} and {name} both list {store.scheme}://{bucket}; only "
                        "endpoints could tell them apart, and both need one for that"
                    )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return all(_is_loopback(listen) for listen in (self.listen, self.ims_listen) if listen)


def _is_loopback(listen: str) -> bool:
    host = listen.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
