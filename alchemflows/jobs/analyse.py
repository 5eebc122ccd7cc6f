"""The job that turns the windows of a ladder into a free-energy difference, and asks for more of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jobflow import CURRENT_JOB, Flow, JobConfig, Maker, Response, job

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.analysis.collect import CollectedLadder, collect
from alchemflows.analysis.ladder import Numbers, document, refined
from alchemflows.analysis.terms import TransformationTerms, shape_notes
from alchemflows.free_energy.convergence import MAX_SIGMA
from alchemflows.free_energy.refinement import Plan, plan_round
from alchemflows.jobs.inputs import tolerant
from alchemflows.jobs.jobflow_parts import take_place_of
from alchemflows.jobs.refine import RoundMaker
from alchemflows.schemas.document import decoded
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.refinement import Refinement, RefinementRound, RefinementSettings
from alchemflows.schemas.windows import WindowsDocument


@dataclass
class AnalyseMaker(Maker):
    """Estimate ΔF (ΔG at constant pressure) between λ = 0 and 1 from all windows of a ladder.

    With a budget it refines the ladder: where there is something to gain, the job replaces itself by jobs that sample
    more and by another analysis, which has the same identifier, so that references to its output stay good.

    Parameters
    ----------
    name
        Name of the job.
    windows
        Places of the planned windows in the grid of λ, increasing; all if not given.
    quadrature
        Weights of these windows in TI; the corrected trapezoid rule over all windows if not given.
    refinement
        What to refine for, and the budget.
    rounds
        Makes the jobs of a round.
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
            The path that was sampled; its ends give the mass term and the terms of mixing.
        documents
            Outputs of window jobs; None where a job of a round of refinement failed, which ends the refinement.
        earlier
            Identifiers of jobs of earlier rounds, whose outputs are read from the store: a job that is added to a
            running flow may refer to jobs that are added with it only.
        history
            Rounds so far; the last is the one that `documents` came from.

        Raises
        ------
        InvalidInputError
            If a planned window is missing or there twice, or the documents are of different ladders.
        """
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
        tolerant(again)  # what was sampled before is a result, whatever becomes of this round
        return Response(replace=Flow([*jobs, again], name=f"{self.name}, round {len(refinement.rounds)}"))

    def _plan(self, ladder: CollectedLadder, numbers: Numbers, refinement: Refinement) -> Plan:
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
    ladder = collect(path, documents)
    numbers = Numbers.of(ladder)
    refinement = refined(RefinementSettings(), [], numbers.result, ladder.first.counts)
    terms = TransformationTerms.of(path, ladder.first.temperature_K)
    return document(ladder, numbers, refinement, terms, _shape_notes(path, ladder))


def _shape_notes(path: AlchemicalPath, ladder: CollectedLadder) -> list[str]:
    return shape_notes(path.system, ladder.first.dynamics.pressure_GPa, ladder.first.dynamics.cell_freedom)
