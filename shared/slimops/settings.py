"""Settings of a service: one frozen class each; what they say first counts:

    arguments  >  environment  >  configuration file  >  defaults

A service derives from `ServiceSettings`, sets its `env_prefix`, and gives every field bounds, a
unit and a description (a field without a description is refused when the class is made). The
command builds them once, with `load_settings`: an unknown or wrong setting stops the start with
exit code 78 (EX_CONFIG of sysexits.h) and its name or path. `<NAME>_FILE` in the
environment, or `<name>_file` in the configuration file, holds the path of a file with the value,
for secrets. A field that is a secret says `json_schema_extra={"writeOnly": True}`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from slimops.config_file import config_path, read_config
from slimops.errors import SettingsError

_FILE_SUFFIX = "_file"
# Set by Google's images and shells, which happen to begin as the cloud's settings do.
_FOREIGN = frozenset({"CLOUD_SDK_VERSION", "CLOUD_SHELL"})


class ServiceSettings(BaseSettings):
    """Base of the settings of one service."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    renamed: ClassVar[Mapping[str, str]] = {}  # a setting that was -> the one that took its place

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        bare = [name for name, field in cls.model_fields.items() if not field.description]
        if bare:
            raise TypeError(f"{cls.__name__}: settings without a description: {', '.join(bare)}")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment; no dotenv files, which would depend on the directory."""
        return init_settings, env_settings


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


@dataclass(frozen=True, slots=True)
class LoadedSettings(Generic[SettingsT]):
    """Settings, and where each that is not a default was said."""

    settings: SettingsT
    origins: Mapping[str, str]  # by field: `CLOUD_ROLE`, `slimwire.yaml: cloud.role`, `argument`


def section_of(settings_class: type[BaseSettings]) -> str:
    """The section of a service in the configuration file: `cloud` for the prefix `CLOUD_`."""
    return settings_class.model_config.get("env_prefix", "").removesuffix("_").lower()


def load_settings(
    settings_class: type[SettingsT],
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> SettingsT:
    """The settings of a service; see `read_settings`."""
    return read_settings(settings_class, overrides, environ=environ, config=config).settings


def read_settings(
    settings_class: type[SettingsT],
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> LoadedSettings[SettingsT]:
    """The settings of a service, and where they come from.

    Args:
        overrides: values by field name, e.g. from the command line; they win.
        environ: stands in for `os.environ`, of which only what it lacks is still read.
        config: the configuration file; else the one that `SLIMWIRE_CONFIG` names, if any.

    Raises:
        SettingsError: a setting is unknown, missing or wrong.
    """
    environ = os.environ if environ is None else environ
    config = config_path(environ) if config is None else config
    found = _Found(settings_class)
    if config is not None:
        found.read_section(config)
    found.read_environment(environ)
    for name, value in (overrides or {}).items():
        found.take(name, value, "argument")
    return found.build()


class _Found(Generic[SettingsT]):
    """Values as they are found, a later source over an earlier one, and what is wrong with them."""

    def __init__(self, settings_class: type[SettingsT]) -> None:
        self._class = settings_class
        self._prefix = settings_class.model_config.get("env_prefix", "")
        self._values: dict[str, object] = {}
        self._origins: dict[str, str] = {}
        self._problems: list[str] = []

    def take(self, name: str, value: object, origin: str) -> None:
        self._values[name] = value
        self._origins[name] = origin

    def read_section(self, path: Path) -> None:
        section = section_of(self._class)
        given = read_config(path).get(section, {})
        self._read({key: (key, f"{path}: {section}.{key}") for key in given}, given)

    def read_environment(self, environ: Mapping[str, str]) -> None:
        prefix = self._prefix.upper()
        if prefix:  # without one, every variable would be a setting
            ours = [v for v in environ if v.upper().startswith(prefix)]
            names = {v: (v.upper().removeprefix(prefix).lower(), v) for v in sorted(ours)}
            self._read({v: n for v, n in names.items() if v.upper() not in _FOREIGN}, environ)

    def build(self) -> LoadedSettings[SettingsT]:
        build: Callable[..., SettingsT] = self._class  # its signature is the fields'
        try:
            settings = build(**self._values)
        except ValidationError as exc:
            for error in exc.errors(include_url=False, include_input=False, include_context=False):
                message = error["msg"].removeprefix("Value error, ")  # of our own checks
                where = f"{self._where(error['loc'])}: " if error["loc"] else ""
                self._problems.append(f"{where}{message}")
            raise SettingsError(self._problems) from exc
        if self._problems:
            raise SettingsError(self._problems)
        return LoadedSettings(settings, self._origins)

    def _read(self, names: Mapping[str, tuple[str, str]], given: Mapping[str, object]) -> None:
        """Take a source's values; `names` gives each key's field and how to call it."""
        fields, renamed = self._class.model_fields, getattr(self._class, "renamed", {})
        for key, (name, shown) in names.items():
            plain = name.removesuffix(_FILE_SUFFIX)
            if name in fields:
                self.take(name, given[key], shown)
            elif plain != name and plain in fields:
                if plain in (other for other, _ in names.values()):
                    self._problems.append(f"{shown}: {plain} is set, too; keep one of them")
                else:
                    self._take_file(plain, str(given[key]), shown)
            elif (new := renamed.get(name)) is not None:
                unit = new.rpartition("_")[2]
                self._problems.append(f"{shown}: is {self._like(new, key)} now, in {unit}")
            else:
                close = difflib.get_close_matches(name, fields, n=1)
                hint = f"; did you mean {self._like(close[0], key)}?" if close else ""
                self._problems.append(f"{shown}: unknown setting{hint}")

    def _take_file(self, name: str, path: str, shown: str) -> None:
        try:
            self.take(name, Path(path).read_text("utf-8").strip(), shown)
        except OSError as exc:
            self._problems.append(f"{shown}: cannot read {path}: {exc.strerror}")
        except UnicodeDecodeError:
            self._problems.append(f"{shown}: {path} is no UTF-8 text")

    def _like(self, name: str, key: str) -> str:
        """A field's name in the style of `key`: a variable, or a key of the file."""
        return f"{self._prefix}{name}".upper() if key.isupper() else name

    def _where(self, location: tuple[int | str, ...]) -> str:
        """How the person who set it knows a setting."""
        name = str(location[0])
        origin = self._origins.get(name, "")
        if ": " in origin:  # a path and a key of the configuration file
            return origin
        known = self._prefix and name in self._class.model_fields
        return f"{name} ({self._prefix}{name.upper()})" if known else name
