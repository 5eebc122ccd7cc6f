"""Coverage of the errors of committees on transitions of lattices whose distribution is known exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ase import units
from error_rows import Row, row
from scipy.signal import lfilter
from transition_rows import SIZES, TEMPERATURES_K, TRANSITION_K, exact_curves, levels

from alchemflows.free_energy.committees import spread_of_draws
from alchemflows.free_energy.thermal import ThermalSamples
from alchemflows.free_energy.thermal_changes import ThermalChanges, changed_transition, thermal_changes
from alchemflows.free_energy.transition import TransitionEstimate, cumulant_crossing, heat_capacity_peak

#: Coupling of each member but the sampled one, relative to that of the sampled potential; its transition is exactly at
#: this multiple of the temperature.
MEMBERS = (1.06, 1.12)
#: Scatter of ΔU over configurations of one order, in k_B T at the transition: the members add a normally distributed
#: energy that the sampled potential does not have, and which does not depend on the order.
SCATTER = 0.5
#: Smallest effective sample size.
LEAST = 15.0
#: Number of temperatures of the curves.
N_TEMPERATURES = 41


def transition_committee_rows(
    n: int, n_frames: int, kept: float, n_repeats: int, sizes: Sequence[int] = SIZES
) -> Iterator[Row]:
    """Yield the rows of a committee from some of the samples in one or two cells.

    Parameters
    ----------
    n, n_frames
        Numbers of samples and of frames at each temperature.
    kept
        Chance that a sample repeats the last one.
    n_repeats
        Number of committees.
    sizes
        Numbers of sites of the cells.
    """
    rng = np.random.default_rng([n, n_frames])
    scales, z = np.array([1.0, *MEMBERS]), dict[str, list[float]]()
    known = {"largest heat capacity": _exact(heat_capacity_peak, sizes[-1:])}
    if len(sizes) == 2:
        known["crossing of cumulants"] = _exact(cumulant_crossing, sizes)
    for _ in range(n_repeats):
        cells = [sampled_cell(size, n, n_frames, kept, rng) for size in sizes]
        for name, exact in known.items():
            found = transitions(cells if name == "crossing of cumulants" else cells[-1:])
            for scale, each in zip(MEMBERS, found[1:], strict=True):
                if each.temperature_K is not None and each.error_K:
                    deviation = (each.temperature_K - scale * exact) / each.error_K
                    z.setdefault(f"{name}, member {scale:g}", []).append(deviation)
            if any(each.error_K is None for each in found):
                continue
            values = [each.temperature_K for each in found]
            draws = np.stack([each.draws_K for each in found], axis=1)
            spread = spread_of_draws(values, draws, max(each.factor for each in found))
            for what, (value, error), wanted in (
                ("mean", spread.mean, scales.mean()),
                ("σ_model", spread.spread, scales.std(ddof=1)),
            ):
                z.setdefault(f"{name}, {what}", []).append((value - wanted * exact) / error)
    for name, deviations in z.items():
        yield row(f"{name}, {n_frames} frames of {n} samples at each temperature", deviations, n_repeats)


def _exact(find: Callable[..., TransitionEstimate], sizes: Sequence[int]) -> float:
    """Return the exact transition temperature of cells."""
    found = find(*map(exact_curves, sizes)).temperature_K
    assert found is not None
    return found


def transitions(cells: Sequence[ThermalChanges]) -> list[TransitionEstimate]:
    """Return the transition with the sampled potential, then with each member."""
    find = cumulant_crossing if len(cells) == 2 else heat_capacity_peak
    whole = find(*(cell.whole for cell in cells))
    return [whole, *(changed_transition(find, cells, whole, k, LEAST) for k in range(len(MEMBERS)))]


def sampled_cell(n_sites: int, n: int, n_frames: int, kept: float, rng: np.random.Generator) -> ThermalChanges:
    """Return averages in one cell with all members."""
    energy, order, ways = levels(n_sites)
    scatter_eV = SCATTER * units.kB * TRANSITION_K
    replicas, frames, differences = [], [], [[] for _ in MEMBERS]
    for temperature_K in TEMPERATURES_K:
        log_weight = ways - energy / (units.kB * temperature_K)
        weight = np.exp(log_weight - log_weight.max())
        fresh = rng.choice(len(energy), size=n, p=weight / weight.sum())
        chosen = fresh[np.maximum.accumulate(np.where(rng.random(n) < kept, 0, np.arange(n)))]
        replicas.append(ThermalSamples(temperature_K, energy[chosen], order[chosen]))
        rows = (np.arange(n_frames) + 1) * n // n_frames - 1
        frames.append(rows)
        for of_member, scale in zip(differences, MEMBERS, strict=True):
            noise = lfilter([np.sqrt(1 - kept**2)], [1, -kept], rng.normal(size=n + 50))[50:][rows]
            of_member.append((scale - 1) * energy[chosen][rows] + scatter_eV * noise - 40.0)
    return thermal_changes(replicas, frames, differences, n_temperatures=N_TEMPERATURES)
