"""Mixtures on lattices: models, exact free energies of mixing, and samples of many runs in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import units
from lattices import DOWN, UP, PairLattice, everything, places, sites_of
from scipy.special import logsumexp

from alchemflows.free_energy.mixing import MixingSamples, log_arrangements, semi_grand_bias_eV
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.ensembles import SemiGrand
from alchemflows.sampling.monte_carlo import MonteCarlo


def mean_field(n_sites: int, interaction_eV: float) -> tuple[Arrangements, PairLattice]:
    """Return E = w N_A N_B / M, in which each site interacts equally with all others."""
    unlike = np.kron(1 - np.eye(n_sites), np.array([[0.0, 1.0], [1.0, 0.0]]))
    model = PairLattice(np.zeros(2 * n_sites), interaction_eV / n_sites * unlike)
    return sites_of([[UP, DOWN]] * n_sites), model


def random_pairs(n_sites: int, scale_eV: float, seed: int = 0) -> tuple[Arrangements, PairLattice]:
    """Return two elements with random fields and interactions."""
    rng = np.random.default_rng(seed)
    couplings = rng.normal(scale=scale_eV, size=(2 * n_sites, 2 * n_sites))
    couplings = (couplings + couplings.T) * (1 - np.kron(np.eye(n_sites), np.ones((2, 2))))
    return sites_of([[UP, DOWN]] * n_sites), PairLattice(rng.normal(scale=scale_eV, size=2 * n_sites), couplings)


def exact_mixing_eV_per_site(arrangements: Arrangements, model: PairLattice, temperature_K: float) -> np.ndarray:
    """Return the free energy of mixing from all arrangements, shape (M + 1,)."""
    labels = everything(arrangements)
    energy = model.energies(None, None, arrangements.weights(labels)[:, None])[:, 0].numpy()
    n_second, thermal = labels.sum(axis=1), units.kB * temperature_K
    n_sites = arrangements.n_sites
    free = np.array([-thermal * logsumexp(-energy[n_second == n] / thermal) for n in range(n_sites + 1)])
    x = np.arange(n_sites + 1) / n_sites
    return (free - (1 - x) * free[0] - x * free[-1]) / n_sites


def sample(
    arrangements: Arrangements,
    model: PairLattice,
    temperatures_K: Sequence[float],
    delta_mu_eV: Sequence[float],
    *,
    n_runs: int,
    n_sweeps: int,
    seed: int = 0,
) -> list[list[MixingSamples]]:
    """Return independent runs of a ladder of all temperatures and chemical potentials, sampled in one batch."""
    states = [(t, mu) for _ in range(n_runs) for t in temperatures_K for mu in delta_mu_eV]
    n, n_sites = len(states), arrangements.n_sites
    mu = np.zeros((n, 1, 2))
    mu[:, 0, 1] = [each for _, each in states]
    rng = np.random.default_rng(seed)
    run = MonteCarlo(
        model,
        SemiGrand(arrangements, mu),
        *places(arrangements, n),
        rng.integers(2, size=(n, n_sites)),
        temperature_K=[t for t, _ in states],
        seeds=(np.arange(n) + seed * n).tolist(),
    )
    energies, numbers = [], []
    for sweep in range(n_sweeps + n_sweeps // 5):
        for _ in range(n_sites | 1):  # odd: without interaction, all moves at Δμ = 0 are accepted and change N by ±1
            run.attempt()
        if sweep >= n_sweeps // 5:
            energies.append(run.current.energy_eV)
            numbers.append(run.current.labels.sum(axis=1))
    enthalpy, n_second = np.array(energies).T, np.array(numbers).T
    samples = [
        MixingSamples(t, semi_grand_bias_eV(each, n_sites), enthalpy[k], n_second[k])
        for k, (t, each) in enumerate(states)
    ]
    per_run = len(samples) // n_runs
    return [samples[k : k + per_run] for k in range(0, len(samples), per_run)]


def drawn(
    energy_eV: np.ndarray,
    states: list[tuple[float, np.ndarray]],
    n_samples: int,
    seed: int,
    *,
    kept: float = 0.0,
    exchanged: bool = False,
) -> list[MixingSamples]:
    """Return samples of a crystal whose energy depends on N alone; each is equal to its predecessor with chance `kept`.

    With `exchanged`, the predecessor is the last sample of the same walker, which is in a random state each time.
    """
    rng = np.random.default_rng(seed)
    n_states, n_sites = len(states), len(energy_eV) - 1
    walkers = np.array([rng.permutation(n_states) if exchanged else np.arange(n_states) for _ in range(n_samples)])
    distributions = []
    for temperature_K, bias_eV in states:
        log = log_arrangements(n_sites) - (energy_eV + bias_eV) / (units.kB * temperature_K)
        distributions.append(np.cumsum(np.exp(log - log.max())))
    # The quantile of each walker is what is kept, so that every state has its own distribution at all times.
    quantile = rng.random(n_states)
    numbers = np.empty((n_states, n_samples), dtype=int)
    for time in range(n_samples):
        quantile = np.where(rng.random(n_states) < kept, quantile, rng.random(n_states))
        for k, cumulative in enumerate(distributions):
            numbers[k, time] = np.searchsorted(cumulative, quantile[walkers[time, k]] * cumulative[-1])
    return [
        MixingSamples(t, bias, energy_eV[numbers[k]], numbers[k], walkers[:, k] if exchanged else None)
        for k, (t, bias) in enumerate(states)
    ]
