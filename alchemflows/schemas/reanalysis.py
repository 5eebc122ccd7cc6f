"""Reanalysis: several ladders corrected to a new potential, and those that must be run again with it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.document import Document
from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class CorrectedLadder(BaseModel):
    """One ladder and its free energy with the new potential."""

    ladder: str = Field(description="jobflow's identifier of the free energy of the ladder")
    initial_formula: str
    final_formula: str
    temperature_K: float
    pressure_GPa: float | None = Field(description="none at constant volume")
    source: PotentialRecord | None = Field(None, description="the potential that was sampled")
    uncorrected: Estimate = Field(description="`total` of the ladder")
    job: str | None = Field(None, description="jobflow's identifier of the correction; none if there is none")
    correction: Estimate | None = Field(None, description="ΔΔF or ΔΔG; none if there is no correction")
    total: Estimate | None = Field(None, description="`uncorrected` plus `correction`")
    n_effective: tuple[float, float] | None = Field(
        None, description="effective sample size at λ = 0 and 1, in independent frames"
    )
    overlaps: bool = Field(description="whether both effective sample sizes suffice; otherwise it must be run again")
    reasons: list[str] = Field(description="reasons against the correction, or why there is none")
    rerun: str | None = Field(
        None, description="command that runs the ladder with the new potential; none if none is needed or possible"
    )


class ReanalysisDocument(Document):
    """Several ladders, corrected to a new potential by reweighting their frames."""

    target: str = Field(description="name of the new potential, or calculator with its arguments")
    potential: PotentialRecord | None = Field(None, description="the new potential; none for a calculator")
    ladders: list[CorrectedLadder]
    verdict: Verdict = Field(description="converged if all corrections are")
    provenance: Provenance

    @property
    def n_overlapping(self) -> int:
        """Number of ladders whose corrections can be used."""
        return sum(ladder.overlaps for ladder in self.ladders)
