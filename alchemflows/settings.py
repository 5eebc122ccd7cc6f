"""Settings of this package on this machine, from environment variables ``ALCHEMFLOWS_*``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where things are; the databases themselves are configured as jobflow and FireWorks have it."""

    model_config = SettingsConfigDict(env_prefix="ALCHEMFLOWS_")

    home: Path = Field(
        default_factory=lambda: Path.home() / ".alchemflows",
        description="folder of the private database, its configuration files and local runs",
    )
    checkpoints: Path = Field(
        default_factory=lambda data: data["home"] / "checkpoints",
        description="folder of the checkpoints of running jobs: one that all workers see",
    )
    checks: Path = Field(
        default_factory=lambda data: data["home"] / "checks",
        description="folder with notes of which models were compared with their libraries; may be deleted",
    )
    checkpoint_interval_s: float = Field(300.0, ge=0, description="seconds between two checkpoints of a job")
    mongod: Path | None = Field(None, description="mongod binary for the private database")
    database_timeout_s: float = Field(5.0, gt=0, description="how long to wait for a database before giving up")
    admin_uri: SecretStr | None = Field(None, description="connection string of an administrator, for `db init`")
