"""Documents of sampled λ-windows."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedSeries


class WindowDocument(BaseModel):
    """One λ-window: what it is, a summary, and its samples (in the additional store `data`)."""

    index: int = Field(description="place in the ladder, from 0")
    lambda_value: float = Field(description="λ of the window")
    weights: list[float] = Field(description="weights of the channels at this λ")
    seed: int = Field(description="seed of this window's random numbers")
    n_samples: int
    mean_dudl_eV: float = Field(description="plain mean of dU/dλ; the analysis gives it an error")
    mean_energy_eV: float = Field(description="mean potential energy")
    mean_temperature_K: float = Field(description="mean kinetic temperature")
    series: PackedSeries


class WindowsDocument(BaseModel):
    """Output of a window job: the windows it ran and the ladder that they belong to."""

    windows: list[WindowDocument]
    lambdas: list[float] = Field(description="λ of all windows of the ladder; columns of `energies_eV`")
    temperature_K: float
    n_atoms: int
    volume_A3: float = Field(description="volume of the (fixed) cell")
    initial_formula: str = Field(description="composition at λ = 0")
    final_formula: str = Field(description="composition at λ = 1")
    coupling: str
    weight_labels: list[str]
    initial_weights: list[float]
    final_weights: list[float]
    dynamics: DynamicsSettings
    provenance: Provenance
