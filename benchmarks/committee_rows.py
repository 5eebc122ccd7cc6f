"""Committees of harmonic potentials with exact free energies: coverage of the errors of their mean and spread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from correction_rows import KT, N_MODES, T, exact_eV
from error_rows import Row, row
from scipy.signal import lfilter

from alchemflows.analysis.correction import reasons_against
from alchemflows.free_energy.committees import CommitteeSpread, MemberChange, committee_spread
from alchemflows.free_energy.reweighting import Reweighting, reweight

#: Relative changes of the force constants at both ends, of each member but the sampled one.
MEMBERS = ((0.2, -0.15), (-0.1, 0.1), (0.1, 0.15))


def end_differences_eV(n: int, stiffer: np.ndarray, memory: float, rng: np.random.Generator) -> np.ndarray:
    """Return ΔU of each member at the same n frames of harmonic modes, shape (K, n).

    Parameters
    ----------
    n
        Number of frames.
    stiffer
        Relative change of the force constant of each mode by each member, shape (K, N_MODES).
    memory
        Correlation time of the modes in units of the spacing of frames; 0 for independent frames.
    rng
        Random numbers.
    """
    modes = rng.normal(size=(n, N_MODES))
    if memory:
        decay = np.exp(-1 / memory)
        modes[1:] *= np.sqrt(1 - decay**2)
        modes = lfilter([1.0], [1.0, -decay], modes, axis=0)
    return KT / 2 * stiffer @ (modes**2).T


def sampled_committee(
    n: int, memory: float, seed: int, members: Sequence[Sequence[float]] = MEMBERS
) -> tuple[CommitteeSpread, list[tuple[Reweighting, Reweighting]], np.ndarray]:
    """Return mean and spread of a committee with the sampled potential, its members' ends, and their exact changes."""
    rng = np.random.default_rng([seed, n, round(1000 * memory)])
    ends = [
        end_differences_eV(n, np.repeat([[member[end]] for member in members], N_MODES, axis=1), memory, rng)
        for end in (0, 1)
    ]
    found = [(reweight(first, T), reweight(last, T)) for first, last in zip(*ends, strict=True)]
    every = np.ones(n, dtype=bool)
    sampled = MemberChange(0.0, (np.zeros(n), np.zeros(n)))
    changes = [sampled, *(MemberChange.of(ends, (every, every)) for ends in found)]
    exact = [exact_eV(last, 0.0) - exact_eV(first, 0.0) for first, last in members]
    return committee_spread(changes), found, np.array([0.0, *exact])


def committee_rows(n: int, memories: Sequence[float], n_repeats: int) -> Iterator[Row]:
    """Yield the rows of the mean and of σ_model for several correlation times."""
    for memory in memories:
        means, spreads = [], []
        for seed in range(n_repeats):
            spread, found, exact = sampled_committee(n, memory, seed)
            if any(reasons_against("end", end) for ends in found for end in ends):
                continue
            means.append((spread.mean[0] - exact.mean()) / spread.mean[1])
            spreads.append((spread.spread[0] - exact.std(ddof=1)) / spread.spread[1])
        correlated = f", correlation time {memory:g}" if memory else ""
        for name, z in (("mean", means), ("σ_model", spreads)):
            yield row(f"{name} of a committee of {len(MEMBERS) + 1} from {n} frames{correlated}", z, n_repeats)
