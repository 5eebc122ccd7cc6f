"""Numbers of atoms, sites and formula units of a cell, by which its totals are divided."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

#: A total, or an array of totals.
Total = TypeVar("Total", float, np.ndarray)


class Counts(BaseModel):
    """Numbers of atoms, sites and formula units of a cell.

    Energies, volumes and entropies are stored as totals of the cell, together with its counts. They are divided only
    here, so that numbers with the same suffix always have the same denominator.

    Examples
    --------
    >>> cell = Counts(atoms=14, sites=16, formula_units=16)
    >>> cell.per_atom(-28.0), cell.per_site(-28.0)
    (-2.0, -1.75)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    atoms: float = Field(gt=0, description="sites minus vacancies; may be fractional, as weights are")
    sites: int = Field(gt=0, description="sites, occupied or vacant")
    formula_units: float = Field(
        gt=0, description="greatest common divisor of the numbers of sites of each element and of each site group"
    )

    def per_atom(self, total: Total) -> Total:
        """Return the total divided by the number of atoms."""
        return total / self.atoms

    def per_site(self, total: Total) -> Total:
        """Return the total divided by the number of sites, vacant ones included."""
        return total / self.sites

    def per_formula_unit(self, total: Total) -> Total:
        """Return the total divided by the number of formula units."""
        return total / self.formula_units

    def per_atom_derivative(self, total: float, slope: Total, atoms_slope: Total) -> Total:
        """Return the derivative of total/atoms from those of both, d(E/N) = (dE − E/N dN) / N."""
        return self.per_atom(slope - self.per_atom(total) * atoms_slope)

    @property
    def title(self) -> str:
        """Text for tables and figures: the number of atoms, and the number of sites if some are vacant."""
        atoms = f"{self.atoms:.6g} atoms"
        return atoms if abs(self.sites - self.atoms) < 1e-6 else f"{atoms} on {self.sites} sites"
