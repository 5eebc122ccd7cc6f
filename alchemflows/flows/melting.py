"""The flow that computes the melting point of a crystal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from jobflow import Flow, OutputReference
from pymatgen.core import Structure

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import SampledMaker
from alchemflows.flows.isolines import IsolineMaker, TemperatureSweepMaker
from alchemflows.flows.liquid import HEATING_RATIO, LiquidFreeEnergyMaker
from alchemflows.jobs.coexistence import CoexistenceMaker
from alchemflows.jobs.inputs import tolerant
from alchemflows.jobs.isolines import TemperatureSwitchesMaker
from alchemflows.jobs.melting import MeltingPointAnalysisMaker
from alchemflows.schemas.dynamics import DynamicsSettings, SwitchingSettings

#: Smallest number of steps with both phases in contact, of which four fifths are production.
MIN_COEXISTENCE_STEPS = 50


@dataclass
class MeltingPointMaker(IsolineMaker):
    """Compute the melting point of a crystal from G(T) of the solid and of the liquid.

    The curve of the solid starts from a Frenkel–Ladd run at the lowest temperature, that of the liquid from a run of
    :class:`LiquidFreeEnergyMaker` at the highest one; reversible scaling continues both over the range. The run of the
    liquid has the potential, the conditions, and the numbers of repeats and steps of `frenkel_ladd_maker`, whose
    temperature is not used. See :class:`IsolineMaker` for the other parameters.

    Parameters
    ----------
    heating_temperature
        Temperature (K) at which the crystal is melted; by default 1.5 times the highest temperature.
    n_heating_steps
        Number of steps at the heating temperature.
    reference_density
        Reduced density of the reference liquid, at most 4. The result does not depend on it; a good match lowers the
        error.
    n_coexistence_temperatures
        Number of temperatures around the melting point at which solid and liquid are put in contact, to check which of
        them grows; 0 for no such check, otherwise at least 2.

        All replicas run in one batch, after both curves are known.
    coexistence_spread
        Distance of the highest and of the lowest of these temperatures from the melting point, divided by it.
    n_coexistence_replicas
        Number of replicas with solid and liquid at each temperature.
    n_coexistence_repeats
        Number of repeats of the cell across the interfaces between solid and liquid; an even number.
    n_coexistence_steps
        Number of steps with solid and liquid in contact; the first fifth is equilibration.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import FrenkelLaddMaker, MeltingPointMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = MeltingPointMaker(frenkel_ladd_maker=FrenkelLaddMaker(potential="mace-demo"))
    >>> [part.name for part in maker.make(salt * (2, 2, 2), [900.0, 1300.0]).jobs]
    ['temperature sweep NaCl', 'liquid NaCl 1300 K', 'temperature sweep of the liquid', 'melting point']
    """

    name: str = "melting point"
    heating_temperature: float | None = None
    n_heating_steps: int = 10000
    reference_density: float = 0.6
    n_coexistence_temperatures: int = 0
    coexistence_spread: float = 0.1
    n_coexistence_replicas: int = 1
    n_coexistence_repeats: int = 4
    n_coexistence_steps: int = 20000

    @checked
    def make(self, structure: Structure, temperatures: Sequence[float]) -> Flow:
        """Return the flow; its output is a :class:`MeltingDocument`.

        Parameters
        ----------
        structure
            An ordered crystal.
        temperatures
            Lowest and highest temperature (K), between which both curves are computed; those in between are ignored.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number or the potential is invalid.
        """
        if len(temperatures) < 2 or not 0 < min(temperatures) < max(temperatures):
            raise InvalidInputError(
                f"temperatures: two different temperatures above 0 K are needed; got {list(temperatures)}"
            )
        low, high = float(min(temperatures)), float(max(temperatures))
        absolute = replace(self.frenkel_ladd_maker, temperature=low)
        if absolute.pressure_GPa is None:
            raise InvalidInputError("frenkel_ladd_maker: pressure_GPa must not be None for a melting point")
        liquid = self._liquid_maker(high)
        system = liquid.checked_liquid(structure)
        contact = self._coexistence(structure, liquid) if self.n_coexistence_temperatures else None
        potential = absolute.checked_potential(system)
        absolute, liquid = replace(absolute, potential=potential), replace(liquid, potential=potential)
        lengths = {each.name: getattr(self, each.name) for each in fields(IsolineMaker) if each.name.startswith("n_")}
        solid = TemperatureSweepMaker(frenkel_ladd_maker=absolute, **lengths).make(structure, low, high)
        melted = liquid.make(structure)
        settings = replace(liquid, cell_freedom="isotropic").settings(
            SwitchingSettings,
            n_repeats=self.n_repeats,
            n_equilibration_steps=self.n_equilibration_steps,
            n_switching_steps=self.n_switching_steps,
            schedule="linear",
        )
        swept = TemperatureSwitchesMaker(
            name="temperature sweep of the liquid",
            potential=potential,
            settings=settings,
            low=low,
            high=high,
            n_points=self.n_points,
            seed=liquid.seed_of(system.structure, system.formula([]), "temperature sweep of the liquid"),
        ).make(system, melted.output)
        jobs = [swept]
        if contact is None:
            analysis = MeltingPointAnalysisMaker().make(solid.output, swept.output)
        else:
            maker, cell = contact
            crystal = OutputReference(solid.jobs[0].output.uuid).structure
            jobs.append(replace(maker, potential=potential).make(cell, crystal, solid.output, swept.output))
            analysis = MeltingPointAnalysisMaker(checks_coexistence=True).make(
                solid.output, swept.output, jobs[-1].output
            )
            analysis = tolerant(analysis)
        parts = [solid, melted, *liquid.categorised(jobs), analysis]
        return Flow(parts, output=analysis.output, name=f"{self.name} {system.formula([])}")

    def _coexistence(
        self, structure: Structure, liquid: LiquidFreeEnergyMaker
    ) -> tuple[CoexistenceMaker, AlchemicalSystem]:
        """Return the maker of the job with both phases in contact, and the cell as a system.

        Raises
        ------
        InvalidInputError
            If a number is out of range, or the cell is too short.
        """
        from alchemflows.sampling.coexistence import two_phase_cell

        n, n_steps, least = self.n_coexistence_temperatures, self.n_coexistence_steps, MIN_COEXISTENCE_STEPS
        if n < 2:
            raise InvalidInputError(
                f"n_coexistence_temperatures must be at least 2, since one temperature does not bracket the melting "
                f"point, or 0 for no coexistence; got {n}"
            )
        if not 0 < self.coexistence_spread < 1:
            raise InvalidInputError(
                f"coexistence_spread must be between 0 and 1, a share of the melting point; got "
                f"{self.coexistence_spread:g}"
            )
        if self.n_coexistence_replicas < 1:
            raise InvalidInputError(f"n_coexistence_replicas must be at least 1; got {self.n_coexistence_replicas}")
        if n_steps < least:
            raise InvalidInputError(f"n_coexistence_steps must be at least {least}; got {n_steps}")
        cell = two_phase_cell(structure, self.n_coexistence_repeats).structure
        system, _ = AlchemicalSystem.from_structure(cell)
        heating = liquid.heating_temperature
        maker = CoexistenceMaker(
            dynamics=replace(liquid, cell_freedom="axes").settings(
                DynamicsSettings,
                n_equilibration_steps=n_steps // 5,
                n_production_steps=n_steps - n_steps // 5,
            ),
            n_temperatures=n,
            spread=self.coexistence_spread,
            n_replicas=self.n_coexistence_replicas,
            n_repeats=self.n_coexistence_repeats,
            heating_temperature_K=HEATING_RATIO * liquid.temperature if heating is None else heating,
            n_heating_steps=self.n_heating_steps,
            seed=liquid.seed_of(system.structure, system.formula([]), "coexistence"),
        )
        return maker, system

    def _liquid_maker(self, temperature_K: float) -> LiquidFreeEnergyMaker:
        """Return the maker of the liquid with the conditions and lengths of the Frenkel–Ladd run."""
        absolute = self.frenkel_ladd_maker
        shared = {each.name: getattr(absolute, each.name) for each in fields(SampledMaker) if each.name != "name"}
        shared |= {"temperature": temperature_K, "cell_freedom": "isotropic"}
        lengths = ("n_repeats", "n_cell_steps", "n_equilibration_steps", "n_switching_steps", "schedule", "n_frames")
        return LiquidFreeEnergyMaker(
            **shared,
            **{name: getattr(absolute, name) for name in lengths},
            heating_temperature=self.heating_temperature,
            n_heating_steps=self.n_heating_steps,
            reference_density=self.reference_density,
        )
