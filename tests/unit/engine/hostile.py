"""Workers that do not do as they were told: each function stands in for `work.entry.execute`.

They live in a module of their own, since worker processes find them by name.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from errno import errorcode
from pathlib import Path
from typing import Any

from reelsplit.types.error import Error
from reelsplit.types.job import SourceInfo
from reelsplit.types.segment import CutResult
from reelsplit_server.storage.grants import Part, Pin
from reelsplit_server.work.asks import SAID, Beat, Finished, Said, Sign, Uploaded
from reelsplit_server.work.targets import segment_of
from reelsplit_server.work.units import Account, Failed, Opened, PlanDone, Progress, Render

CHECKSUM = "sha256:" + "0" * 64


@contextmanager
def line(path: str, name: str, secret: str) -> Iterator[socket.socket]:
    """A connection that has said who it is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.connect(path)
        made.sendall(json.dumps({"unit": name, "secret": secret}).encode() + b"\n")
        assert made.recv(1) == b"\n"
        yield made


def say(made: socket.socket, *said: Said) -> None:
    for each in said:
        made.sendall(SAID.dump_json(each) + b"\n")


def answer(made: socket.socket) -> Any:
    with made.makefile("rb") as file:
        text = file.readline()
    return json.loads(text) if text else None


def make_scratch(unit: Render) -> None:
    segment_of(unit).scratch.parent.mkdir(parents=True, exist_ok=True)
    segment_of(unit).scratch.write_bytes(b"made up")


def opens_its_source_and_waits(_unit: Any, _: Any, *where: str) -> None:
    with line(*where) as made:
        say(made, Opened(source=SourceInfo(), pin=Pin(size=1, tag="t").text))
        while True:
            signal.pause()


def plans_in_place_of_a_segment(unit: Render, _: Any, *where: str) -> None:
    with line(*where) as made:
        say(made, PlanDone(source=SourceInfo()))
        answer(made)


def finishes_nothing(unit: Render, _: Any, *where: str) -> None:
    with line(*where) as made:
        say(made, Finished(segment=replace(unit.segment, checksum=CHECKSUM)))
        answer(made)


def finishes_a_link(unit: Render, _: Any, *where: str) -> None:
    segment_of(unit).scratch.parent.mkdir(parents=True, exist_ok=True)
    segment_of(unit).scratch.symlink_to("/etc/passwd")
    finishes_nothing(unit, _, *where)


def finishes_what_cannot_be_kept(unit: Render, _: Any, *where: str) -> None:
    make_scratch(unit)
    with line(*where) as made:
        segment = replace(unit.segment, checksum=CHECKSUM, size_bytes=2**70)
        say(made, Finished(segment=segment))
        answer(made)


def finishes_without_a_checksum(unit: Render, _: Any, *where: str) -> None:
    make_scratch(unit)
    with line(*where) as made:
        say(made, Finished(segment=replace(unit.segment, checksum="sha256:\n")))
        answer(made)


def finishes_with_less_than_nothing(unit: Render, _: Any, *where: str) -> None:
    make_scratch(unit)
    with line(*where) as made:
        say(made, Finished(segment=replace(unit.segment, checksum=CHECKSUM, size_bytes=-1)))
        answer(made)


def finishes_with_frames_that_cannot_be(unit: Render, _: Any, *where: str) -> None:
    make_scratch(unit)
    cut = CutResult(copied_frames=-(2**40), encoded_frames=1)
    with line(*where) as made:
        say(made, Finished(segment=replace(unit.segment, checksum=CHECKSUM, cut=cut)))
        answer(made)


def accounts_without_end(_unit: Any, _: Any, *where: str) -> None:
    with line(*where) as made:
        say(made, Failed(error=Error(reason="DISK_FULL", message="done"), transient=False))
        say(made, *[Account(stages=[], read=2**50)] * 3)


def finishes_twice(unit: Render, _: Any, *where: str) -> None:
    make_scratch(unit)
    with line(*where) as made:
        for _ in range(2):
            say(made, Finished(segment=replace(unit.segment, checksum=CHECKSUM)))
            answer(made)


def asks_out_of_turn(unit: Render, _: Any, *where: str) -> None:
    with line(*where) as made:
        say(made, Uploaded(etags=["x"]))
        answer(made)


def asks_for_a_million_parts(unit: Render, _: Any, *where: str) -> None:
    make_scratch(unit)
    with line(*where) as made:
        say(made, Finished(segment=replace(unit.segment, checksum=CHECKSUM)))
        assert answer(made)["kind"] == "parts"
        part = Part(number=1, size=7, md5="0" * 22 + "==")
        say(made, Sign(parts=[part] * 20_000))
        assert answer(made) is None


def asks_for_a_part_that_cannot_be(unit: Render, _: Any, *where: str) -> None:
    make_scratch(unit)
    with line(*where) as made:
        say(made, Finished(segment=replace(unit.segment, checksum=CHECKSUM)))
        assert answer(made)["kind"] == "parts"
        say(made, Sign(parts=[Part(number=2**70, size=-1, md5="0" * 22 + "==")]))
        assert answer(made) is None


def tells_of_parts_that_are_not_there(unit: Render, _: Any, *where: str) -> None:
    make_scratch(unit)
    with line(*where) as made:
        say(made, Finished(segment=replace(unit.segment, checksum=CHECKSUM)))
        assert answer(made)["kind"] == "parts"
        say(made, Uploaded(etags=['"0"']))
        refused = answer(made)
        error = Error(reason=refused["reason"], message="refused " * 10**5)
        say(made, Failed(error=error, transient=False))


def talks_without_end(unit: Render, _: Any, *where: str) -> None:
    with line(*where) as made:
        while True:
            made.sendall(b"x" * 2**20)


def talks_without_a_pause(unit: Render, _: Any, *where: str) -> None:
    """Says twenty thousand things."""
    with line(*where) as made:
        text = SAID.dump_json(Progress(fraction=0.5, frames=1)) + b"\n"
        for _ in range(20):
            made.sendall(text * 1000)
        say(made, Failed(error=Error(reason="DISK_FULL", message="done"), transient=False))


def hangs_up_and_lives_on(unit: Render, _: Any, *where: str) -> None:
    with line(*where):
        pass
    while True:
        signal.pause()


def leaves_its_line_to_another(unit: Render, _: Any, *where: str) -> None:
    """The other one lives for a minute."""
    with line(*where):
        if os.fork() == 0:
            signal.alarm(60)
            while True:
                signal.pause()


def stands_still(_unit: Any, _: Any, *where: str) -> None:
    """As one that the system has stopped, or that waits for a lock that nobody frees."""
    with line(*where):
        os.kill(os.getpid(), signal.SIGSTOP)


def stands_still_before_it_begins(_unit: Any, _: Any, *where: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def turns_in_circles(_unit: Any, _: Any, *where: str) -> None:
    """As a codec in a loop that has no end."""
    with line(*where):
        while True:
            pass


def reads_and_reads(unit: Any, _: Any, *where: str) -> None:
    """Takes its time over something that cannot tell how far it is."""
    with line(*where) as made:
        for _ in range(40):
            Path(unit.source.uri).read_bytes()
            time.sleep(0.1)
        say(made, Failed(error=Error(reason="DISK_FULL", message="done"), transient=False))


def beats(_unit: Any, _: Any, *where: str) -> None:
    """Waits long for a slow store."""
    with line(*where) as made:
        for _ in range(40):
            say(made, Beat())
            time.sleep(0.1)
        say(made, Failed(error=Error(reason="DISK_FULL", message="done"), transient=False))


def tells_something_and_waits(_unit: Any, _: Any, *where: str) -> None:
    with line(*where) as made:
        say(made, Progress(fraction=0.5, frames=1))
        say(made, Failed(error=Error(reason="DISK_FULL", message="done"), transient=False))


def eats_memory(_unit: Any, _: Any, *where: str) -> None:
    with line(*where) as made:
        eaten = []
        while True:
            eaten.append(b"x" * 2**23)
            say(made, Progress(fraction=0.5, frames=1))
            time.sleep(0.01)


def crashes(_unit: Any, _: Any, *where: str) -> None:
    with line(*where):
        ctypes.string_at(0)


def writes_without_end(unit: Any, _: Any, *where: str) -> None:
    unit.folder.mkdir(parents=True, exist_ok=True)
    with line(*where) as made:
        try:
            with (unit.folder / "large").open("wb") as file:
                while True:
                    file.write(bytes(2**20))
        except OSError as error:
            say(
                made,
                Failed(error=Error(reason=errorcode[error.errno], message=""), transient=False),
            )


def tells_its_limits(_unit: Any, _: Any, *where: str) -> None:
    limits = Path("/proc/self/limits").read_text()
    score = Path("/proc/self/oom_score_adj").read_text()
    with line(*where) as made:
        say(made, Failed(error=Error(reason="DISK_FULL", message=limits + score), transient=False))
