"""The page: what is in it, what it may not do, and how heavy it is."""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from html.parser import HTMLParser

import pytest

from reelsplit_server.reports import page
from reelsplit_server.reports.findings import Scores, Still
from tests.unit.reports.found import cut, findings, renamed, segment, text


class Read(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def scored(count: int, rate: Fraction = Fraction(25)) -> Scores:
    scores = Scores()
    pts = [1000 + round(n / rate * 90_000) for n in range(count)]
    scores.add(0, pts, {"score": [(n * 7919 % 1000) / 500 for n in range(count)]})
    return scores


def test_it_tells_every_segment() -> None:
    still = Still(data=b"RIFF", width=160, height=90)
    found = dataclasses.replace(findings(scores=scored(200)), stills={1: still})
    read = Read(text(page.write, found))
    assert [attrs["id"] for attrs in read.all("figure")] == ["s0", "s1", "s2"]
    for words in ("dissolve 0.938", "cut 0.938", "00:00:02.000–00:00:04.000", "frames 50–100"):
        assert words in read.text
    (image,) = read.all("img")
    assert image["src"] == "data:image/webp;base64,UklGRg=="
    assert len(read.all("svg")) == 1
    assert [attrs["class"] for attrs in read.all("path")] == ["cut", "soft", "score"]


def test_it_needs_and_loads_nothing() -> None:
    content = text(page.write, findings(scores=scored(200)))
    read = Read(content)
    assert not {"script", "link", "iframe", "object", "a", "form"} & {t for t, _ in read.elements}
    assert not re.search(r"(?:https?:)?//(?!w3)|url\(|@import|javascript:", content)
    for tag, attrs in read.elements:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], tag
    (policy,) = [
        attrs["content"]
        for attrs in read.all("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>.mp4", '"><img src=x onerror=alert(1)>.mp4', "</title><b>.mp4"],
)
def test_names_do_nothing(name: str) -> None:
    # The name ends at the last slash.
    read = Read(text(page.write, renamed(findings(), name)))
    assert not {"script", "img"} & {tag for tag, _ in read.elements}
    assert name.rpartition("/")[2] in read.text
    assert len(read.all("b")) == 3


def test_a_film_of_two_hours_is_light() -> None:
    rate = Fraction(24)
    shots = [segment(n, (86 * n, 86 * n + 86), rate, cut(86 * n)) for n in range(2000)]
    still = Still(data=bytes(1800), width=160, height=90)
    found = dataclasses.replace(
        findings(shots, rate=rate, scores=scored(172_000, rate)),
        stills=dict.fromkeys(range(2000), still),
    )
    content = text(page.write, found)
    assert len(content) < 6_000_000
    assert len(re.sub('base64,[^"]*', "", content)) < 1_000_000


def test_without_scores_there_is_no_curve() -> None:
    read = Read(text(page.write, findings()))
    assert not read.all("svg")
    assert len(read.all("figure")) == 3
