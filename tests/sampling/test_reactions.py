"""Coupled moves that keep the charge: exact transition matrices and averages over all arrangements that are reached."""

from __future__ import annotations

import numpy as np
import pytest
from chains import BETA, PROPOSALS, RULES, boltzmann, chains, transition_matrix
from lattices import PairLattice, everything, sites_of

from alchemflows.errors import InvalidInputError
from alchemflows.sampling import reactions as module
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.ensembles import Canonical, SemiGrand
from alchemflows.sampling.reactions import Combined, Reaction, Reactions

CATIONS = ["Ca", "Na", "La"]
CHARGES = {"Ca": 2, "Na": 1, "La": 3, "O": -2, "F": -1, "Al": 3, "Y": 3}


def interacting(arrangements: Arrangements, seed: int = 0) -> PairLattice:
    """Return random interactions in pairs of different sites."""
    n = arrangements.system.n_weights
    site = np.concatenate([[k] * len(group.channels) for k, group in enumerate(arrangements.system.groups)])
    rng = np.random.default_rng(seed)
    couplings = rng.normal(scale=0.05, size=(n, n))
    return PairLattice(rng.normal(scale=0.05, size=n), (couplings + couplings.T) * (site[:, None] != site))


def one_sublattice() -> Reactions:
    return Reactions(sites_of([CATIONS] * 4), ["2 Ca -> Na + La"], 0.03)


def two_sublattices() -> Combined:
    """Return reactions of cations with cations and with anions, combined with swaps."""
    arrangements = sites_of([CATIONS] * 3 + [["O", "F"]] * 2)
    reactions = Reactions(arrangements, ["Ca + Ca -> Na + La", "Ca + O -> Na + F"], [0.03, -0.02])
    return Combined([Canonical(arrangements), reactions])


def vacant() -> Combined:
    """Return reactions of three sites, one of which becomes vacant, and of one site."""
    arrangements = sites_of([["Ca", "La", "Y"]] * 4, vacant=[0])
    reactions = Reactions(arrangements, ["3 Ca -> 2 La + vacancy", "La -> Y"], [0.02, 0.01])
    return Combined([reactions, Canonical(arrangements)])


CASES = {"one sublattice": one_sublattice, "two sublattices": two_sublattices, "vacancy": vacant}


def neutral(ensemble) -> np.ndarray:
    """Return all arrangements with the charge of that of the first species, Ca and O."""
    labels = everything(ensemble.arrangements)
    charges = np.array([CHARGES.get(symbol, 0) for symbol in ensemble.arrangements.species])[labels].sum(axis=1)
    return labels[charges == charges[0]]


@pytest.mark.parametrize("proposal", PROPOSALS)
@pytest.mark.parametrize("case", CASES)
def test_detailed_balance(case, proposal):
    """All neutral arrangements are reached, and no other."""
    ensemble = CASES[case]()
    model = interacting(ensemble.arrangements)
    labels = neutral(ensemble)
    exact = boltzmann(model, ensemble, labels)
    matrix = transition_matrix(chains(model, ensemble, labels, proposal=proposal))
    flow = exact[:, None] * matrix
    np.testing.assert_allclose(flow, flow.T, atol=1e-13)
    np.testing.assert_allclose(exact @ matrix, exact, atol=1e-12)
    assert (matrix > -1e-13).all()
    assert len(labels) >= 19 and exact.max() > 2 * exact.min()
    reached = np.linalg.matrix_power((matrix > 1e-13) + np.eye(len(labels)), len(labels)) > 0
    assert reached.all()
    other = boltzmann(model, ensemble, labels, beta=1.1 * BETA)
    assert np.abs(other @ matrix - other).max() > 1e-5


@pytest.mark.parametrize("proposal", RULES)
def test_averages_are_exact(proposal):
    ensemble = two_sublattices()
    model = interacting(ensemble.arrangements, seed=2)
    labels = neutral(ensemble)
    exact = boltzmann(model, ensemble, labels)
    energy = model.energies(None, None, ensemble.arrangements.weights(labels)[:, None])[:, 0].numpy()
    n = 100
    run = chains(model, ensemble, labels[np.arange(n) % len(labels)], proposal=proposal)
    energies, counts = [], []
    for k in range(400):
        run.attempt()
        if k >= 50:
            energies.append(run.current.energy_eV)
            counts.append(ensemble.arrangements.counts(run.current.labels).sum(axis=1))
    found = np.column_stack([np.mean(energies, axis=0), np.mean(counts, axis=0)])
    expected = exact @ np.column_stack([energy, ensemble.arrangements.counts(labels).sum(axis=1)])
    error = found.std(axis=0, ddof=1) / np.sqrt(n)
    assert (np.abs(found.mean(axis=0) - expected) < 3.5 * error).all()
    assert error[0] < 0.06 * np.sqrt(exact @ (energy - exact @ energy) ** 2)
    charges = [CHARGES[symbol] for symbol in ensemble.arrangements.species]
    assert np.all(np.array(counts) @ charges == 3 * 2 - 2 * 2)


def test_estimates_are_exact_without_interaction():
    ensemble = two_sublattices()
    n = ensemble.arrangements.system.n_weights
    model = PairLattice(np.random.default_rng(3).normal(scale=0.1, size=n), np.zeros((n, n)))
    run = chains(model, ensemble, neutral(ensemble))
    states = run.current
    candidates = ensemble.candidates(states.labels, states.slopes_eV)
    assert candidates.possible.shape[1] == ensemble.n_candidates
    before = states.energy_eV + ensemble.composition_energy_eV(states.labels)
    for candidate in range(ensemble.n_candidates):
        possible = candidates.possible[:, candidate]
        proposed, _ = run.consider(np.where(possible, candidate, candidates.possible.argmax(axis=1)))
        change = proposed.energy_eV + ensemble.composition_energy_eV(proposed.labels) - before
        np.testing.assert_allclose(change[possible], candidates.changes_eV[possible, candidate], atol=1e-12)


def test_chemical_potential_moves_the_composition():
    """Ideal mixing: with equal energies, a reaction is favoured by exp(β Δμ)."""
    arrangements = sites_of([CATIONS] * 2)
    model = PairLattice(np.zeros(6), np.zeros((6, 6)))
    delta = np.array([[-0.1], [0.0], [0.1]])
    ensemble = Reactions(arrangements, ["Ca + Ca -> Na + La"], delta)
    labels = neutral(Reactions(arrangements, ["Ca + Ca -> Na + La"]))
    share = [
        boltzmann(model, Reactions(arrangements, ["Ca + Ca -> Na + La"], float(d)), labels)[(labels > 0).any(axis=1)]
        for d in delta[:, 0]
    ]
    odds = 2 * np.exp(BETA * delta[:, 0])
    np.testing.assert_allclose([each.sum() for each in share], odds / (1 + odds), rtol=1e-12)
    run = chains(model, ensemble, np.zeros((3, 2), dtype=int), proposal="uniform")
    _, log_ratio = run.consider(run.current.log_probabilities.argmax(axis=1))
    # Two reactions lead from Ca + Ca, and one back from each result.
    np.testing.assert_allclose(log_ratio, BETA * delta[:, 0] + np.log(2), rtol=1e-12)


def test_text():
    assert Reaction.parse("2 Ca->Na+La") == Reaction(("Ca", "Ca"), ("Na", "La"))
    assert str(Reaction.parse("3 Ca -> 2 La + vacancy")) == "Ca + Ca + Ca -> La + La + vacancy"
    assert Reaction.parse("Pb -> Sn").charge({"Pb": 2, "Sn": 4}) == 2


ROW = sites_of([[*CATIONS, "Ce"]] * 4)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Reaction.parse("Ca + Ca"), "Ca"),
        (lambda: Reaction.parse("Ca -> Qq"), "Qq"),
        (lambda: Reaction.parse("2 Ca -> La"), r"\b2\b.*\b1\b"),
        (lambda: Reaction.parse("Ca + Na -> Ca + La"), "Ca is"),
        (lambda: Reactions(ROW, []), "reactions"),
        (lambda: Reactions(ROW, ["Ca -> La"]), r"\+1"),
        (lambda: Reactions(ROW, ["Ca + Ca -> Na + Na"]), "-2"),
        (lambda: Reactions(ROW, ["La -> Ce"]), "give that of Ce"),
        (lambda: Reactions(ROW, ["La -> Ce"], oxidation_states={"Ce": 4}), r"\+1"),
        (lambda: Reactions(ROW, ["Ca -> Sr"]), "Sr"),
        (lambda: Reactions(ROW, ["5 La -> 5 Ce"], oxidation_states={"Ce": 3}), "La"),
        (lambda: Reactions(ROW, ["2 Ca -> Na + La"], np.nan), "delta_mu_eV"),
        (lambda: Reactions(ROW, ["2 Ca -> Na + La"], [0.1, 0.2]), "delta_mu_eV"),
        (lambda: Reactions(ROW, ["2 Ca -> Na + La", "Na + La -> 2 Ca"], [0.1, 0.1]), "delta_mu_eV"),
        (lambda: Combined([]), "parts"),
        (lambda: Combined([Canonical(ROW), Canonical(sites_of([CATIONS] * 2))]), "parts"),
        (
            lambda: Combined([Reactions(ROW, ["2 Ca -> Na + La"]), SemiGrand(ROW, np.zeros((1, 4)))]),
            "Reactions, SemiGrand",
        ),
    ],
)
def test_wrong_reactions_are_refused(make, reason):
    with pytest.raises(InvalidInputError, match=reason):
        make()


def test_replicas_must_match():
    ensemble = Reactions(ROW, ["2 Ca -> Na + La"], np.zeros((2, 1)))
    model = PairLattice(np.zeros(16), np.zeros((16, 16)))
    with pytest.raises(InvalidInputError, match=r"delta_mu_eV.*\b3\b.*\b2\b"):
        chains(model, ensemble, [[0] * 4] * 3)


def test_states_that_are_given_count():
    ensemble = Reactions(ROW, ["La -> Ce"], oxidation_states={"Ce": 3})
    assert ensemble.n_candidates == 2 * 4


def test_long_lists_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_CANDIDATES", 20)
    assert Reactions(sites_of([CATIONS] * 3), ["2 Ca -> Na + La"]).n_candidates == 12
    with pytest.raises(InvalidInputError, match=r"\b24\b.*\b20\b|\b32\b.*\b20\b"):
        Reactions(ROW, ["2 Ca -> Na + La"])
    with pytest.raises(InvalidInputError, match=r"\b24\b.*\b20\b"):
        Reactions(sites_of([CATIONS] * 3), ["2 Ca -> Na + La", "Na + La -> 2 Ca"])
