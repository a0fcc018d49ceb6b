"""Headless Chromium, made to play files and to say what it saw."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

#: Reads the number as `tests.clips.read_number` does.
_PAGE = """<!doctype html><meta charset="utf-8"><body><script>
const canvas = document.createElement('canvas'), pen = canvas.getContext('2d',
  {willReadFrequently: true});
function number(video) {
  const w = canvas.width = video.videoWidth, h = canvas.height = video.videoHeight;
  pen.drawImage(video, 0, 0, w, h);
  const data = pen.getImageData(0, 0, w, h).data, rows = Math.floor(h / 8);
  const rim = Math.floor(rows / 4);
  const mean = (top, left, right) => {
    let sum = 0, count = 0;
    for (let y = top + rim; y < top + rows - rim; y++)
      for (let x = left; x < right; x++) { sum += data[4 * (y * w + x) + 1]; count++; }
    return sum / count;
  };
  let found = 0;
  for (let bit = 0; bit < 16; bit++) {
    const left = Math.floor(bit * w / 16), right = Math.floor((bit + 1) * w / 16);
    const margin = Math.floor((right - left) / 4);
    const upper = mean(0, left + margin, right - margin);
    const lower = mean(rows, left + margin, right - margin);
    if (Math.abs(upper - lower) < 24) return null;
    found = found * 2 + (upper > lower ? 1 : 0);
  }
  return found;
}
const once = (target, kind) => new Promise((good, bad) => {
  target.addEventListener(kind, good, {once: true});
  target.addEventListener('error', () => bad(new Error(target.error ?
    target.error.code + ' ' + target.error.message : 'error')), {once: true});
  setTimeout(() => bad(new Error('no ' + kind + ' in time')), 60000);
});
// A seek is told before its picture can be drawn; one to the same picture brings no other.
const drawn = (video) => new Promise((good) => {
  video.requestVideoFrameCallback(() => setTimeout(good, 20));
  setTimeout(good, 400);
});
async function watch(job) {
  const seen = {duration: null, sought: [], played: [], end: null, error: null};
  const video = document.createElement('video');
  video.muted = true; video.preload = 'auto';
  document.body.append(video);
  try {
    const ready = once(video, 'loadeddata');
    video.src = job.url;
    await ready;
    seen.duration = video.duration;
    for (const time of job.seeks) {
      const done = once(video, 'seeked'), there = drawn(video);
      video.currentTime = time;
      await done;
      await there;
      seen.sought.push(number(video));
    }
    const back = once(video, 'seeked');
    video.currentTime = 0;
    await back;
    const told = () => { seen.played.push(number(video));
      video.requestVideoFrameCallback(told); };
    video.requestVideoFrameCallback(told);
    const ended = once(video, 'ended');
    // It may be over before it is told to have begun.
    await video.play().catch((error) => { if (error.name !== 'AbortError') throw error; });
    await ended;
    seen.end = video.currentTime;
  } catch (error) { seen.error = String(error); }
  video.remove();
  return seen;
}
(async () => {
  const all = [];
  for (const job of await (await fetch('/jobs')).json()) all.push(await watch(job));
  await fetch('/seen', {method: 'POST', body: JSON.stringify(all)});
})();
</script>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the browser saw of one file."""

    duration: float | None
    """Seconds, as the video element says."""
    sought: list[int | None]
    """The number shown after each seek."""
    played: list[int | None]
    """The numbers shown while it played; a busy machine skips some."""
    end: float | None
    """Seconds: where it was when it ended; None where it did not."""
    error: str | None


def watch(
    folder: Path, files: Sequence[tuple[str, Sequence[Fraction]]], profile: Path
) -> list[Seen]:
    """Have files of a folder loaded, sought in and played to the end; each with the times, in
    seconds, to seek to. `profile` is an empty folder for the browser."""
    assert CHROMIUM is not None
    jobs = [{"url": f"/file/{name}", "seeks": [float(at) for at in seeks]} for name, seeks in files]
    answered = threading.Event()
    answer: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/file/"):
                self._file(folder / self.path.removeprefix("/file/"))
            elif self.path == "/jobs":
                self._say(json.dumps(jobs).encode(), "application/json")
            else:
                self._say(_PAGE.encode(), "text/html")

        def do_POST(self) -> None:
            answer.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._say(b"", "text/plain")
            answered.set()

        def _file(self, path: Path) -> None:
            data = path.read_bytes()
            asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first = int(asked[1]) if asked else 0
            last = int(asked[2]) if asked and asked[2] else len(data) - 1
            kind = "video/mp4" if path.suffix == ".mp4" else "video/webm"
            place = f"bytes {first}-{last}/{len(data)}" if asked else None
            self._say(data[first : last + 1], kind, place)

        def _say(self, body: bytes, kind: str, place: str | None = None) -> None:
            try:
                self.send_response(206 if place else 200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Accept-Ranges", "bytes")
                if place:
                    self.send_header("Content-Range", place)
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                # A player takes no more of a file than it wants.
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio"]
        flags += ["--autoplay-policy=no-user-gesture-required", f"--user-data-dir={profile}"]
        page = f"http://127.0.0.1:{server.server_address[1]}/"
        with subprocess.Popen(
            [CHROMIUM, *flags, page], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as child:
            try:
                assert answered.wait(240), "the browser does not answer"
            finally:
                child.terminate()
        server.shutdown()
    return [Seen(**each) for each in answer]
