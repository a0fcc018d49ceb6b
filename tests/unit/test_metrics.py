"""The metrics, what is written of them, and the alerts on them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from reelsplit_server.app.errors import AppError, Kind
from reelsplit_server.ims.errors import translated
from reelsplit_server.metrics import REGISTRY
from reelsplit_server.rpc.status import _CODES
from reelsplit_server.settings import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"
RULES = yaml.safe_load((DOCS / "alerts.yaml").read_text())["groups"][0]["rules"]
OURS = {
    (f"{family.name}_total" if family.type == "counter" else family.name): family
    for family in REGISTRY.collect()
    if family.name.startswith("reelsplit_")
}
_SUFFIXES = {"histogram": ("_bucket", "_count", "_sum")}


def _samples() -> set[str]:
    """The names that an expression can use."""
    return {
        name + suffix
        for name, family in OURS.items()
        for suffix in _SUFFIXES.get(family.type, ("",))
    }


def test_every_metric_is_written_down_as_it_is() -> None:
    table = re.findall(r"^\| `(reelsplit_\w+)` \| ([^|]*) \|", _operating(), re.MULTILINE)
    assert [name for name, _ in table] == sorted(OURS), "in the order of their names"
    for name, labels in table:
        known = {label for s in OURS[name].samples for label in s.labels} - {"le"}
        assert known <= set(re.findall(r"\w+", labels)), name


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    promql_parser.parse(rule["expr"])
    used = set(re.findall(r"\breelsplit_\w+", rule["expr"]))
    assert used <= _samples()
    assert used or rule["alert"] == "ReelsplitDown"
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"]


@pytest.mark.parametrize(
    ("alert", "kinds"),
    [
        ("ReelsplitCallsFail", {Kind.INTERNAL, Kind.UNAVAILABLE}),
        ("ReelsplitCallersRefused", {Kind.EXHAUSTED}),
    ],
)
def test_an_alert_on_calls_knows_the_codes_of_both_faces(alert: str, kinds: set[Kind]) -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == alert]
    (codes,) = re.findall(r'code=~"([^"]*)"', rule["expr"])
    for kind in Kind:
        for reason in ("", "TOO_MANY_JOBS") if kind is Kind.EXHAUSTED else ("",):
            grpc_code, ims_code = _CODES[kind].name, translated(AppError(kind, reason, "")).code
            assert bool(re.fullmatch(codes, grpc_code)) == (kind in kinds), grpc_code
            assert bool(re.fullmatch(codes, ims_code)) == (kind in kinds), ims_code


def test_every_alert_says_what_to_do() -> None:
    told = re.findall(r"^\| `(Reelsplit\w+)` \|", _operating(), re.MULTILINE)
    assert told == [rule["alert"] for rule in RULES]


def test_names_are_as_prometheus_wants_them() -> None:
    """The rules of ``promtool check metrics``."""
    for name, family in OURS.items():
        assert re.fullmatch(r"reelsplit(_[a-z]+)+", name)
        assert family.documentation.endswith("."), name
        assert (family.type == "counter") == name.endswith("_total")
        assert not re.search(r"_(count|sum|bucket|info)$", name)
        assert not re.search(r"_(milliseconds|ms|minutes|hours|kb|mb|percent)$", name)
        assert ("duration" not in name) or name.endswith("_seconds")


def test_metrics_beyond_loopback_are_asked_for_by_name(tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path).metrics_listen is None
    for more in ({}, {"allow_insecure_listen": True}):
        with pytest.raises(ValueError, match="--allow-insecure-metrics"):
            Settings(data_dir=tmp_path, metrics_listen="0.0.0.0:9464", **more)
    Settings(data_dir=tmp_path, metrics_listen="[::1]:9464")
    Settings(data_dir=tmp_path, metrics_listen="0.0.0.0:9464", allow_insecure_metrics=True)
    with pytest.raises(ValueError, match="HOST:PORT"):
        Settings(data_dir=tmp_path, metrics_listen="9464")


def _operating() -> str:
    return (DOCS / "operating.md").read_text()
