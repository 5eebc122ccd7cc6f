"""Committees of harmonic potentials on two phases, whose free energies and transition are exact."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.perturbation import StateChange, state_change, transition_shift
from alchemflows.free_energy.state_committees import MembersOfState, spread_of_shifts, spread_of_state

T, TRANSITION_K = 300.0, 330.0
KT = units.kB * T
N_SEEDS, N_FRAMES = 200, 120
#: Atoms and modes of the cells of both phases.
ATOMS, MODES = (4.0, 8.0), (12, 24)
#: Ratios of the force constants of each member but the sampled one to those of the sampled potential, in both phases.
MEMBERS = ((1.15, 0.92), (0.9, 1.05), (1.2, 1.1))
ENTROPY, ENTROPY_ERROR = 0.6 * units.kB, 0.03 * units.kB


def sampled(phase: int, rng: np.random.Generator, members=MEMBERS, n_failed: int = 0) -> MembersOfState:
    """Return the changes of a phase by the members and the sampled potential; each fails on other frames."""
    energy = 0.5 * KT * (rng.normal(size=(N_FRAMES, MODES[phase])) ** 2).sum(axis=1)
    changes: list[StateChange | None] = [None]
    kept = [np.arange(N_FRAMES)]
    for k, ratios in enumerate(members):
        rows = np.delete(np.arange(N_FRAMES), np.arange(k, k + 10 * n_failed, 10))
        # A constant energy per atom shifts no transition.
        differences = (ratios[phase] - 1) * energy[rows] - 2.0 * ATOMS[phase]
        changes.append(state_change(differences, energy[rows], T))
        kept.append(rows)
    return MembersOfState(N_FRAMES, changes, kept)


def exact_eV(phase: int, members=MEMBERS, temperature_K: float = T) -> np.ndarray:
    """Return the exact ΔΔG of all members and the sampled potential, without the constant energy."""
    return 0.5 * MODES[phase] * units.kB * temperature_K * np.log([1.0, *(ratios[phase] for ratios in members)])


def exact_shifts(members=MEMBERS) -> np.ndarray:
    """Return the exact shifts of the transition, to first order (K)."""
    low, high = (exact_eV(phase, members, TRANSITION_K) / ATOMS[phase] for phase in (0, 1))
    return (high - low) / ENTROPY


def assert_honest(results, truth: float) -> None:
    """Errors within one and two standard errors about as often as those of a normal distribution."""
    z = np.array([(value - truth) / error for value, error in results])
    for most, share in ((1, 0.683), (2, 0.954)):
        assert abs((np.abs(z) < most).mean() - share) < 3 * np.sqrt(share * (1 - share) / len(z)), (most, z)
    assert abs(z.mean()) < 4 / np.sqrt(len(z))


@pytest.mark.parametrize("n_failed", [0, 6])
def test_the_errors_of_two_hundred_committees(n_failed):
    """Mean and σ_model of the free energy of a phase, and of the transition temperature."""
    states, shifts = [], []
    for seed in range(N_SEEDS):
        rng = np.random.default_rng(seed)
        low, high = (sampled(phase, rng, n_failed=n_failed) for phase in (0, 1))
        known = ENTROPY + ENTROPY_ERROR * rng.normal()
        states.append(spread_of_state(low, T))
        shifts.append(spread_of_shifts(low, high, ATOMS, TRANSITION_K, (known, ENTROPY_ERROR)))
    of_state = exact_eV(0) - 2.0 * ATOMS[0] * np.array([0, 1, 1, 1])
    for found, truth in ((states, of_state), (shifts, exact_shifts())):
        assert_honest([each.mean for each in found], truth.mean())
        assert_honest([each.spread for each in found], truth.std(ddof=1))


def test_the_noise_is_the_spread_of_members_with_the_same_transition():
    """Members that stiffen both phases alike for each atom have the exact value of the sampled potential."""
    members = ((1.15, 1.15), (0.9, 0.9))
    assert np.ptp(exact_shifts(members)) < 1e-9
    found = []
    for seed in range(N_SEEDS):
        rng = np.random.default_rng(seed)
        low, high = (sampled(phase, rng, members) for phase in (0, 1))
        found.append(spread_of_shifts(low, high, ATOMS, T, (ENTROPY, 0.0)))
    squares = np.mean([each.spread[0] ** 2 for each in found])
    assert np.mean([each.noise**2 for each in found]) == pytest.approx(squares, rel=0.35)


def test_one_member_beside_the_sampled_potential_has_the_error_of_its_shift():
    """The mean is half the shift, and σ_model is the shift divided by √2."""
    rng = np.random.default_rng(3)
    low, high = (sampled(phase, rng, MEMBERS[:1]) for phase in (0, 1))
    entropy = (ENTROPY, ENTROPY_ERROR)
    shift, error = transition_shift(low.changes[1], high.changes[1], ATOMS, TRANSITION_K, entropy).shift_K
    found = spread_of_shifts(low, high, ATOMS, TRANSITION_K, entropy)
    assert found.mean == pytest.approx((shift / 2, error / 2))
    assert found.spread == pytest.approx((abs(shift) / np.sqrt(2), error / np.sqrt(2)))
    alone = spread_of_state(low, T)
    change = low.changes[1].reweighting.best
    assert alone.mean == pytest.approx((change[0] / 2, change[1] / 2))


def test_what_is_refused():
    low, high = (sampled(phase, np.random.default_rng(0), ()) for phase in (0, 1))
    with pytest.raises(InvalidInputError, match="2"):
        spread_of_state(low, T)
    with pytest.raises(InvalidInputError, match="entropy"):
        spread_of_shifts(low, high, ATOMS, T, (0.0, 0.0))
