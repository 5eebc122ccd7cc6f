"""Load the potential of the current job, compiled if its planned steps are worth it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobflow import CURRENT_JOB

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.jobs.cost import cost_of
from alchemflows.schemas.potential import PotentialSpec

if TYPE_CHECKING:
    from alchemflows.alchemy.potential import AlchemicalPotential


def potential_of_job(spec: PotentialSpec, system: AlchemicalSystem) -> AlchemicalPotential:
    """Return the potential of a system for the current job.

    Compiled kernels are used if they were asked for and the job is long enough. This depends only on the arguments of
    the job, so that a resumed job continues with the same kernels.

    Parameters
    ----------
    spec
        Potential spec.
    system
        The system.

    Raises
    ------
    InvalidInputError, PotentialError
        As for :func:`~alchemflows.alchemy.backends.load_potential` and
        :class:`~alchemflows.alchemy.potential.AlchemicalPotential`.
    """
    from alchemflows.alchemy.backends import load_potential
    from alchemflows.alchemy.compiled import is_worth_compiling
    from alchemflows.alchemy.potential import AlchemicalPotential

    backend, job = load_potential(spec), CURRENT_JOB.job
    n_steps = 0 if job is None else cost_of(job).n_steps
    compiled = spec.kernels == "compiled" and is_worth_compiling(system.n_sites * n_steps)
    return AlchemicalPotential(system, backend, compiled=compiled)
