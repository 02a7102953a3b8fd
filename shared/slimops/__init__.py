"""What every process of Slimwire needs around its work: settings, logs, metrics, life cycle.

Redis is not imported here, for the edge has none: see `slimops.redis_connection` and
`slimops.embedded_redis`.
"""

from slimops.config_file import SECTIONS
from slimops.errors import OpsError, SettingsError
from slimops.lifecycle import Lifecycle, Phase
from slimops.logs import configure_logging
from slimops.metrics import Metrics
from slimops.settings import (
    EXIT_CONFIG,
    LoadedSettings,
    ServiceSettings,
    load_settings,
    load_settings_or_exit,
    read_settings,
)

__all__ = [
    "EXIT_CONFIG",
    "Lifecycle",
    "LoadedSettings",
    "Metrics",
    "OpsError",
    "Phase",
    "SECTIONS",
    "ServiceSettings",
    "SettingsError",
    "configure_logging",
    "load_settings",
    "load_settings_or_exit",
    "read_settings",
]
