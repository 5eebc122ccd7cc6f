"""Monte Carlo against Kaufman's exact energy of the Ising model, and its error estimates against exact averages."""

from __future__ import annotations

import numpy as np
import pytest
from chains import BETA, boltzmann, chains
from lattices import DOWN, UP, IsingSquare, everything, ising, sites_of
from scipy.special import ellipk

from alchemflows.free_energy.errors import correlated_variance
from alchemflows.sampling.ensembles import Canonical, SemiGrand

#: Inverse transition temperature J / (k_B T_c) of the infinite lattice (Onsager, Phys. Rev. 65, 117, 1944).
CRITICAL = np.log1p(np.sqrt(2)) / 2


def kaufman(rows: int, columns: int, k: float) -> float:
    """Return the mean energy E/J of the periodic Ising model without field, at K = J / (k_B T).

    The partition function is that of Kaufman (Phys. Rev. 76, 1232, 1949); E/J = −d ln Z / dK by central differences.
    """
    step = 1e-5
    return -(_log_z(rows, columns, k + step) - _log_z(rows, columns, k - step)) / (2 * step)


def _log_z(rows: int, columns: int, k: float) -> float:
    order = np.arange(1, 2 * columns)
    ratio = np.cosh(2 * k) / np.tanh(2 * k) - np.cos(np.pi * order / columns)
    # γ_0 changes its sign at the transition, the others are positive.
    gamma = np.append(2 * k + np.log(np.tanh(k)), np.arccosh(ratio))
    halves = rows * gamma / 2
    odd, even = halves[1::2], halves[::2]
    terms = [np.prod(2 * f(each)) for each in (odd, even) for f in (np.cosh, np.sinh)]
    return rows * columns / 2 * np.log(2 * np.sinh(2 * k)) + np.log(sum(terms) / 2)


@pytest.mark.parametrize("ratio", [0.6, 1.3])
def test_kaufman_is_that_of_enumeration(ratio):
    k = ratio * CRITICAL
    arrangements, model = ising(3, 4, k / BETA)
    labels = everything(arrangements)
    exact = boltzmann(model, SemiGrand(arrangements, {UP: 0.0, DOWN: 0.0}), labels)
    energy = model.energies(None, None, arrangements.weights(labels)[:, None])[:, 0].numpy()
    assert exact @ energy * BETA / k == pytest.approx(kaufman(3, 4, k), rel=1e-8)
    fast = IsingSquare(3, 4, k / BETA).evaluate(None, None, arrangements.weights(labels[:500]))
    slow = model.evaluate(None, None, arrangements.weights(labels[:500]))
    np.testing.assert_allclose(fast.energy, slow.energy, atol=1e-12)
    np.testing.assert_allclose(fast.weight_gradients, slow.weight_gradients, atol=1e-12)


def onsager(k: float) -> float:
    """Return the energy E/J of a spin of the infinite lattice at K = J / (k_B T) (Onsager, 1944)."""
    modulus = 2 * np.sinh(2 * k) / np.cosh(2 * k) ** 2
    return -(1 + 2 / np.pi * (2 * np.tanh(2 * k) ** 2 - 1) * ellipk(modulus**2)) / np.tanh(2 * k)


@pytest.mark.parametrize("ratio", [0.6, 1.3])
def test_large_lattices_have_the_energy_of_onsager(ratio):
    """Far from the transition, differences decrease exponentially with the size."""
    k = ratio * CRITICAL
    found = [abs(kaufman(n, n, k) / n**2 / onsager(k) - 1) for n in (8, 16, 24)]
    assert found[0] > 10 * found[1] > 100 * found[2] and found[2] < 1e-4


@pytest.mark.parametrize("ratio", [0.7, 1.2])
@pytest.mark.parametrize("proposal", ["sqrt", "uniform"])
def test_energy_below_and_above_the_transition(proposal, ratio):
    """Energy of 8 × 8 spins at T_c / T = 0.7, from random spins, and at 1.2, from equal spins."""
    compare_energy(ratio, 8, 48, 700, proposal, largest_error=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.7, 1.2])
def test_energy_of_a_larger_lattice(ratio):
    compare_energy(ratio, 16, 32, 3000, "sqrt", largest_error=0.01)


def compare_energy(ratio: float, size: int, n: int, n_attempts: int, proposal: str, largest_error: float) -> None:
    """Compare the energy of a spin with the exact one, from n chains of which the first 30 % are equilibration."""
    k = ratio * CRITICAL
    arrangements = sites_of([[UP, DOWN]] * size**2)
    start = np.zeros((n, size**2), dtype=int)
    if ratio < 1:
        start = np.random.default_rng(1).integers(2, size=start.shape)
    run = chains(
        IsingSquare(size, size, k / BETA), SemiGrand(arrangements, {UP: 0.0, DOWN: 0.0}), start, proposal=proposal
    )
    energies = []
    for attempt in range(n_attempts):
        run.attempt()
        if attempt >= 0.3 * n_attempts:
            energies.append(run.current.energy_eV * BETA / k)
    means = np.mean(energies, axis=0) / size**2
    error = means.std(ddof=1) / np.sqrt(n)
    assert abs(means.mean() - kaufman(size, size, k) / size**2) < 3 * error
    assert error < largest_error


def test_errors_are_honest():
    """Deviations of single chains in units of their errors, of two quantities that are not the same."""
    coupling = 1 / (4.0 * BETA)
    arrangements, model = ising(4, 4, coupling)
    model.fields += coupling * np.random.default_rng(2).normal(size=32)
    ensemble = Canonical(arrangements)
    labels = everything(arrangements)
    labels = labels[labels.sum(axis=1) == 6]
    bonds = np.argwhere(np.triu(model.couplings[::2, ::2].numpy() != 0))

    def quantities(energy_eV: np.ndarray, labels: np.ndarray) -> np.ndarray:
        unlike = (labels[:, bonds[:, 0]] != labels[:, bonds[:, 1]]).mean(axis=1)
        return np.stack([energy_eV, unlike])

    energy = model.energies(None, None, arrangements.weights(labels)[:, None])[:, 0].numpy()
    exact = quantities(energy, labels) @ boltzmann(model, ensemble, labels)
    n = 200
    run = chains(model, ensemble, arrangements.random([[10, 6]], range(n)))
    samples = []
    for attempt in range(330):
        run.attempt()
        if attempt >= 30:
            samples.append(quantities(run.current.energy_eV, run.current.labels))
    for series, expected in zip(np.moveaxis(samples, 0, -1), exact, strict=True):
        errors = np.array([correlated_variance([chain / len(chain)]).error for chain in series])
        sigmas = np.abs(series.mean(axis=1) - expected) / errors
        assert 0.55 <= (sigmas < 1).mean() <= 0.80
        assert 0.88 <= (sigmas < 2).mean() <= 0.99
