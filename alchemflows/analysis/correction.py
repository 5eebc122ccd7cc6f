"""The document of a correction to another potential, from the energies of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import units

from alchemflows.analysis.collect import collect
from alchemflows.analysis.frames import SampledFrames
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.free_energy.bridging import MIN_BRIDGE_OVERLAP, Bridge, bridge
from alchemflows.free_energy.decorrelation import decorrelate
from alchemflows.free_energy.estimators import estimate, mbar_influences
from alchemflows.free_energy.reweighting import FRACTIONS, MIN_FRAMES, Reweighting, reweight, sum_of_stages
from alchemflows.free_energy.selection import next_counts, spread_order
from alchemflows.free_energy.shared_samples import shared_covariance
from alchemflows.schemas.correction import (
    CorrectionDocument,
    CorrectionStage,
    EndCorrection,
    EvaluationLimits,
    FailedFrame,
    SampledTarget,
)
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.free_energy import Estimate, FreeEnergyDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.verdict import Verdict
from alchemflows.schemas.windows import WindowsDocument

#: Least effective sample size, and least number of independent frames, of a converged correction. With few frames, the
#: potentials overlap if the effective sample size is at least a share of the number of independent frames.
MIN_EFFECTIVE = 15.0
MIN_SHARE = 0.5
MIN_INDEPENDENT = 12.0
#: Largest difference between the halves of the frames (standard errors).
MAX_HALVES_SIGMA = 4.0
#: Failed frames that an error message names.
_NAMED = 3


@dataclass(frozen=True)
class EvaluatedEnd:
    """Frames of one end, evaluated with the target.

    Attributes
    ----------
    lambda_value, formula
        λ of the end, and its composition; no λ for a state that is no end of a path.
    sampled
        Its frames.
    target_eV
        Energies with the target (eV), shape (m,); NaN for frames that failed or are not evaluated.
    errors
        Errors of the frames that failed, by index.
    earlier_eV
        Energies with the targets of earlier stages (eV), in their order, each as `target_eV`.
    run_eV
        Energies at configurations of runs with the target (eV), with the sampled potential and with the target, shape
        (R, 2, m) for R runs; None if the target was not sampled.
    label
        Name in messages of a state without λ.
    """

    lambda_value: float | None
    formula: str
    sampled: SampledFrames
    target_eV: np.ndarray
    errors: dict[int, str]
    earlier_eV: tuple[np.ndarray, ...] = ()
    run_eV: np.ndarray | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """Name of the end in messages."""
        return self.label or f"{self.formula} (λ = {self.lambda_value:g})"

    @property
    def evaluated(self) -> np.ndarray:
        """Indices of the frames that were evaluated with the target."""
        return np.flatnonzero(np.isfinite(self.target_eV))

    @property
    def tried(self) -> list[int]:
        """Indices of the frames that were evaluated, or failed."""
        return sorted({*self.evaluated.tolist(), *self.errors})

    @property
    def order(self) -> list[int]:
        """Indices of all frames that can be evaluated, in an order whose beginnings are evenly spread."""
        known = self.earlier_eV[-1] if self.earlier_eV else self.sampled.frames.energy_eV
        return [row for row in spread_order(len(known)) if np.isfinite(known[row])]

    def record(self, row: int, energy: float | str) -> None:
        """Set the energy of a frame (eV), or the error if there is none."""
        if isinstance(energy, str):
            self.errors[row] = energy
        else:
            self.target_eV[row] = energy

    def check_failures(self, target: str, max_failed: float, n: int | None = None) -> None:
        """Check that the target failed on few frames.

        Parameters
        ----------
        target
            Name of the target.
        max_failed
            Largest share of the frames that may fail.
        n
            Number of frames that are being evaluated; by default those that were tried.

        Raises
        ------
        PotentialError
            If it failed on more; the message names them.
        """
        n = len(self.tried) if n is None else n
        if len(self.errors) > max_failed * n:
            failed, times = sorted(self.errors.items()), self.sampled.frames.time_fs
            named = "; ".join(f"frame {k} ({times[k]:g} fs): {text}" for k, text in failed[:_NAMED])
            raise PotentialError(
                f"the target {target} failed on {len(failed)} of {n} frames of {self.name}, more than the share "
                f"{max_failed:g} that may be left out: {named}"
            )

    def reweighted(self, temperature_K: float) -> Reweighting:
        """Return the change of the free energy of this end; in several stages, that of the last one.

        Raises
        ------
        InvalidInputError
            If there are too few frames.
        """
        return self.stages(temperature_K)[-1]

    def stages(self, temperature_K: float) -> list[Reweighting]:
        """Return the change of the free energy of this end in each stage; see :meth:`reweighted`."""
        source, found = self.sampled.frames.energy_eV, []
        before = source
        for energies in (*self.earlier_eV, self.target_eV):
            rows = np.flatnonzero(np.isfinite(energies))
            if len(rows) < MIN_FRAMES:
                raise InvalidInputError(
                    f"{self.name}: {len(rows)} frames were evaluated; at least {MIN_FRAMES} are needed"
                )
            found.append(reweight((energies - before)[rows], temperature_K, (before - source)[rows]))
            before = energies
        return found

    def bridged(self, temperature_K: float) -> Bridge | None:
        """Return the change of the free energy of this end by BAR; None if the target was not sampled."""
        if self.run_eV is None:
            return None
        rows = self.evaluated
        differences = (self.target_eV - self.sampled.frames.energy_eV)[rows]
        return bridge(differences, [target - source for source, target in self.run_eV], temperature_K)

    def influences_eV(self, temperature_K: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the frames that were evaluated in any stage, and their influence on the change by all stages (eV)."""
        if (bridged := self.bridged(temperature_K)) is not None and bridged.suffices:
            return self.evaluated, bridged.influences_eV
        total = np.zeros(len(self.target_eV))
        for found, rows in zip(self.stages(temperature_K), self._rows(), strict=True):
            total[rows] += found.influences_eV
        rows = np.unique(np.concatenate(self._rows()))
        return rows, total[rows]

    def _rows(self) -> list[np.ndarray]:
        """Return the indices of the frames of each stage."""
        return [np.flatnonzero(np.isfinite(energies)) for energies in (*self.earlier_eV, self.target_eV)]

    def change_eV(self, temperature_K: float) -> tuple[float, float]:
        """Return the change of the free energy of this end by all stages and its standard error (eV)."""
        if (bridged := self.bridged(temperature_K)) is not None and bridged.best is not None and bridged.suffices:
            return bridged.best
        return sum_of_stages(self.stages(temperature_K), self._rows())


def ends_to_evaluate(
    ladder: FreeEnergyDocument,
    sampled: tuple[SampledFrames, SampledFrames],
    earlier: CorrectionDocument | None = None,
) -> tuple[EvaluatedEnd, EvaluatedEnd]:
    """Return both ends of a ladder without energies, which are written to them as they become known.

    Parameters
    ----------
    ladder, sampled
        Free energy of the ladder, and its frames at λ = 0 and at λ = 1.
    earlier
        Result of the stage before, if there is one.
    """
    arrays = {} if earlier is None else earlier.energies.arrays()
    named = (("initial", 0.0, ladder.initial_formula), ("final", 1.0, ladder.final_formula))
    initial, final = (
        EvaluatedEnd(
            value,
            formula,
            frames,
            np.full(len(frames.frames), np.nan),
            {},
            tuple(arrays.get(f"{name}_all_eV", ())),
        )
        for (name, value, formula), frames in zip(named, sampled, strict=True)
    )
    return initial, final


def counts_to_evaluate(
    ladder: FreeEnergyDocument, ends: Sequence[EvaluatedEnd], limits: EvaluationLimits
) -> tuple[int, int]:
    """Return how many frames of each end should be evaluated next, counting those that were tried.

    The target error is that of the whole correction. Of several stages, the error of the last one is to be what the
    earlier ones leave of it, but at least half of it.
    """
    done = [len(end.tried) for end in ends]
    goal, errors = limits.target_error_eV_per_atom, None
    if goal is not None:
        goal *= ladder.counts.atoms
    if min(len(end.evaluated) for end in ends) >= MIN_FRAMES:
        stages = [end.stages(ladder.temperature_K) for end in ends]
        errors = [found[-1].best[1] for found in stages]
        if goal is not None:
            before = sum(stage.best[1] ** 2 for found in stages for stage in found[:-1])
            goal = max(goal / 2, float(np.sqrt(max(0.0, goal**2 - before))))
    return next_counts(done, [len(end.order) for end in ends], errors, goal, limits.max_evaluations)


def covariance_with_ladder(
    documents: Sequence[WindowsDocument], ladder: FreeEnergyDocument, ends: Sequence[EvaluatedEnd]
) -> float:
    """Return the covariance of the errors of a ladder and of its correction (eV²), which share samples of both ends.

    Parameters
    ----------
    documents
        Outputs of all window jobs of the ladder.
    ladder
        Its free energy.
    ends
        Evaluated frames at λ = 0 and at λ = 1.

    Raises
    ------
    InvalidInputError
        If windows are missing.
    """
    at = {value: index for index, value in enumerate(documents[0].lambdas)}
    collected = collect(None, documents, [at.get(window.lambda_value, -1) for window in ladder.windows])
    lambdas, kT = collected.lambdas, units.kB * ladder.temperature_K
    windows = [decorrelate(lambdas, k, series) for k, series in enumerate(collected.series())]
    result = estimate(lambdas, windows, ladder.temperature_K, pressure_GPa=ladder.pressure_GPa)
    on_ladder = mbar_influences([window.gaps_eV / kT for window in windows], result.free_energies_eV / kT)
    total = 0.0
    for sign, k, end in ((-1, 0, ends[0]), (1, -1, ends[1])):
        rows, influences_eV = end.influences_eV(ladder.temperature_K)
        interval_fs = float(collected.windows[k].parts[0].series.unpack().time_fs[0])
        total += sign * shared_covariance(
            end.sampled.frames.time_fs[rows],
            influences_eV,
            windows[k].time_fs,
            kT * on_ladder[k],
            windows[k].inefficiency * interval_fs,
        )
    return total


def correction_document(
    uuid: str,
    ladder: FreeEnergyDocument,
    target: str,
    initial: EvaluatedEnd,
    final: EvaluatedEnd,
    provenance: Provenance,
    earlier: CorrectionDocument | None = None,
    covariance_eV2: float | None = None,
) -> CorrectionDocument:
    """Return the document of a correction.

    Parameters
    ----------
    uuid, ladder
        Identifier and document of the free energy.
    target
        Name of the target.
    initial, final
        Evaluated frames at λ = 0 and at λ = 1.
    provenance
        Provenance of the evaluation.
    earlier
        Result of the stage before, if there is one.
    covariance_eV2
        Covariance of the errors of the ladder and of its correction, see :func:`covariance_with_ladder`; None if it is
        not known.

    Raises
    ------
    InvalidInputError
        If there are too few frames.
    """
    counts, before, ends = ladder.counts, ladder.total, (initial, final)
    found = [end.reweighted(ladder.temperature_K) for end in ends]
    changes = [end.change_eV(ladder.temperature_K) for end in ends]
    value = changes[1][0] - changes[0][0]
    error = float(np.hypot(changes[0][1], changes[1][1]))
    of_ladder = np.nan if before.error_eV is None else before.error_eV
    whole = float(np.sqrt(max((of_ladder - error) ** 2, of_ladder**2 + error**2 + 2 * (covariance_eV2 or 0.0))))
    stages, reasons, notes = [], [f"ladder: {reason}" for reason in ladder.verdict.reasons], []
    if earlier is not None:
        stages = [*earlier.stages, _stage(earlier)]
        reasons, notes = list(earlier.verdict.reasons), list(earlier.verdict.notes)
    where = f", {stages[-1].target} → {target}" if stages else ""
    for end, result in zip(ends, found, strict=True):
        bridged = end.bridged(ladder.temperature_K)
        if bridged is not None:
            reasons += reasons_against_bridge(end.name, bridged, result.n_independent)
        if bridged is None or not bridged.suffices:
            reasons += reasons_against(f"{end.name}{where}", result)
    arrays = {}
    for name, end in (("initial", initial), ("final", final)):
        source = end.earlier_eV[-1] if end.earlier_eV else end.sampled.frames.energy_eV
        arrays[f"{name}_source_eV"] = source[end.evaluated]
        arrays[f"{name}_target_eV"] = end.target_eV[end.evaluated]
        arrays[f"{name}_all_eV"] = np.array([*end.earlier_eV, end.target_eV])
        if end.run_eV is not None:
            arrays[f"{name}_run_eV"] = end.run_eV
    return CorrectionDocument(
        ladder=uuid,
        ensemble=ladder.ensemble,
        temperature_K=ladder.temperature_K,
        pressure_GPa=ladder.pressure_GPa,
        counts=counts,
        initial_formula=ladder.initial_formula,
        final_formula=ladder.final_formula,
        source=ladder.provenance.potential,
        target=target,
        stages=stages,
        initial=stored_end(initial, found[0], counts, ladder.temperature_K),
        final=stored_end(final, found[1], counts, ladder.temperature_K),
        fractions=list(FRACTIONS),
        correction=Estimate.of(value, error, counts),
        covariance_eV2=covariance_eV2,
        uncorrected=before,
        total=Estimate.of(before.delta_f_eV + value, whole, counts),
        energies=PackedArrays(npz_base64=PackedArrays.encode(**arrays)),
        verdict=Verdict.of(reasons, [*notes, *failure_notes(initial), *failure_notes(final)]),
        provenance=provenance,
    )


def _stage(document: CorrectionDocument) -> CorrectionStage:
    """Return the last stage of a correction as an earlier stage of the next one."""
    initial, final = document.initial.best, document.final.best
    error = float(np.hypot(initial.error_eV or 0.0, final.error_eV or 0.0))
    change = Estimate.of(final.delta_f_eV - initial.delta_f_eV, error, document.counts)
    return CorrectionStage(target=document.target, initial=document.initial, final=document.final, correction=change)


def stored_end(end: EvaluatedEnd, found: Reweighting, counts: Counts, temperature_K: float) -> EndCorrection:
    """Return the reweighting of an end, or of another state, as it is stored."""
    estimator: Literal["exponential", "cumulant", "bar"] = found.estimator
    best, curve, target_run = found.best, found.curve, None
    if (bridged := end.bridged(temperature_K)) is not None and end.run_eV is not None:
        target_run = SampledTarget(
            n_runs=len(end.run_eV),
            n_frames=bridged.n_frames,
            inefficiency=bridged.inefficiency,
            mean_eV=bridged.mean_eV,
            spread_eV=bridged.spread_eV,
            overlap=bridged.overlap,
            bar=None if bridged.best is None else Estimate.of(*bridged.best, counts),
            halves_sigma=bridged.halves_sigma,
        )
        if bridged.best is not None and bridged.suffices:
            estimator, best, curve = "bar", bridged.best, bridged.curve
    times = end.sampled.frames.time_fs
    tried = times[end.tried]
    return EndCorrection(
        lambda_value=end.lambda_value,
        formula=end.formula,
        n_frames=found.n_frames,
        failed=[FailedFrame(index=k, time_fs=times[k], error=text) for k, text in sorted(end.errors.items())],
        spacing_fs=float(np.median(np.diff(tried))) if len(tried) > 1 else None,
        correlation_time_fs=end.sampled.correlation_time_fs,
        inefficiency=found.inefficiency,
        n_effective=found.n_effective,
        mean_eV=found.mean_eV,
        spread_eV=found.spread_eV,
        exponential=Estimate.of(*found.exponential, counts),
        cumulant=Estimate.of(*found.cumulant, counts),
        target_run=target_run,
        estimator=estimator,
        best=Estimate.of(*best, counts),
        curve_eV=[None if point is None else point[0] for point in curve],
        curve_errors_eV=[None if point is None else point[1] for point in curve],
        halves_sigma=found.halves_sigma,
    )


def reasons_against(where: str, found: Reweighting) -> list[str]:
    """Return the reasons against the correction of one end, whose name they contain."""
    reasons = []
    if found.n_independent < MIN_INDEPENDENT:
        reasons.append(Reason.FEW_FRAMES.because(where=where, n=found.n_independent, least=MIN_INDEPENDENT))
    if found.n_effective < min(MIN_EFFECTIVE, MIN_SHARE * found.n_independent):
        reasons.append(
            Reason.FRAMES_OVERLAP.because(
                where=where, n=found.n_effective, of=found.n_independent, least=MIN_EFFECTIVE, spread=found.spread_eV
            )
        )
    if found.halves_sigma is not None and found.halves_sigma > MAX_HALVES_SIGMA:
        reasons.append(Reason.FRAMES_HALVES.because(where=where, sigma=found.halves_sigma))
    return reasons


def reasons_against_bridge(where: str, found: Bridge, n_source: float) -> list[str]:
    """Return the reasons against BAR at one end.

    Parameters
    ----------
    where
        Name of the end.
    found
        The result.
    n_source
        Number of independent frames of the sampled potential.
    """
    if not found.suffices:
        return [Reason.TARGET_OVERLAP.because(where=where, overlap=found.overlap, least=MIN_BRIDGE_OVERLAP)]
    reasons = []
    if n_source < MIN_INDEPENDENT:
        reasons.append(Reason.FEW_FRAMES.because(where=where, n=n_source, least=MIN_INDEPENDENT))
    if found.n_independent < MIN_INDEPENDENT:
        reasons.append(Reason.FEW_TARGET_FRAMES.because(where=where, n=found.n_independent, least=MIN_INDEPENDENT))
    if found.halves_sigma is not None and found.halves_sigma > MAX_HALVES_SIGMA:
        reasons.append(Reason.TARGET_HALVES.because(where=where, sigma=found.halves_sigma))
    return reasons


def failure_notes(end: EvaluatedEnd) -> list[str]:
    """Return the note that names frames on which the target failed, if there are any."""
    n, failed = len(end.tried), sorted(end.errors)
    if not failed:
        return []
    named = ", ".join(map(str, failed))
    return [f"{end.name}: {len(failed)} of {n} frames are left out, since the target failed on them: {named}"]
