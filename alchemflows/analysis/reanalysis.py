"""The document of a reanalysis, from corrections of several ladders to a new potential."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from alchemflows.schemas.correction import CorrectionDocument
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.potential import PotentialRecord, PotentialSpec
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reanalysis import CorrectedLadder, ReanalysisDocument
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.verdict import Verdict


def rerun_command(uuid: str, potential: PotentialRecord | PotentialSpec | None) -> str | None:
    """Return the command that runs a ladder again with a potential; None for a calculator, which cannot be sampled.

    Examples
    --------
    >>> rerun_command("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10", PotentialSpec(name="multi.model", head="pbe"))
    'alchemflows rerun a3c0be9d --potential multi.model --head pbe'
    """
    if potential is None:
        return None
    words = ["alchemflows", "rerun", uuid[:8], "--potential", potential.name]
    return shlex.join(words + (["--head", potential.head] if potential.head else []))


def overlap_suffices(reasons: Sequence[str]) -> bool:
    """Return whether no reason says that the effective sample size of an end is too low."""
    return all(Reason.of(reason) is not Reason.FRAMES_OVERLAP for reason in reasons)


def reanalysis_document(
    target: str,
    potential: PotentialSpec | None,
    ladders: Mapping[str, FreeEnergyDocument],
    corrections: Mapping[str, tuple[str, CorrectionDocument | None]],
    refused: Mapping[str, str],
) -> ReanalysisDocument:
    """Return the document of a reanalysis.

    Parameters
    ----------
    target, potential
        Name of the target, and its potential spec; None for a calculator.
    ladders
        All ladders by their identifiers, in order.
    corrections
        Identifier of the job and correction of each ladder that was evaluated; None for a failed job.
    refused
        Why a ladder was not evaluated.
    """
    rows, reasons, record = [], [], None
    for uuid, ladder in ladders.items():
        job, correction = corrections.get(uuid, (None, None))
        if correction is None:
            problem = refused[uuid] if job is None else f"its job {job[:8]} failed"
            against = [Reason.NOT_CORRECTED.because(problem=problem)]
        else:
            against, record = list(correction.verdict.reasons), correction.provenance.potential
        overlaps = correction is not None and overlap_suffices(against)
        rows.append(_row(uuid, ladder, job, correction, against, overlaps, potential))
        reasons += [f"{uuid[:8]}: {reason}" for reason in against]
    return ReanalysisDocument(
        target=target,
        potential=record,
        ladders=rows,
        verdict=Verdict.of(reasons),
        provenance=Provenance(potential=record),
    )


def _row(
    uuid: str,
    ladder: FreeEnergyDocument,
    job: str | None,
    correction: CorrectionDocument | None,
    against: list[str],
    overlaps: bool,
    potential: PotentialSpec | None,
) -> CorrectedLadder:
    found = (
        {}
        if correction is None
        else {
            "correction": correction.correction,
            "total": correction.total,
            "n_effective": (correction.initial.n_effective, correction.final.n_effective),
        }
    )
    return CorrectedLadder(
        ladder=uuid,
        initial_formula=ladder.initial_formula,
        final_formula=ladder.final_formula,
        temperature_K=ladder.temperature_K,
        pressure_GPa=ladder.pressure_GPa,
        source=ladder.provenance.potential,
        uncorrected=ladder.total,
        job=job,
        overlaps=overlaps,
        reasons=against,
        rerun=None if overlaps else rerun_command(uuid, potential),
        **found,
    )
