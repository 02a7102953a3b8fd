"""The rules of the wire's `.proto` files: buf's STANDARD set where `buf` is here, and ours always.

Ours: names and enums as buf wants them, a comment on everything, a unit or a range on every number,
and no number that ever changes its meaning: `wire_numbers.txt` lists all that were given out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]
PROTO_ROOT = ROOT / "proto"
NUMBERS = Path(__file__).with_name("wire_numbers.txt")
NODE_MODULES = ROOT / "tests" / "integration" / "node_client" / "node_modules"
BUF = NODE_MODULES / "@bufbuild" / "buf-linux-x64" / "bin" / "buf"

_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6  # fields of FileDescriptorProto: steps of a comment's path
_FIELDS, _VALUES, _METHODS = 2, 2, 2
_NUMBERS = {
    FieldDescriptorProto.TYPE_UINT32,
    FieldDescriptorProto.TYPE_UINT64,
    FieldDescriptorProto.TYPE_FIXED32,
    FieldDescriptorProto.TYPE_FIXED64,
    FieldDescriptorProto.TYPE_FLOAT,
    FieldDescriptorProto.TYPE_BYTES,
}
_UNIT_OR_RANGE = re.compile(
    r"micro|milli|second|byte|pixel|\d|CRC32C|level|index|number|sequence|as in", re.IGNORECASE
)


def _describe(root: Path, scratch: Path) -> list[FileDescriptorProto]:
    out = scratch / "descriptors.bin"
    names = [str(path.relative_to(root)) for path in sorted(root.rglob("*.proto"))]
    status: int = protoc.main(
        [
            "protoc",
            f"--proto_path={root}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--descriptor_set_out={out}",
            "--include_source_info",
            *names,
        ]
    )
    assert status == 0, names
    return list(FileDescriptorSet.FromString(out.read_bytes()).file)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> list[FileDescriptorProto]:
    return _describe(PROTO_ROOT, tmp_path_factory.mktemp("wire"))


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {
        tuple(location.path): f"{location.leading_comments} {location.trailing_comments}".strip()
        for location in file.source_code_info.location
    }


def _named(file: FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Everything that has a name, with the path of its comment."""
    for i, message in enumerate(file.message_type):
        yield message.name, (_MESSAGES, i)
        for j, field in enumerate(message.field):
            yield f"{message.name}.{field.name}", (_MESSAGES, i, _FIELDS, j)
    for i, enum in enumerate(file.enum_type):
        yield enum.name, (_ENUMS, i)
        for j, value in enumerate(enum.value):
            yield value.name, (_ENUMS, i, _VALUES, j)
    for i, service in enumerate(file.service):
        yield service.name, (_SERVICES, i)
        for j, method in enumerate(service.method):
            yield method.name, (_SERVICES, i, _METHODS, j)


def _screaming(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def faults_of(file: FileDescriptorProto) -> list[str]:
    """What is wrong with one file, in words."""
    faults = []
    package = file.name.rpartition("/")[0].replace("/", ".")
    if file.package != package or not re.search(r"\.v[1-9][0-9]*$", file.package):
        faults.append(f"{file.name}: package {file.package}; expected {package}, with a version")
    for message in file.message_type:
        faults += _message_faults(message)
    for enum in file.enum_type:
        faults += _enum_faults(enum)
    for service in file.service:
        if not service.name.endswith("Service"):
            faults.append(f"{service.name}: a service's name ends with Service")
        for method in service.method:
            pair = [t.rpartition(".")[2] for t in (method.input_type, method.output_type)]
            if pair != [f"{method.name}Request", f"{method.name}Response"]:
                faults.append(f"{method.name}: its messages are {pair}")
    comments = _comments(file)
    faults += [f"{name}: no comment" for name, path in _named(file) if not comments.get(path)]
    for i, message in enumerate(file.message_type):
        for j, field in enumerate(message.field):
            comment = comments.get((_MESSAGES, i, _FIELDS, j), "")
            if field.type in _NUMBERS and not _UNIT_OR_RANGE.search(comment):
                faults.append(f"{message.name}.{field.name}: no unit and no range: {comment!r}")
    return faults


def _message_faults(message: DescriptorProto) -> list[str]:
    names = [field.name for field in message.field] + [one.name for one in message.oneof_decl]
    return [
        f"{message.name}.{name}: names are lower_snake_case"
        for name in names
        if not re.fullmatch(r"_?[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
    ]


def _enum_faults(enum: EnumDescriptorProto) -> list[str]:
    prefix = f"{_screaming(enum.name)}_"
    faults = [
        f"{value.name}: expected the prefix {prefix}"
        for value in enum.value
        if not value.name.startswith(prefix)
    ]
    if (enum.value[0].name, enum.value[0].number) != (f"{prefix}UNSPECIFIED", 0):
        faults.append(f"{enum.name}: 0 is not {prefix}UNSPECIFIED")
    return faults


def numbers_of(described: Sequence[FileDescriptorProto]) -> list[str]:
    """Every number that is in use, one a line: `package.Message.field = number type`."""
    lines = []
    for file in described:
        for message in file.message_type:
            for field in message.field:
                kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
                if field.type_name:
                    kind = field.type_name.rpartition(".")[2]
                if field.label == FieldDescriptorProto.LABEL_REPEATED:
                    kind = f"repeated {kind}"
                lines.append(f"{file.package}.{message.name}.{field.name} = {field.number} {kind}")
        for enum in file.enum_type:
            lines += [f"{file.package}.{value.name} = {value.number}" for value in enum.value]
    return lines


def test_wire_keeps_its_rules(described: list[FileDescriptorProto]) -> None:
    assert [fault for file in described for fault in faults_of(file)] == []


def test_no_number_ever_changes_its_meaning(described: list[FileDescriptorProto]) -> None:
    given_out = NUMBERS.read_text(encoding="utf-8").splitlines()
    in_use = numbers_of(described)

    assert sorted(set(given_out) - set(in_use)) == [], "a field was changed or removed: add another"
    assert sorted(set(in_use) - set(given_out)) == [], f"new: add these lines to {NUMBERS.name}"


def test_a_file_that_breaks_every_rule_is_found_out(tmp_path: Path) -> None:
    folder = tmp_path / "bad" / "v1"
    folder.mkdir(parents=True)
    (folder / "bad.proto").write_text(
        'syntax = "proto3";\n'
        "package bad.other;\n"
        "// A service.\n"
        "service Ingest {\n  // A method.\n  rpc Send(Sent) returns (Sent);\n}\n"
        "// A message.\n"
        "message Sent {\n  uint32 wait = 1;  // how long\n  // A name.\n  string Name = 2;\n"
        "  bytes container = 3;\n}\n"
        "// An enum.\n"
        "enum Lane {\n  // Now.\n  LIVE = 0;\n}\n",
        encoding="utf-8",
    )

    (file,) = _describe(tmp_path, tmp_path)

    assert faults_of(file) == [
        "bad/v1/bad.proto: package bad.other; expected bad.v1, with a version",
        "Sent.Name: names are lower_snake_case",
        "LIVE: expected the prefix LANE_",
        "Lane: 0 is not LANE_UNSPECIFIED",
        "Ingest: a service's name ends with Service",
        "Send: its messages are ['Sent', 'Sent']",
        "Sent.container: no comment",
        "Sent.wait: no unit and no range: 'how long'",
        "Sent.container: no unit and no range: ''",
    ]


def test_buf_finds_nothing() -> None:
    buf = str(BUF) if BUF.exists() else shutil.which("buf")
    if buf is None:
        pytest.skip("no buf on this machine: `npm ci` in tests/integration/node_client brings it")

    linted = subprocess.run(
        [buf, "lint", str(PROTO_ROOT)], capture_output=True, text=True, timeout=60, check=False
    )

    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")
