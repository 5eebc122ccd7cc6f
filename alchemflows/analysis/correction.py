"""The document of a correction to another potential, from the energies of frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alchemflows.analysis.frames import SampledFrames
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.free_energy.reweighting import FRACTIONS, MIN_FRAMES, Reweighting, reweight
from alchemflows.schemas.correction import CorrectionDocument, EndCorrection, FailedFrame
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.free_energy import Estimate, FreeEnergyDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.verdict import Verdict

#: Least effective sample size, and least number of independent frames, of a converged correction. With few frames, the
#: potentials overlap if the effective sample size is at least a share of the number of independent frames.
MIN_EFFECTIVE = 15.0
MIN_SHARE = 0.5
MIN_INDEPENDENT = 10.0
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
        λ of the end, and its composition.
    sampled
        Its frames.
    target_eV
        Energies with the target (eV), shape (m,); NaN for frames that failed.
    errors
        Errors of the frames that failed, by index.
    """

    lambda_value: float
    formula: str
    sampled: SampledFrames
    target_eV: np.ndarray
    errors: dict[int, str]

    @property
    def name(self) -> str:
        """Name of the end in messages."""
        return f"{self.formula} (λ = {self.lambda_value:g})"

    @property
    def evaluated(self) -> np.ndarray:
        """Indices of the frames that were evaluated."""
        return np.flatnonzero(np.isfinite(self.target_eV))

    def record(self, row: int, energy: float | str) -> None:
        """Set the energy of a frame (eV), or the error if there is none."""
        if isinstance(energy, str):
            self.errors[row] = energy
        else:
            self.target_eV[row] = energy

    def check_failures(self, target: str, max_failed: float) -> None:
        """Check that the target failed on few frames.

        Parameters
        ----------
        target
            Name of the target.
        max_failed
            Largest share of the frames that may fail.

        Raises
        ------
        PotentialError
            If it failed on more; the message names them.
        """
        n = len(self.target_eV)
        if len(self.errors) > max_failed * n:
            failed, times = sorted(self.errors.items()), self.sampled.frames.time_fs
            named = "; ".join(f"frame {k} ({times[k]:g} fs): {text}" for k, text in failed[:_NAMED])
            raise PotentialError(
                f"the target {target} failed on {len(failed)} of {n} frames of {self.name}, more than the share "
                f"{max_failed:g} that may be left out: {named}"
            )

    def reweighted(self, temperature_K: float) -> Reweighting:
        """Return the change of the free energy of this end.

        Raises
        ------
        InvalidInputError
            If there are too few frames.
        """
        rows = self.evaluated
        if len(rows) < MIN_FRAMES:
            raise InvalidInputError(f"{self.name}: {len(rows)} frames were evaluated; at least {MIN_FRAMES} are needed")
        return reweight((self.target_eV - self.sampled.frames.energy_eV)[rows], temperature_K)


def ends_to_evaluate(
    ladder: FreeEnergyDocument, sampled: tuple[SampledFrames, SampledFrames]
) -> tuple[EvaluatedEnd, EvaluatedEnd]:
    """Return both ends of a ladder without energies, which are written to them as they become known."""
    initial, final = (
        EvaluatedEnd(value, formula, each, np.full(len(each.frames), np.nan), {})
        for value, formula, each in zip(
            (0.0, 1.0), (ladder.initial_formula, ladder.final_formula), sampled, strict=True
        )
    )
    return initial, final


def correction_document(
    uuid: str,
    ladder: FreeEnergyDocument,
    target: str,
    initial: EvaluatedEnd,
    final: EvaluatedEnd,
    provenance: Provenance,
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

    Raises
    ------
    InvalidInputError
        If there are too few frames.
    """
    counts, before = ladder.counts, ladder.total
    found = [end.reweighted(ladder.temperature_K) for end in (initial, final)]
    value = found[1].best[0] - found[0].best[0]
    error = float(np.hypot(found[0].best[1], found[1].best[1]))
    whole = float(np.hypot(error, np.nan if before.error_eV is None else before.error_eV))
    reasons = [f"ladder: {reason}" for reason in ladder.verdict.reasons]
    for end, result in zip((initial, final), found, strict=True):
        reasons += reasons_against(end.name, result)
    arrays = {}
    for name, end in (("initial", initial), ("final", final)):
        arrays[f"{name}_source_eV"] = end.sampled.frames.energy_eV[end.evaluated]
        arrays[f"{name}_target_eV"] = end.target_eV[end.evaluated]
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
        initial=_end(initial, found[0], counts),
        final=_end(final, found[1], counts),
        fractions=list(FRACTIONS),
        correction=Estimate.of(value, error, counts),
        uncorrected=before,
        total=Estimate.of(before.delta_f_eV + value, whole, counts),
        energies=PackedArrays(npz_base64=PackedArrays.encode(**arrays)),
        verdict=Verdict.of(reasons, [*_notes(initial), *_notes(final)]),
        provenance=provenance,
    )


def _end(end: EvaluatedEnd, found: Reweighting, counts: Counts) -> EndCorrection:
    times = end.sampled.frames.time_fs
    return EndCorrection(
        lambda_value=end.lambda_value,
        formula=end.formula,
        n_frames=found.n_frames,
        failed=[FailedFrame(index=k, time_fs=times[k], error=text) for k, text in sorted(end.errors.items())],
        spacing_fs=end.sampled.spacing_fs,
        correlation_time_fs=end.sampled.correlation_time_fs,
        inefficiency=found.inefficiency,
        n_effective=found.n_effective,
        mean_eV=found.mean_eV,
        spread_eV=found.spread_eV,
        exponential=Estimate.of(*found.exponential, counts),
        cumulant=Estimate.of(*found.cumulant, counts),
        estimator=found.estimator,
        best=Estimate.of(*found.best, counts),
        curve_eV=[None if point is None else point[0] for point in found.curve],
        curve_errors_eV=[None if point is None else point[1] for point in found.curve],
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


def _notes(end: EvaluatedEnd) -> list[str]:
    n, failed = len(end.target_eV), sorted(end.errors)
    if not failed:
        return []
    named = ", ".join(map(str, failed))
    return [f"{end.name}: {len(failed)} of {n} frames are left out, since the target failed on them: {named}"]
