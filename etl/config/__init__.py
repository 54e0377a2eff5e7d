"""The settings: one TOML file, the environment over it, and secrets that are read only when they are needed.

It never shows a secret.
"""

from etl.config.crontab import crontab
from etl.config.loading import default_paths, load_settings
from etl.config.secret import SecretReference
from etl.config.settings import (
    STREAMS,
    DatabaseSettings,
    ReportingSettings,
    ScheduleSettings,
    ServerSettings,
    Settings,
    Stream,
    SyncSettings,
)
from etl.config.values import server_name

__all__ = ["DatabaseSettings", "ReportingSettings", "ScheduleSettings", "ServerSettings", "Settings", "SyncSettings"]
__all__ += ["STREAMS", "SecretReference", "Stream", "crontab", "default_paths", "load_settings", "server_name"]
