"""Build hook: generate the code of the wire before a wheel or an editable install is made.

Generated files are ignored by git, and hatchling leaves ignored files out of a wheel unless they
are named as artifacts.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GenerateWireHook(BuildHookInterface[Any]):
    """Runs `proto/generate.py` for the target `wheel`, editable or not."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # A source distribution carries the .proto files; the wheel built from it comes here.
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        generator = root / "proto" / "generate.py"
        spec = importlib.util.spec_from_file_location("slimwire_generate", generator)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(f"{generator} is missing; build from a complete checkout")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        build_data["artifacts"] += [
            path.relative_to(root).as_posix()
            for path in module.generate(root / "proto", root / "shared")
        ]
