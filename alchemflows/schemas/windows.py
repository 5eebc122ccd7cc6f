"""Documents of sampled λ-windows."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays, PackedSeries
from alchemflows.schemas.sites import SitesSummary


class PackedState(PackedArrays):
    """Where a window was: `positions_A` (N, 3), `cell_A` (3, 3, rows are vectors), `velocities_A_per_fs` (N, 3).

    And where it began: `sites` (N, 3, in units of the cell `sites_cell_A`), relaxed at `start_lambda` (NaN: unknown).
    """

    def end(self) -> dict[str, np.ndarray]:
        """Return the arrays, as :meth:`PackedSeries.end` does."""
        return self.arrays()


class WindowDocument(BaseModel):
    """One λ-window: what it is, a summary, and its samples with its end (in the additional store `data`)."""

    index: int = Field(description="place in the grid of λ, from 0")
    lambda_value: float = Field(description="λ of the window")
    weights: list[float] = Field(description="weights of the channels at this λ")
    seed: int = Field(description="seed of this window's random numbers")
    start_lambda: float | None = Field(
        None,
        description="λ at which the structure was relaxed that the window started from, 0 or 1; none if all windows "
        "started from one structure",
    )
    first_run: int = Field(0, description="production runs of this window before these; they are continued here")
    n_runs: int = Field(1, description="production runs in this document, one after the other without a break")
    n_samples: int
    mean_dudl_eV: float = Field(description="plain mean of dU/dλ; the analysis gives it an error")
    mean_energy_eV: float = Field(description="mean potential energy")
    mean_temperature_K: float = Field(description="mean kinetic temperature")
    mean_volume_A3: float = Field(description="mean volume of the cell")
    sites: SitesSummary | None = Field(
        None, description="how far atoms were from their sites; none where they are not expected to stay on them"
    )
    series: PackedSeries

    @property
    def final_state(self) -> PackedState:
        """Where the window ended, so that it can be continued."""
        return PackedState(npz_base64=PackedState.encode(**self.series.end()))


class WindowsDocument(Document):
    """Output of a window job: the windows it ran and the ladder that they belong to."""

    windows: list[WindowDocument]
    lambdas: list[float] = Field(
        description="grid of λ at which samples are evaluated, columns of `energies_eV`: that of all windows of the "
        "ladder, and points where windows may be inserted"
    )
    temperature_K: float
    counts: Counts
    volume_A3: float = Field(description="volume of the cell, at the start where it is not constant")
    initial_formula: str = Field(description="composition at λ = 0")
    final_formula: str = Field(description="composition at λ = 1")
    coupling: str
    weight_labels: list[str]
    initial_weights: list[float]
    final_weights: list[float]
    dynamics: DynamicsSettings
    job_uuid: str | None = Field(None, description="jobflow's identifier of the job that sampled them")
    provenance: Provenance
