"""Figures as JSON has them: it knows no NaN and no infinity."""

from __future__ import annotations

import math


def json_value(value: object) -> object:
    """Give the same with null for each number that is not finite; tuples become lists."""
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
