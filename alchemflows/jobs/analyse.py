"""The job that estimates a free-energy difference from the windows of a ladder and refines the ladder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jobflow import CURRENT_JOB, Flow, JobConfig, Maker, Response, job

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.analysis.terms import TransformationTerms, shape_notes
from alchemflows.jobs.inputs import tolerant
from alchemflows.jobs.jobflow_parts import take_place_of
from alchemflows.jobs.refine import RoundMaker
from alchemflows.schemas.document import decoded
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.refinement import Refinement, RefinementRound, RefinementSettings
from alchemflows.schemas.windows import WindowsDocument

if TYPE_CHECKING:
    from alchemflows.analysis.collect import CollectedLadder
    from alchemflows.analysis.ladder import Numbers
    from alchemflows.free_energy.refinement import Plan


@dataclass
class AnalyseMaker(Maker):
    """Estimate ΔF (ΔG at constant pressure) between λ = 0 and 1 from all windows of a ladder.

    With a budget, the job refines the ladder: if more sampling is useful, it replaces itself by jobs that sample more
    and by a new analysis. The new analysis has the same identifier, so references to its output remain valid.

    Parameters
    ----------
    name
        Name of the job.
    windows
        Indices of the planned windows in the grid of λ, increasing; all if not given.
    quadrature
        Quadrature weights of these windows in TI; the corrected trapezoid rule over all windows if not given.
    refinement
        Target error and budget of the refinement.
    rounds
        Maker of the jobs of one round of refinement.
    """

    name: str = "free energy"
    windows: list[int] | None = None
    quadrature: list[float] | None = None
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    rounds: RoundMaker = field(default_factory=RoundMaker)

    @job(output_schema=FreeEnergyDocument, config=JobConfig(expose_store=True))
    def make(
        self,
        path: AlchemicalPath,
        documents: Sequence[WindowsDocument | None],
        earlier: Sequence[str] = (),
        history: Sequence[RefinementRound] = (),
    ) -> FreeEnergyDocument | Response:
        """Analyse the windows of one ladder.

        Parameters
        ----------
        path
            The path that was sampled; the mass term and the mixing terms are those between its two ends.
        documents
            Outputs of window jobs; None if a job of a refinement round failed, which ends the refinement.
        earlier
            Identifiers of jobs of earlier rounds, whose outputs are read from the store. A job that is added to a
            running flow can refer only to jobs that are added with it.
        history
            Rounds so far; `documents` are from the last one.

        Raises
        ------
        InvalidInputError
            If a planned window is missing or duplicated, or the documents belong to different ladders.
        """
        from alchemflows.analysis.collect import collect
        from alchemflows.analysis.ladder import Numbers, document, refined

        arrived = [each for each in documents if each is not None]
        if len(arrived) < len(documents):
            failed = {"n_failed_jobs": len(documents) - len(arrived)}
            history = [*history[:-1], history[-1].model_copy(update=failed)]
        stored = [decoded(CURRENT_JOB.store.get_output(uuid, load=True)) for uuid in earlier]
        ladder = collect(path, [*stored, *arrived], self.windows)
        numbers = Numbers.of(ladder, self.windows, self.quadrature)
        refinement = refined(self.refinement, history, numbers.result, ladder.first.counts)
        current = CURRENT_JOB.job
        plan = self._plan(ladder, numbers, refinement)
        if current is None or not plan.n_runs or len(arrived) < len(documents):
            terms = TransformationTerms.of(path, ladder.first.temperature_K)
            return document(ladder, numbers, refinement, terms, _shape_notes(path, ladder))
        jobs, planned = self.rounds.make(path, ladder, plan)
        again = self.make(
            path,
            [added.output for added in jobs],
            earlier=[*earlier, *(str(known.job_uuid) for known in arrived)],
            history=[*refinement.rounds, planned],
        )
        take_place_of(again, current)
        tolerant(again)  # if this round fails, the earlier samples still give a result
        return Response(replace=Flow([*jobs, again], name=f"{self.name}, round {len(refinement.rounds)}"))

    def _plan(self, ladder: CollectedLadder, numbers: Numbers, refinement: Refinement) -> Plan:
        from alchemflows.free_energy.convergence import MAX_SIGMA
        from alchemflows.free_energy.refinement import plan_round

        result, target = numbers.result, refinement.target_error_eV_per_atom
        return plan_round(
            ladder.first.lambdas,
            ladder.indices,
            np.diagonal(result.overlap, offset=1),
            result.variances_eV2,
            [window.n_runs for window in ladder.windows],
            result.n_independent,
            target=None if target is None else target * ladder.first.counts.atoms,
            budget=refinement.budget - refinement.n_runs_added,
            misfits=result.misfits_eV(ladder.lambdas) if numbers.ti_rule == "corrected-trapezoid" else None,
            tolerance=MAX_SIGMA * float(np.hypot(result.ti_statistical_eV, result.mbar[1])),
        )


def free_energy(path: AlchemicalPath, documents: Sequence[WindowsDocument]) -> FreeEnergyDocument:
    """Return the free-energy document of a ladder with a window at each λ; see :meth:`AnalyseMaker.make`."""
    from alchemflows.analysis.collect import collect
    from alchemflows.analysis.ladder import Numbers, document, refined

    ladder = collect(path, documents)
    numbers = Numbers.of(ladder)
    refinement = refined(RefinementSettings(), [], numbers.result, ladder.first.counts)
    terms = TransformationTerms.of(path, ladder.first.temperature_K)
    return document(ladder, numbers, refinement, terms, _shape_notes(path, ladder))


def _shape_notes(path: AlchemicalPath, ladder: CollectedLadder) -> list[str]:
    return shape_notes(path.system, ladder.first.dynamics.pressure_GPa, ladder.first.dynamics.cell_freedom)
