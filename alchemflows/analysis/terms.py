"""Analytic terms of free energies at mixed compositions: mass term and configurational entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alchemflows.alchemy.path import WeightPath
from alchemflows.alchemy.strains import frozen_directions, frozen_shape
from alchemflows.alchemy.symmetry import equivalent_sites, symmetry_of
from alchemflows.alchemy.system import WEIGHT_TOLERANCE, AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.corrections import mass_term_eV
from alchemflows.free_energy.phases import ideal_mixing_eV
from alchemflows.schemas.dynamics import CellFreedom

#: Fraction of each element on a site, by atomic number.
SiteComposition = Mapping[int, float]


@dataclass(frozen=True)
class TransformationTerms:
    """Analytic terms of a free-energy difference of the whole cell (eV): values at λ = 1 minus values at λ = 0.

    Attributes
    ----------
    mass_eV
        Contribution of the momenta, included in the total of a document.
    mixing_eV
        Change of k_B T Σ x ln x over sites, elements and vacancies: ideal mixing on each mixed site, not included in
        the total.
    arrangement_eV
        Additional contribution of a random distribution of the same atoms over equivalent sites, not included in the
        total. It is zero unless a path changes only some of the equivalent sites, so that an end is one of several
        equivalent arrangements.
    """

    mass_eV: float
    mixing_eV: float
    arrangement_eV: float

    @classmethod
    def of(cls, path: WeightPath, temperature_K: float) -> TransformationTerms:
        """Return the terms of a path at a temperature.

        Parameters
        ----------
        path
            Path of a system whose structure has the ideal positions, which determine the equivalent sites.
        temperature_K
            Temperature (K).

        Raises
        ------
        InvalidInputError
            If atoms appear or vanish along the path.
        """
        system, initial, final = path.system, path.initial_weights, path.final_weights
        occupancies = system.occupancies(initial)
        if not np.allclose(occupancies, system.occupancies(final), rtol=0, atol=WEIGHT_TOLERANCE):
            raise InvalidInputError("atoms appear or vanish along this path, so its mass term is not defined")
        mass = mass_term_eV(
            system.masses(initial, "geometric"), system.masses(final, "geometric"), temperature_K, occupancies
        )
        compositions = [system.site_composition(weights) for weights in (initial, final)]
        mixing = [_mixing_eV(composition, temperature_K) for composition in compositions]
        arrangement = [0.0, 0.0]
        if _splits(*compositions):
            labels = equivalent_sites(path)
            arrangement = [_arrangement_eV(composition, labels, temperature_K) for composition in compositions]
        return cls(mass, mixing[1] - mixing[0], arrangement[1] - arrangement[0])


def mixing_term_eV(system: AlchemicalSystem, weights: ArrayLike, temperature_K: float) -> float:
    """Return the free energy of ideal mixing, k_B T Σ_i Σ_e x_ie ln x_ie over all sites, elements and vacancies (eV).

    It is not included in the free energy of an alchemical cell at fixed weights.

    Parameters
    ----------
    system
        The alchemical system.
    weights
        Weights, shape (C,).
    temperature_K
        Temperature (K).
    """
    return _mixing_eV(system.site_composition(weights), temperature_K)


def shape_notes(system: AlchemicalSystem, pressure_GPa: float | None, freedom: CellFreedom) -> list[str]:
    """Return a note if some strains that the symmetry of the crystal allows are fixed at constant pressure.

    Parameters
    ----------
    system
        The alchemical system; its structure has the ideal positions.
    pressure_GPa
        Pressure (GPa); None at constant volume, where no note is needed.
    freedom
        Cell degrees of freedom at constant pressure.
    """
    if pressure_GPa is None:
        return []
    symmetry = symmetry_of(system)
    frozen = frozen_directions(system.structure.lattice.matrix, symmetry.point_group, freedom)
    return [frozen_shape(freedom, symmetry.space_group, frozen)] if frozen else []


def _mixing_eV(composition: Sequence[SiteComposition], temperature_K: float) -> float:
    return ideal_mixing_eV([list(site.values()) for site in composition], [1] * len(composition), temperature_K)


def _splits(*compositions: Sequence[SiteComposition]) -> bool:
    """Return whether sites with equal composition at one end differ at the other end."""
    kinds = [[_rounded(site) for site in composition] for composition in compositions]
    return not len(set(zip(*kinds, strict=True))) == len(set(kinds[0])) == len(set(kinds[1]))


def _arrangement_eV(composition: Sequence[SiteComposition], labels: np.ndarray, temperature_K: float) -> float:
    """Return the change of k_B T Σ x ln x if all sites with the same label get their mean composition; at most 0."""
    total = 0.0
    for label in np.unique(labels):
        members = [composition[site] for site in np.flatnonzero(labels == label).tolist()]
        if len({_rounded(site) for site in members}) > 1:
            elements = {element for site in members for element in site}
            mean = [sum(site.get(element, 0.0) for site in members) / len(members) for element in elements]
            total += ideal_mixing_eV([mean], [len(members)], temperature_K) - _mixing_eV(members, temperature_K)
    return total


def _rounded(site: SiteComposition) -> tuple[tuple[int, float], ...]:
    return tuple(sorted((element, round(share, 6)) for element, share in site.items()))
