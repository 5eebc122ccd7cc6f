"""The flow that computes ΔF of a substitution, or ΔG at constant pressure, by thermodynamic integration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from jobflow import Flow, Job, OutputReference
from pymatgen.core import Structure

from alchemflows.alchemy.path import AlchemicalPath, Substitution
from alchemflows.arguments import checked
from alchemflows.choices import check_choice
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import TransformationMaker
from alchemflows.free_energy.ladders import Ladder, Spacing, ladder
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.jobs.refine import RoundMaker, Standing, chunks, window_names
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.dynamics import DynamicsSettings, settings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.refinement import RefinementRound, RefinementSettings

Starts = Literal["both-ends", "middle"]


def alternating(n: int) -> list[float]:
    """Return the end, λ = 0 or 1, from which each of n windows starts, alternating; the last starts from 1."""
    return [*(float(k % 2) for k in range(n - 1)), 1.0]


@dataclass
class ThermodynamicIntegrationMaker(TransformationMaker):
    """Compute the free-energy difference of an alchemical transformation from a ladder of λ windows.

    It is ΔF at constant volume, and ΔG at constant pressure. With a target error or a budget the ladder is refined
    automatically, see :func:`~alchemflows.free_energy.refinement.plan_round`.

    See :class:`TransformationMaker` for the other parameters.

    Parameters
    ----------
    pressure_GPa
        Pressure (GPa); the volume is constant if no pressure is given.
    n_windows
        Number of λ windows; with ``gauss-legendre`` spacing, number of quadrature nodes, to which windows at λ = 0 and
        λ = 1 are added.
    spacing
        Spacing of the windows in λ: ``even`` or ``gauss-legendre``.

        With ``gauss-legendre`` TI uses that quadrature, exact for polynomials of degree 2 n − 1. The windows at λ = 0
        and 1 have zero quadrature weight, but MBAR and BAR need them to reach the ends.
    lambdas
        λ of the windows, increasing from 0 to 1; they replace `n_windows` and `spacing`.
    windows_per_job
        Number of windows in each job, which samples them in one batch.

        Use many on a GPU, and few with several CPU workers.
    replica_exchange
        Whether to use replica exchange between neighbouring windows of a job; needs at least two windows per job.
    exchange_temperatures
        Further temperatures (K) of replica exchange; each window then also has a replica at each of these temperatures,
        in the same batch.

        Neighbouring temperatures swap configurations after each sample, which helps windows over barriers. The result
        is that at `temperature`; `alchemflows combine ID` gives those at all temperatures. It costs the steps of all
        replicas. Refinement and extensions add steps of all replicas too.
    target_error
        Target standard error of ΔF from MBAR (eV/atom); windows are added or extended until it is reached.
    budget
        Maximum number of additional window runs; by default twice the number of windows if a target error is set,
        otherwise 0.

        A window run is one production run of a new or existing window. Even without a target error, windows are
        inserted if neighbours overlap too little, and extended if they have too few independent samples.
    starts
        Start structures of the windows: ``both-ends`` (alternately the structures relaxed at λ = 0 and at λ = 1) or
        ``middle`` (the structure relaxed at λ = ½).

        With ``both-ends`` the verdict compares windows that started from either end, to detect windows that stay in
        their start state; at constant volume both structures have the cell relaxed at λ = ½. Without a `relax_maker`
        all windows start from the given structure.
    n_equilibration_steps
        Number of equilibration steps of each window.
    n_production_steps
        Number of production steps of each window.
    sample_interval_steps
        Number of steps between samples.
    n_runs
        Number of consecutive production runs of each window.

        Completed ladders can be extended by more runs (:meth:`extended`).
    n_frames
        Number of configurations at each end that are stored per production run; 0 for none.

        They are evenly spaced over the production. `alchemflows frames export` writes them to a file.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import ThermodynamicIntegrationMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = ThermodynamicIntegrationMaker(potential="mace-demo", temperature=400.0, n_windows=3)
    >>> [job.name for job in maker.make(salt, {"Na": "K"}).jobs]
    ['alchemical relax', 'alchemical relax λ = 0', 'alchemical relax λ = 1', 'λ = 0', 'λ = 0.5', 'λ = 1',
     'free energy']
    """

    name: str = "thermodynamic integration"
    pressure_GPa: float | None = None
    n_windows: int = 11
    spacing: Spacing = "even"
    lambdas: Sequence[float] | None = None
    windows_per_job: int = 1
    replica_exchange: bool = False
    exchange_temperatures: Sequence[float] = ()
    target_error: float | None = None
    budget: int | None = None
    starts: Starts = "both-ends"
    n_equilibration_steps: int = 5000
    n_production_steps: int = 20000
    sample_interval_steps: int = 10
    n_runs: int = 1
    n_frames: int = 100

    @checked
    def make(self, structure: Structure, substitution: Substitution, *, sites: Sequence[int] | None = None) -> Flow:
        """Return the flow; its output is a :class:`FreeEnergyDocument`.

        All inputs are checked here, before any job is created; the potential is loaded for this.

        Parameters
        ----------
        structure
            Ordered or disordered pymatgen structure, large enough that its thermal motion is representative.
        substitution
            For example ``{"Pb": "Sn"}``; see :meth:`AlchemicalPath.from_substitution`.
        sites
            Indices of the sites to change; all sites of the element if not given.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, the substitution, a number, or the potential is invalid.
        """
        planned, refinement = self._ladder()
        path = self.path(structure, substitution, sites)
        made = self.in_crystal(path.system)
        maker = made._windows(planned)
        potential = self.checked_potential(path.system)
        maker = replace(maker, potential=potential)
        jobs, started = made._starts(path, potential)
        origin = dict(zip(planned.windows, alternating(len(planned.windows)), strict=True))
        windows = []
        for indices in chunks(planned.windows, self.windows_per_job):
            named = replace(maker, name=window_names(planned.grid, indices))
            given = started | ({"start_lambdas": [origin[index] for index in indices]} if "ends" in started else {})
            windows.append(named.make(path, indices, n_runs=self.n_runs, **given))
        jobs += windows
        analyse = self._analysis(planned, refinement, maker).make(path, [OutputReference(job.uuid) for job in windows])
        return Flow([*self.categorised(jobs), analyse], output=analyse.output, name=self._title(path))

    @checked
    def extended(
        self,
        structure: Structure,
        substitution: Substitution,
        standing: Mapping[int, Standing],
        window_jobs: Sequence[str],
        *,
        sites: Sequence[int] | None = None,
        history: Sequence[RefinementRound] = (),
    ) -> Flow | None:
        """Return the flow that extends the windows of a completed ladder to `n_runs` runs and analyses it again.

        Parameters
        ----------
        structure, substitution, sites
            Inputs of the original ladder; settings of the maker must also be the same except `n_runs`.
        standing
            Progress of the windows, by their indices in the grid of λ.
        window_jobs
            Identifiers of the jobs that sampled the windows; the flow refers to their outputs.
        history
            Rounds of refinement of the ladder.

        Returns
        -------
        flow
            The flow; None if every window has `n_runs` or more.

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`make`.
        """
        planned, refinement = self._ladder()
        path = self.path(structure, substitution, sites)
        maker = self.in_crystal(path.system)._windows(planned)
        maker = replace(maker, potential=self.checked_potential(path.system))
        analysis = self._analysis(planned, refinement, maker)
        more = {index: self.n_runs - window.n_runs for index, window in standing.items() if window.n_runs < self.n_runs}
        if not more:
            return None
        jobs = analysis.rounds.continued(path, standing, more)
        analyse = analysis.make(path, [job.output for job in jobs], earlier=list(window_jobs), history=list(history))
        return Flow([*jobs, analyse], output=analyse.output, name=f"{self._title(path)}, {self.n_runs} runs")

    def _starts(self, path: AlchemicalPath, potential: PotentialSpec) -> tuple[list[Job], dict[str, Any]]:
        """Return the relaxation jobs, and the start structures of windows as keyword arguments of their jobs."""
        if self.starts == "middle":
            jobs, middle = self.relaxed(path, potential)
            return jobs, {"structure": middle}
        jobs, ends = self.relaxed_ends(path, potential)
        return jobs, {} if ends is None else {"ends": ends}

    def _windows(self, planned: Ladder) -> WindowsMaker:
        """Return the maker of window jobs, whose potential is set later."""
        check_choice("starts", self.starts, get_args(Starts))
        if self.n_runs < 1:
            raise InvalidInputError(f"n_runs must be at least 1; got {self.n_runs}")
        if self.n_frames < 0:
            raise InvalidInputError(f"n_frames must be at least 0; got {self.n_frames}")
        dynamics = self.settings(
            DynamicsSettings,
            n_equilibration_steps=self.n_equilibration_steps,
            n_production_steps=self.n_production_steps,
            sample_interval_steps=self.sample_interval_steps,
            replica_exchange=self.replica_exchange,
            exchange_temperatures_K=tuple(self.exchange_temperatures),
        )
        return WindowsMaker(
            dynamics=dynamics, lambdas=planned.grid, seed=self.seed, crystal=self.crystal, n_frames=self.n_frames
        )

    def _analysis(self, planned: Ladder, refinement: RefinementSettings, windows: WindowsMaker) -> AnalyseMaker:
        return AnalyseMaker(
            windows=list(planned.windows) if len(planned.windows) < len(planned.grid) else None,
            quadrature=None if planned.quadrature is None else list(planned.quadrature),
            refinement=refinement,
            rounds=RoundMaker(windows, self.windows_per_job, self.category),
        )

    def _title(self, path: AlchemicalPath) -> str:
        change = f"{path.system.formula(path.initial)} → {path.system.formula(path.final)}"
        pressure = "" if self.pressure_GPa is None else f" {self.pressure_GPa:g} GPa"
        return f"{self.name} {change} {self.temperature:g} K{pressure}"

    def _ladder(self) -> tuple[Ladder, RefinementSettings]:
        """Return the planned ladder, with grid points for new windows if there is a budget, and refinement settings."""
        if self.windows_per_job < 1:
            raise InvalidInputError(f"windows_per_job must be at least 1; got {self.windows_per_job}")
        if self.replica_exchange and self.windows_per_job < 2:
            raise InvalidInputError("replica_exchange swaps windows of one job, so windows_per_job must be at least 2")
        planned = ladder(self.n_windows, self.spacing, self.lambdas)
        budget = self.budget
        if budget is None:
            budget = 0 if self.target_error is None else 2 * len(planned.windows)
        refinement = settings(RefinementSettings, target_error_eV_per_atom=self.target_error, budget=budget)
        return (planned.refinable() if budget else planned), refinement
