"""The flow that computes ΔF or ΔG of a substitution by nonequilibrium switching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import Flow
from pymatgen.core import Structure

from alchemflows.alchemy.path import Substitution
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import TransformationMaker
from alchemflows.jobs.switching import SwitchesMaker
from alchemflows.sampling.schedules import schedule
from alchemflows.schemas.dynamics import Schedule, SwitchingSettings


@dataclass
class SwitchingMaker(TransformationMaker):
    """Compute ΔF (``pressure_GPa=None``) or ΔG of a transformation from the work of switches in both directions.

    See :class:`TransformationMaker` for the other parameters.

    Parameters
    ----------
    n_repeats
        Number of switches in each direction, at least 2; all switches run in one batch.
    n_equilibration_steps
        Number of equilibration steps at λ = 0 and at λ = 1, before the switches.
    n_switching_steps
        Number of steps of each switch.
    schedule
        λ as a function of time during a switch: linear, or a polynomial of third, fifth or ninth order.
    n_frames
        Number of configurations of each end that are stored; 0 for none.

        They are evenly spaced over the second half of the equilibration of all replicas. `alchemflows frames export`
        writes them to a file.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import SwitchingMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = SwitchingMaker(potential="mace-demo", temperature=400.0, pressure_GPa=None, n_repeats=8)
    >>> [job.name for job in maker.make(salt, {"Na": "K"}).jobs]
    ['alchemical relax', 'switches']
    """

    name: str = "switching"
    n_repeats: int = 4
    n_equilibration_steps: int = 5000
    n_switching_steps: int = 10000
    schedule: Schedule = "ninth-order"
    n_frames: int = 100

    @checked
    def make(self, structure: Structure, substitution: Substitution, *, sites: Sequence[int] | None = None) -> Flow:
        """Return the flow; its output is a :class:`SwitchingDocument`.

        Parameters
        ----------
        structure
            Ordered or disordered pymatgen structure, large enough that its thermal motion is representative.
        substitution
            For example ``{"Pb": "Sn"}``, see :meth:`AlchemicalPath.from_substitution`; may change several elements.
        sites
            Indices of the sites to change; all sites of the element if not given.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, the substitution, a number, or the potential is invalid.
        """
        schedule(self.schedule, [0.0])
        if self.n_frames < 0:
            raise InvalidInputError(f"n_frames must be at least 0; got {self.n_frames}")
        path = self.path(structure, substitution, sites)
        settings = self.in_crystal(path.system).settings(
            SwitchingSettings,
            n_repeats=self.n_repeats,
            n_equilibration_steps=self.n_equilibration_steps,
            n_switching_steps=self.n_switching_steps,
            schedule=self.schedule,
        )
        potential = self.checked_potential(path.system)
        jobs, start = self.relaxed(path, potential)
        seed = self.seed_of(path.system.structure, path.system.formula(path.final), "switching")
        maker = SwitchesMaker(
            potential=potential, settings=settings, seed=seed, crystal=self.crystal, n_frames=self.n_frames
        )
        switches = maker.make(path, start)
        change = f"{path.system.formula(path.initial)} → {path.system.formula(path.final)}"
        return Flow(
            self.categorised([*jobs, switches]),
            output=switches.output,
            name=f"{self.name} {change} {self.temperature:g} K",
        )
