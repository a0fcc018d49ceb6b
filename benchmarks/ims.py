"""The IMS face: what it adds to a submit, how many signed requests it answers, and whether the
check of a signature tells anything by its time.

    python benchmarks/ims.py [--rounds N] [--requests N]

The server is a process of its own, bound to one core where there are two; the client to another.
Submits go to both faces in turns, each on one open connection, with the same spec. Its store does
not answer, so that the jobs wait and no worker disturbs the measurement.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import hmac
import http.client
import json
import os
import platform
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "client"), str(ROOT / "server")]

from reelsplit import Client, Output, OverwritePolicy, ranges  # noqa: E402
from reelsplit_server.ims.received import read  # noqa: E402
from reelsplit_server.ims.signatures import claim  # noqa: E402
from tests.keys import new_key  # noqa: E402
from tests.ports import free_ports  # noqa: E402
from tests.server import ServerProcess  # noqa: E402

KEY_ID, SECRET = "benchmarkKeyId", "benchmarkKeySecret"
FORM = "application/x-www-form-urlencoded"
STORE = {"kind": "s3", "endpoint": "http://127.0.0.1:9", "region": "x", "buckets": ["films"]}


def signed(
    action: str, host: str, query: dict[str, str], form: dict[str, str]
) -> tuple[str, bytes, dict[str, str]]:
    """Target, body and headers of a request as the current SDK makes them."""
    body = urlencode(form).encode()
    headers = {
        "accept": "application/json",
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-acs-date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "x-acs-signature-nonce": secrets.token_hex(16),
        "x-acs-version": "2020-11-09",
    }
    if form:
        headers["content-type"] = FORM
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    pairs = "&".join(f"{n}={quote(v, safe='-_.~')}" for n, v in sorted(query.items()))
    request = f"POST\n/\n{pairs}\n{lines}\n{names}\n{headers['x-acs-content-sha256']}"
    text = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(SECRET.encode(), text.encode(), "sha256").hex()
    headers["Authorization"] = (
        f"ACS3-HMAC-SHA256 Credential={KEY_ID},SignedHeaders={names},Signature={signature}"
    )
    return f"/?{urlencode(query)}", body, headers


class Face:
    """An open connection to the face."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._connection = http.client.HTTPConnection(address, timeout=60)

    def send(self, request: tuple[str, bytes, dict[str, str]]) -> dict[str, str]:
        """The answer to a signed request."""
        target, body, headers = request
        self._connection.request("POST", target, body, headers)
        answer = self._connection.getresponse()
        told: dict[str, str] = json.loads(answer.read())
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {told}")
        return told


def submission(host: str) -> tuple[str, bytes, dict[str, str]]:
    """A signed submit, with a token of its own."""
    output = {"OutputMediaTarget": "oss-object", "Bucket": "films", "ObjectKey": "o/{index}.mp4"}
    return signed(
        "SubmitSegmentationJob",
        host,
        {
            "ClientToken": secrets.token_hex(16),
            "JobParams": json.dumps({"Mode": "UserDefined", "Ranges": [{"In": 1, "Out": 2}]}),
            "OutputConfig": json.dumps(output),
        },
        {"InputConfig": json.dumps({"Type": "OSS", "Media": "oss://films/a.mp4"})},
    )


def milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


def submits(face: Face, client: Client, rounds: int) -> tuple[list[float], list[float]]:
    """How long a submit takes by each face, signing included."""
    output = Output(
        uri_template="s3://films/o/{index}.mp4", overwrite_policy=OverwritePolicy.REPLACE
    )
    by_ims, by_grpc = [], []
    for number in range(rounds + 20):
        ims = milliseconds(lambda: face.send(submission(face.address)))
        grpc = milliseconds(lambda: client.submit("s3://films/a.mp4", ranges((1, 2)), output))
        if number >= 20:
            by_ims.append(ims)
            by_grpc.append(grpc)
    return by_ims, by_grpc


def cpu_seconds(pid: int) -> float:
    """What a process has used, its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def throughput(face: Face, pid: int, job_id: str, count: int, lines: int) -> tuple[float, float]:
    """Requests a second, and for each CPU second of the server, over so many connections."""
    requests = [
        signed("GetSmartHandleJob", face.address, {"JobId": job_id}, {}) for _ in range(count)
    ]
    shares = [requests[place::lines] for place in range(lines)]
    used, begin = cpu_seconds(pid), time.perf_counter()
    threads = [
        threading.Thread(target=lambda share=share: [*map(Face(face.address).send, share)])
        for share in shares
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - begin
    return count / wall, count / (cpu_seconds(pid) - used)


def checks(rounds: int) -> dict[str, float]:
    """The median nanoseconds of a check, by where the signature is wrong."""
    _, body, headers = signed("GetSmartHandleJob", "h", {}, {})
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    right = claim(read("POST", b"", pairs, body))
    text = right._signature
    other = {c: "0" if c != "0" else "1" for c in "0123456789abcdef"}
    shown = {
        "right": text,
        "wrong in its first digit": other[text[0]] + text[1:],
        "wrong in its last digit": text[:-1] + other[text[-1]],
        "wrong in all": "".join(other[c] for c in text),
    }
    found: dict[str, list[int]] = {name: [] for name in shown}
    claims = {n: dataclasses.replace(right, _signature=s) for n, s in shown.items()}
    for _ in range(rounds):
        for name, one in claims.items():
            begin = time.perf_counter_ns()
            one.is_signed_with(SECRET)
            found[name].append(time.perf_counter_ns() - begin)
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--requests", type=int, default=3000)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        made = new_key(Path(folder) / "data", key_id=KEY_ID, secret=SECRET)
        (port,) = free_ports(1)
        face = Face(f"127.0.0.1:{port}")
        process = ServerProcess(
            Path(folder),
            *("--ims-listen", face.address, "--workers", "1", "--log-level", "warning"),
            environment={"REELSPLIT_STORES": json.dumps({"films": STORE})},
        )
        os.sched_setaffinity(0, {cores[0]})
        with process:
            os.sched_setaffinity(0, {cores[-1]})
            token, insecure = made.token, True
            with Client(process.address, token=token, allow_insecure_token=insecure) as client:
                by_ims, by_grpc = submits(face, client, options.rounds)
                job_id = next(iter(client.list(page_size=1))).job_id
            rates = [throughput(face, process.pid, job_id, options.requests, 8) for _ in range(3)]
    print(f"{len(cores)} cores; Python {platform.python_version()}; {datetime.now(UTC):%F}\n")
    print("| submit by | 5th percentile, ms | median | 95th |\n|---|---|---|---|")
    for name, times in (("IMS", by_ims), ("gRPC", by_grpc)):
        steps = statistics.quantiles(times, n=20)
        print(f"| {name} | {steps[0]:.2f} | {statistics.median(times):.2f} | {steps[-1]:.2f} |")
    added = statistics.median(by_ims) - statistics.median(by_grpc)
    early = statistics.quantiles(by_ims, n=20)[0] - statistics.quantiles(by_grpc, n=20)[0]
    print(f"\nThe face adds {added:.2f} ms to a submit by the medians, {early:.2f} ms by the 5th")
    print("percentiles, which a busy machine disturbs least.\n")
    print("| GetSmartHandleJob, signed | requests a second | for a CPU second |\n|---|---|---|")
    for number, (rate, of_cpu) in enumerate(rates, 1):
        print(f"| round {number} | {rate:.0f} | {of_cpu:.0f} |")
    print("\n| signature | median µs of its check |\n|---|---|")
    for name, nanoseconds in checks(100 * options.rounds).items():
        print(f"| {name} | {nanoseconds / 1000:.2f} |")


if __name__ == "__main__":
    main()
