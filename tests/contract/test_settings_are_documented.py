"""docs/cloud.md lists every setting with its default and its meaning, word for word."""

from __future__ import annotations

import enum
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from slimcloud.settings import CloudSettings
from slimedge.settings import EdgeSettings

ROOT = Path(__file__).resolve().parents[2]


def _row(variable: str, field: FieldInfo) -> str:
    if field.is_required():
        default = "required"
    elif field.default is None:
        default = "not set"
    else:
        value = field.default.value if isinstance(field.default, enum.Enum) else field.default
        default = f"`{value}`"
    return f"| `{variable}` | {default} | {field.description} |"


@pytest.mark.parametrize(
    ("page", "prefix", "settings"),
    [("cloud.md", "CLOUD_", CloudSettings), ("camera.md", "EDGE_", EdgeSettings)],
)
def test_the_table_says_what_the_code_says(
    page: str, prefix: str, settings: type[CloudSettings | EdgeSettings]
) -> None:
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    expected = [_row(f"{prefix}{n.upper()}", f) for n, f in settings.model_fields.items()]

    assert all(field.description for field in settings.model_fields.values())
    assert [line for line in lines if line.startswith(f"| `{prefix}")] == expected
