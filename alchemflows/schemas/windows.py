"""Documents of sampled λ-windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays, PackedSeries
from alchemflows.schemas.sites import SitesSummary, worst

#: Prefix of the arrays of replicas at other temperatures.
_EXCHANGED = "exchanged_"


class PackedState(PackedArrays):
    """State of a window: `positions_A` (N, 3), `cell_A` (3, 3, rows are vectors), `velocities_A_per_fs` (N, 3).

    It also has the start structure: `sites` (N, 3, fractional coordinates in the cell `sites_cell_A`), relaxed at
    `start_lambda` (NaN if unknown). Arrays whose names begin with ``exchanged_`` are the same of replicas at T other
    temperatures, with a first axis of length T.
    """

    def end(self) -> dict[str, np.ndarray]:
        """Return the arrays, as :meth:`PackedSeries.end` does."""
        return self.arrays()

    @staticmethod
    def with_exchanged(
        own: Mapping[str, np.ndarray], others: Sequence[Mapping[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Return the arrays of the state of a window with those of its replicas at other temperatures."""
        stacked = {f"{_EXCHANGED}{name}": np.stack([other[name] for other in others]) for name in own if others}
        return {**own, **stacked}

    @staticmethod
    def exchanged(state: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Return the arrays of each replica at another temperature; none if they are not stored."""
        stacked = {n.removeprefix(_EXCHANGED): each for n, each in state.items() if n.startswith(_EXCHANGED)}
        n_others = min(map(len, stacked.values()), default=0)
        return [{name: values[j] for name, values in stacked.items()} for j in range(n_others)]


class WindowExchange(BaseModel):
    """How a window exchanged its configurations with replicas of the same λ at other temperatures."""

    temperatures_K: list[float] = Field(description="temperatures of the replicas, increasing")
    acceptance: list[float] = Field(
        description="share of the attempts in which the replicas at temperatures k and k + 1 were exchanged"
    )
    round_trips: int = Field(
        description="number of times that a replica that started at this λ went from the lowest to the highest "
        "temperature and back; in an extended window, without those that an extension interrupted"
    )
    sites: list[SitesSummary] = Field(
        [],
        description="displacements of atoms from their sites at each temperature; empty if they are not expected to "
        "stay there, and in documents of earlier releases",
    )

    @classmethod
    def joined(cls, parts: Sequence[WindowExchange], n_samples: Sequence[int]) -> WindowExchange:
        """Return the exchange of a window from that of its consecutive parts and their numbers of samples."""
        acceptance = np.average([part.acceptance for part in parts], axis=0, weights=n_samples)
        return cls(
            temperatures_K=parts[0].temperatures_K,
            acceptance=acceptance.tolist(),
            round_trips=sum(part.round_trips for part in parts),
            sites=[worst(at) for at in zip(*(part.sites for part in parts if part.sites), strict=True)],
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
