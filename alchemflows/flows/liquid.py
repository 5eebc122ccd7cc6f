"""The flow that computes the absolute free energy of a liquid."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jobflow import Flow
from pymatgen.core import Structure

from alchemflows.alchemy.cell_size import check_neighbours
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import SampledMaker
from alchemflows.free_energy.reference_liquid import largest_reduced_density
from alchemflows.jobs.liquid import LiquidSwitchesMaker, MeltMaker
from alchemflows.sampling.schedules import schedule
from alchemflows.schemas.dynamics import Schedule, SwitchingSettings

#: Temperature at which a crystal is melted, in units of that of the liquid.
HEATING_RATIO = 1.5


@dataclass
class LiquidFreeEnergyMaker(SampledMaker):
    """Compute the absolute free energy of a liquid: melt a crystal, mean volume, switches to an Uhlenbeck–Ford liquid.

    The volume is the only degree of freedom of the cell. See :class:`SampledMaker` for the other parameters.

    Parameters
    ----------
    n_repeats
        Number of switches to the reference liquid in each direction; at least 2.

        All switches run in one batch.
    heating_temperature
        Temperature (K) at which the crystal is melted; by default 1.5 times the temperature.

        A crystal without surfaces melts only well above its melting point.
    n_heating_steps
        Number of steps at the heating temperature.
    n_cell_steps
        Number of steps at constant pressure that determine the mean volume; the first third is equilibration.

        With ``pressure_GPa=None`` the volume of the given cell is used, and G = F + pV is at 1 atm.
    n_equilibration_steps
        Number of equilibration steps of the liquid and of its reference at constant volume, before the switches.
    n_switching_steps
        Number of steps of each switch to the reference liquid.
    schedule
        λ as a function of time during a switch: linear, or a polynomial of third, fifth or ninth order.
    reference_density
        Reduced density of the reference liquid, at most 4. The result does not depend on it; a good match lowers the
        error.

        It is x = ρ (πσ²)^{3/2} / 2 with the number density ρ of the liquid, and sets the length σ of the reference.
    reference_p
        Factor p of the pair energy of the reference liquid: 1, 25, 50, 75 or 100.
    n_frames
        Number of configurations to store from the run that determines the mean volume, at least one of each replica; 0
        for none.

        `alchemflows frames export` writes them to a file.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import LiquidFreeEnergyMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = LiquidFreeEnergyMaker(potential="mace-demo", temperature=1200.0)
    >>> [job.name for job in maker.make(salt * (2, 2, 2)).jobs]
    ['melt', 'liquid']
    """

    name: str = "liquid"
    temperature: float = 1000.0
    n_repeats: int = 4
    heating_temperature: float | None = None
    n_heating_steps: int = 10000
    n_cell_steps: int = 15000
    n_equilibration_steps: int = 5000
    n_switching_steps: int = 20000
    schedule: Schedule = "ninth-order"
    reference_density: float = 0.6
    reference_p: float = 50.0
    n_frames: int = 100

    @checked
    def make(self, structure: Structure) -> Flow:
        """Return the flow; its output is a :class:`LiquidFreeEnergyDocument`.

        Parameters
        ----------
        structure
            An ordered crystal with the composition of the liquid.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number, or the potential is invalid.
        """
        system = self.checked_liquid(structure)
        potential = self.checked_potential(system)
        isotropic = replace(self, cell_freedom="isotropic")
        seed = self.seed_of(system.structure, system.formula([]), "liquid")
        heating = self.heating_temperature
        melted = MeltMaker(
            potential=potential,
            dynamics=isotropic.cell_settings(self.n_cell_steps),
            heating_temperature_K=HEATING_RATIO * self.temperature if heating is None else heating,
            n_heating_steps=self.n_heating_steps,
            n_replicas=self.n_repeats,
            seed=seed,
            n_frames=self.n_frames,
        ).make(system)
        switches = LiquidSwitchesMaker(
            potential=potential,
            settings=isotropic.switching_settings(),
            reference_p=self.reference_p,
            reference_density=self.reference_density,
            seed=seed,
        ).make(system, melted.output, None if self.pressure_GPa is None else melted.uuid)
        parts = self.categorised([melted, switches])
        return Flow(parts, output=switches.output, name=f"{self.name} {system.formula([])} {self.temperature:g} K")

    def checked_liquid(self, structure: Structure) -> AlchemicalSystem:
        """Return the system of a structure after checking it, and the numbers of this maker.

        Raises
        ------
        InvalidInputError
            If the structure has partial occupancies, or a number is out of range.
        """
        check_neighbours(structure)
        system, weights = AlchemicalSystem.from_structure(structure)
        if len(weights):
            raise InvalidInputError(
                f"structure: {system.formula(weights)} has partial occupancies; the free energy of a liquid needs "
                "whole atoms. Use an ordered crystal of the same composition"
            )
        if self.cell_freedom not in ("auto", "isotropic"):
            raise InvalidInputError(f"cell_freedom must be auto or isotropic for a liquid; got {self.cell_freedom}")
        if self.heating_temperature is not None and not self.heating_temperature >= self.temperature:
            raise InvalidInputError(
                f"heating_temperature must be at least the temperature, {self.temperature:g} K; got "
                f"{self.heating_temperature:g}"
            )
        if self.n_frames < 0:
            raise InvalidInputError(f"n_frames must be at least 0; got {self.n_frames}")
        if self.n_heating_steps < 0:
            raise InvalidInputError(f"n_heating_steps must not be negative; got {self.n_heating_steps}")
        largest = largest_reduced_density(self.reference_p)
        if not 0 < self.reference_density <= largest:
            raise InvalidInputError(
                f"reference_density must be above 0 and at most {largest:g}; got {self.reference_density:g}"
            )
        schedule(self.schedule, [0.0])
        self.switching_settings()
        return system

    def switching_settings(self) -> SwitchingSettings:
        """Return the settings of the switches.

        Raises
        ------
        InvalidInputError
            If a number is out of range.
        """
        return replace(self, cell_freedom="isotropic").settings(
            SwitchingSettings,
            n_repeats=self.n_repeats,
            n_equilibration_steps=self.n_equilibration_steps,
            n_switching_steps=self.n_switching_steps,
            schedule=self.schedule,
        )
