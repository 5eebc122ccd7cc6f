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
    """State of a window: `positions_A` (N, 3), `cell_A` (3, 3, rows are vectors), `velocities_A_per_fs` (N, 3).

    It also has the start structure: `sites` (N, 3, fractional coordinates in the cell `sites_cell_A`), relaxed at
    `start_lambda` (NaN if unknown).
    """

    def end(self) -> dict[str, np.ndarray]:
        """Return the arrays, as :meth:`PackedSeries.end` does."""
        return self.arrays()


class WindowExchange(BaseModel):
    """How a window exchanged its configurations with replicas of the same λ at other temperatures."""

    temperatures_K: list[float] = Field(description="temperatures of the replicas, increasing")
    acceptance: list[float] = Field(
        description="share of the attempts in which the replicas at temperatures k and k + 1 were exchanged"
    )
    round_trips: int = Field(
        description="number of times that a replica that started at this λ went from the lowest to the highest "
        "temperature and back"
    )
    sites: list[SitesSummary] = Field(
        [],
        description="displacements of atoms from their sites at each temperature; empty if they are not expected to "
        "stay there, and in documents of earlier releases",
    )


class WindowDocument(BaseModel):
    """One λ-window: a summary, and its samples and final state (in the additional store `data`)."""

    index: int = Field(description="index in the grid of λ, from 0")
    lambda_value: float = Field(description="λ of the window")
    weights: list[float] = Field(description="weights of the channels at this λ")
    seed: int = Field(description="seed of this window's random numbers")
    start_lambda: float | None = Field(
        None,
        description="λ (0 or 1) at which the start structure was relaxed; none if all windows started from one "
        "structure",
    )
    first_run: int = Field(0, description="number of earlier production runs, which these extend")
    n_runs: int = Field(1, description="number of consecutive production runs in this document")
    n_samples: int
    mean_dudl_eV: float = Field(description="mean of dU/dλ over all samples; the analysis estimates its error")
    mean_energy_eV: float = Field(description="mean potential energy")
    mean_temperature_K: float = Field(description="mean kinetic temperature")
    mean_volume_A3: float = Field(description="mean volume of the cell")
    sites: SitesSummary | None = Field(
        None, description="displacements of atoms from their sites; none if they are not expected to stay there"
    )
    exchange: WindowExchange | None = Field(None, description="none without exchange over the temperature")
    series: PackedSeries
    frames: PackedArrays | None = Field(
        None,
        description="configurations of a window at λ = 0 or 1, evenly spaced over its production, to be read with "
        "`schemas.frames.Frames` (in the additional store `data`); none for other windows",
    )

    @property
    def final_state(self) -> PackedState:
        """Final state of the window, from which it can be extended."""
        return PackedState(npz_base64=PackedState.encode(**self.series.end()))


class WindowsDocument(Document):
    """Output of a window job: its windows and the ladder to which they belong."""

    windows: list[WindowDocument]
    lambdas: list[float] = Field(
        description="grid of λ at which samples are evaluated, the columns of `energies_eV`: λ of all windows of the "
        "ladder, and points at which windows may be inserted"
    )
    temperature_K: float
    counts: Counts
    volume_A3: float = Field(description="volume of the cell at the start")
    initial_formula: str = Field(description="composition at λ = 0")
    final_formula: str = Field(description="composition at λ = 1")
    coupling: str
    weight_labels: list[str]
    initial_weights: list[float]
    final_weights: list[float]
    dynamics: DynamicsSettings
    job_uuid: str | None = Field(None, description="jobflow's identifier of the job that sampled the windows")
    provenance: Provenance
