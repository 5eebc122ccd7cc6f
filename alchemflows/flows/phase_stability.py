"""The flow that computes G of several phases over compositions and temperatures, and the stable phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from jobflow import Flow, Job, Maker
from pymatgen.core import Structure

from alchemflows.alchemy.path import AlchemicalPath, Substitution
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.analysis.phases import PhaseComposition, Point
from alchemflows.analysis.terms import mixing_term_eV
from alchemflows.arguments import checked
from alchemflows.choices import check_choice
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import CellChoice
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.isolines import TOLERANCE, TemperatureSweepMaker
from alchemflows.jobs.inputs import failing_onwards, tolerant
from alchemflows.jobs.phases import PhaseComparisonMaker, PhaseCurveComparisonMaker
from alchemflows.schemas.counts import Counts

#: Runs of each phase and composition.
Runs = Literal["auto", "curves", "points"]
#: Smallest number of temperatures for which ``auto`` means curves.
MIN_TEMPERATURES = 3


@dataclass
class PhaseStabilityMaker(Maker):
    """Compute G(x, T) of several phases, the stable phase, and transitions with their latent heat.

    Between the end compositions the crystal is alchemical, and −T S of ideal mixing is added to its G.

    Parameters
    ----------
    name
        Name of the flow.
    frenkel_ladd_maker
        Potential, conditions and numbers of steps of each Frenkel–Ladd run; its temperature is not used.
    freedom_of
        ``cell_freedom`` of individual phases by name, in place of that of the maker.
    runs
        Runs of each phase and composition: ``curves`` (one Frenkel–Ladd run and one sweep of the temperature),
        ``points`` (one Frenkel–Ladd run for each temperature), or ``auto`` (curves for three or more temperatures).

        Crystals with vacancies have no curves; ``auto`` then means points.
    anchor_temperature
        Temperature (K) of the Frenkel–Ladd run of each curve; by default the given temperature that is nearest to the
        middle of the range on a logarithmic scale.

        It must be between the lowest and the highest temperature, and all phases must be stable there.
    n_sweep_repeats
        Number of sweeps of the temperature in each direction, for each curve; at least 2.

        All sweeps of a curve run in one batch.
    n_sweep_equilibration_steps
        Number of equilibration steps at each end of the range, before the sweeps.
    n_sweep_steps
        Number of steps of each sweep.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import FrenkelLaddMaker, PhaseStabilityMaker
    >>> rocksalt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> caesium_chloride = Structure(Lattice.cubic(3.5), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> phases = {"B1": rocksalt * (2, 2, 2), "B2": caesium_chloride * (3, 3, 3)}
    >>> maker = PhaseStabilityMaker(frenkel_ladd_maker=FrenkelLaddMaker(potential="mace-demo"))
    >>> [part.name for part in maker.make(phases, [300.0, 400.0, 500.0]).jobs]
    ['B1: temperature sweep NaCl', 'B2: temperature sweep NaCl', 'phase stability']
    >>> [part.name for part in maker.make(phases, [300.0, 500.0]).jobs]
    ['B1: Frenkel–Ladd NaCl 300 K', 'B1: Frenkel–Ladd NaCl 500 K', 'B2: Frenkel–Ladd NaCl 300 K',
     'B2: Frenkel–Ladd NaCl 500 K', 'phase stability']
    """

    name: str = "phase stability"
    frenkel_ladd_maker: FrenkelLaddMaker = field(default_factory=FrenkelLaddMaker)
    freedom_of: Mapping[str, CellChoice] = field(default_factory=dict)
    runs: Runs = "auto"
    anchor_temperature: float | None = None
    n_sweep_repeats: int = 4
    n_sweep_equilibration_steps: int = 5000
    n_sweep_steps: int = 20000

    @checked
    def make(
        self,
        phases: Mapping[str, Structure],
        temperatures: Sequence[float],
        *,
        substitution: Substitution | None = None,
        compositions: Sequence[float] = (0.0, 1.0),
        boundary_pressures: Sequence[float] = (),
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
        boundary_pressures
            Further pressures (GPa) at which transition temperatures are computed, for the boundaries T(p) between the
            phases. Needs curves.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structures differ in composition, or another input is invalid.
        """
        self._check(phases, temperatures, substitution, compositions, boundary_pressures)
        shares: list[float | None] = [None] if substitution is None else [float(x) for x in compositions]
        maker = self.frenkel_ladd_maker
        crystals = []
        for name, structure in phases.items():
            own = replace(maker, cell_freedom=self.freedom_of.get(name, maker.cell_freedom))
            for x in shares:
                at_x = structure if x is None else _mixed(structure, substitution or {}, x)
                system, weights = AlchemicalSystem.from_structure(at_x, coupling=maker.coupling)
                crystals.append(_Crystal(name, x, at_x, system, weights, own))
        if self._by_curves(crystals, len(temperatures)):
            return self._curves(crystals, sorted(map(float, temperatures)), sorted(map(float, boundary_pressures)))
        if boundary_pressures:
            raise InvalidInputError("boundary_pressures: single runs give no boundaries; choose curves")
        if self.anchor_temperature is not None:
            raise InvalidInputError("anchor_temperature: single runs have no anchor; choose curves")
        return self._points(crystals, list(map(float, temperatures)))

    def _check(
        self,
        phases: Mapping[str, Structure],
        temperatures: Sequence[float],
        substitution: Substitution | None,
        compositions: Sequence[float],
        boundary_pressures: Sequence[float],
    ) -> None:
        """Check the fields and the arguments of :meth:`make`.

        Raises
        ------
        InvalidInputError
            If one is invalid.
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
        if len(set(boundary_pressures)) < len(boundary_pressures):
            raise InvalidInputError("boundary_pressures contains a value twice; give each once")
        own_GPa = self.frenkel_ladd_maker.pressure_GPa
        if any(abs(pressure - own_GPa) < TOLERANCE for pressure in boundary_pressures):
            raise InvalidInputError(
                f"boundary_pressures: {own_GPa:g} GPa is the pressure of the curves (pressure_GPa), which the "
                "boundaries contain anyway; leave it out"
            )
        check_choice("runs", self.runs, get_args(Runs))

    def _by_curves(self, crystals: Sequence[_Crystal], n_temperatures: int) -> bool:
        """Return whether the runs are curves.

        Raises
        ------
        InvalidInputError
            If curves are asked for, but there is one temperature only.
        """
        if self.runs == "curves" and n_temperatures < 2:
            raise InvalidInputError("curves need at least two temperatures, their ends; got one")
        if self.runs != "auto":
            return self.runs == "curves"
        return n_temperatures >= MIN_TEMPERATURES and not any(crystal.is_vacant for crystal in crystals)

    def _points(self, crystals: Sequence[_Crystal], temperatures: Sequence[float]) -> Flow:
        """Return the flow of one Frenkel–Ladd run for each crystal and temperature."""
        runs = [(each, replace(each.maker, temperature=t)) for each in crystals for t in temperatures]
        for crystal, own in runs:
            own.in_crystal(crystal.system).switching_settings()
        potential = self.frenkel_ladd_maker.checked_potential()
        parts, points = [], []
        for each, own in runs:
            parts.append(each.named(replace(own, potential=potential).make(each.structure)))
            points.append(
                Point(each.phase, each.formula, each.x, own.temperature, each.counts, each.mixing_eV(own.temperature))
            )
        comparison = tolerant(PhaseComparisonMaker().make(points, [part.output for part in parts]))
        return self._flow(parts, comparison, crystals)

    def _curves(self, crystals: Sequence[_Crystal], temperatures: Sequence[float], pressures: Sequence[float]) -> Flow:
        """Return the flow of one Frenkel–Ladd run and one sweep for each crystal, and of sweeps for other pressures."""
        low, high = temperatures[0], temperatures[-1]
        if low <= 0:
            raise InvalidInputError(f"temperatures must be above 0 K; got {low:g}")
        anchor = self.anchor_temperature
        if anchor is None:
            anchor = min(temperatures, key=lambda t: abs(np.log(t) - np.log(low * high) / 2))
        if not low <= anchor <= high:
            raise InvalidInputError(
                f"anchor_temperature must be between the lowest and the highest temperature, {low:g} and {high:g} K, "
                f"since the curves start there; got {anchor:g}"
            )
        for name, least in (("n_sweep_repeats", 2), ("n_sweep_equilibration_steps", 0), ("n_sweep_steps", 1)):
            if getattr(self, name) < least:
                raise InvalidInputError(f"{name} must be at least {least}; got {getattr(self, name)}")
        sweep = TemperatureSweepMaker(
            n_repeats=self.n_sweep_repeats,
            n_equilibration_steps=self.n_sweep_equilibration_steps,
            n_switching_steps=self.n_sweep_steps,
        )
        for each in crystals:
            replace(each.maker, temperature=anchor).in_crystal(each.system).switching_settings()
        potential = self.frenkel_ladd_maker.checked_potential()
        parts, outputs = [], []
        for each in crystals:
            maker = replace(sweep, frenkel_ladd_maker=replace(each.maker, temperature=anchor, potential=potential))
            if pressures:
                parts.append(each.named(maker.at_pressures(each.structure, low, high, pressures)))
                outputs.append(parts[-1].output)
            else:
                parts.append(each.named(maker.make(each.structure, low, high)))
                outputs.append([parts[-1].output])
        known = [PhaseComposition(e.phase, e.formula, e.x, e.counts, e.mixing_eV(1.0)) for e in crystals]
        first = [output[0] for output in outputs]
        more = [list(pressures), [o[1] for o in outputs], [o[2:] for o in outputs]] if pressures else []
        comparison = tolerant(PhaseCurveComparisonMaker().make(known, list(temperatures), first, *more))
        return self._flow(parts, comparison, crystals)

    def _flow(self, parts: Sequence[Flow], comparison: Job, crystals: Sequence[_Crystal]) -> Flow:
        names = ", ".join(dict.fromkeys(crystal.phase for crystal in crystals))
        return Flow([*parts, comparison], output=comparison.output, name=f"{self.name} {names}")


@dataclass(frozen=True)
class _Crystal:
    """A phase at one composition, with the maker of its Frenkel–Ladd runs."""

    phase: str
    x: float | None
    structure: Structure
    system: AlchemicalSystem
    weights: np.ndarray
    maker: FrenkelLaddMaker

    @property
    def formula(self) -> str:
        return self.system.formula(self.weights)

    @property
    def counts(self) -> Counts:
        return self.system.counts(self.weights)

    @property
    def is_vacant(self) -> bool:
        return self.counts.sites - self.counts.atoms > TOLERANCE

    def mixing_eV(self, temperature_K: float) -> float:
        return mixing_term_eV(self.system, self.weights, temperature_K)

    def named(self, run: Flow) -> Flow:
        """Return a run of this crystal with the name of its phase; if one of its jobs fails, the next ones fail too."""
        run.name = f"{self.phase}: {run.name}"
        return failing_onwards(run)


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
