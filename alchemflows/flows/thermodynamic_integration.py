"""From a structure and a substitution to ΔF with an error bar, at constant volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jobflow import Flow, Job, Maker, OutputReference
from pydantic import ValidationError
from pymatgen.core import Structure

from alchemflows.alchemy.backends import resolve
from alchemflows.alchemy.path import AlchemicalPath, Substitution
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import Coupling
from alchemflows.errors import InvalidInputError
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.potential import PotentialSpec

#: FireWorks category of the jobs that evaluate a potential.
GPU_CATEGORY = "gpu"


@dataclass
class ThermodynamicIntegrationMaker(Maker):
    """Free-energy difference of an alchemical transformation from a ladder of λ-windows (NVT).

    Parameters
    ----------
    name
        Name of the flow.
    potential
        A name (``sevennet-0``, ``small``, ``medium-mpa-0``, ...), the path of a model file, or a
        specification with dtype, device and head.
    temperature
        K.
    n_windows
        Number of windows, evenly spaced from λ = 0 to 1.
    lambdas
        λ of the windows instead: increasing, from 0 to 1.
    windows_per_job
        Windows that one job samples in one batch; a GPU wants many, several CPU workers want few.
    timestep_fs, friction_per_ps, n_equilibration_steps, n_production_steps, sample_interval_steps
        Langevin dynamics of each window, see :class:`DynamicsSettings`.
    coupling
        ``paired`` or ``mean-field``, see :class:`AlchemicalSystem`.
    site_resolved
        Whether every changed site is a group of its own.
    seed
        Seed of all random numbers; at least 0.
    relax_maker
        Relaxes atoms and cell at λ = ½ first; None samples the given cell as it is.
    category
        FireWorks category of the jobs that evaluate the potential, so that GPU workers take them and others
        the rest; None for no category.
    """

    name: str = "thermodynamic integration"
    potential: PotentialSpec | str = "sevennet-0"
    temperature: float = 300.0
    n_windows: int = 11
    lambdas: Sequence[float] | None = None
    windows_per_job: int = 1
    timestep_fs: float = 2.0
    friction_per_ps: float = 5.0
    n_equilibration_steps: int = 5000
    n_production_steps: int = 20000
    sample_interval_steps: int = 10
    coupling: Coupling = "paired"
    site_resolved: bool = False
    seed: int = 0
    relax_maker: AlchemicalRelaxMaker | None = field(default_factory=AlchemicalRelaxMaker)
    category: str | None = GPU_CATEGORY

    def make(self, structure: Structure, substitution: Substitution, *, sites: Sequence[int] | None = None) -> Flow:
        """Return the flow; its output is a :class:`FreeEnergyDocument`.

        Everything that can be checked is checked here, before a job exists; the model is loaded for that.

        Parameters
        ----------
        structure
            Ordered or disordered pymatgen structure, large enough that its thermal motion is representative.
        substitution
            Such as ``{"Pb": "Sn"}``; see :meth:`AlchemicalPath.from_substitution`.
        sites
            Indices of the sites to change; all with the element if not given.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, the substitution, a number, or the potential is wrong.
        """
        dynamics = self._dynamics()
        lambdas = self._ladder()
        path = AlchemicalPath.from_substitution(
            structure, substitution, sites=sites, coupling=self.coupling, site_resolved=self.site_resolved
        )
        if not path.conserves_sites():
            raise InvalidInputError(
                "on this path atoms appear or vanish; at constant λ = 0 nothing holds such an atom, so plain "
                "thermodynamic integration diverges"
            )
        potential, backend = resolve(self.potential)
        AlchemicalPotential(path.system, backend)

        jobs: list[Job] = []
        start: Structure | OutputReference | None = None
        if self.relax_maker is not None:
            relax = self.relax_maker.make(path.system, path.weights(0.5).tolist(), potential)
            start = relax.output.structure
            jobs.append(relax)
        windows = [
            self._windows_job(potential, dynamics, path, lambdas, indices, start)
            for indices in _chunks(len(lambdas), self.windows_per_job)
        ]
        jobs += windows
        if self.category is not None:
            for job in jobs:
                job.update_config({"manager_config": {"_category": self.category}}, dynamic=False)
        analyse = AnalyseMaker().make(path, [job.output for job in windows])
        change = f"{path.system.formula(path.initial)} → {path.system.formula(path.final)}"
        return Flow([*jobs, analyse], output=analyse.output, name=f"{self.name} {change} {self.temperature:g} K")

    def _windows_job(
        self,
        potential: PotentialSpec,
        dynamics: DynamicsSettings,
        path: AlchemicalPath,
        lambdas: list[float],
        indices: list[int],
        start: Structure | OutputReference | None,
    ) -> Job:
        values = ", ".join(f"{lambdas[i]:g}" for i in indices)
        maker = WindowsMaker(name=f"λ = {values}", potential=potential, dynamics=dynamics, seed=self.seed)
        return maker.make(path, lambdas, indices, structure=start)

    def _dynamics(self) -> DynamicsSettings:
        try:
            return DynamicsSettings(
                temperature_K=self.temperature,
                timestep_fs=self.timestep_fs,
                friction_per_ps=self.friction_per_ps,
                n_equilibration_steps=self.n_equilibration_steps,
                n_production_steps=self.n_production_steps,
                sample_interval_steps=self.sample_interval_steps,
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "dynamics"
            raise InvalidInputError(f"{where}: {first['msg']}; got {first['input']}") from error

    def _ladder(self) -> list[float]:
        if self.seed < 0:
            raise InvalidInputError(f"seed must be at least 0; got {self.seed}")
        if self.windows_per_job < 1:
            raise InvalidInputError(f"windows_per_job must be at least 1; got {self.windows_per_job}")
        if self.lambdas is None:
            if self.n_windows < 2:
                raise InvalidInputError(f"n_windows must be at least 2; got {self.n_windows}")
            return [float(v) for v in np.linspace(0, 1, self.n_windows)]
        lambdas = [float(v) for v in self.lambdas]
        if len(lambdas) < 2 or lambdas[0] != 0 or lambdas[-1] != 1 or not (np.diff(lambdas) > 0).all():
            raise InvalidInputError(f"lambdas must increase from 0 to 1; got {lambdas}")
        return lambdas


def _chunks(n_windows: int, size: int) -> list[list[int]]:
    return [list(range(i, min(i + size, n_windows))) for i in range(0, n_windows, size)]
