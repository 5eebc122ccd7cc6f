"""Settings of molecular dynamics at fixed λ."""

from __future__ import annotations

from pydantic import ConfigDict, Field, model_validator

from alchemflows.schemas.base import MakerField


class DynamicsSettings(MakerField):
    """Langevin dynamics: how long, how hot, how often sampled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature_K: float = Field(gt=0, allow_inf_nan=False)
    timestep_fs: float = Field(2.0, gt=0, allow_inf_nan=False)
    friction_per_ps: float = Field(5.0, gt=0, allow_inf_nan=False, description="Langevin γ")
    n_equilibration_steps: int = Field(5000, ge=0, description="steps before the first sample")
    n_production_steps: int = Field(20000, gt=0)
    sample_interval_steps: int = Field(10, gt=0, description="a sample every so many production steps")

    @model_validator(mode="after")
    def _at_least_one_sample(self) -> DynamicsSettings:
        if self.n_production_steps < self.sample_interval_steps:
            raise ValueError("n_production_steps must be at least sample_interval_steps, or nothing is sampled")
        return self

    @property
    def n_samples(self) -> int:
        """Number of samples of a window."""
        return self.n_production_steps // self.sample_interval_steps
