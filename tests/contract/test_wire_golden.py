"""Messages of every `protocol_minor` still read: each kind once, with every field that 0.1 had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from slimwire.v1 import ingest_pb2 as pb

GOLDEN = json.loads(Path(__file__).with_name("golden_wire.json").read_text(encoding="utf-8"))
MESSAGES = [(kind, golden) for kind, messages in GOLDEN.items() for golden in messages]


@pytest.mark.parametrize(
    ("kind", "golden"), MESSAGES, ids=["-".join([k, *g["says"]]) for k, g in MESSAGES]
)
def test_a_message_reads_as_it_was_meant(kind: str, golden: dict[str, object]) -> None:
    written = bytes.fromhex(str(golden["hex"]))

    message = getattr(pb, kind).FromString(written)

    assert MessageToDict(message, preserving_proto_field_name=True) == golden["says"]
    assert message.SerializeToString(deterministic=True) == written


def test_every_kind_of_message_is_there() -> None:
    for kind, messages in GOLDEN.items():
        kinds = {name for golden in messages for name in golden["says"]}
        oneof = getattr(pb, kind).DESCRIPTOR.oneofs_by_name["message"]
        assert kinds <= {field.name for field in oneof.fields}
        assert len(kinds) >= 6
