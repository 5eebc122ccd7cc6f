"""Documents of free-energy differences."""

from __future__ import annotations

import math

from pydantic import BaseModel, Field

from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.provenance import Provenance


class Estimate(BaseModel):
    """A free-energy difference with its standard error."""

    delta_f_eV: float
    error_eV: float | None = Field(description="one standard error; none where the estimator gives no finite one")
    delta_f_eV_per_atom: float
    error_eV_per_atom: float | None

    @classmethod
    def of(cls, delta_f_eV: float, error_eV: float, n_atoms: int) -> Estimate:
        """Return the estimate for a cell of `n_atoms` atoms."""
        return cls(
            delta_f_eV=delta_f_eV,
            error_eV=error_eV if math.isfinite(error_eV) else None,
            delta_f_eV_per_atom=delta_f_eV / n_atoms,
            error_eV_per_atom=error_eV / n_atoms if math.isfinite(error_eV) else None,
        )


class WindowStatistics(BaseModel):
    """What the analysis says of one window."""

    lambda_value: float
    mean_dudl_eV: float = Field(description="over the independent samples, as TI takes it")
    error_dudl_eV: float = Field(description="standard error of the mean, correlation accounted for")
    n_samples: int
    n_independent: float = Field(description="samples divided by the statistical inefficiency")
    statistical_inefficiency: float
    mean_temperature_K: float
    overlap_with_next: float | None = Field(
        description="MBAR overlap matrix element with the next window; below 0.03 is too little"
    )


class FreeEnergyDocument(BaseModel):
    """ΔF along a path at constant volume, F(λ=1) − F(λ=0), and what it rests on."""

    temperature_K: float
    n_atoms: int
    volume_A3: float
    initial_formula: str
    final_formula: str
    coupling: str
    weight_labels: list[str]
    initial_weights: list[float]
    final_weights: list[float]
    dynamics: DynamicsSettings
    windows: list[WindowStatistics]
    ti: Estimate = Field(description="thermodynamic integration, trapezoid rule; configurational part")
    bar: Estimate | None = Field(
        description="Bennett acceptance ratio between neighbours; configurational part; none where it has no solution"
    )
    mbar: Estimate = Field(description="multistate BAR over all windows; configurational part")
    mass_term_eV: float = Field(description="(3/2) k_B T Σ_i ln(m_i,initial / m_i,final)")
    mass_term_eV_per_atom: float
    total: Estimate = Field(description="MBAR plus the mass term")
    overlap_matrix: list[list[float]] = Field(description="MBAR overlap matrix between windows")
    warnings: list[str] = Field(default_factory=list)
    provenance: Provenance
