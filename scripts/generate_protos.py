"""Generates ``client/reelsplit/v1`` and ``…/types`` from ``protos/``; ``--check`` only compares.

The generator runs in an environment of its own with pinned tools: generated code refuses a
protobuf runtime older than its generator, so the pin decides which users can install the client.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TOOLS = ("grpcio-tools==1.80.0", "mypy-protobuf==5.1.0")
ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGE = Path("reelsplit/v1")
TYPES = Path("reelsplit/types")
CLIENT = ROOT / "client"
ENVIRONMENT = ROOT / ".cache" / "protogen" / "-".join(TOOLS).replace("==", "_")


def generator() -> Path:
    """The Python of the generator's environment, which is made at the first use."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "complete"
    if not stamp.exists():
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *TOOLS], check=True)
        stamp.touch()
    return python


def generate(folder: Path) -> None:
    """Write the generated modules below ``folder``, which stands for ``client/``."""
    python = generator()
    sources = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))
    plugins = [
        f"--plugin={name}={python.parent / name}"
        for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    outputs = [f"--{kind}_out={folder}" for kind in ("python", "grpc_python")]
    stubs = [f"--{kind}_out=quiet:{folder}" for kind in ("mypy", "mypy_grpc")]
    protoc = [python, "-m", "grpc_tools.protoc", f"-I{PROTOS}"]
    subprocess.run([*protoc, *plugins, *outputs, *stubs, *sources], check=True)
    docstring = '"""Generated from protos/reelsplit/v1 by scripts/generate_protos.py."""\n'
    (folder / PACKAGE / "__init__.py").write_text(docstring)
    for path in (folder / PACKAGE).glob("*_grpc.py*"):
        # protoc makes empty service modules for files without a service.
        if "Stub" not in path.read_text():
            path.unlink()
    (folder / TYPES).mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        descriptors = Path(scratch) / "descriptors"
        described = [f"--descriptor_set_out={descriptors}", "--include_source_info"]
        subprocess.run([*protoc, *described, *sources], check=True)
        script = Path(__file__).with_name("generate_types.py")
        subprocess.run([python, script, descriptors, folder / TYPES], check=True)


def generated(folder: Path) -> dict[Path, bytes]:
    """The generated files below ``folder`` by relative path; the hand-written are left out."""
    return {
        path.relative_to(folder): path.read_bytes()
        for package in (PACKAGE, TYPES)
        for path in sorted((folder / package).glob("*.py*"))
        if package == PACKAGE or b"Generated from" in path.read_bytes()[:100]
    }


def main() -> int:
    """Run the command; 1 when ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the code is out of date")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as name:
        generate(Path(name))
        made, present = generated(Path(name)), generated(CLIENT)
    stale = [path for path in {**made, **present} if made.get(path) != present.get(path)]
    for path in stale:
        if check:
            print(f"out of date: client/{path}", file=sys.stderr)
        elif path in made:
            (CLIENT / path).parent.mkdir(parents=True, exist_ok=True)
            (CLIENT / path).write_bytes(made[path])
        else:
            (CLIENT / path).unlink()
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
