"""Writes one module of dataclasses for each proto file that defines no service.

Called by generate_protos.py with the generator's Python: ``generate_types.py DESCRIPTORS FOLDER``.
The comments of the contract become the docstrings, so that it is written in one place only.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb

Field = pb.FieldDescriptorProto
SCALARS = {
    Field.TYPE_STRING: ("str", '""'),
    Field.TYPE_BOOL: ("bool", "False"),
    Field.TYPE_DOUBLE: ("float", "0.0"),
    Field.TYPE_INT32: ("int", "0"),
    Field.TYPE_INT64: ("int", "0"),
}
KNOWN = {
    ".google.protobuf.Duration": "Seconds",
    ".google.protobuf.Timestamp": "datetime",
    ".reelsplit.v1.Rational": "Fraction",
}
IMPORTS = {
    "datetime": "from datetime import datetime",
    "Fraction": "from fractions import Fraction",
    "Seconds": "from reelsplit.types.record import Record, Seconds",
}


def comments(file: pb.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """The leading comment of each element, by its path in the file's descriptor."""
    return {
        tuple(place.path): " ".join(place.leading_comments.split())
        for place in file.source_code_info.location
    }


def docstring(text: str, indent: int) -> Iterator[str]:
    """A docstring of ``text``, wrapped to 100 columns."""
    pad = " " * indent
    lines = textwrap.wrap(text, 97 - indent - 6) or [""]
    if len(lines) == 1:
        yield f'{pad}"""{lines[0]}"""'
        return
    yield f'{pad}"""{lines[0]}'
    yield from (f"{pad}{line}" for line in lines[1:])
    yield f'{pad}"""'


class Module:
    """The Python module of one proto file."""

    def __init__(self, file: pb.FileDescriptorProto, homes: dict[str, str]) -> None:
        self.file = file
        self.homes = homes
        self.comments = comments(file)
        self.used: set[str] = set()

    def reference(self, type_name: str) -> str:
        """The Python name of a message or enum, remembered for the imports."""
        name = KNOWN.get(type_name) or type_name.rsplit(".", 1)[1]
        self.used.add(name)
        return name

    def field_type(self, field: Field) -> str:
        """The Python type of one value of a field."""
        if field.type in (Field.TYPE_MESSAGE, Field.TYPE_ENUM):
            return self.reference(field.type_name)
        return SCALARS[field.type][0]

    def field_line(self, field: Field, message: pb.DescriptorProto, required: bool) -> str:
        """The line that declares a field."""
        entry = next((n for n in message.nested_type if field.type_name.endswith("." + n.name)), 0)
        if entry:
            self.used.add("Mapping")
            return f"{field.name}: Mapping[str, str] = dataclasses.field(default_factory=dict)"
        kind = self.field_type(field)
        if field.label == Field.LABEL_REPEATED:
            self.used.add("Sequence")
            return f"{field.name}: Sequence[{kind}]" + ("" if required else " = ()")
        if required:
            return f"{field.name}: {kind}"
        has_presence = field.HasField("oneof_index") or field.type == Field.TYPE_MESSAGE
        if has_presence:
            return f"{field.name}: {kind} | None = None"
        if field.type == Field.TYPE_ENUM:
            return f"{field.name}: {kind} = {kind}.UNSPECIFIED"
        return f"{field.name}: {kind} = {SCALARS[field.type][1]}"

    def message(self, number: int, message: pb.DescriptorProto) -> Iterator[str]:
        """The dataclass of a message."""
        yield "@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)"
        yield f"class {message.name}(Record):"
        yield from docstring(self.comments.get((4, number), ""), 4)
        merged: set[int] = set()
        for place, field in enumerate(message.field):
            doc = self.comments.get((4, number, 2, place), "")
            required = doc.startswith("Required.")
            line = self.field_line(field, message, required)
            if field.HasField("oneof_index") and not field.proto3_optional:
                index = field.oneof_index
                members = [f for f in message.field if f.oneof_index == index]
                members = [f for f in members if f.HasField("oneof_index")]
                if all(f.type == Field.TYPE_MESSAGE for f in members):
                    if index in merged:
                        continue
                    merged.add(index)
                    doc = self.comments.get((4, number, 8, index), "")
                    union = " | ".join(self.field_type(f) for f in members)
                    optional = "" if doc.startswith("Required.") else " | None = None"
                    line = f"{message.oneof_decl[index].name}: {union}{optional}"
                else:
                    doc = " ".join((self.comments.get((4, number, 8, index), ""), doc))
                    line = f"{field.name}: {self.field_type(field)} | None = None"
            yield ""
            yield f"    {line}"
            yield from docstring(doc, 4)

    def enum(self, number: int, enum: pb.EnumDescriptorProto) -> Iterator[str]:
        """The enum of an enum; its values are the names without their common prefix."""
        prefix = "".join("_" + c if c.isupper() else c.upper() for c in enum.name)[1:] + "_"
        yield f"class {enum.name}(enum.StrEnum):"
        yield from docstring(self.comments.get((5, number), ""), 4)
        for place, value in enumerate(enum.value):
            name = value.name.removeprefix(prefix)
            yield ""
            yield f'    {name} = "{name}"'
            yield from docstring(self.comments.get((5, number, 2, place), ""), 4)

    def text(self) -> str:
        """The source of the module."""
        body: list[str] = []
        for number, enum in enumerate(self.file.enum_type):
            body += ["", "", *self.enum(number, enum)]
        for number, message in enumerate(self.file.message_type):
            if message.name != "Rational":
                body += ["", "", *self.message(number, message)]
        name = self.file.name.rsplit("/", 1)[1]
        head = [
            f'"""Generated from {self.file.name} by scripts/generate_types.py; never edited."""',
            "",
            "from __future__ import annotations",
            "",
            *(["import dataclasses"] if self.file.message_type else []),
            *(["import enum"] if self.file.enum_type else []),
        ]
        known = sorted(self.used & {"Mapping", "Sequence"})
        if known:
            head.append(f"from collections.abc import {', '.join(known)}")
        for kind in ("datetime", "Fraction"):
            if kind in self.used:
                head.append(IMPORTS[kind])
        head.append("")
        if "Seconds" in self.used:
            head.append(IMPORTS["Seconds"])
        elif self.file.message_type:
            head.append("from reelsplit.types.record import Record")
        others: dict[str, list[str]] = {}
        for kind in sorted(self.used - set(IMPORTS) - {"Mapping", "Sequence"}):
            if (home := self.homes[kind]) != name.removesuffix(".proto"):
                others.setdefault(home, []).append(kind)
        for home, kinds in sorted(others.items()):
            imported = ", ".join(kinds)
            line = f"from reelsplit.types.{home} import {imported}"
            if len(line) > 100:
                names = "".join(f"    {kind},\n" for kind in kinds)
                line = f"from reelsplit.types.{home} import (\n{names})"
            head.append(line)
        return "\n".join([*head, *body]).rstrip() + "\n"


def main(descriptors: Path, folder: Path) -> None:
    """Write the modules."""
    files = pb.FileDescriptorSet.FromString(descriptors.read_bytes()).file
    files = [f for f in files if f.package == "reelsplit.v1" and not f.service]
    homes = {
        kind.name: file.name.rsplit("/", 1)[1].removesuffix(".proto")
        for file in files
        for kind in (*file.message_type, *file.enum_type)
    }
    for file in files:
        stem = file.name.rsplit("/", 1)[1].removesuffix(".proto")
        (folder / f"{stem}.py").write_text(Module(file, homes).text())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
