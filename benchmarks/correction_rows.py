"""Corrections of harmonic ends to a target of other force constants and with an offset: coverage of their errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import units
from error_rows import Row, row
from scipy.signal import lfilter

from alchemflows.analysis.correction import reasons_against
from alchemflows.free_energy.reweighting import reweight

T = 300.0
KT = units.kB * T
#: Harmonic modes of each end.
N_MODES = 24
#: Constant difference of the two potentials at each end (eV).
OFFSETS_EV = (-31.7, 12.4)


def differences_eV(n: int, change: float, memory: float, offset_eV: float, rng: np.random.Generator) -> np.ndarray:
    """Return ΔU of n frames of harmonic modes whose force constants change by the factor 1 + change.

    Parameters
    ----------
    n
        Number of frames.
    change
        Relative change of the force constants.
    memory
        Correlation time of the modes in units of the spacing of frames; 0 for independent frames.
    offset_eV
        Constant difference (eV).
    rng
        Random numbers.
    """
    modes = rng.normal(size=(n, N_MODES))
    if memory:
        decay = np.exp(-1 / memory)
        modes[1:] *= np.sqrt(1 - decay**2)
        modes = lfilter([1.0], [1.0, -decay], modes, axis=0)
    return offset_eV + KT * change / 2 * (modes**2).sum(axis=1)


def exact_eV(change: float, offset_eV: float) -> float:
    """Return the change of the free energy of one end (eV)."""
    return offset_eV + KT * N_MODES / 2 * float(np.log1p(change))


def correction_row(n: int, changes: Sequence[float], memory: float, n_repeats: int) -> Row:
    """Return the row of ΔΔG from n frames of each end, whose force constants change by two factors."""
    exact = exact_eV(changes[1], OFFSETS_EV[1]) - exact_eV(changes[0], OFFSETS_EV[0])
    z = []
    for seed in range(n_repeats):
        rng = np.random.default_rng([seed, n, round(1000 * memory)])
        found = [
            reweight(differences_eV(n, change, memory, offset, rng), T)
            for change, offset in zip(changes, OFFSETS_EV, strict=True)
        ]
        if not any(reasons_against("end", each) for each in found):
            error = np.hypot(found[0].best[1], found[1].best[1])
            z.append((found[1].best[0] - found[0].best[0] - exact) / error)
    correlated = f", correlation time {memory:g}" if memory else ""
    name = f"ΔΔG from {n} frames, force constants {changes[0]:+.0%} and {changes[1]:+.0%}{correlated}"
    return row(name, z, n_repeats)


def correction_rows(
    n: int, changes: Sequence[Sequence[float]], memories: Sequence[float], n_repeats: int
) -> Iterator[Row]:
    """Yield the rows of several changes of the force constants and correlation times."""
    for each in changes:
        for memory in memories:
            yield correction_row(n, each, memory, n_repeats)
