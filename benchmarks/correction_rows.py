"""Corrections of harmonic ends to a target of other force constants and with an offset: coverage of their errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import units
from error_rows import FACTOR, Row, harmonic_ladder, row
from error_rows import N_MODES as N_LADDER_MODES
from scipy.signal import lfilter

from alchemflows.analysis.correction import reasons_against, reasons_against_bridge
from alchemflows.free_energy.bridging import bridge
from alchemflows.free_energy.decorrelation import decorrelate
from alchemflows.free_energy.estimators import estimate, mbar_influences
from alchemflows.free_energy.perturbation import state_change, transition_shift
from alchemflows.free_energy.reweighting import reweight, sum_of_stages
from alchemflows.free_energy.selection import spread_order
from alchemflows.free_energy.shared_samples import shared_covariance
from alchemflows.sampling.frames import evenly_spaced

T = 300.0
KT = units.kB * T
#: Harmonic modes of each end.
N_MODES = 24
#: Constant difference of the two potentials at each end (eV).
OFFSETS_EV = (-31.7, 12.4)
#: Atoms of each phase, energy of an atom (eV), entropy of the transition for an atom (eV/K) and its relative error, and
#: temperature of the transition (K).
N_ATOMS, ATOM_EV, ENTROPY_EV_PER_K, ENTROPY_ERROR, TRANSITION_K = 8, -2.0, 0.6 * units.kB, 0.05, 330.0
#: Changes of the force constants at both ends by a cheap target and by the last one, which goes further or back.
STAGES = (((0.2, -0.15), (0.3, -0.2)), ((0.2, -0.15), (0.1, -0.1)))


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
    return offset_eV + KT * change / 2 * (modes_of(n, memory, rng) ** 2).sum(axis=1)


def modes_of(n: int, memory: float, rng: np.random.Generator) -> np.ndarray:
    """Return the coordinates of n frames of harmonic modes in units of their spread; see :func:`differences_eV`."""
    modes = rng.normal(size=(n, N_MODES))
    if memory:
        decay = np.exp(-1 / memory)
        modes[1:] *= np.sqrt(1 - decay**2)
        modes = lfilter([1.0], [1.0, -decay], modes, axis=0)
    return modes


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


def sampled_target_row(
    n: int, n_runs: int, n_of_run: int, changes: Sequence[float], memory: float, n_repeats: int
) -> Row:
    """Return the row of ΔΔG from n frames of each end and from runs with the target."""
    exact = exact_eV(changes[1], OFFSETS_EV[1]) - exact_eV(changes[0], OFFSETS_EV[0])
    z = []
    for seed in range(n_repeats):
        rng = np.random.default_rng([seed, n, n_of_run, round(1000 * memory)])
        ends, reasons = [], []
        for change, offset in zip(changes, OFFSETS_EV, strict=True):
            source = differences_eV(n, change, memory, offset, rng)
            # Modes of the target are narrower by the factor 1 + change in their squares.
            own = [differences_eV(n_of_run, change, memory, 0.0, rng) / (1 + change) + offset for _ in range(n_runs)]
            ends.append(bridge(source, own, T))
            reasons += reasons_against_bridge("end", ends[-1], n)
        if not reasons:
            error = np.hypot(ends[0].best[1], ends[1].best[1])
            z.append((ends[1].best[0] - ends[0].best[0] - exact) / error)
    correlated = f", correlation time {memory:g}" if memory else ""
    changed = f"force constants {changes[0]:+.0%} and {changes[1]:+.0%}"
    return row(f"ΔΔG by BAR from {n} frames and {n_runs} runs of {n_of_run}, {changed}{correlated}", z, n_repeats)


def sampled_target_rows(
    n: int, n_runs: int, n_of_run: int, changes: Sequence[Sequence[float]], memories: Sequence[float], n_repeats: int
) -> Iterator[Row]:
    """Yield the rows of several changes of the force constants and correlation times."""
    for each in changes:
        for memory in memories:
            yield sampled_target_row(n, n_runs, n_of_run, each, memory, n_repeats)


def stages_row(
    n: int, n_last: int, cheap: Sequence[float], last: Sequence[float], memory: float, n_repeats: int
) -> Row:
    """Return the row of ΔΔG in two stages.

    The cheap target changes the force constants of all modes, and is evaluated on n frames of each end. The last target
    has other force constants for half of the modes, and is evaluated on n_last of these frames.
    """
    exact = sum(
        sign * (exact_eV(first, offset) + exact_eV(second, offset)) / 2
        for sign, first, second, offset in zip((-1, 1), cheap, last, OFFSETS_EV, strict=True)
    )
    z, rows = [], np.sort(spread_order(n)[:n_last])
    for seed in range(n_repeats):
        rng = np.random.default_rng([seed, n, n_last, round(1000 * memory)])
        ends, reasons = [], []
        for first, second, offset in zip(cheap, last, OFFSETS_EV, strict=True):
            squares = modes_of(n, memory, rng) ** 2
            before = offset + KT * first / 2 * squares.sum(axis=1)
            after = KT * (second - first) / 2 * squares[:, : N_MODES // 2].sum(axis=1)
            stages = [reweight(before, T), reweight(after[rows], T, before[rows])]
            ends.append(sum_of_stages(stages, [np.arange(n), rows]))
            reasons += [reason for stage in stages for reason in reasons_against("end", stage)]
        if not reasons:
            z.append((ends[1][0] - ends[0][0] - exact) / np.hypot(ends[0][1], ends[1][1]))
    correlated = f", correlation time {memory:g}" if memory else ""
    changes = " and ".join(f"{first:+.0%} → {second:+.0%}" for first, second in zip(cheap, last, strict=True))
    name = f"ΔΔG in two stages from {n} and {n_last} frames, force constants {changes}{correlated}"
    return row(name, z, n_repeats)


def stages_rows(
    n: int,
    n_lasts: Sequence[int],
    changes: Sequence[tuple[Sequence[float], Sequence[float]]],
    memories: Sequence[float],
    n_repeats: int,
) -> Iterator[Row]:
    """Yield the rows of several changes of the force constants by both targets, numbers of frames and memories."""
    for cheap, last in changes:
        for n_last in n_lasts:
            for memory in memories:
                yield stages_row(n, n_last, cheap, last, memory, n_repeats)


def corrected_ladder_row(
    n: int, n_frames: int, changes: Sequence[float], memory: float, n_repeats: int, *, shared: bool = True
) -> Row:
    """Return the row of a ladder plus its correction, whose frames are samples of the ladder.

    Parameters
    ----------
    n, n_frames
        Number of samples of each of five windows, and of frames of both ends.
    changes
        Relative change of the force constants at λ = 0 and at λ = 1 by the target.
    memory
        Autocorrelation time of dU/dλ (samples).
    n_repeats
        Number of repeats.
    shared
        Whether the covariance of both errors is included.
    """
    lambdas = tuple(np.linspace(0, 1, 5))
    exact = N_LADDER_MODES / 2 * KT * (np.log(FACTOR) + np.log1p(changes[1]) - np.log1p(changes[0]))
    kept, z = evenly_spaced(n, n_frames), []
    for seed in range(n_repeats):
        series = harmonic_ladder(lambdas, n, memory, np.random.default_rng([seed, n, n_frames, round(10 * memory)]))
        windows = [decorrelate(lambdas, k, each) for k, each in enumerate(series)]
        result = estimate(lambdas, windows, T)
        influences = mbar_influences([window.gaps_eV / KT for window in windows], result.free_energies_eV / KT)
        value, variance = result.mbar[0] - exact, result.mbar[1] ** 2
        for sign, k, change in ((-1, 0, changes[0]), (1, -1, changes[1])):
            found = reweight(change * series[k].energy_eV[kept], T)
            value, variance = value + sign * found.best[0], variance + found.best[1] ** 2
            if shared:
                covariance = shared_covariance(
                    series[k].time_fs[kept],
                    found.influences_eV,
                    windows[k].time_fs,
                    KT * influences[k],
                    windows[k].inefficiency,
                )
                variance += 2 * sign * covariance
        z.append(value / np.sqrt(variance))
    correlated = f", correlation time {memory:g}" if memory else ""
    changed = f"force constants {changes[0]:+.0%} and {changes[1]:+.0%}"
    return row(f"ladder of {n} samples and correction from {n_frames} frames, {changed}{correlated}", z, n_repeats)


def corrected_ladder_rows(
    n: int, n_frames: int, changes: Sequence[Sequence[float]], memories: Sequence[float], n_repeats: int
) -> Iterator[Row]:
    """Yield the rows of several changes of the force constants and correlation times."""
    for each in changes:
        for memory in memories:
            yield corrected_ladder_row(n, n_frames, each, memory, n_repeats)


def state_rows(n: int, changes: Sequence[Sequence[float]], memories: Sequence[float], n_repeats: int) -> Iterator[Row]:
    """Yield the rows of ΔΔG and ΔΔS of two phases at their transition, and of its shift, from n frames of each phase.

    Parameters
    ----------
    n
        Number of frames of each phase, at 300 K.
    changes
        Pairs of relative changes of the force constants of the low- and the high-temperature phase by the target.
    memories
        Correlation times of the modes in units of the spacing of frames.
    n_repeats
        Number of repeats.
    """
    names = (f"ΔΔG of two phases at {TRANSITION_K:g} K", "ΔΔS of two phases", "shift of their transition")
    for each in changes:
        # Exact differences of the phases for an atom.
        entropy = -units.kB * N_MODES / 2 * float(np.log1p(each[1]) - np.log1p(each[0])) / N_ATOMS
        free_energy = -TRANSITION_K * entropy
        for memory in memories:
            scores: list[list[float]] = [[], [], []]
            for seed in range(n_repeats):
                rng = np.random.default_rng([seed, n, round(1000 * memory)])
                states, reasons = [], []
                for change in each:
                    energy = KT / 2 * (modes_of(n, memory, rng) ** 2).sum(axis=1)
                    states.append(state_change(N_ATOMS * ATOM_EV + change * energy, energy, T))
                    reasons += reasons_against("phase", states[-1].reweighting)
                known = ENTROPY_EV_PER_K * (1 + ENTROPY_ERROR * rng.normal())
                shift = transition_shift(
                    *states, (N_ATOMS, N_ATOMS), TRANSITION_K, (known, ENTROPY_ERROR * ENTROPY_EV_PER_K)
                )
                if not reasons:
                    found = (shift.difference_eV, shift.entropy_eV_per_K, shift.shift_K)
                    true = (free_energy, entropy, free_energy / ENTROPY_EV_PER_K)
                    for z, (value, error), exact in zip(scores, found, true, strict=True):
                        z.append((value - exact) / error)
            correlated = f", correlation time {memory:g}" if memory else ""
            changed = f"force constants {each[0]:+.0%} and {each[1]:+.0%}"
            for name, z in zip(names, scores, strict=True):
                yield row(f"{name} from {n} frames, {changed}{correlated}", z, n_repeats)
