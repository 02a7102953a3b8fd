"""Generate the Python code of the wire from `proto/**/*.proto`.

    proto/slimwire/v1/ingest.proto -> shared/slimwire/v1/ingest_pb2.py    messages
                                      ingest_pb2.pyi       their types
                                      ingest_pb2_grpc.py   service stub, servicer, registration
                                      ingest_pb2_grpc.pyi  their types, for `grpc.aio`

The output lies below the public name, in the package `slimwire.v1`, and is not committed: the build
makes it (`proto/hatch_build.py`). By hand: `python proto/generate.py`. protoc writes no types for
services, so `render_service_types` does, from the same descriptors.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

PROTO_ROOT = Path(__file__).resolve().parent
SOURCE_ROOT = PROTO_ROOT.parent / "shared"  # where `import slimwire` finds its package
GENERATED_SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def generate(root: Path = PROTO_ROOT, source_root: Path = SOURCE_ROOT) -> list[Path]:
    """Generate the code of every `.proto` below `root`, at the same place below `source_root`.

    Returns:
        The written files, sorted.

    Raises:
        RuntimeError: protoc refused a file; it has printed why.
    """
    sources = sorted(root.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        descriptors = Path(scratch) / "descriptors.bin"
        status: int = protoc.main(
            [
                "protoc",
                f"--proto_path={root}",
                f"--proto_path={files('grpc_tools') / '_proto'}",
                f"--descriptor_set_out={descriptors}",
                f"--python_out={source_root}",
                f"--pyi_out={source_root}",
                f"--grpc_python_out={source_root}",
                *map(str, sources),
            ]
        )
        if status != 0:
            names = ", ".join(str(source.relative_to(root)) for source in sources)
            raise RuntimeError(f"protoc ended with status {status} for {names}")
        described = FileDescriptorSet.FromString(descriptors.read_bytes())
    for file in described.file:
        path = source_root / file.name.replace(".proto", "_pb2_grpc.pyi")
        path.write_text(render_service_types(file), encoding="utf-8")
    return sorted(
        source_root / file.name.replace(".proto", suffix)
        for file in described.file
        for suffix in GENERATED_SUFFIXES
    )


def render_service_types(file: FileDescriptorProto) -> str:
    """Give the text of `<name>_pb2_grpc.pyi` for the services of one `.proto` file."""
    package, _, name = file.name.removesuffix(".proto").replace("/", ".").rpartition(".")
    messages = f"{name}_pb2"
    lines = [
        "from collections.abc import AsyncIterator",
        "",
        "import grpc",
        "import grpc.aio",
        f"from {package} import {messages}" if package else f"import {messages}",
    ]
    for service in file.service:
        lines += ["", *_render_stub(service, messages), "", *_render_servicer(service, messages)]
    return "\n".join(lines) + "\n"


def _render_stub(service: ServiceDescriptorProto, messages: str) -> list[str]:
    return [
        f"class {service.name}Stub:",
        *(
            f"    {method.name}: grpc.aio.{_arity(method)}MultiCallable"
            f"[{_message(method.input_type, messages)}, {_message(method.output_type, messages)}]"
            for method in service.method
        ),
        "    def __init__(self, channel: grpc.aio.Channel) -> None: ...",
    ]


def _render_servicer(service: ServiceDescriptorProto, messages: str) -> list[str]:
    lines = [f"class {service.name}Servicer:"]
    for method in service.method:
        request = _message(method.input_type, messages)
        response = _message(method.output_type, messages)
        context = f"grpc.aio.ServicerContext[{request}, {response}]"
        if method.client_streaming:
            argument = f"request_iterator: AsyncIterator[{request}]"
        else:
            argument = f"request: {request}"
        # A streaming answer is an async generator: a plain `def` that gives an AsyncIterator.
        head, result = (
            ("def", f"AsyncIterator[{response}]")
            if method.server_streaming
            else ("async def", response)
        )
        lines.append(
            f"    {head} {method.name}(self, {argument}, context: {context}) -> {result}: ..."
        )
    return [
        *lines,
        "",
        f"def add_{service.name}Servicer_to_server("
        f"servicer: {service.name}Servicer, server: grpc.aio.Server) -> None: ...",
    ]


def _arity(method: MethodDescriptorProto) -> str:
    sides = (method.client_streaming, method.server_streaming)
    return "".join("Stream" if streaming else "Unary" for streaming in sides)


def _message(type_name: str, messages: str) -> str:
    # Every request and response is a top-level message of its own file (one pair per rpc).
    return f"{messages}.{type_name.rpartition('.')[2]}"


if __name__ == "__main__":
    for generated in generate():
        sys.stdout.write(f"{generated.relative_to(SOURCE_ROOT)}\n")
