"""The flow that computes G of several phases over compositions and temperatures, and the stable phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jobflow import Flow, Maker
from pymatgen.core import Structure

from alchemflows.alchemy.path import AlchemicalPath, Substitution
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.analysis.phases import Point
from alchemflows.analysis.terms import mixing_term_eV
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import CellChoice
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.jobs.inputs import failing_onwards, tolerant
from alchemflows.jobs.phases import PhaseComparisonMaker


@dataclass
class PhaseStabilityMaker(Maker):
    """Compute G(x, T) of several phases by Frenkel–Ladd runs, the stable phase, and transition temperatures.

    Between the end compositions the crystal is alchemical, and −T S of ideal mixing is added to its G.

    Parameters
    ----------
    name
        Name of the flow.
    frenkel_ladd_maker
        Potential, conditions and numbers of steps of each run; its temperature is not used.
    freedom_of
        ``cell_freedom`` of individual phases by name, in place of that of the maker.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import FrenkelLaddMaker, PhaseStabilityMaker
    >>> rocksalt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> caesium_chloride = Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> phases = {"B1": rocksalt * (2, 2, 2), "B2": caesium_chloride * (3, 3, 3)}
    >>> maker = PhaseStabilityMaker(frenkel_ladd_maker=FrenkelLaddMaker(potential="mace-demo"))
    >>> [part.name for part in maker.make(phases, [300.0, 500.0]).jobs]
    ['B1: Frenkel–Ladd NaCl 300 K', 'B1: Frenkel–Ladd NaCl 500 K', 'B2: Frenkel–Ladd NaCl 300 K',
     'B2: Frenkel–Ladd NaCl 500 K', 'phase stability']
    """

    name: str = "phase stability"
    frenkel_ladd_maker: FrenkelLaddMaker = field(default_factory=FrenkelLaddMaker)
    freedom_of: Mapping[str, CellChoice] = field(default_factory=dict)

    @checked
    def make(
        self,
        phases: Mapping[str, Structure],
        temperatures: Sequence[float],
        *,
        substitution: Substitution | None = None,
        compositions: Sequence[float] = (0.0, 1.0),
    ) -> Flow:
        """Return the flow; its output is a :class:`PhaseStabilityDocument`.

        Parameters
        ----------
        phases
            Structures by name, with the same composition.
        temperatures
            Temperatures (K).
        substitution
            Substitution that changes the composition, for example ``{"Pb": "Sn"}``.
        compositions
            Fractions x of the substitution, between 0 and 1; used only with a substitution.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structures differ in composition, or another input is invalid.
        """
        if not phases or not temperatures or (substitution is not None and not compositions):
            raise InvalidInputError("at least one phase, one temperature and one composition are needed")
        formulas = {structure.composition.reduced_formula for structure in phases.values()}
        if len(formulas) > 1:
            raise InvalidInputError(f"phases must have the same composition; got {', '.join(sorted(formulas))}")
        unknown = sorted(set(self.freedom_of) - set(phases))
        if unknown:
            raise InvalidInputError(f"freedom_of names {', '.join(unknown)}, not among the phases {', '.join(phases)}")
        if self.frenkel_ladd_maker.pressure_GPa is None:
            raise InvalidInputError("phases are compared at a common pressure; pressure_GPa must not be None")
        if len(set(temperatures)) < len(temperatures) or len(set(compositions)) < len(compositions):
            raise InvalidInputError("temperatures or compositions contain a value twice; give each once")
        shares: list[float | None] = [None] if substitution is None else [float(x) for x in compositions]
        maker = self.frenkel_ladd_maker
        crystals = []
        for name, structure in phases.items():
            freedom = self.freedom_of.get(name, maker.cell_freedom)
            for x in shares:
                at_x = structure if x is None else _mixed(structure, substitution or {}, x)
                system, weights = AlchemicalSystem.from_structure(at_x, coupling=maker.coupling)
                for temperature in map(float, temperatures):
                    own = replace(maker, temperature=temperature, cell_freedom=freedom)
                    own.in_crystal(system).switching_settings()
                    crystals.append((name, x, at_x, system, weights, own))
        potential = maker.checked_potential()
        runs, points = [], []
        for name, x, at_x, system, weights, own in crystals:
            run = failing_onwards(replace(own, potential=potential).make(at_x))
            run.name = f"{name}: {run.name}"
            runs.append(run)
            mixing = mixing_term_eV(system, weights, own.temperature)
            points.append(Point(name, system.formula(weights), x, own.temperature, system.counts(weights), mixing))
        comparison = tolerant(PhaseComparisonMaker().make(points, [run.output for run in runs]))
        return Flow([*runs, comparison], output=comparison.output, name=f"{self.name} {', '.join(phases)}")


def _mixed(structure: Structure, substitution: Substitution, x: float) -> Structure:
    """Return the structure with a fraction x of the substitution as partial occupancies; ordered at x = 0 and 1."""
    path = AlchemicalPath.from_substitution(structure, substitution)
    weights = path.weights(x)
    if np.isin(weights, (0.0, 1.0)).all():
        return path.system.at_vertex(weights)
    mixed = structure.copy()
    start = 0
    for group in path.system.groups:
        share = weights[start : start + len(group.channels)]
        start += len(group.channels)
        for k, site in enumerate(group.sites):
            mixed.replace(
                site, {channel[k]: float(w) for channel, w in zip(group.channels, share, strict=True) if w > 0}
            )
    return mixed
