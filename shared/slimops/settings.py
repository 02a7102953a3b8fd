"""Settings of a service: one frozen class each, from arguments and the environment, in that order.

A service derives from `ServiceSettings`, sets its `env_prefix`, and gives every field bounds, a
unit and a description (a field without a description is refused when the class is made). It
builds them once, in its `__main__`, with `load_settings_or_exit`: an unknown or wrong setting
stops the start with exit code 78 (EX_CONFIG) and its name. `<NAME>_FILE` holds the path of a file
with the value, for secrets.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from slimops.errors import SettingsError

__all__ = ["EXIT_CONFIG", "ServiceSettings", "load_settings", "load_settings_or_exit"]

EXIT_CONFIG: Final = 78  # EX_CONFIG of sysexits.h
_FILE_SUFFIX: Final = "_FILE"
# Set by Google's images and shells, which happen to begin as the cloud's settings do.
_FOREIGN: Final = frozenset({"CLOUD_SDK_VERSION", "CLOUD_SHELL"})


class ServiceSettings(BaseSettings):
    """Base of the settings of one service."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

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


def load_settings(
    settings_class: type[SettingsT],
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> SettingsT:
    """The settings of a service.

    Args:
        overrides: values by field name, e.g. from the command line; they win.
        environ: stands in for `os.environ` when looking for unknown names and `_FILE` settings.

    Raises:
        SettingsError: a setting is unknown, missing or wrong.
    """
    environ = os.environ if environ is None else environ
    prefix = settings_class.model_config.get("env_prefix", "")
    problems, values = _read_environment(settings_class, prefix, environ)
    values.update(overrides or {})
    build: Callable[..., SettingsT] = settings_class  # its signature is the fields', not the base's
    try:
        settings = build(**values)
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_input=False, include_context=False):
            name = ".".join(str(part) for part in error["loc"]) or "settings"
            known = error["loc"] and str(error["loc"][0]) in settings_class.model_fields
            shown = f"{name} ({prefix}{name.upper()})" if prefix and known else name
            problems.append(f"{shown}: {error['msg']}")
        raise SettingsError(problems) from exc
    if problems:
        raise SettingsError(problems)
    return settings


def load_settings_or_exit(
    settings_class: type[SettingsT], overrides: Mapping[str, object] | None = None
) -> SettingsT:
    """As `load_settings`, for a `__main__`: ends the process with code 78 and the names."""
    try:
        return load_settings(settings_class, overrides)
    except SettingsError as exc:
        sys.stderr.write("".join(f"setting refused: {problem}\n" for problem in exc.problems))
        raise SystemExit(EXIT_CONFIG) from None


def _read_environment(
    settings_class: type[BaseSettings], prefix: str, environ: Mapping[str, str]
) -> tuple[list[str], dict[str, object]]:
    """Names that nobody knows (pydantic-settings ignores them), and the values by field."""
    problems: list[str] = []
    values: dict[str, object] = {}
    if not prefix:
        return problems, values
    fields = {f"{prefix}{name}".upper(): name for name in settings_class.model_fields}
    for variable in sorted(environ):
        name = variable.upper()
        plain = name.removesuffix(_FILE_SUFFIX)
        if not name.startswith(prefix.upper()):
            continue
        if name in _FOREIGN or name in fields:
            continue  # another program's, or pydantic-settings reads it
        if plain != name and plain in fields:
            try:
                values[fields[plain]] = Path(environ[variable]).read_text("utf-8").strip()
            except OSError as exc:
                problems.append(f"{variable}: cannot read {environ[variable]}: {exc.strerror}")
            continue
        close = difflib.get_close_matches(name, fields, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        problems.append(f"{variable}: unknown setting{hint}")
    return problems, values
