"""Automatic refinement of a ladder: what is wanted, and what was added round by round."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.base import MakerField


class RefinementSettings(MakerField):
    """What a ladder is refined for, and how much it may cost."""

    target_error_eV_per_atom: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="standard error of MBAR that is to be reached; none: any will do"
    )
    budget: int = Field(
        0,
        ge=0,
        description="maximum number of additional window-runs; a window-run is one production run of one window, newly "
        "inserted or extended",
    )


class Extension(BaseModel):
    """A window that was sampled longer."""

    lambda_value: float
    n_runs: int = Field(description="production runs added to it")


class RefinementRound(BaseModel):
    """What one round added to a ladder, and the error after it; round 0 is the ladder as planned."""

    inserted: list[float] = Field(default_factory=list, description="λ of new windows")
    extended: list[Extension] = Field(default_factory=list)
    error_eV_per_atom: float | None = Field(None, description="of MBAR, after this round; none if it is not finite")
    smallest_overlap: float | None = Field(None, description="between neighbouring windows, after this round")
    n_failed_jobs: int = Field(0, description="jobs of this round that failed: what they were to add is missing")

    @property
    def n_runs(self) -> int:
        """Window-runs that the round cost."""
        return len(self.inserted) + sum(extension.n_runs for extension in self.extended)


class Refinement(BaseModel):
    """How a ladder was refined."""

    target_error_eV_per_atom: float | None
    target_met: bool | None = Field(
        description="whether the error of MBAR is at most the target, and neighbouring windows overlap, without which "
        "that error means nothing; none without a target"
    )
    budget: int = Field(description="window-runs that could be added")
    n_runs_added: int = Field(description="window-runs that were added")
    rounds: list[RefinementRound] = Field(description="the first is the ladder as planned")
