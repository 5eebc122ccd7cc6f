"""Documents of ordered and disordered arrangements."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field
from pymatgen.core import Structure

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.relax import RelaxDocument
from alchemflows.schemas.verdict import Verdict

#: Alchemical cells with two couplings, three explicit models of disorder, and ordered arrangements.
Kind = Literal["paired", "mean-field", "random", "quasirandom", "sampled", "ordered"]


class Arrangement(BaseModel):
    """A relaxed crystal, alchemical or with whole atoms on all sites."""

    name: str
    kind: Kind
    formula: str
    counts: Counts
    energy_eV: float = Field(description="energy of the cell")
    volume_A3: float
    cell_parameters: list[float] = Field(description="a, b, c (Å), α, β, γ (degrees)")
    structure: Structure
    multiplicity: int | None = Field(None, description="number of equivalent arrangements, if all were enumerated")
    n_starts: int | None = Field(None, description="number of starts of a search that ended here")
    converged: bool = Field(description="whether the forces of the relaxation converged")
    key: str = Field(description="key of the relaxation, see :class:`RelaxDocument`")

    @classmethod
    def of(
        cls,
        name: str,
        kind: Kind,
        document: RelaxDocument,
        *,
        multiplicity: int | None = None,
        n_starts: int | None = None,
    ) -> Arrangement:
        """Return the arrangement from the document of its relaxation."""
        return cls(
            name=name,
            kind=kind,
            formula=document.formula,
            counts=document.counts,
            energy_eV=document.energy_eV,
            volume_A3=document.volume_A3,
            cell_parameters=document.cell_parameters,
            structure=document.structure,
            multiplicity=multiplicity,
            n_starts=n_starts,
            converged=document.converged,
            key=document.key,
        )

    @property
    def energy_eV_per_atom(self) -> float:
        """Energy, eV/atom."""
        return self.counts.per_atom(self.energy_eV)

    @property
    def volume_A3_per_atom(self) -> float:
        """Volume, Å³/atom."""
        return self.counts.per_atom(self.volume_A3)


class OrderingSearchDocument(Document):
    """Ordered arrangements found by a descent on weights and then relaxed."""

    formula: str
    counts: Counts
    arrangements: list[Arrangement] = Field(description="symmetrically distinct arrangements, lowest energy first")
    n_starts: int
    n_distinct: int = Field(description="number of distinct arrangements that were found; not all are relaxed")
    n_arrangements: int = Field(description="number of all arrangements of the cell, symmetry not considered")
    sharpness: float = Field(description="mean of the largest weights before rounding; 1 means whole atoms")
    disordered_energy_eV: float = Field(description="energy of the alchemical cell from which the search started")
    rounding: str = Field("", description="how the composition was rounded to whole atoms; empty if it was not")
    verdict: Verdict
    provenance: Provenance


class SampledDisorderDocument(Document):
    """Arrangements sampled at one temperature by Monte Carlo, and then relaxed."""

    formula: str
    counts: Counts
    temperature_K: float
    arrangements: list[Arrangement] = Field(description="the last arrangement of each replica")
    verdict: Verdict
    provenance: Provenance


class OrderDisorderDocument(Document):
    """Ordering energies from explicit arrangements and from alchemical cells.

    The reference for disorder is the mean over random arrangements; quasirandom and alchemical cells are other models
    of it. Ordering energies are that of the best ordered arrangement minus that of disorder, negative if order is
    favoured. Energies and entropy are totals of the cell with these `counts`; properties give them per atom.
    """

    formula: str
    counts: Counts
    arrangements: list[Arrangement]
    best_ordered: str = Field(description="name of the ordered arrangement of lowest energy")
    rounding: str = Field("", description="how the composition was rounded to whole atoms; empty if it was not")
    random_energy_eV: float = Field(description="mean energy of random arrangements")
    random_error_eV: float | None = Field(description="standard error of that mean; none if only one was relaxed")
    sampled_temperature_K: float | None = Field(
        None, description="temperature at which arrangements were sampled by Monte Carlo; none without it"
    )
    sampled_error_eV: float | None = Field(
        None, description="standard error of the mean energy of sampled arrangements; none with fewer than two"
    )
    ordering_energies_eV: dict[str, float] = Field(
        description="ordering energies by model of disorder: random, quasirandom, sampled, paired, mean-field"
    )
    entropy_kB: float = Field(description="ideal configurational entropy, −Σ x ln x over sites and elements")
    transition_temperatures_K: dict[str, float | None] = Field(
        description="−ordering energy / ideal entropy by model of disorder; none if the ordering energy is not "
        "negative, and for sampled arrangements, whose entropy is smaller"
    )
    coupling_deviations_eV: dict[str, float] = Field(
        description="energy of the alchemical cell minus the mean of random arrangements, by coupling"
    )
    nearest_coupling: str
    ranks_rightly: dict[str, bool] = Field(
        description="by coupling: whether its ordering energy has the same sign as that from random arrangements"
    )
    verdict: Verdict
    provenance: Provenance

    @property
    def random_energy_eV_per_atom(self) -> float:
        """Mean energy of random arrangements, eV/atom."""
        return self.counts.per_atom(self.random_energy_eV)

    @property
    def random_error_eV_per_atom(self) -> float | None:
        """Standard error of the mean energy of random arrangements, eV/atom; None if only one was relaxed."""
        return None if self.random_error_eV is None else self.counts.per_atom(self.random_error_eV)

    @property
    def errors_eV_per_atom_of_disorder(self) -> dict[str, float]:
        """Standard errors of the mean energies of random and of sampled arrangements, eV/atom, where they are known."""
        known = {"random": self.random_error_eV, "sampled": self.sampled_error_eV}
        return {kind: self.counts.per_atom(error) for kind, error in known.items() if error is not None}

    @property
    def ordering_energies_eV_per_atom(self) -> dict[str, float]:
        """Ordering energies by model of disorder, eV/atom."""
        return {kind: self.counts.per_atom(energy) for kind, energy in self.ordering_energies_eV.items()}

    @property
    def coupling_deviations_eV_per_atom(self) -> dict[str, float]:
        """Deviations of the alchemical cells from random arrangements by coupling, eV/atom."""
        return {kind: self.counts.per_atom(energy) for kind, energy in self.coupling_deviations_eV.items()}

    @property
    def entropy_kB_per_atom(self) -> float:
        """Ideal configurational entropy, k_B/atom."""
        return self.counts.per_atom(self.entropy_kB)
