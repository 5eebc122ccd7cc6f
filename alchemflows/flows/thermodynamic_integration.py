"""From a structure and a substitution to ΔF, or ΔG at constant pressure, with an error bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jobflow import Flow, Job, OutputReference
from pymatgen.core import Structure

from alchemflows.alchemy.backends import resolve
from alchemflows.alchemy.path import AlchemicalPath, Substitution
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import Coupling
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import SampledMaker
from alchemflows.free_energy.ladders import Ladder, Spacing, ladder
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.jobs.refine import RoundMaker, assign_category, chunks, window_names
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.dynamics import DynamicsSettings, settings
from alchemflows.schemas.refinement import RefinementSettings


@dataclass
class ThermodynamicIntegrationMaker(SampledMaker):
    """Free-energy difference of an alchemical transformation from a ladder of λ-windows.

    At constant volume it is ΔF, with a pressure ΔG. With a target or a budget the ladder refines itself: see
    :func:`~alchemflows.free_energy.refinement.plan_round`.

    Parameters
    ----------
    name
        Name of the flow.
    potential
        A name (``sevennet-0``, ``small``, ``medium-mpa-0``, ...), the path of a model file, or a
        specification with dtype, device and head.
    temperature
        K.
    pressure_GPa
        Pressure; None for constant volume.
    cell_freedom
        What the pressure may change: ``isotropic``, ``axes`` (lengths) or ``full``.
    n_windows
        Number of windows, evenly spaced from λ = 0 to 1; with ``gauss-legendre`` the number of nodes, to which two
        windows at the ends come.
    spacing
        ``even``, or ``gauss-legendre``: TI by that quadrature, exact for polynomials of degree 2 n − 1; the windows at
        λ = 0 and 1 have no weight in it, but MBAR and BAR need them to reach the ends.
    lambdas
        λ of the windows instead: increasing, from 0 to 1.
    windows_per_job
        Windows that one job samples in one batch; a GPU wants many, several CPU workers want few.
    replica_exchange
        Whether neighbouring windows of a batch may swap λ; it needs more than one of `windows_per_job`.
    target_error
        Standard error of ΔF (MBAR), eV per atom, to be reached by more and longer windows; None for none.
    budget
        At most so many window-runs (one production run of one window, new or continued) beyond the planned ones; None
        for twice the planned ones with a `target_error`, and none without. With a budget, windows are inserted where
        neighbours overlap too little, and continued where independent samples are too few, even without a target.
    timestep_fs, friction_per_ps, barostat_time_ps, n_equilibration_steps, n_production_steps, sample_interval_steps
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
    pressure_GPa: float | None = None
    n_windows: int = 11
    spacing: Spacing = "even"
    lambdas: Sequence[float] | None = None
    windows_per_job: int = 1
    replica_exchange: bool = False
    target_error: float | None = None
    budget: int | None = None
    n_equilibration_steps: int = 5000
    n_production_steps: int = 20000
    sample_interval_steps: int = 10
    coupling: Coupling = "paired"
    site_resolved: bool = False
    relax_maker: AlchemicalRelaxMaker | None = field(default_factory=AlchemicalRelaxMaker)

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
        dynamics = self.settings(
            DynamicsSettings,
            n_equilibration_steps=self.n_equilibration_steps,
            n_production_steps=self.n_production_steps,
            sample_interval_steps=self.sample_interval_steps,
            replica_exchange=self.replica_exchange,
        )
        planned, refinement = self._ladder()
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
        maker = WindowsMaker(potential=potential, dynamics=dynamics, seed=self.seed)
        windows = []
        for indices in chunks(planned.windows, self.windows_per_job):
            maker = replace(maker, name=window_names(planned.grid, indices))
            windows.append(maker.make(path, list(planned.grid), indices, structure=start))
        jobs += windows
        assign_category(jobs, self.category)
        analyse = AnalyseMaker(
            windows=list(planned.windows),
            quadrature=None if planned.quadrature is None else list(planned.quadrature),
            refinement=refinement,
            rounds=RoundMaker(maker, self.windows_per_job, self.category),
        ).make(path, [job.output for job in windows])
        change = f"{path.system.formula(path.initial)} → {path.system.formula(path.final)}"
        pressure = "" if self.pressure_GPa is None else f" {self.pressure_GPa:g} GPa"
        name = f"{self.name} {change} {self.temperature:g} K{pressure}"
        return Flow([*jobs, analyse], output=analyse.output, name=name)

    def _ladder(self) -> tuple[Ladder, RefinementSettings]:
        """Return the planned windows, on a grid with room for more where there is a budget, and what to refine for."""
        if self.windows_per_job < 1:
            raise InvalidInputError(f"windows_per_job must be at least 1; got {self.windows_per_job}")
        planned = ladder(self.n_windows, self.spacing, self.lambdas)
        budget = self.budget
        if budget is None:
            budget = 0 if self.target_error is None else 2 * len(planned.windows)
        refinement = settings(RefinementSettings, target_error_eV_per_atom=self.target_error, budget=budget)
        return (planned.refinable() if budget else planned), refinement
