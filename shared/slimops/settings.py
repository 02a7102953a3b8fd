"""Settings of a service: one frozen class each; what they say first counts:

    arguments  >  environment  >  configuration file  >  defaults

A service derives from `ServiceSettings`, sets its `env_prefix`, and gives every field bounds, a
unit and a description, its docstring. The command builds them once, with `load_settings`: an
unknown or wrong setting stops the start with exit code 78 (EX_CONFIG of sysexits.h) and its name or
path; an empty variable is not set. `<NAME>_FILE` in the environment, or `<name>_file` in the
configuration file, holds the path of a file with the value, for secrets. A field that is a secret
says `json_schema_extra={"writeOnly": True}`.

The configuration file is YAML, read and never written, one section for each service; its path comes
from `--config` or `SLIMWIRE_CONFIG`, and no directory is searched:

    cloud:
      role: detect
      redis_url_file: /run/secrets/redis_url   # a file that holds the value
    edge:
      source: /dev/video0
"""

import difflib
import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from slimops.errors import SettingsError

CONFIG_VARIABLE = "SLIMWIRE_CONFIG"
SECTIONS = ("cloud", "edge")
_FILE_SUFFIX = "_file"
# Set by Google's images, shells and jobs, and by Kubernetes for services called cloud or edge.
_FOREIGN = re.compile(
    r"CLOUD_(SDK_VERSION|SHELL|RUN_(JOB|EXECUTION|TASK_\w+))=.*"
    r"|\w+_SERVICE_(HOST|PORT(_\w+)?)=.*"
    r"|\w+_PORT(_\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://.*"
    r"|\w+_PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)=.*"
)


class ServiceSettings(BaseModel):
    """Base of the settings of one service."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )
    env_prefix: ClassVar[str] = ""  # of its variables, e.g. CLOUD_; the section is called cloud
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _files: dict[str, Path] = PrivateAttr(default_factory=dict)

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each field that is no default was said: a variable, a line, or `argument`."""
        return self._origins

    @property
    def files(self) -> Mapping[str, Path]:
        """The file that each field's value was read from, where it was."""
        return self._files


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def load_settings(
    settings_class: type[SettingsT],
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
    entry: Mapping[str, tuple[object, str]] | None = None,
) -> SettingsT:
    """The settings of a service.

    Args:
        overrides: values by field name, e.g. from the command line; they win.
        environ: stands in for `os.environ`.
        config: the configuration file; else the one that `SLIMWIRE_CONFIG` names, if any.
        entry: of a list of which each has settings of its own, over those of the environment:
            values by key, each with where it stands, as `path: key`.

    Raises:
        SettingsError: a setting is unknown, missing or wrong.
    """
    environ = os.environ if environ is None else environ
    config = config_path(environ) if config is None else config
    found = _Found(settings_class)
    if config is not None:
        found.read_section(config)
    found.read_environment(environ)
    found.read(entry or {})
    for name, value in (overrides or {}).items():
        found.take(name, value, "argument")
    return found.build()


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
    sections = {} if (content := read_yaml(path)) is None else content
    if not isinstance(sections, dict):
        raise SettingsError([f"{path}: expected the sections {' and '.join(SECTIONS)}"])
    problems = []
    for name, section in sections.items():
        if name not in SECTIONS:
            problems.append(f"{path}: {name}: unknown section; expected {' or '.join(SECTIONS)}")
        elif not isinstance(section, dict | None):
            problems.append(f"{path}: {name}: expected settings, one a line, as `name: value`")
    if problems:
        raise SettingsError(problems)
    return {
        name: {str(key): value for key, value in (section or {}).items()}
        for name, section in sections.items()
    }


def read_yaml(path: Path) -> object:
    """What a YAML file says; None where it says nothing.

    Raises:
        SettingsError: it cannot be read, is no YAML, or repeats a key; the message begins with the
            path.
    """
    try:
        return parse_yaml(path.read_bytes())
    except OSError as exc:
        raise SettingsError([f"{path}: cannot read: {exc.strerror}"]) from exc
    except ValueError as exc:
        raise SettingsError([f"{path}: {exc}"]) from exc


def parse_yaml(content: str | bytes) -> object:
    """What a YAML document says; None where it says nothing.

    Raises:
        ValueError: it is no YAML, or repeats a key.
    """
    try:
        return yaml.load(content, Loader=_UniqueKeyLoader)
    except yaml.MarkedYAMLError as exc:
        where = exc.problem_mark or exc.context_mark
        line = f"line {where.line + 1}: " if where else ""
        raise ValueError(f"{line}{exc.problem or 'no YAML'}") from exc
    except yaml.YAMLError as exc:  # bytes that are no text
        raise ValueError(f"no YAML: {exc}") from exc


class _Found(Generic[SettingsT]):
    """Values as they are found, a later source over an earlier one, and what is wrong with them."""

    def __init__(self, settings_class: type[SettingsT]) -> None:
        self._class = settings_class
        self._prefix = settings_class.env_prefix
        self._values: dict[str, object] = {}
        self._origins: dict[str, str] = {}
        self._files: dict[str, Path] = {}
        self._problems: list[str] = []

    def take(self, name: str, value: object, origin: str) -> None:
        self._values[name] = value
        self._origins[name] = origin
        self._files.pop(name, None)

    def read_section(self, path: Path) -> None:
        section = self._prefix.removesuffix("_").lower()
        given = read_config(path).get(section, {})
        self.read({key: (value, f"{path}: {section}.{key}") for key, value in given.items()})

    def read_environment(self, environ: Mapping[str, str]) -> None:
        prefix = self._prefix.upper()
        if prefix:  # without one, every variable would be a setting
            ours = [v for v in sorted(environ) if v.upper().startswith(prefix)]
            known = [v for v in ours if not _FOREIGN.match(f"{v.upper()}={environ[v]}")]
            self.read({v[len(prefix) :].lower(): (environ[v], v) for v in known}, prefix)

    def build(self) -> SettingsT:
        try:
            settings = self._class.model_validate(self._values)
        except ValidationError as exc:
            for error in exc.errors(include_url=False, include_input=False, include_context=False):
                message = error["msg"].removeprefix("Value error, ")  # of our own checks
                where = f"{self._where(error['loc'])}: " if error["loc"] else ""
                self._problems.append(f"{where}{message}")
            raise SettingsError(self._problems) from exc
        if self._problems:
            raise SettingsError(self._problems)
        settings._origins |= self._origins
        settings._files |= self._files
        return settings

    def read(self, given: Mapping[str, tuple[object, str]], prefix: str = "") -> None:
        """Take a source's values, each with how to call it; `prefix` begins its names."""
        fields = self._class.model_fields
        for name, (value, shown) in given.items():
            plain = name.removesuffix(_FILE_SUFFIX)
            if prefix and value == "" and plain in fields:
                continue  # a variable without a value is not set
            if name in fields:
                self.take(name, value, shown)
            elif plain != name and plain in fields:
                if plain in given:
                    self._problems.append(f"{shown}: {plain} is set, too; keep one of them")
                else:
                    self._take_file(plain, str(value), shown)
            else:
                close = difflib.get_close_matches(name, fields, n=1)
                names = (f"{prefix}{n.upper()}" if prefix else n for n in close)
                hint = "".join(f"; did you mean {meant}?" for meant in names)
                self._problems.append(f"{shown}: unknown setting{hint}")

    def _take_file(self, name: str, path: str, shown: str) -> None:
        try:
            self.take(name, Path(path).read_text("utf-8-sig").strip(), shown)
            self._files[name] = Path(path)
        except OSError as exc:
            self._problems.append(f"{shown}: cannot read {path}: {exc.strerror}")
        except UnicodeDecodeError:
            self._problems.append(f"{shown}: {path} is no UTF-8 text")

    def _where(self, location: tuple[int | str, ...]) -> str:
        """How the person who set it knows a setting."""
        name = str(location[0])
        origin = self._origins.get(name, "")
        if ": " in origin:  # a path and a key of the configuration file
            return origin
        known = self._prefix and name in self._class.model_fields
        return f"{name} ({self._prefix}{name.upper()})" if known else name


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
