"""Flows that compute the formation free energy of a vacancy by two routes, also for several cells or temperatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import get_args

import numpy as np
from jobflow import Flow, Job, Maker
from pymatgen.core import Structure

from alchemflows.alchemy.defects import equivalent_sites
from alchemflows.alchemy.symmetry import symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.jobs.equilibrium import EquilibriumMaker
from alchemflows.jobs.removal import RemovalMaker
from alchemflows.jobs.vacancy import (
    VacancyComparisonMaker,
    VacancySizesMaker,
    VacancyTemperaturesMaker,
)
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.schemas.dynamics import CellFreedom


@dataclass
class VacancyFreeEnergyMaker(Maker):
    """Compute G_f = G(N−1, vacancy) − G(N) + μ from two Frenkel–Ladd runs and from the removal of an atom.

    In an elemental crystal μ is G(N)/N of the same crystal. In a compound it must be given.

    Parameters
    ----------
    name
        Name of the flow.
    frenkel_ladd_maker
        Potential, conditions and numbers of steps of the absolute free energies and of the removal. Its pressure must
        not be None.
    degeneracy
        Degeneracy of the vacancy on one site (spin, orientations of a distortion), for its equilibrium concentration.

        Vibrations are not counted.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import ChemicalPotentials, FrenkelLaddMaker, VacancyFreeEnergyMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = VacancyFreeEnergyMaker(frenkel_ladd_maker=FrenkelLaddMaker(potential="mace-demo", temperature=400.0))
    >>> flow = maker.make(salt * (2, 2, 2), site=0, chemical_potentials=ChemicalPotentials({"Na": -1.3}))
    >>> [part.name for part in flow.jobs]
    ['Frenkel–Ladd NaCl 400 K', 'Frenkel–Ladd Na31Cl32 400 K', 'removal of an atom', 'vacancy']
    """

    name: str = "vacancy"
    frenkel_ladd_maker: FrenkelLaddMaker = field(default_factory=FrenkelLaddMaker)
    degeneracy: float = 1.0

    @checked
    def make(
        self,
        structure: Structure,
        site: int = 0,
        *,
        chemical_potentials: ChemicalPotentials | None = None,
        supercells: Sequence[tuple[int, int, int]] | None = None,
    ) -> Flow:
        """Return the flow; its output is a :class:`VacancyDocument`, or a :class:`VacancySizes`.

        Parameters
        ----------
        structure
            The perfect crystal, ordered, large enough that the vacancy does not interact with its images.
        site
            Index of the atom to remove.
        chemical_potentials
            For a compound: values, or elemental crystals whose absolute free energies are also computed.
        supercells
            Repeats of the structure, of at least two sizes, for an extrapolation of G_f to a large crystal.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number, or the potential is invalid, or a chemical potential is missing.
        """
        if not 0 <= site < len(structure) or (len(structure) < 2 and supercells is None):
            n_atoms = len(structure)
            raise InvalidInputError(f"site {site} cannot be removed: there are {n_atoms} atoms, 0 to {n_atoms - 1}")
        if not (np.isfinite(self.degeneracy) and self.degeneracy > 0):
            raise InvalidInputError(f"degeneracy must be positive; got {self.degeneracy:g}")
        sizes = [(1, 1, 1)] if supercells is None else [(int(a), int(b), int(c)) for a, b, c in supercells]
        if supercells is not None and len({a * b * c for a, b, c in sizes}) < 2:
            raise InvalidInputError("supercells must have at least two sizes for an extrapolation")
        given = self.frenkel_ladd_maker
        check_maker(given, structure)
        known = chemical_potentials or ChemicalPotentials()
        assert given.pressure_GPa is not None
        element = structure[site].specie.symbol
        known.check(structure, element, given.temperature, given.pressure_GPa)
        checked = replace(given, potential=given.checked_potential())
        widest = max((structure * size for size in sizes), key=len)
        references = reference_flows(checked, known, widest)
        parts: list[Flow | Job] = list(references.values())
        comparisons = []
        for size in sizes:
            # In pymatgen's supercells the images of an atom have consecutive indices.
            cell, index = structure * size, site * size[0] * size[1] * size[2]
            absolute = with_freedom_of(checked, without(cell, index))
            perfect = absolute.make(cell)
            defective, removal = vacancy_runs(absolute, cell, index, perfect)
            comparison = VacancyComparisonMaker(
                name="vacancy" if supercells is None else f"vacancy, {len(cell)} atoms", degeneracy=self.degeneracy
            ).make(
                perfect.output,
                defective.output,
                removal.output,
                [mean_cell(run).output.volume_error_A3 for run in (perfect, defective)],
                {e: known.value(e) for e in known.values_eV},
                {e: run.output for e, run in references.items()},
                {e: mean_cell(run).output.volume_error_A3 for e, run in references.items()},
                len(equivalent_sites(cell, index)),
            )
            parts += [perfect, defective, removal, comparison]
            comparisons.append(comparison)
        last = comparisons[0]
        if supercells is not None:
            last = VacancySizesMaker().make([comparison.output for comparison in comparisons])
            parts.append(last)
        formula = structure.composition.reduced_formula
        return Flow(parts, output=last.output, name=f"{self.name} {element} in {formula} {checked.temperature:g} K")


@dataclass
class VacancyTemperatureMaker(Maker):
    """Compute formation entropy, enthalpy and concentration of a vacancy from G_f at several temperatures.

    Parameters
    ----------
    name
        Name of the flow.
    vacancy_maker
        Maker of the flow at each temperature; the temperature of its `frenkel_ladd_maker` is not used.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import ChemicalPotentials, FrenkelLaddMaker, VacancyFreeEnergyMaker, VacancyTemperatureMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> single = VacancyFreeEnergyMaker(frenkel_ladd_maker=FrenkelLaddMaker(potential="mace-demo"))
    >>> known = {t: ChemicalPotentials({"Na": mu}) for t, mu in ((300.0, -1.3), (400.0, -1.4))}
    >>> maker = VacancyTemperatureMaker(vacancy_maker=single)
    >>> flow = maker.make(salt * (2, 2, 2), list(known), chemical_potentials=known)
    >>> [part.name for part in flow.jobs]
    ['vacancy Na in NaCl 300 K', 'vacancy Na in NaCl 400 K', 'vacancy, temperatures']
    """

    name: str = "vacancy"
    vacancy_maker: VacancyFreeEnergyMaker = field(default_factory=VacancyFreeEnergyMaker)

    @checked
    def make(
        self,
        structure: Structure,
        temperatures: Sequence[float],
        site: int = 0,
        *,
        chemical_potentials: ChemicalPotentials | Mapping[float, ChemicalPotentials] | None = None,
    ) -> Flow:
        """Return the flow; its output is a :class:`VacancyTemperatures`.

        Parameters
        ----------
        structure
            The perfect crystal, ordered, large enough that the vacancy does not interact with its images.
        temperatures
            Temperatures (K), at least two.
        site
            Index of the atom to remove.
        chemical_potentials
            For a compound: reference crystals, or a mapping from each temperature to its chemical potentials.

        Raises
        ------
        InvalidInputError, PotentialError
            If an input is invalid, or one value of a chemical potential is given for several temperatures.
        """
        if len(set(temperatures)) < max(2, len(temperatures)):
            raise InvalidInputError(f"an entropy needs at least two different temperatures; got {list(temperatures)}")
        single = self.vacancy_maker
        runs = []
        for temperature in map(float, temperatures):
            if isinstance(chemical_potentials, Mapping):
                if temperature not in chemical_potentials:
                    raise InvalidInputError(f"there are no chemical potentials for {temperature:g} K")
                known: ChemicalPotentials | None = chemical_potentials[temperature]
            else:
                known = chemical_potentials
                check_one_condition(known, "temperature")
            absolute = replace(single.frenkel_ladd_maker, temperature=temperature)
            maker = replace(single, frenkel_ladd_maker=absolute)
            runs.append(maker.make(structure, site, chemical_potentials=known))
        joined = VacancyTemperaturesMaker().make([run.output for run in runs])
        element, formula = structure[site].specie.symbol, structure.composition.reduced_formula
        return Flow([*runs, joined], output=joined.output, name=f"{self.name} {element} in {formula}")


def check_one_condition(known: ChemicalPotentials | None, what: str) -> None:
    """Check that no value of a chemical potential is used at several temperatures or pressures.

    Raises
    ------
    InvalidInputError
        If a chemical potential is given as a value.
    """
    if known is not None and known.values_eV:
        raise InvalidInputError(
            f"the chemical potential of {', '.join(sorted(known.values_eV))} is given as one value, which is valid at "
            f"one {what} only; give a value for each {what}, or a reference crystal"
        )


def check_maker(maker: FrenkelLaddMaker, structure: Structure) -> None:
    """Check the structure and the settings of a defect's absolute free energies.

    Raises
    ------
    InvalidInputError
        If the structure is alchemical, there is no pressure, or a number is invalid.
    """
    if not structure.is_ordered:
        raise InvalidInputError("a vacancy in an alchemical crystal is not supported")
    if maker.pressure_GPa is None:
        raise InvalidInputError("pressure_GPa must not be None: the volume of a crystal changes with a vacancy")
    maker.in_crystal(AlchemicalSystem.from_structure(structure)[0]).switching_settings()


def without(structure: Structure, site: int) -> Structure:
    """Return a structure without one of its atoms."""
    rest = structure.copy()
    rest.remove_sites([site])
    return rest


def with_freedom_of(maker: FrenkelLaddMaker, *defective: Structure) -> FrenkelLaddMaker:
    """Return the maker with ``auto`` replaced by the cell degrees of freedom of the least symmetric crystal.

    All runs whose free energies are subtracted need the same cell degrees of freedom.
    """
    makers = [maker.in_crystal(AlchemicalSystem.from_structure(structure)[0]) for structure in defective]
    return max(makers, key=lambda each: get_args(CellFreedom).index(each.cell_freedom))


def vacancy_runs(maker: FrenkelLaddMaker, structure: Structure, site: int, perfect: Flow) -> tuple[Flow, Job]:
    """Return the run of the crystal with a vacancy, and the removal of its atom from the perfect crystal.

    Parameters
    ----------
    maker
        Maker of absolute free energies, its potential resolved.
    structure
        The perfect crystal.
    site
        Index of the atom to remove.
    perfect
        Run of the perfect crystal.
    """
    # The vacancy breaks the translational symmetry, so the number of primitive cells is that of the perfect crystal.
    defective = maker.make(without(structure, site), n_primitive_cells=lattice_points(structure))
    settings, seed = maker.switching_settings(), maker.seed_of(structure, "removal", str(site))
    assert not isinstance(maker.potential, str)
    removal = RemovalMaker(potential=maker.potential, settings=settings, seed=seed).make(perfect.output, site)
    maker.categorised([removal])
    return defective, removal


def lattice_points(structure: Structure) -> int:
    """Return the number of primitive cells in the cell of an ordered crystal."""
    system, _ = AlchemicalSystem.from_structure(structure)
    return symmetry_of(system).n_primitive_cells


def reference_flows(maker: FrenkelLaddMaker, known: ChemicalPotentials, crystal: Structure) -> dict[str, Flow]:
    """Return runs of the elemental reference crystals by element, with the settings of a maker.

    Each crystal is repeated until it is at least as wide as the smallest width of the crystal with the defect.
    """
    flows = {}
    for element, structure in sorted(known.references.items()):
        springs = maker.springs_eV_per_A2
        own = replace(maker, springs_eV_per_A2=None if springs is None else {element: springs[element]})
        flows[element] = own.make(as_wide_as(structure, crystal))
        flows[element].name = f"reference {flows[element].name}"
    return flows


def as_wide_as(structure: Structure, other: Structure) -> Structure:
    """Return a structure repeated until its widths (distances of opposite faces) reach the smallest of another."""
    needed = _widths(other).min()
    return structure * [ceil(needed / width - 1e-6) for width in _widths(structure)]


def mean_cell(run: Flow) -> Job:
    """Return the job of a Frenkel–Ladd flow that computes the mean cell."""
    return next(job for job, _ in run.iterflow() if isinstance(job.maker, EquilibriumMaker))


def _widths(structure: Structure) -> np.ndarray:
    """Return the distances between opposite faces of the cell, Å, shape (3,)."""
    return 1 / np.linalg.norm(np.linalg.inv(structure.lattice.matrix), axis=0)
