"""Straight paths in the weights of an alchemical system, from one composition to another."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from monty.json import MSONable
from numpy.typing import ArrayLike
from pymatgen.core import Structure

from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.system import WEIGHT_TOLERANCE, AlchemicalSystem, Coupling, host_structure, occupancy_key
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.substitution import Substitution
from alchemflows.structures.species import check_symbol, is_full
from alchemflows.structures.sublattices import check_exclusions, occupancies_of


@dataclass(frozen=True)
class WeightPath(MSONable):
    """A straight line in the weights: w(λ) = (1 − λ) w_initial + λ w_final.

    Parameters
    ----------
    system
        The alchemical system.
    initial, final
        Weights at λ = 0 and λ = 1: those of the system, and further ones if the potential has them.
    """

    system: AlchemicalSystem
    initial: tuple[float, ...]
    final: tuple[float, ...]

    @property
    def initial_weights(self) -> np.ndarray:
        """Weights at λ = 0, shape (C,)."""
        return np.array(self.initial)

    @property
    def final_weights(self) -> np.ndarray:
        """Weights at λ = 1, shape (C,)."""
        return np.array(self.final)

    @property
    def direction(self) -> np.ndarray:
        """dw/dλ, shape (C,); its scalar product with ∂E/∂w is dU/dλ."""
        return self.final_weights - self.initial_weights

    def weights(self, lambdas: ArrayLike) -> np.ndarray:
        """Return the weights at each λ, shape (..., C) for λ of shape (...).

        Raises
        ------
        InvalidInputError
            If a λ is outside [0, 1].
        """
        values = np.asarray(lambdas, dtype=float)
        if ((values < 0) | (values > 1)).any() or not np.isfinite(values).all():
            raise InvalidInputError(f"lambdas: λ must lie between 0 and 1; got {values.tolist()}")
        return self.initial_weights + values[..., None] * self.direction

    def masses(self, lambdas: ArrayLike) -> np.ndarray:
        """Return the mixed masses at each λ in atomic mass units, shape (..., N)."""
        return self.system.masses(self.weights(lambdas)[..., : self.system.n_weights])


@dataclass(frozen=True)
class AlchemicalPath(WeightPath):
    """A path from one composition of an alchemical system to another.

    Parameters
    ----------
    system
        The alchemical system.
    initial, final
        Weights at λ = 0 and λ = 1, each of shape (C,).

    Raises
    ------
    InvalidInputError
        If the weights at λ = 0 or λ = 1 are not on the simplex.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import AlchemicalPath
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> path = AlchemicalPath.from_substitution(salt, {"Na": "K"})
    >>> path.system.weight_labels, path.weights(0.25).tolist()
    (('Na[4]', 'K[4]'), [0.75, 0.25])
    """

    def __post_init__(self) -> None:
        for end in ("initial", "final"):
            values = self.system.check_weights(getattr(self, end))
            if values.ndim != 1:
                raise InvalidInputError(f"the {end} weights must have the shape (C,); got {values.shape}")
            object.__setattr__(self, end, tuple(values.tolist()))

    def as_dict(self) -> dict[str, Any]:
        """Return a dictionary with one string each for system and weights, see :meth:`AlchemicalSystem.as_dict`."""
        content = {"system": self.system.as_dict()["json"], "ends": json.dumps([self.initial, self.final])}
        return {"@module": type(self).__module__, "@class": type(self).__name__, **content}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> AlchemicalPath:
        """Return the path from the dictionary of :meth:`as_dict`; equal content gives the same object."""
        return _read(d["system"], d["ends"])

    @classmethod
    @checked
    def from_substitution(
        cls,
        structure: Structure,
        substitution: Substitution,
        *,
        sites: Sequence[int] | None = None,
        coupling: Coupling = "paired",
        site_resolved: bool = False,
    ) -> AlchemicalPath:
        """Return the path that substitutes elements of a structure.

        Parameters
        ----------
        structure
            Ordered or disordered pymatgen Structure. Partial occupancies become the initial weights, and the share of
            a substituted element is transferred to its replacement.
        substitution
            ``{"Pb": "Sn"}``, ``{"Pb": {"Sn": 0.5, "Ge": 0.5}}``, or ``{"Fe": None}`` for a vacancy.
        sites
            Indices of the sites to change; by default all sites that contain the element.
        coupling
            See :class:`AlchemicalSystem`.
        site_resolved
            If True, every changed or disordered site is a separate group. If False, sites of an ordered crystal that
            change in the same way form one group, whatever their symmetry; disordered sites form one group if they are
            equivalent by symmetry and have the same occupancies.

        Raises
        ------
        InvalidInputError
            If an element is unknown or absent from the structure (or from `sites`), a site does not exist, fractions
            are not on the simplex, two atoms are closer than 0.5 Å, sites exclude one another, or the structure
            contains isotopes or fixed atoms.
        """
        targets = {check_symbol(source): _target(source, goal) for source, goal in substitution.items()}
        if not targets:
            raise InvalidInputError('the substitution is empty; give at least one element, e.g. {"Na": "K"}')
        chosen = set(range(len(structure))) if sites is None else set(sites)
        if sites is not None and len(chosen) < len(sites):
            raise InvalidInputError(f"sites: an index is given twice in {', '.join(map(str, sites))}")
        for site in chosen:
            if not 0 <= site < len(structure):
                raise InvalidInputError(
                    f"sites: site {site} does not exist; the structure has the sites 0 to {len(structure) - 1}"
                )
        occupancies = occupancies_of(structure)
        present = {symbol for i in chosen for symbol in occupancies.sites[i]}
        for source in targets:
            if source not in present:
                where = "in the structure" if sites is None else "on the selected sites"
                raise InvalidInputError(
                    f"substitution: {source} is not {where}; elements there: {', '.join(sorted(present)) or 'none'}"
                )

        if sites is not None:
            for site in sorted(chosen):
                if not targets.keys() & occupancies.sites[site].keys():
                    raise InvalidInputError(f"sites: site {site} contains none of {', '.join(targets)}")

        members: dict[Hashable, list[int]] = {}
        ends: dict[int, tuple[dict[str, float], dict[str, float]]] = {}
        for i, before in enumerate(occupancies.sites):
            after = _substitute(before, targets) if i in chosen else before
            partial = not is_full(before)
            if partial or after != before:
                ends[i] = before, after
                # Ordered sites that change alike form one group; disordered sites are grouped by sublattice.
                alike = i if site_resolved else occupancies.sublattices[i] if partial else None
                members.setdefault((occupancy_key(before), occupancy_key(after), alike), []).append(i)

        if all(before == after for before, after in ends.values()):
            raise InvalidInputError("the substitution does not change the composition; give other elements")

        groups, initial, final = [], [], []
        for group_sites in members.values():
            before, after = ends[group_sites[0]]
            symbols = list(before | after)
            groups.append(uniform_group(group_sites, symbols))
            initial += [before.get(symbol, 0.0) for symbol in symbols]
            final += [after.get(symbol, 0.0) for symbol in symbols]
        check_exclusions(structure, occupancies.sites)
        system = AlchemicalSystem(host_structure(structure, occupancies.sites), tuple(groups), coupling)
        system.check_distances()
        return cls(system, tuple(initial), tuple(final))

    def conserves_sites(self) -> bool:
        """Return whether every group keeps its total weight, so that no atom appears or vanishes along the path."""
        totals = np.bincount(self.system.group_of_weight, weights=self.direction, minlength=len(self.system.groups))
        return bool((np.abs(totals) < WEIGHT_TOLERANCE).all())


def _target(source: str, goal: str | Mapping[str, float] | None) -> dict[str, float]:
    if goal is None:
        return {}
    mixture = {goal: 1.0} if isinstance(goal, str) else dict(goal)
    for symbol in mixture:
        check_symbol(symbol)
    if sum(mixture.values()) > 1 + WEIGHT_TOLERANCE:
        raise InvalidInputError(
            f"substitution: the fractions of the replacement of {source}, {mixture}, sum to "
            f"{sum(mixture.values()):.6g}; at most 1 is allowed"
        )
    return mixture


def _substitute(occupancy: Mapping[str, float], targets: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the occupancy after all substitutions at once, so that swaps (Pb ↔ Sn) are possible."""
    after = {symbol: fraction for symbol, fraction in occupancy.items() if symbol not in targets}
    for source, mixture in targets.items():
        for symbol, fraction in mixture.items():
            if source in occupancy:
                after[symbol] = after.get(symbol, 0.0) + occupancy[source] * fraction
    return after


@lru_cache(maxsize=32)
def _read(system: str, ends: str) -> AlchemicalPath:
    """Return a path from its stored strings; cached, since FireWorks and jobflow read it several times per job."""
    return AlchemicalPath(AlchemicalSystem.from_dict({"json": system}), *json.loads(ends))
