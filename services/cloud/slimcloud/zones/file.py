"""The rules of cameras as an operator writes them: YAML, one entry a camera."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from slimcloud.frame_id import CAMERA_ID_PATTERN
from slimcloud.zones.rules import CameraRules
from slimops.settings import parse_yaml

RulesTable = Mapping[str, CameraRules]  # by camera id

_TABLE = TypeAdapter(dict[Annotated[str, Field(pattern=f"^{CAMERA_ID_PATTERN}$")], CameraRules])


def parse_rules(text: str, names: Sequence[str] | None = None) -> RulesTable:
    """Read a table.

    Args:
        names: labels of the detector; None: not known.

    Raises:
        ValueError: it is no YAML, or a rule is wrong; the message says where.
    """
    try:
        table = _TABLE.validate_python(parse_yaml(text) or {})
    except ValidationError as exc:
        problems = exc.errors(include_url=False, include_input=False, include_context=False)
        said = [
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in problems
        ]
        raise ValueError("; ".join(said)) from exc
    for camera_id, rules in table.items():
        if names is not None and (unknown := rules.unknown_label(names)):
            raise ValueError(f"{camera_id}: {unknown}")
    return table
