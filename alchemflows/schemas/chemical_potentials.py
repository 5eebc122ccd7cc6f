"""Chemical potentials of elements: user input, and the values used in a result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from monty.json import MSONable
from pydantic import BaseModel, Field
from pymatgen.core import Element, Structure

from alchemflows.errors import InvalidInputError

#: A value, or a value with its standard error.
Given = float | tuple[float, float]
#: Below this pressure (GPa) boiling points at 1 atm apply.
AMBIENT_GPA = 0.01


@dataclass(frozen=True)
class ChemicalPotentials(MSONable):
    """Reference chemical potentials of elements, at the temperature and pressure of the run.

    Each element is in only one of the two mappings. If all elements of a compound but one are given, the last follows
    from the compound itself: Σ_i ν_i μ_i is G of a formula unit.

    Parameters
    ----------
    values_eV
        Chemical potentials by element (eV/atom), or pairs of value and standard error, on the absolute energy scale of
        the same potential.
    references
        Crystals by element: μ is the G per atom from Frenkel–Ladd switching with the same settings.

    Raises
    ------
    InvalidInputError
        If a symbol is unknown or in both mappings, a number is not finite, or a reference is not a crystal of its
        element.

    Examples
    --------
    >>> from alchemflows import ChemicalPotentials
    >>> ChemicalPotentials(values_eV={"Cl": (-2.10, 0.01)}).elements
    ['Cl']
    """

    values_eV: Mapping[str, Given] = field(default_factory=dict)
    references: Mapping[str, Structure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        both = sorted(set(self.values_eV) & set(self.references))
        if both:
            raise InvalidInputError(f"the chemical potential of {both[0]} is given as a value and as a reference")
        for symbol in self.elements:
            if not Element.is_valid_symbol(symbol):
                raise InvalidInputError(f"chemical potential of {symbol!r}: no such element")
        for symbol in self.values_eV:
            try:
                value, error = self.value(symbol)
            except (TypeError, ValueError, IndexError):
                raise InvalidInputError(
                    f"chemical potential of {symbol}: a number (eV/atom), or a pair of value and standard error, is "
                    f"needed; got {self.values_eV[symbol]!r}"
                ) from None
            if not (math.isfinite(value) and math.isfinite(error) and error >= 0):
                raise InvalidInputError(
                    f"chemical potential of {symbol}: a finite value and an error of at least 0 are needed; "
                    f"got {value:g} ± {error:g} eV"
                )
        for symbol, structure in self.references.items():
            found = sorted({element.symbol for element in structure.composition.elements})
            if not structure.is_ordered or found != [symbol]:
                raise InvalidInputError(
                    f"the reference of {symbol} must be an ordered crystal of {symbol} alone; it has {', '.join(found)}"
                )

    @property
    def elements(self) -> list[str]:
        """Elements whose chemical potential is known, in alphabetical order."""
        return sorted({*self.values_eV, *self.references})

    def value(self, element: str) -> tuple[float, float]:
        """Return the value of an element in `values_eV` and its standard error, eV/atom."""
        given = self.values_eV[element]
        return (float(given[0]), float(given[1])) if isinstance(given, tuple | list) else (float(given), 0.0)

    def check(self, structure: Structure, element: str, temperature_K: float, pressure_GPa: float) -> None:
        """Check that these values determine the chemical potential of an element of a crystal.

        Parameters
        ----------
        structure
            The crystal.
        element
            The element that is removed or added.
        temperature_K, pressure_GPa
            Conditions; a reference must not be a gas under them.

        Raises
        ------
        InvalidInputError
            If they do not determine it, if an element is not in the crystal, or if a reference is a gas.
        """
        known, present = set(self.elements), {e.symbol for e in structure.composition.elements}
        formula = structure.composition.reduced_formula
        if foreign := sorted(known - present):
            raise InvalidInputError(
                f"chemical potentials are given for {', '.join(foreign)}, which {formula} does not contain"
            )
        if len(present) == 1:
            if known:
                raise InvalidInputError(
                    f"{element} is an element: its chemical potential is G per atom of the crystal; give none"
                )
            return
        if element not in known and known != present - {element}:
            others = ", ".join(sorted(present - {element}))
            raise InvalidInputError(
                f"{formula} is a compound: a formation free energy of {element} needs the chemical potential of "
                f"{element}, or those of all other elements ({others}); give values (eV per atom) or reference "
                "crystals, or compute a Schottky or Frenkel pair, which needs none"
            )
        for symbol in self.references:
            boiling = Element(symbol).boiling_point
            if boiling is not None and float(boiling) < temperature_K and pressure_GPa < AMBIENT_GPA:
                raise InvalidInputError(
                    f"{symbol} is a gas at {temperature_K:g} K (it boils at {float(boiling):g} K): Frenkel–Ladd "
                    "switching needs a crystal; give the chemical potential as a value"
                )


class ChemicalPotential(BaseModel):
    """Chemical potential of one element in one limit, eV/atom."""

    element: str
    limit: str = Field(description="description of how the chemical potential is fixed")
    source: Literal["crystal", "given", "reference", "compound"] = Field(
        description="G/N of the crystal itself, a value, an elemental reference crystal, or the compound's G and the "
        "chemical potentials of its other elements"
    )
    value_eV: float
    error_eV: float
    crystal_share: float = Field(description="∂μ/∂G(N), the share of the perfect crystal's G, and of its error, in μ")
    independent_error_eV: float = Field(description="standard error without that of the perfect crystal")
    volume_A3: float | None = Field(description="∂μ/∂p; none if μ depends on a given value")
    volume_independent_error_A3: float | None = Field(
        description="standard error without that of the perfect crystal's volume"
    )


class SiteFraction(BaseModel):
    """Equilibrium concentration of a defect on its kind of site: c/(1 − c) = g exp(−G_f / k_B T)."""

    degeneracy: float = Field(description="g, number of states of the defect on one site, vibrations not counted")
    n_sites: int = Field(description="sites of this kind in the perfect cell")
    sites_per_formula_unit: float
    ln_site_fraction: float = Field(description="ln c")
    ln_error: float = Field(description="standard error of ln c")
    site_fraction: float = Field(description="c; 0 if it is below the smallest floating-point number")
    low: float = Field(description="c with ln c one standard error lower")
    high: float = Field(description="c with ln c one standard error higher, at most 1")
    per_cm3: float = Field(description="number of defects per cm³ of the perfect crystal")
