"""The job that turns the windows of a ladder into a free-energy difference, and asks for more of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jobflow import CURRENT_JOB, Flow, JobConfig, Maker, Response, job
from monty.json import MontyDecoder

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.free_energy.convergence import Convergence, convergence, equilibration, reasons_against
from alchemflows.free_energy.corrections import mass_term_eV
from alchemflows.free_energy.estimators import LadderResult, decorrelate, estimate
from alchemflows.free_energy.refinement import plan_round
from alchemflows.jobs.collect import CollectedLadder, collect
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
        documents: Sequence[WindowsDocument],
        earlier: Sequence[str] = (),
        history: Sequence[RefinementRound] = (),
    ) -> FreeEnergyDocument | Response:
        """Analyse the windows of one ladder.

        Parameters
        ----------
        path
            The path that was sampled; its masses give the mass term.
        documents
            Outputs of window jobs.
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
        stored = [MontyDecoder().process_decoded(CURRENT_JOB.store.get_output(uuid, load=True)) for uuid in earlier]
        ladder = collect(path, [*stored, *documents], self.windows)
        document, result = analyse(path, ladder, self.windows, self.quadrature, self.refinement, history)
        current = CURRENT_JOB.job
        if current is None:
            return document
        target = self.refinement.target_error_eV_per_atom
        plan = plan_round(
            ladder.first.lambdas,
            ladder.indices,
            np.diagonal(result.overlap, offset=1),
            result.variances_eV2,
            [window.n_runs for window in ladder.windows],
            target=None if target is None else target * ladder.first.n_atoms,
            budget=document.refinement.budget - document.refinement.n_runs_added,
        )
        if not plan.n_runs:
            return document
        jobs, planned = self.rounds.make(path, ladder, plan)
        again = self.make(
            path,
            [added.output for added in jobs],
            earlier=[*earlier, *(str(known.job_uuid) for known in documents)],
            history=[*document.refinement.rounds, planned],
        )
        # The next analysis takes this one's place, as jobflow itself does where one job replaces another.
        again.set_uuid(current.uuid)
        again.index = current.index + 1
        again.metadata = current.metadata
        return Response(replace=Flow([*jobs, again], name=f"round {len(document.refinement.rounds)} of {self.name}"))


def free_energy(path: AlchemicalPath, documents: Sequence[WindowsDocument]) -> FreeEnergyDocument:
    """Return the free-energy document of a ladder with a window at each λ; see :meth:`AnalyseMaker.make`."""
    return analyse(path, collect(path, documents))[0]


def analyse(
    path: AlchemicalPath,
    ladder: CollectedLadder,
    planned: Sequence[int] | None = None,
    quadrature: Sequence[float] | None = None,
    settings: RefinementSettings | None = None,
    history: Sequence[RefinementRound] = (),
) -> tuple[FreeEnergyDocument, LadderResult]:
    """Return the free-energy document of a ladder, and the numbers that it rests on; see :class:`AnalyseMaker`."""
    first, lambdas, n_atoms = ladder.first, ladder.lambdas, ladder.first.n_atoms
    settings = settings or RefinementSettings()
    pressure = first.dynamics.pressure_GPa
    decorrelated, equilibrations = [], []
    for k, series in enumerate(ladder.series()):
        decorrelated.append(decorrelate(lambdas, k, series))
        equilibrations.append(equilibration(series, constant_pressure=pressure is not None))
    weights = None
    if quadrature is not None:
        # Windows that were inserted later are no nodes of the rule.
        of = dict(zip(range(len(first.lambdas)) if planned is None else planned, quadrature, strict=True))
        weights = [of.get(index, 0.0) for index in ladder.indices]
    result = estimate(lambdas, decorrelated, first.temperature_K, pressure_GPa=pressure, quadrature=weights)
    curve = convergence(decorrelated, first.temperature_K)
    mass_term = mass_term_eV(path.system.masses(path.initial), path.system.masses(path.final), first.temperature_K)
    total = Estimate.of(result.mbar[0] + mass_term, result.mbar[1], n_atoms)
    overlaps = [float(value) for value in np.diagonal(result.overlap, offset=1)]
    refinement = _refinement(settings, history, total.error_eV_per_atom, min(overlaps))
    target = settings.target_error_eV_per_atom
    reasons = reasons_against(
        lambdas, result, curve, equilibrations, target_eV=None if target is None else target * n_atoms
    )
    variance = float(result.variances_eV2.sum())
    means = [window.mean("mean_volume_A3") for window in ladder.windows]
    document = FreeEnergyDocument(
        ensemble="NVT" if pressure is None else "NPT",
        temperature_K=first.temperature_K,
        pressure_GPa=pressure,
        n_atoms=n_atoms,
        volume_A3=first.volume_A3 if pressure is None else float(np.mean(means)),
        initial_formula=first.initial_formula,
        final_formula=first.final_formula,
        coupling=first.coupling,
        weight_labels=first.weight_labels,
        initial_weights=first.initial_weights,
        final_weights=first.final_weights,
        dynamics=first.dynamics,
        windows=[
            WindowStatistics(
                lambda_value=window.lambda_value,
                mean_dudl_eV=result.mean_dudl_eV[k],
                error_dudl_eV=result.error_dudl_eV[k],
                n_samples=window.n_samples,
                n_independent=result.n_independent[k],
                statistical_inefficiency=result.inefficiency[k],
                mean_temperature_K=window.mean("mean_temperature_K"),
                mean_volume_A3=means[k],
                n_runs=window.n_runs,
                ti_weight=result.ti_weights[k],
                variance_share=result.variances_eV2[k] / variance if math.isfinite(variance) and variance > 0 else None,
                equilibration_fraction=equilibrations[k].fraction,
                equilibration_shift_sigma=equilibrations[k].shift_sigma,
                overlap_with_next=overlap,
            )
            for k, (window, overlap) in enumerate(zip(ladder.windows, [*overlaps, None], strict=True))
        ],
        ti=Estimate.of(*result.ti, n_atoms),
        ti_rule="trapezoid" if quadrature is None else "gauss-legendre",
        ti_discretisation_eV=result.ti_discretisation_eV if math.isfinite(result.ti_discretisation_eV) else None,
        bar=None if result.bar is None else Estimate.of(*result.bar, n_atoms),
        mbar=Estimate.of(*result.mbar, n_atoms),
        mass_term_eV=mass_term,
        mass_term_eV_per_atom=mass_term / n_atoms,
        total=total,
        overlap_matrix=result.overlap.tolist(),
        convergence=_curve(curve),
        verdict=Verdict.of(reasons),
        refinement=refinement,
        warnings=result.warnings,
        provenance=Provenance(potential=first.provenance.potential, seed=first.provenance.seed),
    )
    return document, result


def _refinement(
    settings: RefinementSettings, history: Sequence[RefinementRound], error: float | None, overlap: float
) -> Refinement:
    """Return the record of all rounds, the last of them with its outcome."""
    *before, last = history or [RefinementRound()]
    target = settings.target_error_eV_per_atom
    overlap_or_none = overlap if math.isfinite(overlap) else None
    done = last.model_copy(update={"error_eV_per_atom": error, "smallest_overlap": overlap_or_none})
    return Refinement(
        target_error_eV_per_atom=target,
        target_met=None if target is None else error is not None and error <= target,
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
