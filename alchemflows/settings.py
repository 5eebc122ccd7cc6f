"""Configuration of the package on this machine, read from environment variables ``ALCHEMFLOWS_*``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Paths and time limits on this machine; the databases are configured in the files of jobflow and FireWorks."""

    model_config = SettingsConfigDict(env_prefix="ALCHEMFLOWS_")

    home: Path = Field(
        default_factory=lambda: Path.home() / ".alchemflows",
        description="folder for the private database, its configuration files and local runs",
    )
    checkpoints: Path = Field(
        default_factory=lambda data: data["home"] / "checkpoints",
        description="folder for the checkpoints of running jobs; all workers need access to it",
    )
    checkpoint_interval_s: float = Field(300.0, ge=0, description="time between two checkpoints of a job (s)")
    potential: str | None = Field(None, description="potential of commands without --potential: a name or a path")
    mongod: Path | None = Field(None, description="path of the mongod program for the private database")
    database_timeout_s: float = Field(5.0, gt=0, description="maximum time to wait for an answer from a database (s)")
    admin_uri: SecretStr | None = Field(
        None, description="connection string of a database administrator, for `alchemflows db init`"
    )
    short: str | None = Field(
        None, description="if set, commands and example scripts take few steps; their numbers then mean nothing"
    )
    checks: Path = Field(
        default_factory=lambda data: data["home"] / "checks",
        description="folder with records of the potentials that were compared with their libraries; may be deleted",
    )
