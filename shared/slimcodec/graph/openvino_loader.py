"""OpenVINO, imported when it is needed and without its telemetry.

`import openvino` reports the import to its maker: a process of its own connects to an analytics
host, and an identifier is written to the home directory. Software that sits beside cameras does not
do that. OpenVINO goes without when the package `openvino_telemetry` cannot be imported, so it is
marked as such before. The import takes 0.3 s besides, which commands without a graph need not pay.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_TELEMETRY = "openvino_telemetry"


def load_openvino() -> ModuleType:
    """Import `openvino`, silenced."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault(_TELEMETRY, None)  # type: ignore[arg-type]  # None: not importable
    return importlib.import_module("openvino")
