"""One page for a browser: a picture of each segment, the score curve, and how each begins."""

from __future__ import annotations

import base64
import hashlib
from fractions import Fraction
from html import escape
from typing import TextIO

from reelsplit.types.segment import Segment
from reelsplit_server.reports import curve
from reelsplit_server.reports.figures import clock, confidence
from reelsplit_server.reports.findings import (
    Findings,
    bounds_of,
    is_counted,
    span_of,
    transition_name,
)

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--cut:#c33;--soft:#36c}
body{font:14px/1.4 system-ui,sans-serif;margin:1.5rem auto;max-width:1240px;padding:0 1rem}
h1{font-size:1.3rem;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}
dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}
svg{display:block;width:100%;height:80px;border:1px solid var(--line);margin-top:.4rem}
path{fill:none;vector-effect:non-scaling-stroke}
.score{stroke:currentColor;stroke-width:1}.cut{stroke:var(--cut)}.soft{stroke:var(--soft)}
.key span{margin-right:1.2rem}.key .cut{color:var(--cut)}.key .soft{color:var(--soft)}
.time{display:flex;justify-content:space-between;font-size:12px;opacity:.7}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(170px,1fr));gap:.8rem;margin-top:1rem}
figure{margin:0;border:1px solid var(--line);padding:.4rem;content-visibility:auto;
contain-intrinsic-size:170px 190px}
img{display:block;max-width:100%;height:auto;margin:0 auto .3rem}
figcaption{font-size:12px}b{font-size:13px}
""".strip()


def write(found: Findings, file: TextIO) -> None:
    """Write a page that needs nothing else: no script, no font, no other file; its policy forbids
    it to load anything. It opens in any browser, and prints."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    name = escape(found.name)
    file.write(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style></head><body>\n<h1>{name}</h1>\n<dl>\n"
    )
    for term, value in _facts(found):
        file.write(f"<dt>{term}<dd>{escape(value)}\n")
    file.write("</dl>\n")
    curve.write(found, file)
    file.write("<main>\n")
    for segment in found.segments:
        _figure(found, segment, file)
    file.write("</main>\n</body></html>\n")


def _facts(found: Findings) -> list[tuple[str, str]]:
    source, video = found.source, found.source.video
    rate = found.rate
    facts = [("Source", found.uri)]
    if source.duration:
        facts.append(("Duration", clock(Fraction(source.duration))))
    if source.frame_count:
        facts.append(("Frames", f"{source.frame_count:,}"))
    if video is not None:
        pace = f", {float(rate):.6g} frames a second" if rate else ""
        facts.append(("Video", f"{video.codec} {video.width}x{video.height}{pace}"))
    return [*facts, ("Found by", found.method), ("Segments", f"{len(found.segments):,}")]


def _figure(found: Findings, segment: Segment, file: TextIO) -> None:
    bounds = bounds_of(segment)
    start, end = span_of(segment)
    still = found.stills.get(segment.index)
    picture = ""
    if still is not None:
        data = base64.b64encode(still.data).decode()
        picture = (
            f'<img loading="lazy" alt="" width="{still.width}" height="{still.height}" '
            f'src="data:image/webp;base64,{data}">'
        )
    kind = transition_name(segment).replace("_", " ")
    sure = confidence(segment.transition.confidence if segment.transition is not None else None)
    frames = f"<br>frames {bounds.start_frame}–{bounds.end_frame}" if is_counted(segment) else ""
    file.write(
        f'<figure id="s{segment.index}">{picture}<figcaption><b>{segment.index}</b> '
        f"{' '.join(filter(None, (kind, sure)))}<br>{clock(start)}–{clock(end)}{frames}"
        "</figcaption></figure>\n"
    )
