r"""Transition temperatures with other potentials than the one that was sampled, by reweighting over temperatures.

Some of the samples of all temperatures, the *frames*, are evaluated with another potential, U' = U + ΔU. Averages with
it have the weights

    w_n = exp(−β (H_n + ΔU_n)) / Σ_k n_k exp(f_k − β_k H_n)

in place of those of :mod:`~alchemflows.free_energy.thermal`. Its transition temperature T' is found from them, and T_0
with the sampled potential from the same frames. Since both have nearly the same errors, their difference is added to
the transition temperature T of all samples:

    T_c = T + (T' − T_0) .

All three are functions of sums over the same independent blocks of samples. Random draws have the same random number
for a block in each of them, and in all potentials, so that errors of differences contain all correlations.

The transition is searched only where the frames suffice: where the effective sample size 1 / Σ w², divided by the
statistical inefficiency of the frames, is at least a given number. Of several such ranges the longest one is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import units

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.influences import SampleBlocks, joint_inefficiency
from alchemflows.free_energy.thermal import (
    N_TEMPERATURES,
    CombinedTemperatures,
    JoinedSamples,
    ThermalCurves,
    ThermalSamples,
)
from alchemflows.free_energy.transition import TransitionEstimate

#: Fewest frames at each temperature.
MIN_FRAMES = 4
#: Fewest temperatures of a curve with a maximum or a crossing.
_MIN_POINTS = 3


@dataclass(frozen=True)
class ThermalChange:
    """Averages from frames with the sampled potential and with another one.

    Attributes
    ----------
    sampled
        With the sampled potential, at all G temperatures.
    changed
        With the other potential, at all G temperatures.
    n_effective
        Effective sample size with the other potential at each temperature, in independent frames, shape (G,).
    n_independent
        Number of independent frames of all temperatures.
    spread_kT
        Standard deviation of ΔU over the frames of a sampled temperature in k_B T, its largest value.
    """

    sampled: ThermalCurves
    changed: ThermalCurves
    n_effective: np.ndarray
    n_independent: float
    spread_kT: float


@dataclass(frozen=True)
class ThermalChanges:
    """Averages in one cell from all samples, and their changes by several potentials.

    Attributes
    ----------
    whole
        Averages from all samples with the sampled potential.
    changes
        For each potential, the averages from its frames.
    """

    whole: ThermalCurves
    changes: list[ThermalChange]


def thermal_changes(
    replicas: Sequence[ThermalSamples],
    kept: Sequence[np.ndarray],
    differences_eV: Sequence[Sequence[np.ndarray]],
    *,
    n_temperatures: int = N_TEMPERATURES,
) -> ThermalChanges:
    """Return averages in one cell, and their changes by several potentials.

    Parameters
    ----------
    replicas
        All samples, see :func:`~alchemflows.free_energy.thermal.thermal_curves`.
    kept
        For each replica, the indices of the samples that are frames, ascending.
    differences_eV
        For each potential and each replica, ΔU of the frames (eV), NaN where it failed.
    n_temperatures
        Number of temperatures of the curves.

    Raises
    ------
    InvalidInputError
        As :func:`~alchemflows.free_energy.thermal.thermal_curves`; or if shapes differ, or a temperature has fewer than
        four frames.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> replicas = [ThermalSamples(T, rng.normal(T / 1000, 0.05, 40), rng.random(40)) for T in (500.0, 600.0)]
    >>> found = thermal_changes(replicas, [np.arange(3, 40, 4)] * 2, [[np.full(10, -2.0)] * 2])
    >>> shift = found.changes[0].changed.quantities.energy_eV - found.changes[0].sampled.quantities.energy_eV
    >>> shift[:2].round(6).tolist()
    [-2.0, -2.0]
    """
    if any(
        [len(values) for values in each] != [len(rows) for rows in kept] or len(kept) != len(replicas)
        for each in differences_eV
    ):
        raise InvalidInputError("differences_eV and kept must have the same frames of all replicas")
    samples = JoinedSamples.of(replicas)
    firsts = np.cumsum([0, *(len(each.order) for each in replicas[:-1])])
    rows = np.concatenate([first + each for first, each in zip(firsts, kept, strict=True)]).astype(int)
    differences = [np.concatenate(each) for each in differences_eV]
    # ΔU can have a slower correlation than the energy and the order; that of the frames is in units of their spacing.
    spacing = len(samples.state) / max(len(rows), 1)
    slowest = max([1.0, *(_inefficiency(samples, rows, each) for each in differences)])
    inefficiency = max(samples.inefficiency, 1 + (slowest - 1) * spacing)
    blocks = SampleBlocks.of(np.bincount(samples.place), inefficiency, samples.walker)
    grid = np.linspace(samples.sampled_K[0], samples.sampled_K[-1], n_temperatures)
    own = max(1.0, inefficiency / spacing)
    changes: list[ThermalChange] = []
    combined: dict[bytes, tuple[CombinedTemperatures, ThermalCurves]] = {}  # most potentials fail on no frame
    for each in differences:
        known = np.isfinite(each)
        if known.tobytes() not in combined:
            frames = _combined(samples, blocks, rows[known])
            combined[known.tobytes()] = frames, frames.curves(grid)
        changes.append(_change(*combined[known.tobytes()], each[known], own))
    return ThermalChanges(CombinedTemperatures.of(samples, blocks).curves(grid), changes)


def changed_transition(
    find: Callable[..., TransitionEstimate],
    cells: Sequence[ThermalChanges],
    whole: TransitionEstimate,
    potential: int,
    least: float,
) -> TransitionEstimate:
    """Return the transition temperature with another potential; none where the frames do not suffice.

    Parameters
    ----------
    find
        Function of the curves of the cells that finds the transition, as those of
        :mod:`~alchemflows.free_energy.transition`.
    cells
        The cells.
    whole
        The transition from all samples with the sampled potential, by the same function.
    potential
        Index of the potential.
    least
        Smallest effective sample size in each cell.
    """
    changes = [cell.changes[potential] for cell in cells]
    first, last = overlapping_range(changes, least)
    if last == first or whole.temperature_K is None:
        return TransitionEstimate.none()
    after = find(*(each.changed.between(first, last) for each in changes))
    before = find(*(each.sampled for each in changes))
    if after.temperature_K is None or before.temperature_K is None:
        return TransitionEstimate.none()
    return TransitionEstimate.of(
        whole.temperature_K + after.temperature_K - before.temperature_K,
        whole.draws_K + after.draws_K - before.draws_K,
        max(whole.factor, after.factor, before.factor),
    )


def overlapping_range(changes: Sequence[ThermalChange], least: float) -> tuple[int, int]:
    """Return the longest range of temperatures at which the frames of all cells suffice: first and last + 1.

    It is (0, 0) if there are fewer than three such temperatures.

    Parameters
    ----------
    changes
        Averages with one potential in the cells.
    least
        Smallest effective sample size in each of them.
    """
    suffices = np.all([each.n_effective >= least for each in changes], axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], suffices, [False]]).astype(int)))
    ranges = [(int(first), int(last)) for first, last in edges.reshape(-1, 2) if last - first >= _MIN_POINTS]
    return max(ranges, key=lambda each: each[1] - each[0], default=(0, 0))


def _combined(samples: JoinedSamples, blocks: SampleBlocks, rows: np.ndarray) -> CombinedTemperatures:
    frames = samples.chosen(rows)
    counts = np.bincount(frames.state, minlength=len(samples.sampled_K))
    if counts.min() < MIN_FRAMES:
        fewest = samples.sampled_K[counts.argmin()]
        raise InvalidInputError(
            f"at least {MIN_FRAMES} frames of each temperature are needed; got {counts.min()} of {fewest:g} K"
        )
    return CombinedTemperatures.of(frames, blocks.of_samples(rows))


def _change(
    combined: CombinedTemperatures, sampled: ThermalCurves, difference_eV: np.ndarray, inefficiency: float
) -> ThermalChange:
    grid, frames = sampled.temperatures_K, combined.samples
    sizes = [1 / (combined.weights_at(temperature_K, difference_eV) ** 2).sum() for temperature_K in grid]
    scatters = [difference_eV[frames.state == k].std() / (units.kB * each) for k, each in enumerate(frames.sampled_K)]
    return ThermalChange(
        sampled=sampled,
        changed=combined.curves(grid, difference_eV),
        n_effective=np.array(sizes) / inefficiency,
        n_independent=len(difference_eV) / inefficiency,
        spread_kT=float(max(scatters)),
    )


def _inefficiency(samples: JoinedSamples, rows: np.ndarray, difference_eV: np.ndarray) -> float:
    """Return the statistical inefficiency of ΔU over the frames of each replica, in units of their spacing."""
    known = np.isfinite(difference_eV)
    state, place = samples.state[rows][known], samples.place[rows][known]
    values = difference_eV[known]
    means = np.bincount(state, values) / np.maximum(np.bincount(state), 1)
    centred = values - means[state]
    parts = [centred[place == k] for k in np.unique(place)]
    return joint_inefficiency([part for part in parts if len(part) > 1]) if parts else 1.0
