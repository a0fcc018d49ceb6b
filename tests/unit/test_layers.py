"""The house as it is drawn: imports run one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = Path(__file__).resolve().parents[2] / "server" / "reelsplit_server"
CLIENT = Path(__file__).resolve().parents[2] / "client" / "reelsplit"

# What each folder of the server may import of the others. Tables that are pure data, and that
# more than one layer reads, are named one by one.
_TABLES = {
    "media.formats",
    "storage.location",
    "storage.report_places",
    "storage.routes",
    "storage.template",
}
ALLOWED: dict[str, set[str]] = {
    # Faces know who calls, and the use cases.
    "rpc": {"app", "access"},
    "ims": {"app", "access"},
    "app": {"access", "jobs", "assets", "notify", *_TABLES},
    # Keys and nonces lie in the one database.
    "access": {"jobs.database", "jobs.schema", "jobs.rows"},
    "access.outbound": set(),
    "notify": {"access", "jobs"},
    # Assets lie in the database of the jobs, and are opened by the engine.
    "assets": {"jobs", "engine.seam"},
    # The heart knows the seam, and not what lies behind it.
    "jobs": {"engine.seam"},
    "engine": {"work", "storage"},
    # The seam's data is that of the units.
    "engine.seam": {"work.units", "engine.party"},
    "engine.party": set(),
    # A worker logs as the server does.
    "work": {"media", "storage", "reports", "telemetry"},
    # Of what a job found, in the words of the contract.
    "reports": set(),
    # Pure data of the media layer: which stages there are.
    "work.units": {"media.stages"},
    "work.asks": {"work.units", "storage.grants"},
    "media": set(),
    # Workers connect to what callers name, through the guard.
    "storage": {"access.outbound"},
    "settings": {"machine", "setting_types", "store_settings"},
    "machine": set(),
    "setting_types": set(),
    "store_settings": {"storage.location"},
    "store_setup": {"settings", "store_settings", "storage"},
    "bounds_setup": {
        "access.outbound",
        "app.bounds",
        "assets.prober",
        "engine.vitals",
        "jobs.orders",
        "machine",
        "settings",
        "store_setup",
    },
    "data_folder": {"engine.leftovers"},
    "telemetry": set(),
    "metrics": set(),
    "scraping": {"metrics"},
    "tracing": set(),
    "tasks": set(),
    "health": {"settings"},
    "composition": {
        "rpc",
        "app",
        "access",
        "ims",
        "assets",
        "notify",
        "jobs",
        "engine",
        "bounds_setup",
        "data_folder",
        "scraping",
        "settings",
        "store_setup",
    },
    "main": {"serving", "settings", "data_folder", "engine.leftovers", "work.process"},
    "serving": {"composition", "telemetry", "settings", "jobs.database"},
    "__main__": {"main"},
    "operating": {"access", "notify", "jobs.database", "settings", "main", "data_folder"},
}
# Every layer that runs in the server itself counts and traces directly: handed down through all of
# them these would stand in every constructor. They import nothing of ours.
EVERYWHERE = {"metrics", "tasks", "tracing"}
NOT_IN_WORKERS = {"work", "media", "storage", "reports"}
# Of the SDK the server uses the contract, and no client.
CONTRACT = ("reelsplit.types", "reelsplit.classes", "reelsplit.wire", "reelsplit.v1")
# The commands that hand over to the server's own, and nothing else does.
ENTRIES = {
    "cli.serve": "reelsplit_server.main.main",
    "cli.operator": "reelsplit_server.operating.main",
}
# Libraries that stand behind one folder each.
BEHIND = {
    "av": {"media"},
    "scenedetect": {"media"},
    "cv2": {"media"},
    "numpy": {"media"},
    "torch": {"media"},
    "opentimelineio": {"reports"},
    "grpc": {"rpc", "health"},
    "grpc_health": {"rpc", "health"},
    "grpc_reflection": {"rpc"},
    "sqlalchemy": {"jobs", "access", "assets", "notify"},
    "alembic": {"jobs"},
    "sqlite3": {"jobs"},
    "starlette": {"ims"},
    "uvicorn": {"ims"},
    "h11": {"ims"},
    "pebble": {"engine"},
    "multiprocessing": {"engine", "work"},
    "prometheus_client": {"metrics", "scraping"},
    "opentelemetry": {"tracing"},
    "pydantic_settings": {"settings", "main", "health"},
}


def _modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), ast.parse(path.read_text())


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def _below(name: str, prefixes: set[str] | tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


MODULES = [(name, tree) for name, tree in _modules(SERVER) if name]


@pytest.mark.parametrize(("name", "tree"), MODULES, ids=[name for name, _ in MODULES])
def test_a_module_imports_only_what_lies_below_it(name: str, tree: ast.Module) -> None:
    folder = name.split(".")[0]
    allowed = ALLOWED[name] if name in ALLOWED else ALLOWED[folder] | {folder}
    if folder not in NOT_IN_WORKERS | EVERYWHERE:
        allowed = allowed | EVERYWHERE
    for imported in _imports(tree):
        if _below(imported, ("reelsplit",)):
            assert _below(imported, CONTRACT), f"{name} imports {imported}"
        elif _below(imported, ("reelsplit_server",)):
            inner = imported.removeprefix("reelsplit_server").removeprefix(".")
            assert _below(inner, allowed), f"{name} imports {imported}"
        else:
            library = imported.split(".")[0]
            homes = BEHIND.get(library)
            assert homes is None or folder in homes, f"{name} imports {imported}"


def test_only_the_composition_knows_the_engine() -> None:
    knowing = {
        name
        for name, tree in MODULES
        for imported in _imports(tree)
        if imported.startswith("reelsplit_server.engine.local")
    }
    assert knowing == {"composition"}


def test_the_client_knows_nothing_of_the_server_but_how_to_serve() -> None:
    for name, tree in _modules(CLIENT):
        at_import = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        found = [i for i in _imports(tree) if _below(i, ("reelsplit_server",))]
        if name in ENTRIES:
            assert found == [ENTRIES[name]]
            early = ast.Module(body=list(at_import), type_ignores=[])
            assert not [i for i in _imports(early) if _below(i, ("reelsplit_server",))]
        else:
            assert found == [], name


def test_the_command_stands_on_the_sdk_alone() -> None:
    for name, tree in _modules(CLIENT):
        if not name.startswith("cli"):
            assert not [i for i in _imports(tree) if _below(i, ("reelsplit.cli",))], name


@pytest.mark.parametrize("root", [SERVER, CLIENT], ids=["server", "client"])
def test_every_module_says_what_it_is_for(root: Path) -> None:
    silent = [
        name
        for name, tree in _modules(root)
        if not name.startswith("v1") and not ast.get_docstring(tree)
    ]
    assert silent == []


def test_every_folder_has_a_rule() -> None:
    assert {name.split(".")[0] for name, _ in MODULES} <= set(ALLOWED)
