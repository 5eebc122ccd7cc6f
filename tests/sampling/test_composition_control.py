"""Ensembles by what controls the composition."""

from __future__ import annotations

import numpy as np
import pytest
from lattices import sites_of
from pydantic import ValidationError

from alchemflows.errors import InvalidInputError
from alchemflows.sampling.compositions import ensemble_of, target_shares
from alchemflows.schemas.monte_carlo import CompositionControl, MonteCarloSettings

CATIONS = sites_of([["Ca", "Na", "La", "Ce"]] * 4)
TWO = sites_of([["Na", "K"]] * 3 + [["Cl", "I"]] * 2)


@pytest.mark.parametrize(
    ("arrangements", "control", "expected"),
    [
        (TWO, {}, [0.0, 0.0]),
        (TWO, {"mu_eV": {"K": 0.1, "Cl": 0.3}}, [-0.1 * 2 - 0.3, -0.1 * 1 - 0.3 * 2]),
        (TWO, {"targets": {"K": 0.5, "I": 0.5}, "stiffness_eV": 2.0}, [2 * 3 * 2 / 36, 2 * (3 * 2 / 36 + 2 * 0.5)]),
    ],
)
def test_composition_energies(arrangements, control, expected):
    """Of KKNa ClI and of KNaNa ClCl, from the formulas."""
    ensemble = ensemble_of(arrangements, CompositionControl(**control))
    labels = np.array([[1, 1, 0, 2, 3], [1, 0, 0, 2, 2]])
    np.testing.assert_allclose(ensemble.composition_energy_eV(labels), expected, atol=1e-12)
    assert ensemble.conserves_composition == (not control)


def test_exchanges_and_swaps():
    control = {"exchange_mu_eV": {"2 Ca -> Na + La": 0.2, "Na + Ce -> 2 Ca": -0.1}, "oxidation_states": {"Ce": 3}}
    ensemble = ensemble_of(CATIONS, CompositionControl(**control))
    before, after, other = np.array([[0, 0, 0, 1]]), np.array([[1, 2, 0, 1]]), np.array([[1, 3, 0, 1]])
    energies = [float(ensemble.composition_energy_eV(each)[0]) for each in (before, after, other)]
    assert energies[1] - energies[0] == pytest.approx(-0.2) and energies[0] - energies[2] == pytest.approx(0.1)
    possible = ensemble.candidates(before, np.zeros((1, 4, 4))).possible[0]
    # Na swaps with each of three Ca; two of three Ca, in either order, become Na and La, or Na and Ce.
    assert possible.sum() == 3 + 6 + 6


def test_targets_sum_to_one():
    assert target_shares(TWO, {"K": 0.3, "I": 1.2}) == [{"Na": 0.7, "K": 0.3}, {"Cl": pytest.approx(-0.2), "I": 1.2}]


@pytest.mark.parametrize(
    ("control", "named"),
    [
        ({"targets": {"K": 0.3}}, "targets.*Cl, I"),
        ({"targets": {"Na": 0.7, "K": 0.3, "I": 0.5}}, "targets.*none"),
        ({"targets": {"Rb": 0.3}}, "targets.*Rb"),
        ({"targets": {"K": float("nan"), "I": 0.5}}, "shares"),
        ({"exchange_mu_eV": {"Na -> Cl": 0.0}}, "give that of Cl"),
        ({"exchange_mu_eV": {"Na -> Ca": 0.0}}, "Ca"),
        ({"exchange_mu_eV": {"Na": 0.0}}, "Na"),
    ],
)
def test_wrong_controls_are_refused(control, named):
    with pytest.raises(InvalidInputError, match=named):
        ensemble_of(TWO, CompositionControl(**control))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: CompositionControl(mu_eV={"K": 0.1}, targets={"K": 0.5}), "mu_eV and targets"),
        (lambda: CompositionControl(stiffness_eV=0.0), "stiffness_eV"),
        (lambda: CompositionControl(oxidation_states={"Ce": 3}), "oxidation_states"),
        (lambda: MonteCarloSettings(temperature_K=300, n_tries=0), "n_tries"),
        (lambda: MonteCarloSettings(temperature_K=300, n_tries=2, n_switching_steps=5), "n_tries"),
    ],
)
def test_wrong_settings_are_refused(make, named):
    with pytest.raises(ValidationError, match=named):
        make()


def test_evaluations_of_an_attempt():
    rules = [{}, {"n_switching_steps": 5}, {"n_tries": 4}]
    counted = [MonteCarloSettings(temperature_K=300, **rule).evaluations_per_attempt for rule in rules]
    assert counted == [1, 6, 8]
