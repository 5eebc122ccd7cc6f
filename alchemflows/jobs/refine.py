"""Jobs of one round of refinement: new windows, and existing windows that are extended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jobflow import Flow, Job, OutputReference
from monty.json import MSONable

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.errors import InvalidInputError
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.refinement import Extension, RefinementRound
from alchemflows.schemas.windows import PackedState

if TYPE_CHECKING:
    from alchemflows.analysis.collect import CollectedLadder
    from alchemflows.free_energy.refinement import Plan


@dataclass(frozen=True)
class Standing:
    """Progress of a window.

    Attributes
    ----------
    n_runs
        Number of completed production runs.
    state
        State at the end of these runs, or a reference to it.
    """

    n_runs: int
    state: PackedState | OutputReference


@dataclass
class RoundMaker(MSONable):
    """Make the jobs of a refinement round, with the settings of the planned ladder.

    Parameters
    ----------
    windows
        Maker of the jobs that sample windows.
    windows_per_job
        Number of windows in one batch.
    category
        FireWorks category of the jobs; None for no category.
    """

    windows: WindowsMaker = field(default_factory=WindowsMaker)
    windows_per_job: int = 1
    category: str | None = None

    def make(self, path: AlchemicalPath, ladder: CollectedLadder, plan: Plan) -> tuple[list[Job], RefinementRound]:
        """Return the jobs of a plan, and the record of the round without its error, which is not known yet."""
        grid = ladder.first.lambdas
        known = {window.index: Standing(window.n_runs, window.final_state) for window in ladder.windows}
        jobs = []
        for chunk in chunks(plan.insert, self.windows_per_job):
            # The nearest existing window is already equilibrated.
            starts = [ladder.nearest(grid[index]).final_state for index in chunk]
            jobs.append(self._named("new", chunk).make(path, chunk, starts=starts))
        assign_category(jobs, self.category)
        jobs += self.continued(path, known, plan.extend)
        extended = [Extension(lambda_value=grid[index], n_runs=n) for index, n in sorted(plan.extend.items())]
        return jobs, RefinementRound(inserted=[grid[index] for index in plan.insert], extended=extended)

    def continued(self, path: AlchemicalPath, standing: Mapping[int, Standing], more: Mapping[int, int]) -> list[Job]:
        """Return the jobs that extend windows by additional production runs; mappings are by index in the grid of λ."""
        jobs = []
        for n_runs in sorted(set(more.values())):
            for chunk in chunks([index for index, n in more.items() if n == n_runs], self.windows_per_job):
                maker = self._named("more", chunk)
                jobs.append(
                    maker.make(
                        path,
                        chunk,
                        starts=[standing[index].state for index in chunk],
                        first_runs=[standing[index].n_runs for index in chunk],
                        n_runs=n_runs,
                    )
                )
        assign_category(jobs, self.category)
        return jobs

    def _named(self, what: str, chunk: Sequence[int]) -> WindowsMaker:
        return replace(self.windows, name=f"{window_names(self.windows.lambdas, chunk)} ({what})")


def chunks(indices: Sequence[int], size: int) -> list[list[int]]:
    """Return the indices in lists of a given size; the last list may be shorter."""
    if size < 1:
        raise InvalidInputError(f"windows_per_job must be at least 1; got {size}")
    return [list(indices[i : i + size]) for i in range(0, len(indices), size)]


def window_names(grid: Sequence[float], indices: Sequence[int]) -> str:
    """Return the name of a job that samples some windows."""
    return f"λ = {', '.join(f'{grid[i]:.4g}' for i in indices)}"


def assign_category(jobs: Sequence[Job | Flow], category: str | None) -> None:
    """Set the FireWorks category of jobs."""
    if category is not None:
        for job in jobs:
            job.update_config({"manager_config": {"_category": category}}, dynamic=False)
