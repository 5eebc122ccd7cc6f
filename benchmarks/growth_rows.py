"""Coverage of the errors of rates of growth and of the melting point between them, for random walks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from error_rows import Row, row

from alchemflows.free_energy.growth import growths, melting_of_rates, section_means

TEMPERATURES_K = (760.0, 780.0, 800.0, 820.0, 840.0)
MELTING_K = 805.0
#: Change of the rate with temperature (1/ps/K); random change and noise of the share of the solid per sample (1 ps).
SLOPE, SPREAD, NOISE = 1.5e-5, 0.003, 0.02
N_SECTIONS, N_REPLICAS = 20, 2


def walks(rng: np.random.Generator, n: int, slope: float = SLOPE) -> list[np.ndarray]:
    """Return shares of the solid in the sections of random walks of n samples, with a drift that is linear in T."""
    found = []
    for temperature_K in TEMPERATURES_K:
        steps = slope * (MELTING_K - temperature_K) + SPREAD * rng.normal(size=(N_REPLICAS, n))
        share = 0.5 + np.cumsum(steps, axis=1) + NOISE * rng.normal(size=steps.shape)
        found.append(section_means(share.T, N_SECTIONS)[0])
    return found


def growth_rows(n: int, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of a rate, and of the temperature at which it is zero, from n samples of each replica."""
    rng = np.random.default_rng(seed)
    rates, zeros = [], []
    for _ in range(n_repeats):
        found = growths(walks(rng, n), n / N_SECTIONS)
        first = found[0]
        if first.rate_per_ps is not None and first.error_per_ps is not None:
            rates.append((first.rate_per_ps - SLOPE * (MELTING_K - TEMPERATURES_K[0])) / first.error_per_ps)
        melting = melting_of_rates(TEMPERATURES_K, found)
        if melting.temperature_K is not None and melting.error_K is not None:
            zeros.append((melting.temperature_K - MELTING_K) / melting.error_K)
    yield row(f"growth of the solid, {n} samples: rate", rates, n_repeats)
    yield row(f"growth of the solid, {n} samples: melting point", zeros, n_repeats)
