"""Settings of molecular dynamics: conditions, numbers of steps, and sampling interval."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from alchemflows.arguments import problem_of
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.base import MakerField

CellFreedom = Literal["isotropic", "axes", "full"]
#: λ as a function of time during a switch; the functions are in :mod:`alchemflows.sampling.schedules`.
Schedule = Literal["linear", "third-order", "fifth-order", "ninth-order"]
#: Minimum number of samples for an analysis, which compares the two halves of a run and needs a variance of each.
MIN_SAMPLES = 4
#: 1 atm.
ATMOSPHERE_GPA = 1.01325e-4

Settings = TypeVar("Settings", bound=MakerField)


class Conditions(MakerField):
    """Temperature, pressure, and parameters of thermostat and barostat."""

    temperature_K: float = Field(gt=0, allow_inf_nan=False)
    pressure_GPa: float | None = Field(None, allow_inf_nan=False, description="none for constant volume")
    cell_freedom: CellFreedom = Field(
        "isotropic",
        description="cell degrees of freedom at constant pressure: volume (isotropic), lengths of the axes (axes) or "
        "the whole cell (full)",
    )
    timestep_fs: float = Field(2.0, gt=0, allow_inf_nan=False)
    friction_per_ps: float = Field(
        5.0, gt=0, allow_inf_nan=False, description="friction coefficient γ of the Langevin dynamics"
    )
    barostat_time_ps: float = Field(0.5, gt=0, allow_inf_nan=False, description="relaxation time of the barostat")

    @model_validator(mode="after")
    def _barostat_is_slow(self) -> Conditions:
        if self.pressure_GPa is not None and self.timestep_fs * 1e-3 > 0.1 * self.barostat_time_ps:
            raise ValueError("barostat_time_ps must be at least 10 time steps")
        return self


class DynamicsSettings(Conditions):
    """Settings of Langevin dynamics at fixed λ: conditions, numbers of steps, and sampling interval."""

    n_equilibration_steps: int = Field(5000, ge=0, description="steps before the first sample")
    n_production_steps: int = Field(20000, gt=0)
    sample_interval_steps: int = Field(10, gt=0, description="number of production steps between samples")
    replica_exchange: bool = Field(
        False, description="whether neighbouring windows of one batch may swap λ after each sample"
    )
    exchange_temperatures_K: tuple[float, ...] = Field(
        (),
        description="temperatures of further replicas of each window, with which it may swap configurations after each "
        "sample; their samples are stored for `alchemflows combine`, and are not part of the ladder's own result",
    )

    @model_validator(mode="after")
    def _enough_samples(self) -> DynamicsSettings:
        if self.n_samples < MIN_SAMPLES:
            raise ValueError(
                f"n_production_steps = {self.n_production_steps} with sample_interval_steps = "
                f"{self.sample_interval_steps} gives {self.n_samples} samples; at least {MIN_SAMPLES} are needed"
            )
        return self

    @model_validator(mode="after")
    def _other_temperatures(self) -> DynamicsSettings:
        every = (self.temperature_K, *self.exchange_temperatures_K)
        if not all(0 < each < float("inf") for each in every) or len(set(every)) < len(every):
            raise ValueError(
                f"exchange_temperatures_K must be positive, different from one another and from the temperature "
                f"{self.temperature_K:g}; got {list(self.exchange_temperatures_K)}"
            )
        return self

    @property
    def n_samples(self) -> int:
        """Number of samples of a window."""
        return self.n_production_steps // self.sample_interval_steps


class SwitchingSettings(Conditions):
    """Settings of nonequilibrium switching from λ = 0 to 1 and back."""

    n_repeats: int = Field(4, ge=2, description="number of switches in each direction; an error bar needs at least two")
    n_equilibration_steps: int = Field(5000, ge=0, description="steps at fixed λ before a switch")
    n_switching_steps: int = Field(10000, gt=0)
    schedule: Schedule = Field(
        "ninth-order", description="λ as a function of time during a switch, see `sampling.schedules`"
    )


def settings(kind: type[Settings], **values: Any) -> Settings:
    """Return settings from values given by a user.

    Raises
    ------
    InvalidInputError
        If a value is invalid; the message names the field.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise InvalidInputError(problem_of(error)) from None
