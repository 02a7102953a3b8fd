"""The configuration file: YAML, read and never written, one section for each service.

    cloud:
      role: detect
      redis_url_file: /run/secrets/redis_url   # a file that holds the value
    edge:
      source: /dev/video0

Its path comes from `--config` or `SLIMWIRE_CONFIG`; no directory is searched.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from slimops.errors import SettingsError

CONFIG_VARIABLE = "SLIMWIRE_CONFIG"
SECTIONS = ("cloud", "edge")


def config_path(environ: Mapping[str, str]) -> Path | None:
    """The file that the environment names, if it names one."""
    named = environ.get(CONFIG_VARIABLE, "")
    return Path(named) if named else None


def read_config(path: Path) -> dict[str, dict[str, object]]:
    """The sections of a configuration file.

    Raises:
        SettingsError: it cannot be read, is no YAML, repeats a key, or has a section that no
            service has; the message begins with the path.
    """
    try:
        content = yaml.load(path.read_bytes(), Loader=_UniqueKeyLoader)
    except OSError as exc:
        raise SettingsError([f"{path}: cannot read: {exc.strerror}"]) from exc
    except yaml.MarkedYAMLError as exc:
        where = exc.problem_mark or exc.context_mark
        line = f", line {where.line + 1}" if where else ""
        raise SettingsError([f"{path}{line}: {exc.problem or 'no YAML'}"]) from exc
    except yaml.YAMLError as exc:  # bytes that are no text
        raise SettingsError([f"{path}: no YAML: {exc}"]) from exc
    sections = {} if content is None else content
    if not isinstance(sections, dict):
        raise SettingsError([f"{path}: expected the sections {' and '.join(SECTIONS)}"])
    problems = [
        f"{path}: {name}: unknown section; expected {' or '.join(SECTIONS)}"
        for name in sections
        if name not in SECTIONS
    ]
    for name, section in sections.items():
        if name in SECTIONS and not isinstance(section, dict | None):
            problems.append(f"{path}: {name}: expected settings, one a line, as `name: value`")
    if problems:
        raise SettingsError(problems)
    return {
        name: {str(key): value for key, value in (section or {}).items()}
        for name, section in sections.items()
    }


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML forbids a key twice, PyYAML takes the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # a list as a key: refused below, with its line
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key_node.value} is there twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)
