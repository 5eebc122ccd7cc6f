"""The flows that compute G(T) and G(p) of a crystal from one sweep and one absolute free energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from jobflow import Flow, Job, Maker
from pymatgen.core import Structure

from alchemflows.alchemy.cell_size import check_neighbours
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.jobs.isolines import PressureSwitchesMaker, SweepSwitchesMaker, TemperatureSwitchesMaker
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.liquid import LiquidFreeEnergyDocument
from alchemflows.schemas.potential import PotentialSpec

S = TypeVar("S", bound=SweepSwitchesMaker)

#: Smallest number of points of a curve.
MIN_POINTS = 3
#: Relative difference up to which numbers of an anchor and of a sweep count as equal.
TOLERANCE = 1e-6


@dataclass
class IsolineMaker(Maker):
    """Base of makers of sweeps of temperature or pressure.

    Parameters
    ----------
    name
        Name of the flow.
    frenkel_ladd_maker
        Potential, conditions, and lengths of the Frenkel–Ladd run, which is the anchor of the curve. The sweep has the
        same potential and conditions.
    n_repeats
        Number of sweeps over the range in each direction; at least 2.

        All sweeps run in one batch.
    n_equilibration_steps
        Number of equilibration steps at each end of the range, before the sweeps.
    n_switching_steps
        Number of steps of each sweep.
    n_points
        Number of points of the curve, both ends included; at least 3. The curve also has the point of the
        Frenkel–Ladd run.
    """

    name: str = "sweep"
    frenkel_ladd_maker: FrenkelLaddMaker = field(default_factory=FrenkelLaddMaker)
    n_repeats: int = 4
    n_equilibration_steps: int = 5000
    n_switching_steps: int = 20000
    n_points: int = 21

    def _flow(
        self,
        kind: type[SweepSwitchesMaker],
        structure: Structure,
        ends: tuple[float, float],
        anchor: FrenkelLaddDocument | LiquidFreeEnergyDocument | None,
    ) -> Flow:
        """Return the flow of a checked range."""
        crystal = self._checked(structure)
        if isinstance(anchor, LiquidFreeEnergyDocument):
            settings = crystal.settings.model_copy(update={"cell_freedom": "isotropic"})  # a liquid has no shape
            crystal = replace(crystal, settings=settings)
        parts: list[Job | Flow] = []
        if anchor is None:
            parts.append(replace(self.frenkel_ladd_maker, potential=crystal.potential).make(structure))
        else:
            _check_anchor(anchor, crystal.system, crystal.weights.tolist(), crystal.potential)
        switches = self._switches(kind, crystal, ends).make(crystal.system, parts[0].output if parts else anchor)
        jobs = self.frenkel_ladd_maker.categorised([switches])
        return Flow([*parts, *jobs], output=switches.output, name=f"{self.name} {crystal.formula}")

    def _checked(self, structure: Structure) -> _CheckedCrystal:
        """Return a crystal that can be swept, with the potential and the settings of its switches."""
        absolute = self.frenkel_ladd_maker
        if self.n_points < MIN_POINTS:
            raise InvalidInputError(f"n_points must be at least {MIN_POINTS}; got {self.n_points}")
        check_neighbours(structure)
        system, weights = AlchemicalSystem.from_structure(structure, coupling=absolute.coupling)
        if abs(system.counts(weights).atoms - system.n_sites) > TOLERANCE:
            raise InvalidInputError(
                f"structure: {system.formula(weights)} has vacant sites; a sweep needs the momenta of whole atoms"
            )
        settings = absolute.in_crystal(system).settings(
            SwitchingSettings,
            n_repeats=self.n_repeats,
            n_equilibration_steps=self.n_equilibration_steps,
            n_switching_steps=self.n_switching_steps,
            schedule="linear",
        )
        return _CheckedCrystal(system, weights, settings, absolute.checked_potential(system))

    def _switches(
        self, kind: type[S], crystal: _CheckedCrystal, ends: tuple[float, float], pressure_GPa: float | None = None
    ) -> S:
        """Return the maker of the switches of a range, at the pressure of the anchor or at another one."""
        settings, purpose = crystal.settings, self.name
        if pressure_GPa is not None:
            settings = settings.model_copy(update={"pressure_GPa": pressure_GPa})
            purpose = f"{self.name}, {pressure_GPa:g} GPa"
        return kind(
            name=kind.name if pressure_GPa is None else purpose,
            potential=crystal.potential,
            settings=settings,
            low=ends[0],
            high=ends[1],
            n_points=self.n_points,
            quantum=self.frenkel_ladd_maker.quantum,
            seed=self.frenkel_ladd_maker.seed_of(crystal.system.structure, crystal.formula, purpose),
        )


@dataclass(frozen=True)
class _CheckedCrystal:
    """A crystal that can be swept, with the potential and the settings of its switches."""

    system: AlchemicalSystem
    weights: np.ndarray
    settings: SwitchingSettings
    potential: PotentialSpec

    @property
    def formula(self) -> str:
        return self.system.formula(self.weights)


@dataclass
class TemperatureSweepMaker(IsolineMaker):
    """Compute G(T) of a crystal by reversible scaling, from one Frenkel–Ladd run; F(T) at constant volume.

    The temperature of `frenkel_ladd_maker` is that of the anchor T₀. The curve also gives enthalpy, entropy, heat
    capacity and thermal expansion. See :class:`IsolineMaker` for the parameters.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import FrenkelLaddMaker, TemperatureSweepMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> absolute = FrenkelLaddMaker(potential="mace-demo", temperature=300.0)
    >>> flow = TemperatureSweepMaker(frenkel_ladd_maker=absolute).make(salt * (2, 2, 2), 200.0, 700.0)
    >>> [part.name for part in flow.jobs]
    ['Frenkel–Ladd NaCl 300 K', 'temperature sweep']
    """

    name: str = "temperature sweep"

    @checked
    def make(self, structure: Structure, low_K: float, high_K: float) -> Flow:
        """Return the flow; its output is a :class:`TemperatureSweepDocument`.

        Parameters
        ----------
        structure
            Ordered structure, or one with partial occupancies, without vacancies.
        low_K, high_K
            Lowest and highest temperature (K); the temperature of the anchor is between them.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number or the potential is invalid, or the range does not contain T₀.
        """
        self._check_range(low_K, high_K, self.frenkel_ladd_maker.temperature)
        return self._flow(TemperatureSwitchesMaker, structure, (low_K, high_K), None)

    @checked
    def from_anchor(
        self,
        anchor: FrenkelLaddDocument | LiquidFreeEnergyDocument,
        structure: Structure,
        low_K: float,
        high_K: float,
    ) -> Flow:
        """Return a flow that starts from a stored result instead of a Frenkel–Ladd run of its own.

        Parameters
        ----------
        anchor
            Frenkel–Ladd result for the same structure, potential and pressure, or the absolute free energy of a liquid
            that was melted from this structure; the curve is then that of the liquid.
        structure, low_K, high_K
            As for :meth:`make`.

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`make`; or if the anchor is that of another crystal, size, potential or pressure.
        """
        self._check_range(low_K, high_K, anchor.temperature_K)
        pressure = self.frenkel_ladd_maker.pressure_GPa
        if pressure is not None and abs(pressure - anchor.pressure_GPa) > TOLERANCE:
            raise InvalidInputError(
                f"anchor: its pressure is {anchor.pressure_GPa:g} GPa, that of the sweep {pressure:g} GPa"
            )
        return self._flow(TemperatureSwitchesMaker, structure, (low_K, high_K), anchor)

    def at_pressures(self, structure: Structure, low_K: float, high_K: float, pressures_GPa: Sequence[float]) -> Flow:
        """Return a flow of sweeps at several pressures from one Frenkel–Ladd run and one sweep of the pressure.

        The output is a list: the sweep at the pressure of the Frenkel–Ladd run, the sweep of the pressure at its
        temperature, and the sweeps of the temperature at the other pressures.

        Parameters
        ----------
        structure, low_K, high_K
            As for :meth:`make`.
        pressures_GPa
            Other pressures (GPa).

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`make`; or at constant volume, or if a pressure is that of the Frenkel–Ladd run.
        """
        self._check_range(low_K, high_K, self.frenkel_ladd_maker.temperature)
        own = self.frenkel_ladd_maker.pressure_GPa
        if own is None or not pressures_GPa or any(abs(p - own) < TOLERANCE for p in pressures_GPa):
            raise InvalidInputError(
                f"pressures_GPa: at least one pressure is needed that is not that of the Frenkel–Ladd run, {own} GPa; "
                f"got {', '.join(f'{p:g}' for p in pressures_GPa) or 'none'}"
            )
        crystal, ends = self._checked(structure), (low_K, high_K)
        absolute = replace(self.frenkel_ladd_maker, potential=crystal.potential).make(structure)
        squeezed = replace(self, name="pressure sweep")._switches(
            PressureSwitchesMaker, crystal, (min(own, *pressures_GPa), max(own, *pressures_GPa))
        )
        isotherm = squeezed.make(crystal.system, absolute.output)
        first = self._switches(TemperatureSwitchesMaker, crystal, ends).make(crystal.system, absolute.output)
        others = [
            self._switches(TemperatureSwitchesMaker, crystal, ends, pressure).make(
                crystal.system, absolute.output, isotherm.output
            )
            for pressure in pressures_GPa
        ]
        jobs = self.frenkel_ladd_maker.categorised([first, isotherm, *others])
        return Flow([absolute, *jobs], output=[job.output for job in jobs], name=f"{self.name} {crystal.formula}")

    @staticmethod
    def _check_range(low_K: float, high_K: float, anchor_K: float) -> None:
        if not 0 < low_K < high_K:
            raise InvalidInputError(f"low_K, high_K: 0 < low_K < high_K is needed; got {low_K:g} and {high_K:g}")
        _check_inside(anchor_K, low_K, high_K, "temperature", "K")


@dataclass
class PressureSweepMaker(IsolineMaker):
    """Compute G(p) of a crystal at one temperature by switching the pressure, from one Frenkel–Ladd run.

    The pressure of `frenkel_ladd_maker` is that of the anchor p₀. The curve also gives volume and bulk modulus. See
    :class:`IsolineMaker` for the parameters.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import FrenkelLaddMaker, PressureSweepMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> absolute = FrenkelLaddMaker(potential="mace-demo", temperature=300.0)
    >>> flow = PressureSweepMaker(frenkel_ladd_maker=absolute).make(salt * (2, 2, 2), 0.0, 5.0)
    >>> [part.name for part in flow.jobs]
    ['Frenkel–Ladd NaCl 300 K', 'pressure sweep']
    """

    name: str = "pressure sweep"

    @checked
    def make(self, structure: Structure, low_GPa: float, high_GPa: float) -> Flow:
        """Return the flow; its output is a :class:`PressureSweepDocument`.

        Parameters
        ----------
        structure
            Ordered structure, or one with partial occupancies, without vacancies.
        low_GPa, high_GPa
            Lowest and highest pressure (GPa); the pressure of the anchor is between them.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number or the potential is invalid, or the range does not contain p₀.
        """
        self._check_range(low_GPa, high_GPa, self.frenkel_ladd_maker.pressure_GPa)
        return self._flow(PressureSwitchesMaker, structure, (low_GPa, high_GPa), None)

    @checked
    def from_anchor(self, anchor: FrenkelLaddDocument, structure: Structure, low_GPa: float, high_GPa: float) -> Flow:
        """Return a flow that starts from a Frenkel–Ladd result instead of a run of its own.

        Parameters
        ----------
        anchor
            Result for the same structure, potential and temperature.
        structure, low_GPa, high_GPa
            As for :meth:`make`.

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`make`; or if the anchor is that of another crystal, size, potential or temperature.
        """
        self._check_range(low_GPa, high_GPa, anchor.pressure_GPa)
        temperature = self.frenkel_ladd_maker.temperature
        if abs(temperature - anchor.temperature_K) > TOLERANCE * temperature:
            raise InvalidInputError(
                f"anchor: its temperature is {anchor.temperature_K:g} K, that of the sweep {temperature:g} K"
            )
        return self._flow(PressureSwitchesMaker, structure, (low_GPa, high_GPa), anchor)

    def _check_range(self, low_GPa: float, high_GPa: float, anchor_GPa: float | None) -> None:
        if self.frenkel_ladd_maker.pressure_GPa is None or anchor_GPa is None:
            raise InvalidInputError("frenkel_ladd_maker: pressure_GPa must not be None for a sweep of the pressure")
        if not low_GPa < high_GPa:
            raise InvalidInputError(
                f"low_GPa, high_GPa: low_GPa < high_GPa is needed; got {low_GPa:g} and {high_GPa:g}"
            )
        _check_inside(anchor_GPa, low_GPa, high_GPa, "pressure", "GPa")


def _check_inside(place: float, low: float, high: float, quantity: str, unit: str) -> None:
    if not low <= place <= high:
        raise InvalidInputError(
            f"the {quantity} of the anchor, {place:g} {unit}, is not in the range from {low:g} to {high:g} {unit}; the "
            "curve starts from the absolute free energy there"
        )


def _check_anchor(
    anchor: FrenkelLaddDocument | LiquidFreeEnergyDocument,
    system: AlchemicalSystem,
    weights: list[float],
    potential: PotentialSpec,
) -> None:
    """Check that an anchor is that of a crystal, or of its liquid, with a potential.

    Raises
    ------
    InvalidInputError
        If it is not; the message names the difference.
    """
    counts, same = system.counts(weights), anchor.provenance.potential
    if abs(anchor.counts.atoms - counts.atoms) > TOLERANCE:
        raise InvalidInputError(f"anchor: it has {anchor.counts.title}, the structure {counts.title}")
    if anchor.formula != system.formula(weights) or len(anchor.weights) != len(weights):
        raise InvalidInputError(f"anchor: it is {anchor.formula}, the structure {system.formula(weights)}")
    if anchor.weights and (anchor.weights != weights or anchor.coupling != system.coupling):
        raise InvalidInputError(
            f"anchor: its weights are {anchor.weights} with coupling {anchor.coupling}, those of the structure "
            f"{weights} with coupling {system.coupling}"
        )
    if [site.species for site in anchor.structure] != [site.species for site in system.structure]:
        raise InvalidInputError("anchor: its atoms have another order than those of the structure")
    if same is None or same.sha256 != potential.sha256 or (potential.head or same.head) != same.head:
        known = "unknown" if same is None else f"{same.name} (SHA-256 {same.sha256[:12]})"
        raise InvalidInputError(
            f"anchor: its potential is {known}, that of the sweep {potential.name} (SHA-256 "
            f"{(potential.sha256 or '')[:12]})"
        )
