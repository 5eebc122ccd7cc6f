"""Chains on lattices of pair interactions, and their exact distributions and transition matrices."""

from __future__ import annotations

import numpy as np
from ase import units
from lattices import places

from alchemflows.sampling.monte_carlo import MonteCarlo
from alchemflows.sampling.proposals import Proposal

T = 600.0
BETA = 1 / (units.kB * T)
PROPOSALS = {
    "sqrt": Proposal(),
    "barker": Proposal(balancing="barker"),
    "uniform": Proposal("uniform"),
}
#: Proposals with several tries, for tests that sample.
SEVERAL_TRIES = {"sqrt, 3 tries": Proposal(n_tries=3), "uniform, 2 tries": Proposal("uniform", n_tries=2)}
RULES = PROPOSALS | SEVERAL_TRIES


def chains(model, ensemble, labels, *, proposal="sqrt", temperature_K=T, seeds=None) -> MonteCarlo:
    n = len(labels)
    return MonteCarlo(
        model,
        ensemble,
        *places(ensemble.arrangements, n),
        labels,
        temperature_K=temperature_K,
        seeds=range(n) if seeds is None else seeds,
        proposal=RULES[proposal],
    )


def boltzmann(model, ensemble, labels, beta=BETA) -> np.ndarray:
    """Return the probabilities of arrangements, from energies alone."""
    arrangements = ensemble.arrangements
    energy = model.energies(None, None, arrangements.weights(labels)[:, None])[:, 0].numpy()
    reduced = beta * (energy + ensemble.composition_energy_eV(labels))
    weights = np.exp(-(reduced - reduced.min()))
    return weights / weights.sum()


def transition_matrix(run: MonteCarlo) -> np.ndarray:
    """Return P(x → y) between the arrangements of a batch, which are all that can be reached."""
    states = run.current
    index = {row.tobytes(): k for k, row in enumerate(states.labels)}
    n, n_candidates = states.log_probabilities.shape
    matrix = np.zeros((n, n))
    for candidate in range(n_candidates):
        possible = np.isfinite(states.log_probabilities[:, candidate])
        chosen = np.where(possible, candidate, states.log_probabilities.argmax(axis=1))
        proposed, log_ratio = run.consider(chosen)
        moved = np.exp(states.log_probabilities[np.arange(n), chosen] + np.minimum(log_ratio, 0.0))
        for k in np.flatnonzero(possible):
            matrix[k, index[proposed.labels[k].tobytes()]] += moved[k]
    return matrix + np.diag(1 - matrix.sum(axis=1))
