"""Documents of free energies of mixing and of the phase diagrams that follow from them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.sites import SitesSummary
from alchemflows.schemas.verdict import Verdict


class MixingState(BaseModel):
    """A state of the ladder: a temperature, and a chemical potential or another bias of the composition."""

    temperature_K: float
    delta_mu_eV: float | None = Field(
        description="chemical potential of the second species minus that of the first; none for another bias"
    )
    fraction: float = Field(description="mean fraction of the second species, from the samples of all states")
    fraction_error: float
    n_samples: int
    component: int = Field(description="index of the set of overlapping states to which it belongs")
    frames: PackedArrays | None = Field(
        None, description="configurations, see `schemas.frames.Frames` (in the additional store `data`)"
    )
    sites: SitesSummary | None = Field(
        None,
        description="displacements of atoms from their sites; none if no atom moves, and in documents of earlier "
        "releases",
    )


class CompositionPair(BaseModel):
    """Two compositions of one temperature, as fractions of the second species, with standard errors."""

    left: float
    left_error: float | None = Field(description="none if fewer than most of the random draws have the pair")
    right: float
    right_error: float | None


class Coexistence(BaseModel):
    """Two phases in a finite cell: peaks of equal weight in the distribution of compositions."""

    compositions: CompositionPair = Field(description="mean composition of each peak")
    delta_mu_eV: float = Field(description="chemical potential of the second species minus that of the first")
    delta_mu_error_eV: float | None
    barrier_kT: float | None = Field(
        description="logarithm of the lower peak over the least probability between the peaks, the free energy of the "
        "interfaces; none if no sample is between them"
    )


class MixingIsotherm(BaseModel):
    """Free energy of mixing at one temperature, for N = 0, ..., M mixing sites with the second species."""

    temperature_K: float
    counts: Counts = Field(description="counts of the cell")
    n_mixing_sites: int = Field(gt=0, description="number M of sites whose species vary")
    mixing_eV: list[float | None] = Field(
        description="free energy of mixing of the cell for each N; none if N was not visited, or a pure composition"
    )
    mixing_errors_eV: list[float | None]
    n_samples: list[int] = Field(description="number of samples at this temperature for each N")
    gap: Literal["gap", "no gap", "uncertain"] = Field(
        description="whether the distribution of compositions has two peaks with a barrier of at least k_B T between "
        "them, with a probability above 97.5 %, below 2.5 %, or between these"
    )
    gap_probability: float
    coexistence: Coexistence | None = Field(description="none without a barrier of at least k_B T")
    binodal: CompositionPair | None = Field(description="common tangent of the fit, for a large crystal")
    spinodal: CompositionPair | None = Field(description="zero curvature of the fit")

    @property
    def fractions(self) -> np.ndarray:
        """Fraction of the second species, shape (M + 1,)."""
        return np.arange(self.n_mixing_sites + 1) / self.n_mixing_sites

    @property
    def unvisited(self) -> list[int]:
        """All N that no state of this temperature visited."""
        return [n for n, count in enumerate(self.n_samples) if not count]

    @property
    def mixing_eV_per_mixing_site(self) -> np.ndarray:
        """Free energy of mixing, eV per mixing site, shape (M + 1,); NaN where it is not known."""
        return np.array(self.mixing_eV, dtype=float) / self.n_mixing_sites

    @property
    def mixing_errors_eV_per_mixing_site(self) -> np.ndarray:
        """Standard errors, eV per mixing site, shape (M + 1,)."""
        return np.array(self.mixing_errors_eV, dtype=float) / self.n_mixing_sites

    @property
    def mixing_eV_per_atom(self) -> np.ndarray:
        """Free energy of mixing, eV/atom, shape (M + 1,); NaN where it is not known."""
        return self.counts.per_atom(np.array(self.mixing_eV, dtype=float))

    @property
    def mixing_errors_eV_per_atom(self) -> np.ndarray:
        """Standard errors, eV/atom, shape (M + 1,)."""
        return self.counts.per_atom(np.array(self.mixing_errors_eV, dtype=float))


class ExcessFit(BaseModel):
    """Redlich–Kister fit of the excess, x (1 − x) Σ_i (h_i − T s_i) (1 − 2x)^i."""

    enthalpies_eV_per_mixing_site: list[float] = Field(description="h_i")
    enthalpy_errors_eV_per_mixing_site: list[float]
    entropies_eV_per_K_per_mixing_site: list[float] = Field(description="s_i; 0 with one temperature")
    entropy_errors_eV_per_K_per_mixing_site: list[float]
    covariance: list[list[float]] | None = Field(
        None, description="covariance of h_0, h_1, ..., s_0, s_1, ...; none in documents of earlier releases"
    )
    mean_squared_deviation: float = Field(description="mean of [(curve − fit) / error]² over all points")


class ConsolutePoint(BaseModel):
    """Highest temperature with a gap, from the fit."""

    temperature_K: float
    temperature_error_K: float | None = Field(description="none if fewer than most of the random draws have the point")
    fraction: float
    fraction_error: float | None
    extrapolated: bool = Field(description="whether it is outside of the sampled temperatures")


class MixingDocument(Document):
    """Free energy of mixing of two species on the sites of a crystal, and its phase diagram.

    Masses and other terms that are linear in the composition do not change the free energy of mixing.
    """

    formula: str = Field(description="formula of the crystal with both species on the mixing sites")
    species: tuple[str, str] = Field(description="first and second species; x is the fraction of the second")
    counts: Counts
    n_mixing_sites: int = Field(gt=0, description="number M of sites whose species vary")
    pressure_GPa: float | None = Field(description="none for constant volume")
    temperatures_K: list[float]
    isotherms: list[MixingIsotherm] = Field(description="one for each temperature")
    states: list[MixingState]
    inefficiency: float = Field(description="statistical inefficiency of the slowest observable, in samples")
    fit: ExcessFit | None = Field(description="none if too few compositions are known")
    consolute: ConsolutePoint | None = Field(
        description="none if the fit has no gap at any temperature, or with one temperature"
    )
    verdict: Verdict
    provenance: Provenance
