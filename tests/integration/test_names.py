"""Awkward names: objects are read and written under exactly the key that was asked for."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from reelsplit import Client, Input, JobState, Output, Segment, ranges
from tests.server import Served, served
from tests.services import Service

IN, OUT = "names", "named"
NAMES = [
    " a b ",
    "100%",
    "%41%2F",
    "a+b&c=d;e,f:g@h$i!*()~",
    "what?",
    "a#b",
    'it\'s "quoted" `so`',
    "[x]{index}|^<>",
    "ü",
    unicodedata.normalize("NFD", "ü"),
    "日本語😀\u202e\u200d\u2028\x85",
    "..",
    "l" * 200,
    "UPPER",
]


@pytest.fixture(scope="module")
def names(
    tmp_path_factory: pytest.TempPathFactory, seaweed: Service, clip: Path
) -> Iterator[Served]:
    for bucket in (IN, OUT):
        seaweed.bucket(bucket)
    for name in NAMES:
        seaweed.api.put_object(Bucket=IN, Key=f"in//{name}.mp4", Body=clip.read_bytes())
    main = seaweed.settings(IN, OUT)
    aliases = {"oss://old-names": f"s3://{IN}", "oss://old-named": f"s3://{OUT}"}
    folder = tmp_path_factory.mktemp("names")
    with served(folder, stores={"main": main}, bucket_aliases=aliases) as made:
        yield made


@pytest.fixture
def client(names: Served) -> Iterator[Client]:
    with Client(names.address, timeout=60) as made:
        yield made


def split(client: Client, source: str | Input, output: str | Output) -> Sequence[Segment]:
    job = client.submit(source, ranges((0, 0.5)), output)
    done = job.wait(timeout=240)
    assert done.state is JobState.SUCCEEDED, done.error
    return list(job.segments())


def holds(seaweed: Service, key: str, segment: Segment) -> bool:
    """Whether exactly this key is listed, and has the segment's bytes."""
    found = seaweed.api.list_objects_v2(Bucket=OUT, Prefix=key)["Contents"]
    with seaweed.api.get_object(Bucket=OUT, Key=key)["Body"] as body:
        checksum = f"sha256:{hashlib.sha256(body.read()).hexdigest()}"
    return [each["Key"] for each in found] == [key] and segment.checksum == checksum


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_taken_as_it_is_and_its_piece_is_a_source_again(
    name: str, client: Client, seaweed: Service
) -> None:
    source, key = f"s3://{IN}/in//{name}.mp4", f"out//{name}_0 %20+.mp4"
    (segment,) = split(client, source, f"s3://{OUT}/out//{{stem}}_{{index}} %20+.mp4")
    assert segment.uri == f"s3://{OUT}/{key}"
    assert holds(seaweed, key, segment)
    (again,) = split(client, segment.uri, f"S3://{OUT}/again/{{stem}}_{{index}}.mp4")
    assert holds(seaweed, f"again/{name}_0 %20+_0.mp4", again)


@pytest.mark.parametrize("name", ["a#b", "100%", "%41%2F", " a b ", "what?", "ü"])
def test_a_source_of_any_name_gives_its_name_to_a_url_of_oss(
    name: str, client: Client, seaweed: Service
) -> None:
    """Keys stand in such URLs with escapes, and in the others without."""
    host = "oss-cn-x.example.com"
    source = f"oss://old-names.{host}/in//{name}.mp4"
    template = f"https://old-named.{host}/url%20of/{{stem}}_{{index}}.mp4"
    (segment,) = split(client, source, template)
    assert holds(seaweed, f"url of/{name}_0.mp4", segment)
    (again,) = split(client, segment.uri, "oss://old-named/second/{stem}_{index}.mp4")
    assert holds(seaweed, f"second/{name}_0_0.mp4", again)


def test_the_command_tells_what_lies_where(names: Served, client: Client, seaweed: Service) -> None:
    there = ("--server", names.address, "--json")

    def run(*arguments: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-m", "reelsplit.cli.main", *arguments, *there],
            capture_output=True,
            timeout=240,
            check=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    name = unicodedata.normalize("NFD", "ü") + "\u202e \"'#%41?"
    seaweed.api.copy_object(Bucket=IN, Key=f"{name}.mp4", CopySource=f"{IN}/in//what?.mp4")
    source, template = f"s3://{IN}/{name}.mp4", f"s3://{OUT}/told/{{stem}}_{{index}}.mp4"
    job = client.submit(source, ranges((0, 0.5)), template)
    assert job.wait(timeout=240).state is JobState.SUCCEEDED
    told = [*run("get", job.job_id), *run("watch", job.job_id), *run("list")]
    text = json.dumps(told)
    assert json.dumps(source)[1:-1] in text
    assert json.dumps(template)[1:-1] in text
    assert json.dumps(f"s3://{OUT}/told/{name}_0.mp4")[1:-1] in text
