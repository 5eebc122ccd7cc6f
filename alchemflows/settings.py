"""Configuration of the package on this machine: environment variables ``ALCHEMFLOWS_*``, and a file of the user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from alchemflows.choices import suggestion
from alchemflows.errors import InvalidInputError

#: Names of environment variables begin with this, followed by the name of a setting in capital letters.
PREFIX = "ALCHEMFLOWS_"
#: Environment variable with the path of the user's configuration file.
FILE_VARIABLE = f"{PREFIX}CONFIG_FILE"
#: Settings of the environment only: a password, and what example scripts read themselves.
_NOT_IN_THE_FILE = frozenset({"admin_uri", "short"})


class Settings(BaseSettings):
    """Paths and time limits on this machine; the databases are configured in the files of jobflow and FireWorks.

    Environment variables come before the values in the user's configuration file (:func:`config_file`).

    Raises
    ------
    InvalidInputError
        If the file cannot be read, or has a name that is none of a setting; the message gives the line.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX)

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
    compiled: Path = Field(
        default_factory=lambda data: data["home"] / "compiled",
        description="folder with compiled kernels of potentials; may be deleted",
    )
    cuda_graphs: bool = Field(
        False, description="whether evaluations on a GPU are repeated as CUDA graphs, which have not been measured yet"
    )

    @field_validator("home", "checkpoints", "mongod", "checks", "compiled")
    @classmethod
    def _without_tilde(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of values, the first one that has a value decides."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _values_in_file())


def config_file() -> Path | None:
    """Return the user's configuration file: ``ALCHEMFLOWS_CONFIG_FILE`` or ``~/.alchemflows.yaml``; None without one.

    Raises
    ------
    InvalidInputError
        If the variable names a file that does not exist.
    """
    named = os.environ.get(FILE_VARIABLE)
    path = Path(named or "~/.alchemflows.yaml").expanduser()
    if named and not path.exists():
        raise InvalidInputError(f"{FILE_VARIABLE}: the file {path} does not exist")
    return path if path.exists() else None


def origin(name: str) -> str:
    """Return where the value of a setting comes from: the environment variable or file and line; empty for a default.

    Parameters
    ----------
    name
        Name of the setting.
    """
    variable = f"{PREFIX}{name.upper()}"
    if variable in os.environ:
        return variable
    path = config_file()
    if path is None:
        return ""
    from alchemflows.yaml_file import read_yaml

    found = read_yaml(path)
    return f"{found.where((name,))}, {name}" if (name,) in found.lines else ""


def _values_in_file() -> dict[str, Any]:
    """Return the values in the user's configuration file, by the name of the setting."""
    path = config_file()
    if path is None:
        return {}
    from alchemflows.yaml_file import read_yaml  # it imports PyYAML, which most commands do not need

    found = read_yaml(path)
    values = {} if found.content is None else found.content
    if not isinstance(values, dict):
        raise InvalidInputError(f"{path} must have lines such as `potential: mace-demo`")
    known = [name for name in Settings.model_fields if name not in _NOT_IN_THE_FILE]
    for name in values:
        if name in _NOT_IN_THE_FILE:
            raise InvalidInputError(
                f"{found.where((name,))}: {name} cannot be set in this file; use {PREFIX}{name.upper()}"
            )
        if name not in known:
            raise InvalidInputError(
                f"{found.where((name,))}: {name} is not a setting; known are {', '.join(known)}"
                f"{suggestion(str(name), known)}"
            )
    return values
