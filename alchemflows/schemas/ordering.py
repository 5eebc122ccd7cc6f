"""Documents of ordered and disordered arrangements."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field
from pymatgen.core import Structure

from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.relax import RelaxDocument
from alchemflows.schemas.verdict import Verdict

#: Two alchemical couplings, two explicit pictures of disorder, and order.
Kind = Literal["paired", "mean-field", "random", "quasirandom", "ordered"]


class Arrangement(BaseModel):
    """A relaxed crystal, alchemical or with whole atoms on all sites."""

    name: str
    kind: Kind
    formula: str
    n_atoms: int
    energy_eV_per_atom: float
    volume_A3_per_atom: float
    cell_parameters: list[float] = Field(description="a, b, c (Å), α, β, γ (degrees)")
    structure: Structure
    multiplicity: int | None = Field(None, description="arrangements that symmetry makes the same, where all are known")
    n_starts: int | None = Field(None, description="starts of a search that ended here")
    converged: bool = Field(description="whether the relaxation reached its force")
    key: str = Field(description="of the relaxation, see :class:`RelaxDocument`")

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
        """Return what a relaxation says of an arrangement."""
        return cls(
            name=name,
            kind=kind,
            formula=document.formula,
            n_atoms=document.n_atoms,
            energy_eV_per_atom=document.energy_eV / document.n_atoms,
            volume_A3_per_atom=document.volume_A3 / document.n_atoms,
            cell_parameters=document.cell_parameters,
            structure=document.structure,
            multiplicity=multiplicity,
            n_starts=n_starts,
            converged=document.converged,
            key=document.key,
        )


class OrderingSearchDocument(BaseModel):
    """Ordered arrangements that a descent found, relaxed with the plain potential."""

    formula: str
    n_atoms: int
    arrangements: list[Arrangement] = Field(description="different by symmetry, the one of lowest energy first")
    n_starts: int
    n_distinct: int = Field(description="different arrangements that the starts ended in; not all are relaxed")
    n_arrangements: int = Field(description="all of the cell, symmetry not considered")
    sharpness: float = Field(description="mean of the largest weights before they were rounded; 1: whole atoms")
    disordered_energy_eV_per_atom: float = Field(description="of the alchemical cell that the search began from")
    verdict: Verdict
    provenance: Provenance


class OrderDisorderDocument(BaseModel):
    """Order against disorder: which has the lower energy, and whether an alchemical cell would have said so.

    Disorder is the mean over random arrangements; the others are other pictures of it. Energies of ordering are those
    of the best ordered arrangement less those of disorder: negative where order is favoured.
    """

    formula: str
    n_atoms: int
    arrangements: list[Arrangement]
    best_ordered: str = Field(description="name of the ordered arrangement of lowest energy")
    random_energy_eV_per_atom: float = Field(description="mean over random arrangements")
    random_error_eV_per_atom: float | None = Field(description="its standard error; none if only one was relaxed")
    ordering_energies_eV_per_atom: dict[str, float] = Field(
        description="by picture of disorder: random, quasirandom, paired, mean-field"
    )
    entropy_kB_per_atom: float = Field(description="ideal configurational entropy, −Σ x ln x")
    transition_temperatures_K: dict[str, float | None] = Field(
        description="ordering energy over ideal entropy, by picture; None where disorder is lower at any temperature"
    )
    coupling_deviations_eV_per_atom: dict[str, float] = Field(
        description="energy of the alchemical cell less the mean of random arrangements, by coupling"
    )
    nearest_coupling: str
    ranks_rightly: dict[str, bool] = Field(
        description="by coupling: whether its ordering energy has the sign of that from random arrangements"
    )
    verdict: Verdict
    provenance: Provenance
