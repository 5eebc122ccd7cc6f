"""Coverage of the errors of transition temperatures, for a lattice whose distribution is known exactly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import units
from error_rows import Row, row
from scipy.special import gammaln

from alchemflows.free_energy.influences import spread
from alchemflows.free_energy.thermal import ThermalCurves, ThermalSamples, thermal_curves
from alchemflows.free_energy.transition import (
    N_DRAWS,
    TransitionEstimate,
    cumulant_crossing,
    heat_capacity_peak,
    steepest_order,
)

#: Order on two sublattices of M/2 sites each with M/2 atoms of each species, E = −J M m² / 2, where m is the
#: difference of the shares of a species on the sublattices; the transition temperature of a large crystal is J / k_B.
TRANSITION_K = 700.0
SIZES = (24, 48)
TEMPERATURES_K = (500.0, 600.0, 660.0, 720.0, 800.0, 900.0)


def levels(n_sites: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return energy (eV), order m² and logarithm of the number of arrangements for each m."""
    half = n_sites // 2
    k = np.arange(half + 1)
    order = (2 * k / half - 1) ** 2
    ways = 2 * (gammaln(half + 1) - gammaln(k + 1) - gammaln(half - k + 1))
    return -units.kB * TRANSITION_K * n_sites * order / 2, order, ways


def exact_curves(n_sites: int) -> ThermalCurves:
    """Return exact curves, without blocks."""
    energy, order, ways = levels(n_sites)
    grid = np.linspace(TEMPERATURES_K[0], TEMPERATURES_K[-1], 1001)
    log_weight = ways - energy / (units.kB * grid[:, None])
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    centres = weight @ energy
    h = energy - centres[:, None]
    each = np.stack([h, h**2, h**3, h**4, order + 0 * h, order**2 + 0 * h, order * h], axis=-1)
    moments = (weight[..., None] * each).sum(axis=1)
    none = np.zeros((1, *moments.shape))
    return ThermalCurves(grid, np.array(TEMPERATURES_K), centres, moments, none, np.zeros(0), 1.0)


def sampled_curves(n_sites: int, n: int, kept: float, rng: np.random.Generator) -> ThermalCurves:
    """Return curves of n samples at each temperature that repeat the last one with chance `kept`."""
    energy, order, ways = levels(n_sites)
    replicas = []
    for temperature_K in TEMPERATURES_K:
        log_weight = ways - energy / (units.kB * temperature_K)
        weight = np.exp(log_weight - log_weight.max())
        fresh = rng.choice(len(energy), size=n, p=weight / weight.sum())
        chosen = fresh[np.maximum.accumulate(np.where(rng.random(n) < kept, 0, np.arange(n)))]
        replicas.append(ThermalSamples(temperature_K, energy[chosen], order[chosen]))
    return thermal_curves(replicas)


def exact_transitions() -> dict[str, float]:
    """Return the exact temperatures of both cells."""
    small, large = (exact_curves(size) for size in SIZES)
    return {name: float(found.temperature_K or np.nan) for name, found in _estimates(small, large).items()}


def transition_rows(n: int, kept: float, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of transition temperatures and of the curves at one temperature."""
    rng, exact = np.random.default_rng(seed), exact_transitions()
    known = exact_curves(SIZES[1])
    middle_K = 552.0
    at = int(np.argmin(abs(known.temperatures_K - middle_K)))
    wanted = {f"{name} at {middle_K:g} K": values[at] for name, values in known.quantities.items()}
    z: dict[str, list[float]] = {name: [] for name in [*exact, *wanted]}
    for _ in range(n_repeats):
        small, large = (sampled_curves(size, n, kept, rng) for size in SIZES)
        here = int(np.argmin(abs(large.temperatures_K - middle_K)))
        for (name, values), (_, draws) in zip(large.quantities.items(), large.draws(N_DRAWS).items(), strict=True):
            error = spread(draws[:, here])
            z[f"{name} at {middle_K:g} K"].append((values[here] - wanted[f"{name} at {middle_K:g} K"]) / error)
        for name, found in _estimates(small, large).items():
            if found.temperature_K is not None and found.error_K:
                z[name].append((found.temperature_K - exact[name]) / found.error_K)
    for name, values in z.items():
        yield row(f"{name}, {n} samples at each temperature", values, n_repeats)


def _estimates(small: ThermalCurves, large: ThermalCurves) -> dict[str, TransitionEstimate]:
    return {
        "crossing of cumulants": cumulant_crossing(small, large),
        "largest heat capacity": heat_capacity_peak(large),
        "steepest order": steepest_order(large),
    }
