"""The job that turns the windows of a ladder into a free-energy difference, and asks for more of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jobflow import CURRENT_JOB, Flow, JobConfig, Maker, Response, job
from monty.json import MontyDecoder

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.free_energy.convergence import (
    MAX_SIGMA,
    Convergence,
    Equilibration,
    convergence,
    equilibration,
    reasons_against,
)
from alchemflows.free_energy.corrections import mass_term_eV
from alchemflows.free_energy.estimators import MIN_OVERLAP, Decorrelated, LadderResult, decorrelate, estimate
from alchemflows.free_energy.refinement import Plan, plan_round
from alchemflows.jobs.collect import CollectedLadder, collect
from alchemflows.jobs.inputs import tolerant
from alchemflows.jobs.refine import RoundMaker
from alchemflows.schemas.free_energy import ConvergenceCurve, Estimate, FreeEnergyDocument, WindowStatistics
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.refinement import Refinement, RefinementRound, RefinementSettings
from alchemflows.schemas.verdict import Verdict
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
        Weights of these windows in TI; the trapezoid rule over all windows if not given.
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
            The path that was sampled; its masses give the mass term.
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
        stored = [MontyDecoder().process_decoded(CURRENT_JOB.store.get_output(uuid, load=True)) for uuid in earlier]
        ladder = collect(path, [*stored, *arrived], self.windows)
        numbers = Numbers.of(ladder, self.windows, self.quadrature)
        refinement = _refinement(self.refinement, history, numbers.result, ladder.first.n_atoms)
        current = CURRENT_JOB.job
        plan = self._plan(ladder, numbers, refinement)
        if current is None or not plan.n_runs or len(arrived) < len(documents):
            return document(path, ladder, numbers, refinement)
        jobs, planned = self.rounds.make(path, ladder, plan)
        again = self.make(
            path,
            [added.output for added in jobs],
            earlier=[*earlier, *(str(known.job_uuid) for known in arrived)],
            history=[*refinement.rounds, planned],
        )
        # The next analysis takes this one's place, as jobflow itself does where one job replaces another.
        again.set_uuid(current.uuid)
        again.index = current.index + 1
        again.metadata = current.metadata
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
            target=None if target is None else target * ladder.first.n_atoms,
            budget=refinement.budget - refinement.n_runs_added,
            misfits=result.misfits_eV(ladder.lambdas) if numbers.ti_rule == "trapezoid" else None,
            tolerance=MAX_SIGMA * float(np.hypot(result.ti[1], result.mbar[1])),
        )


def free_energy(path: AlchemicalPath, documents: Sequence[WindowsDocument]) -> FreeEnergyDocument:
    """Return the free-energy document of a ladder with a window at each λ; see :meth:`AnalyseMaker.make`."""
    ladder = collect(path, documents)
    numbers = Numbers.of(ladder)
    return document(path, ladder, numbers, _refinement(RefinementSettings(), [], numbers.result, ladder.first.n_atoms))


@dataclass(frozen=True)
class Numbers:
    """What the samples of a ladder give: independent samples, where windows equilibrated, and the estimates."""

    windows: list[Decorrelated]
    equilibrations: list[Equilibration]
    result: LadderResult
    ti_rule: Literal["trapezoid", "gauss-legendre"]

    @classmethod
    def of(
        cls,
        ladder: CollectedLadder,
        planned: Sequence[int] | None = None,
        quadrature: Sequence[float] | None = None,
    ) -> Numbers:
        """Return the numbers of a ladder; see :class:`AnalyseMaker` for the planned windows and the quadrature."""
        first, lambdas = ladder.first, ladder.lambdas
        pressure = first.dynamics.pressure_GPa
        windows, equilibrations = [], []
        for k, series in enumerate(ladder.series()):
            windows.append(decorrelate(lambdas, k, series))
            equilibrations.append(equilibration(series, constant_pressure=pressure is not None))
        weights = None
        if quadrature is not None:
            # Windows that were inserted later are no nodes of the rule.
            nodes = range(len(first.lambdas)) if planned is None else planned
            of = dict(zip(nodes, quadrature, strict=True))
            weights = [of.get(index, 0.0) for index in ladder.indices]
        result = estimate(lambdas, windows, first.temperature_K, pressure_GPa=pressure, quadrature=weights)
        return cls(windows, equilibrations, result, "trapezoid" if quadrature is None else "gauss-legendre")


def document(
    path: AlchemicalPath, ladder: CollectedLadder, numbers: Numbers, refinement: Refinement
) -> FreeEnergyDocument:
    """Return the free-energy document of a ladder."""
    first, result, n_atoms = ladder.first, numbers.result, ladder.first.n_atoms
    pressure, target = first.dynamics.pressure_GPa, refinement.target_error_eV_per_atom
    curve = convergence(numbers.windows, result.free_energies_eV, first.temperature_K)
    mass_term = mass_term_eV(path.system.masses(path.initial), path.system.masses(path.final), first.temperature_K)
    reasons = reasons_against(
        ladder.lambdas,
        result,
        curve,
        numbers.equilibrations,
        target_eV=None if target is None else target * n_atoms,
    )
    n_failed = refinement.rounds[-1].n_failed_jobs
    if n_failed:
        reasons.append(f"{n_failed} jobs of the last round of refinement failed, and it was ended: see their errors")
    volumes = [window.mean("mean_volume_A3") for window in ladder.windows]
    return FreeEnergyDocument(
        ensemble="NVT" if pressure is None else "NPT",
        temperature_K=first.temperature_K,
        pressure_GPa=pressure,
        n_atoms=n_atoms,
        volume_A3=first.volume_A3 if pressure is None else float(np.mean(volumes)),
        initial_formula=first.initial_formula,
        final_formula=first.final_formula,
        coupling=first.coupling,
        weight_labels=first.weight_labels,
        initial_weights=first.initial_weights,
        final_weights=first.final_weights,
        dynamics=first.dynamics,
        windows=_statistics(ladder, numbers, volumes),
        ti=Estimate.of(*result.ti, n_atoms),
        ti_rule=numbers.ti_rule,
        ti_discretisation_eV=result.ti_discretisation_eV if math.isfinite(result.ti_discretisation_eV) else None,
        bar=None if result.bar is None else Estimate.of(*result.bar, n_atoms),
        mbar=Estimate.of(*result.mbar, n_atoms),
        mass_term_eV=mass_term,
        mass_term_eV_per_atom=mass_term / n_atoms,
        total=Estimate.of(result.mbar[0] + mass_term, result.mbar[1], n_atoms),
        overlap_matrix=result.overlap.tolist(),
        convergence=_curve(curve),
        verdict=Verdict.of(reasons),
        refinement=refinement,
        warnings=result.warnings,
        provenance=Provenance(potential=first.provenance.potential, seed=first.provenance.seed),
    )


def _statistics(ladder: CollectedLadder, numbers: Numbers, volumes: Sequence[float]) -> list[WindowStatistics]:
    result = numbers.result
    overlaps: list[float | None] = [float(value) for value in np.diagonal(result.overlap, offset=1)]
    variance = float(result.variances_eV2.sum())
    shares = result.variances_eV2 / variance if math.isfinite(variance) and variance > 0 else [None] * len(volumes)
    return [
        WindowStatistics(
            lambda_value=window.lambda_value,
            mean_dudl_eV=result.mean_dudl_eV[k],
            error_dudl_eV=result.error_dudl_eV[k],
            n_samples=window.n_samples,
            n_independent=result.n_independent[k],
            statistical_inefficiency=result.inefficiency[k],
            mean_temperature_K=window.mean("mean_temperature_K"),
            mean_volume_A3=volumes[k],
            n_runs=window.n_runs,
            ti_weight=result.ti_weights[k],
            variance_share=shares[k],
            equilibration_fraction=found.fraction,
            equilibration_shift_sigma=found.shift_sigma,
            overlap_with_next=overlap,
        )
        for k, (window, found, overlap) in enumerate(
            zip(ladder.windows, numbers.equilibrations, [*overlaps, None], strict=True)
        )
    ]


def _refinement(
    settings: RefinementSettings, history: Sequence[RefinementRound], result: LadderResult, n_atoms: int
) -> Refinement:
    """Return the record of all rounds, the last of them with its outcome."""
    *before, last = history or [RefinementRound()]
    target = settings.target_error_eV_per_atom
    error, overlap = result.mbar[1] / n_atoms, float(np.diagonal(result.overlap, offset=1).min())
    done = last.model_copy(
        update={
            "error_eV_per_atom": error if math.isfinite(error) else None,
            "smallest_overlap": overlap if math.isfinite(overlap) else None,
        }
    )
    return Refinement(
        target_error_eV_per_atom=target,
        target_met=None if target is None else error <= target and overlap >= MIN_OVERLAP,
        budget=settings.budget,
        n_runs_added=sum(each.n_runs for each in history),
        rounds=[*before, done],
    )


def _curve(curve: Convergence) -> ConvergenceCurve:
    columns = {
        f"{name}{suffix}_eV": [None if value is None else value[k] for value in values]
        for name, values in (("forward", curve.forward), ("backward", curve.backward))
        for k, suffix in enumerate(("", "_error"))
    }
    return ConvergenceCurve(fractions=list(curve.fractions), halves_sigma=curve.halves_sigma, **columns)
