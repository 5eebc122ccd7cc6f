"""Automatic refinement of a ladder: its settings, and the record of its rounds."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.base import MakerField


class RefinementSettings(MakerField):
    """Target error and budget of the refinement of a ladder."""

    target_error_eV_per_atom: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="target standard error of MBAR; none for no target"
    )
    budget: int = Field(
        0,
        ge=0,
        description="maximum number of additional window runs; a window run is one production run of a new or existing "
        "window",
    )


class Extension(BaseModel):
    """A window that was extended by production runs."""

    lambda_value: float
    n_runs: int = Field(description="production runs added to it")


class RefinementRound(BaseModel):
    """Windows and runs that one round added to a ladder, and the error after it; round 0 is the planned ladder."""

    inserted: list[float] = Field(default_factory=list, description="λ of new windows")
    extended: list[Extension] = Field(default_factory=list)
    error_eV_per_atom: float | None = Field(None, description="error of MBAR after this round; none if not finite")
    smallest_overlap: float | None = Field(
        None, description="smallest overlap of neighbouring windows after this round"
    )
    n_failed_jobs: int = Field(0, description="number of failed jobs of this round; their samples are missing")

    @property
    def n_runs(self) -> int:
        """Number of window runs of the round."""
        return len(self.inserted) + sum(extension.n_runs for extension in self.extended)


class Refinement(BaseModel):
    """Record of the refinement of a ladder."""

    target_error_eV_per_atom: float | None
    target_met: bool | None = Field(
        description="whether the error of MBAR is at most the target and neighbouring windows overlap enough for it to "
        "be meaningful; none without a target"
    )
    budget: int = Field(description="maximum number of additional window runs")
    n_runs_added: int = Field(description="number of window runs that were added")
    rounds: list[RefinementRound] = Field(description="rounds; the first is the planned ladder")
