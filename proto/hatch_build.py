"""Build hook: what is made before a wheel or an editable install: the code of the wire, and the
codec's steps in C.

Made files are ignored by git, and hatchling leaves ignored files out of a wheel unless they are
named as artifacts.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sysconfig
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STEPS = "shared/slimcodec/context/steps.c"
# as `slimcodec.context.compiled` looks for it
LIBRARY = "shared/slimcodec/context/steps.lib"


def compile_steps(root: Path, library: Path) -> str:
    """Make the shared library of the steps; return why there is none, else nothing.

    The compiler is `$CC`, or `cc`.
    """
    made = library.with_name(f"{library.name}.{os.getpid()}")
    source = root / STEPS
    command = [*shlex.split(os.environ.get("CC", "cc")), "-std=c99", "-O3", "-shared", "-fPIC"]
    command.append(f"-DSOURCE_CRC32={zlib.crc32(source.read_bytes())}u")
    try:
        subprocess.run(
            [*command, "-o", str(made), str(source)],
            check=True,
            capture_output=True,
            text=True,
        )
        made.replace(library)  # at once: others may load it
        return ""
    except (OSError, subprocess.CalledProcessError) as exc:
        library.unlink(missing_ok=True)  # it may be of another source
        made.unlink(missing_ok=True)
        return str(getattr(exc, "stderr", exc)).strip()


class MadeFilesHook(BuildHookInterface[Any]):
    """Runs `proto/generate.py` and the C compiler for the target `wheel`, editable or not."""

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
        if why := compile_steps(root, root / LIBRARY):
            self.app.display_warning(
                f"the codec's steps are not compiled, numpy takes them, more slowly: {why}"
            )
            return
        build_data["artifacts"].append(LIBRARY)
        if version == "standard":  # an editable install is for this machine anyway
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"  # of any Python: the library has none
