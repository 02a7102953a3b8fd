"""Run one edge from its environment: `python -m slimedge`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from slimcodec.errors import CodecError
from slimcontrol.errors import ControlError
from slimedge.app import run_edge
from slimedge.errors import EdgeError
from slimedge.settings import EdgeSettings
from slimops.errors import OpsError
from slimops.logs import configure_logging
from slimops.settings import load_settings_or_exit
from slimops.tracing import configure_tracing


def main() -> int:
    """Run until the source ends or a signal comes; the exit code."""
    settings = load_settings_or_exit(EdgeSettings)
    configure_logging()
    end_tracing: Callable[[], None] | None = None
    try:
        end_tracing = configure_tracing("slimwire-edge", settings.otlp_endpoint)
        asyncio.run(run_edge(settings, handle_signals=True))
    except (EdgeError, ControlError, CodecError, OpsError) as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1
    finally:
        if end_tracing is not None:
            end_tracing()
    return 0


if __name__ == "__main__":
    sys.exit(main())
