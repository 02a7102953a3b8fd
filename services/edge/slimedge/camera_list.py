"""The cameras of one process: the one that the environment describes, or those of a YAML list.

    cameras:
      - id: gate
        source: rtsp://camera.local/stream
        max_fps: 5
      - id: yard
        source: /dev/video0
        token_file: /run/secrets/yard

What a camera does not say, environment and configuration file say for all of them. The amounts of
`SHARED_OUT` are then the process's: cameras without one of their own have equal parts of it.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from slimedge.settings import EdgeSettings
from slimops.errors import SettingsError
from slimops.settings import config_path, load_settings, read_config, read_yaml

PROCESS_WIDE = (
    "cache_folder",
    "cameras",
    "encoder_threads",
    "http_host",
    "http_port",
    "log_format",
    "otlp_endpoint",
)
SHARED_OUT = ("cpu_share", "ring_bytes", "spool_bytes", "budget_bytes")


def load_cameras(
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> tuple[EdgeSettings, ...]:
    """The settings of each camera; arguments as of `load_settings`.

    Raises:
        SettingsError: a setting is unknown, missing or wrong, or an id is there twice; in the
            list it is named as `path: id.key`.
    """
    overrides, environ = overrides or {}, os.environ if environ is None else environ
    config = config or config_path(environ)
    section = {} if config is None else read_config(config).get("edge", {})
    path = overrides.get("cameras") or environ.get("EDGE_CAMERAS") or section.get("cameras")
    if path is None:
        return (load_settings(EdgeSettings, overrides, environ=environ, config=config),)
    entries = _read_list(Path(str(path)))
    problems, cameras = [], []
    if overrides.keys() & {"source", "camera_id"}:
        problems.append(f"{path}: says source and id of each camera; leave those options out")
    for where, entry in entries:
        problems += _problems_of(where, entry)
        said = {key: (value, f"{where}.{key}") for key, value in entry.items() if key != "id"}
        said["camera_id"] = (str(entry["id"]), f"{where}.id")
        try:
            cameras.append(
                load_settings(EdgeSettings, overrides, environ=environ, config=config, entry=said)
            )
        except SettingsError as exc:
            problems += exc.problems
    if problems:
        raise SettingsError(list(dict.fromkeys(problems)))  # one of the environment is told once
    return _share_out(cameras, [entry for _, entry in entries])


def _read_list(path: Path) -> list[tuple[str, dict[str, object]]]:
    """Each entry, and how to call it."""
    content = read_yaml(path)
    listed = content.get("cameras") if isinstance(content, dict) and len(content) == 1 else None
    if not isinstance(listed, list) or not listed:
        raise SettingsError([f"{path}: expected `cameras:` with a list of them, and nothing else"])
    entries, problems = [], []
    seen: set[str] = set()
    for number, entry in enumerate(listed, start=1):
        name = entry.get("id") if isinstance(entry, dict) else None
        if name is None:
            problems.append(f"{path}: camera {number}: expected settings, of which one is its id")
        elif str(name) in seen:
            problems.append(f"{path}: {name}.id: is there twice")
        else:
            seen.add(str(name))
            entries.append((f"{path}: {name}", {str(k): v for k, v in entry.items()}))
    if problems:
        raise SettingsError(problems)
    return entries


def _problems_of(where: str, entry: Mapping[str, object]) -> Iterator[str]:
    """What no camera of a list may say, and what each must."""
    for key in PROCESS_WIDE:
        if entry.keys() & {key, f"{key}_file"}:
            yield f"{where}.{key}: is one for all cameras; set EDGE_{key.upper()}"
    if "camera_id" in entry:
        yield f"{where}.camera_id: is called id here"
    if not entry.keys() & {"source", "source_file"}:
        yield f"{where}.source: is missing"


def _share_out(
    cameras: Sequence[EdgeSettings], entries: Sequence[Mapping[str, object]]
) -> tuple[EdgeSettings, ...]:
    shared = list(cameras)
    for name in SHARED_OUT:
        sharing = [n for n, e in enumerate(entries) if not e.keys() & {name, f"{name}_file"}]
        for number in sharing:
            whole = getattr(cameras[number], name)
            if whole is not None:
                part = whole / len(sharing)
                # rounded up: 0 would be no bound
                update = {name: math.ceil(part) if isinstance(whole, int) else part}
                shared[number] = shared[number].model_copy(update=update)
    return tuple(shared)
