"""Flows for neutral Schottky defects and Frenkel pairs, whose free energies need no chemical potential."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jobflow import Flow, Job, Maker
from pymatgen.core import Structure

from alchemflows.alchemy.defects import equivalent_positions, equivalent_sites, formula_unit
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.vacancy import check_maker, lattice_points, mean_cell, vacancy_runs, with_freedom_of, without
from alchemflows.jobs.defect_pairs import FrenkelPairJoinMaker, SchottkyDefectMaker


@dataclass
class SchottkyMaker(Maker):
    """Compute the free energy of a neutral Schottky defect: isolated vacancies of one formula unit.

    G_S = Σ_i ν_i [G(N−1, V_i) − G(N)] + G(N)/n with n formula units in the cell. Each vacancy is in a separate cell, so
    the binding between vacancies is not included.

    Parameters
    ----------
    name
        Name of the flow.
    frenkel_ladd_maker
        Potential, conditions and numbers of steps; see :class:`VacancyFreeEnergyMaker`.
    degeneracies
        Number of states of a vacancy on one site by element, vibrations not counted; 1 if not given.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import FrenkelLaddMaker, SchottkyMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = SchottkyMaker(frenkel_ladd_maker=FrenkelLaddMaker(potential="mace-demo", temperature=400.0))
    >>> [part.name for part in maker.make(salt * (2, 2, 2)).jobs]
    ['Frenkel–Ladd NaCl 400 K', 'Frenkel–Ladd Na32Cl31 400 K', 'removal of an atom',
     'Frenkel–Ladd Na31Cl32 400 K', 'removal of an atom', 'Schottky defect']
    """

    name: str = "Schottky defect"
    frenkel_ladd_maker: FrenkelLaddMaker = field(default_factory=FrenkelLaddMaker)
    degeneracies: Mapping[str, float] = field(default_factory=dict)

    @checked
    def make(self, structure: Structure, sites: Mapping[str, int] | None = None) -> Flow:
        """Return the flow; its output is a :class:`SchottkyDocument`.

        Parameters
        ----------
        structure
            The perfect crystal of a compound, ordered, large enough that a vacancy does not interact with its images.
        sites
            Index of the atom to remove for each element; needed if the atoms of an element are not all equivalent.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number, or the potential is invalid.
        """
        absolute = self.frenkel_ladd_maker
        check_maker(absolute, structure)
        units, _ = formula_unit(structure)
        formula = structure.composition.reduced_formula
        if len(units) < 2:
            raise InvalidInputError(f"{formula} is an element; a Schottky defect needs a compound")
        if unknown := sorted((set(sites or {}) | set(self.degeneracies)) - set(units)):
            raise InvalidInputError(f"there is no {unknown[0]} in {formula}")
        for element, degeneracy in self.degeneracies.items():
            _check_degeneracy(f"degeneracy of {element}", degeneracy)
        chosen = {element: _site_of(structure, element, (sites or {}).get(element)) for element in units}
        absolute = replace(absolute, potential=absolute.checked_potential())
        absolute = with_freedom_of(absolute, *(without(structure, site) for site in chosen.values()))
        perfect = absolute.make(structure)
        runs = {element: vacancy_runs(absolute, structure, site, perfect) for element, site in chosen.items()}
        joined = SchottkyDefectMaker().make(
            perfect.output,
            [defective.output for defective, _ in runs.values()],
            [removal.output for _, removal in runs.values()],
            [len(equivalent_sites(structure, site)) for site in chosen.values()],
            [float(self.degeneracies.get(element, 1.0)) for element in chosen],
            mean_cell(perfect).output.volume_error_A3,
            [mean_cell(defective).output.volume_error_A3 for defective, _ in runs.values()],
        )
        parts: list[Flow | Job] = [perfect, *(part for pair in runs.values() for part in pair), joined]
        return Flow(parts, output=joined.output, name=f"{self.name} {formula} {absolute.temperature:g} K")


@dataclass
class FrenkelPairMaker(Maker):
    """Compute the free energy of a neutral Frenkel pair: an isolated vacancy and interstitial of one element.

    G_F = [G(N−1, vacancy) − G(N)] + [G(N+1, interstitial) − G(N)], each defect in a separate cell, so that they neither
    interact nor recombine.

    Parameters
    ----------
    name
        Name of the flow.
    frenkel_ladd_maker
        Potential, conditions and numbers of steps; see :class:`VacancyFreeEnergyMaker`.
    vacancy_degeneracy, interstitial_degeneracy
        Number of states of each defect on one site, vibrations not counted.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import FrenkelLaddMaker, FrenkelPairMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = FrenkelPairMaker(frenkel_ladd_maker=FrenkelLaddMaker(potential="mace-demo", temperature=400.0))
    >>> flow = maker.make(salt * (2, 2, 2), site=0, interstitial=[0.125, 0.125, 0.125])
    >>> [part.name for part in flow.jobs]
    ['Frenkel–Ladd NaCl 400 K', 'Frenkel–Ladd Na31Cl32 400 K', 'removal of an atom',
     'Frenkel–Ladd Na33Cl32 400 K', 'Frenkel pair']
    """

    name: str = "Frenkel pair"
    frenkel_ladd_maker: FrenkelLaddMaker = field(default_factory=FrenkelLaddMaker)
    vacancy_degeneracy: float = 1.0
    interstitial_degeneracy: float = 1.0

    @checked
    def make(self, structure: Structure, site: int, interstitial: Sequence[float]) -> Flow:
        """Return the flow; its output is a :class:`FrenkelPairDocument`.

        Parameters
        ----------
        structure
            The perfect crystal, ordered, large enough that a defect does not interact with its images.
        site
            Index of the atom to remove.
        interstitial
            Fractional coordinates of the interstitial, shape (3,).

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number, or the potential is invalid, or the interstitial is on an atom.
        """
        absolute = self.frenkel_ladd_maker
        check_maker(absolute, structure)
        if not 0 <= site < len(structure) or len(structure) < 2:
            n_atoms = len(structure)
            raise InvalidInputError(f"site {site} cannot be removed: there are {n_atoms} atoms, 0 to {n_atoms - 1}")
        place = [float(x) for x in interstitial]
        if len(place) != 3 or not np.isfinite(place).all():
            raise InvalidInputError(f"an interstitial has three finite coordinates; got {list(interstitial)}")
        _check_degeneracy("vacancy_degeneracy", self.vacancy_degeneracy)
        _check_degeneracy("interstitial_degeneracy", self.interstitial_degeneracy)
        element = structure[site].specie.symbol
        with_interstitial = structure.copy()
        with_interstitial.append(element, place)
        absolute = replace(absolute, potential=absolute.checked_potential())
        absolute = with_freedom_of(absolute, without(structure, site), with_interstitial)
        perfect = absolute.make(structure)
        defective, removal = vacancy_runs(absolute, structure, site, perfect)
        inserted = absolute.make(with_interstitial, n_primitive_cells=lattice_points(structure))
        joined = FrenkelPairJoinMaker(
            vacancy_degeneracy=self.vacancy_degeneracy, interstitial_degeneracy=self.interstitial_degeneracy
        ).make(
            perfect.output,
            defective.output,
            inserted.output,
            removal.output,
            place,
            len(equivalent_sites(structure, site)),
            equivalent_positions(structure, place),
            [mean_cell(run).output.volume_error_A3 for run in (perfect, defective, inserted)],
        )
        formula = structure.composition.reduced_formula
        name = f"{self.name} {element} in {formula} {absolute.temperature:g} K"
        return Flow([perfect, defective, removal, inserted, joined], output=joined.output, name=name)


def _site_of(structure: Structure, element: str, site: int | None) -> int:
    """Return the index of the atom of an element to remove: the given one, or the first if all are equivalent."""
    atoms = [index for index, each in enumerate(structure) if each.specie.symbol == element]
    if site is not None:
        if site not in atoms:
            raise InvalidInputError(
                f"site {site} is not {element}; sites of {element}: {', '.join(map(str, atoms[:8]))}"
                f"{', ...' if len(atoms) > 8 else ''}"
            )
        return site
    if len(equivalent_sites(structure, atoms[0])) < len(atoms):
        others = sorted(set(atoms) - set(equivalent_sites(structure, atoms[0])))
        raise InvalidInputError(
            f"the atoms of {element} are not all equivalent (for example, atoms {atoms[0]} and {others[0]}): "
            "give the index of the one to remove in sites"
        )
    return atoms[0]


def _check_degeneracy(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise InvalidInputError(f"{name} must be positive; got {value:g}")
