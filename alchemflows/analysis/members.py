"""Members of a committee of potentials, whose energies of frames of several states are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alchemflows.errors import AlchemflowsError
from alchemflows.free_energy.committees import MIN_MEMBERS, CommitteeSpread
from alchemflows.schemas.committee import FailedMember
from alchemflows.schemas.potential import PotentialRecord


@dataclass(frozen=True)
class EvaluatedMember:
    """A member of a committee whose job has ended.

    Attributes
    ----------
    name, job, potential
        Name of the member, identifier of its job, and its record if it is a potential of this package.
    differences_eV
        ΔU of the frames of each state (eV), NaN where it failed; None if the job failed.
    failed
        Sentences that name frames on which it failed.
    """

    name: str
    job: str
    potential: PotentialRecord | None
    differences_eV: Sequence[np.ndarray] | None
    failed: Sequence[str] = ()


def completed_members(
    evaluated: Sequence[EvaluatedMember], include_sampled: bool
) -> tuple[list[EvaluatedMember], list[FailedMember]]:
    """Return the members whose jobs have completed, and those whose jobs failed.

    Parameters
    ----------
    evaluated
        The members besides the sampled potential.
    include_sampled
        Whether the sampled potential is a member.

    Raises
    ------
    AlchemflowsError
        If fewer than two members are left, since jobs failed.
    """
    done = [each for each in evaluated if each.differences_eV is not None]
    failed = [FailedMember(name=each.name, job=each.job) for each in evaluated if each.differences_eV is None]
    if len(done) + include_sampled < MIN_MEMBERS:
        names = ", ".join(f"{each.name} ({each.job[:8]})" for each in failed)
        raise AlchemflowsError(f"fewer than {MIN_MEMBERS} members are left, since these jobs failed: {names}")
    return done, failed


def notes_on_members(done: Sequence[EvaluatedMember], failed: Sequence[FailedMember]) -> list[str]:
    """Return the notes on failed members, and on frames on which members failed."""
    notes = [f"{each.name}: its job ({each.job[:8]}) failed, so it is left out" for each in failed]
    return notes + [f"{each.name}: {text}" for each in done for text in each.failed]


def numbers_in_K(n_members: int, spread: CommitteeSpread, common: tuple[float, float] = (0.0, 0.0)) -> dict[str, Any]:
    """Return the fields of the spread of a temperature over the members, as a document has them.

    Parameters
    ----------
    n_members
        Number of members.
    spread
        Mean and spread of the temperature, or of its shift (K).
    common
        Temperature that all members are shifted from and its independent standard error (K), NaN if it is not known.
    """
    return {
        "n_members": n_members,
        "mean_K": common[0] + spread.mean[0],
        "sigma_stat_K": finite(np.hypot(common[1], spread.mean[1])),
        "sigma_model_K": spread.spread[0],
        "sigma_model_error_K": finite(spread.spread[1]),
        "sigma_noise_K": finite(spread.noise),
    }


def finite(value: float | np.floating) -> float | None:
    """Return a number for a document: None if it is not finite."""
    return float(value) if np.isfinite(value) else None
