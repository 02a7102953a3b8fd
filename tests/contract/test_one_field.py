"""A field of a frame stands in the .proto, the edge's header and the cloud's record of a frame.

Beside these only where its value is made and where the page shows it; see
`docs/develop/adding-a-field.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from slimcloud.store.records import StoredFrame
from slimedge.frame import FrameHeader
from slimwire.v1 import ingest_pb2 as pb

ROOT = Path(__file__).parents[2]
DECLARED = {
    "proto/slimwire/v1/ingest.proto",
    "services/edge/slimedge/frame.py",
    "services/cloud/slimcloud/store/records.py",
}
MADE = "services/edge/slimedge/encode/stage.py"
SHOWN = "services/cloud/slimcloud/review/ui/control.js"


def test_a_field_is_named_where_it_is_declared_made_and_shown() -> None:
    assert set(_files_with("link_bytes_per_second")) == {*DECLARED, MADE, SHOWN}


def test_a_field_of_the_cloud_is_named_where_it_is_declared_counted_and_shown() -> None:
    store = "services/cloud/slimcloud/store"
    files = {path for path in _files_with("comments_count") if "/review/ui/" not in path}

    assert files == {f"{store}/records.py", f"{store}/reviews.lua"}


def test_every_field_of_the_header_is_one_of_the_wire() -> None:
    header = {field.name for field in fields(FrameHeader)}

    assert header <= set(pb.Frame.DESCRIPTOR.fields_by_name)
    assert "link_bytes_per_second" in header & StoredFrame.model_fields.keys()


def _files_with(word: str) -> Iterator[str]:
    """The product's files, but for generated ones, that hold a word."""
    for root in ("proto", "shared", "services"):
        for path in (ROOT / root).rglob("*"):
            if path.suffix not in (".py", ".lua", ".proto", ".js", ".html") or "_pb2" in path.name:
                continue
            if word in path.read_text(encoding="utf-8"):
                yield path.relative_to(ROOT).as_posix()
