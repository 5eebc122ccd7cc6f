"""Monte Carlo of arrangements against enumeration: exact transition matrices, Boltzmann's distribution, averages."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from ase import units
from chains import BETA, PROPOSALS, RULES, SEVERAL_TRIES, T, boltzmann, chains, transition_matrix
from lattices import PairLattice, everything, ising, random_mixture, sites_of
from pymatgen.core import Lattice, Structure
from scipy.stats import chi2

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError, TrajectoryError
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.ensembles import Canonical, Constrained, SemiGrand
from alchemflows.sampling.monte_carlo import MonteCarlo
from alchemflows.sampling.proposals import Proposal, draw
from alchemflows.schemas.potential import PotentialSpec

MU = {"Na": 0.0, "K": 0.04, "vacancy": -0.02, "Cl": 0.1, "I": 0.13}
SHARES = {"Na": 0.4, "K": 0.35, "vacancy": 0.25, "Cl": 0.7, "I": 0.3}
ENSEMBLES = {
    "canonical": Canonical,
    "semi-grand": lambda arrangements: SemiGrand(arrangements, MU),
    "constrained": lambda arrangements: Constrained(arrangements, SHARES, 0.2),
}


def reachable(ensemble, labels) -> np.ndarray:
    """Return the labels of the composition of the first of them in the canonical ensemble, all of them in others."""
    if not isinstance(ensemble, Canonical):
        return labels
    counts = ensemble.arrangements.counts(labels).reshape(len(labels), -1)
    middle = counts[np.unique(counts, axis=0, return_inverse=True)[1].argsort(kind="stable")[len(labels) // 2]]
    return labels[(counts == middle).all(axis=1)]


@pytest.mark.parametrize("proposal", PROPOSALS)
@pytest.mark.parametrize("kind", ENSEMBLES)
@pytest.mark.parametrize("lattice", ["Ising", "mixture"])
def test_detailed_balance(lattice, kind, proposal):
    arrangements, model = ising(2, 3, 0.03) if lattice == "Ising" else random_mixture()
    species = set(arrangements.species)
    ensemble = {
        "canonical": lambda: Canonical(arrangements),
        "semi-grand": lambda: SemiGrand(arrangements, {k: v for k, v in MU.items() if k in species}),
        "constrained": lambda: Constrained(arrangements, {k: v for k, v in SHARES.items() if k in species}, 0.2),
    }[kind]()
    labels = reachable(ensemble, everything(arrangements))
    exact = boltzmann(model, ensemble, labels)
    matrix = transition_matrix(chains(model, ensemble, labels, proposal=proposal))
    assert len(labels) >= 18 and exact.max() > 2 * exact.min()
    flow = exact[:, None] * matrix
    np.testing.assert_allclose(flow, flow.T, atol=1e-14)
    np.testing.assert_allclose(exact @ matrix, exact, atol=1e-12)
    assert (matrix > -1e-14).all()
    # Every arrangement is reached from every other one.
    assert (np.linalg.matrix_power((matrix > 1e-13) + np.eye(len(labels)), len(labels)) > 0).all()
    other = boltzmann(model, ensemble, labels, beta=1.1 * BETA)
    assert np.abs(other @ matrix - other).max() > 1e-5


def test_informed_estimates_are_first_order():
    """Exact where sites do not interact; then nearly all moves are accepted."""
    arrangements = sites_of([["Na", "K"]] * 8)
    model = PairLattice(np.random.default_rng(1).normal(scale=0.2, size=16), np.zeros((16, 16)))
    run = chains(model, Canonical(arrangements), arrangements.random([[4, 4]], range(50)), temperature_K=300)
    states = run.current
    candidates = run.ensemble.candidates(states.labels, states.slopes_eV)
    for candidate in range(candidates.possible.shape[1]):
        possible = candidates.possible[:, candidate]
        chosen = np.where(possible, candidate, candidates.possible.argmax(axis=1))
        proposed, _ = run.consider(chosen)
        change = proposed.energy_eV - states.energy_eV
        np.testing.assert_allclose(change[possible], candidates.changes_eV[possible, candidate], atol=1e-12)
    rates = {}
    for proposal in PROPOSALS:
        run = chains(model, run.ensemble, states.labels, proposal=proposal, temperature_K=300)
        for _ in range(100):
            run.attempt()
        rates[proposal] = run.n_accepted.mean() / run.n_attempts
    assert rates["sqrt"] > 3 * rates["uniform"] and rates["barker"] > 3 * rates["uniform"]


@pytest.mark.parametrize(
    ("kind", "proposal"),
    [*product(ENSEMBLES, PROPOSALS), ("canonical", "sqrt, 3 tries"), ("constrained", "uniform, 2 tries")],
)
def test_visited_arrangements_follow_boltzmann(kind, proposal):
    """χ² of the last arrangements of independent replicas."""
    temperature_K = 1500.0
    arrangements, model = random_mixture(seed=3)
    ensemble = ENSEMBLES[kind](arrangements)
    labels = reachable(ensemble, everything(arrangements))
    exact = boltzmann(model, ensemble, labels, 1 / (units.kB * temperature_K))
    n = 3000
    start = labels[np.random.default_rng(5).integers(len(labels), size=n)]
    run = chains(model, ensemble, start, proposal=proposal, temperature_K=temperature_K, seeds=range(100, 100 + n))
    for _ in range(40):
        run.attempt()
    index = {row.tobytes(): k for k, row in enumerate(labels)}
    visits = np.bincount([index[row.tobytes()] for row in run.current.labels], minlength=len(labels))
    # Arrangements that are expected less than five times are one class.
    rare = n * exact < 5
    expected = np.append(n * exact[~rare], n * exact[rare].sum())
    seen = np.append(visits[~rare], visits[rare].sum())
    keep = expected > 0
    statistic = ((seen - expected)[keep] ** 2 / expected[keep]).sum()
    limit = chi2.isf(1e-3, keep.sum() - 1)
    assert statistic < limit
    assert (((seen - n * keep / keep.sum())[keep]) ** 2 / expected[keep]).sum() > 2 * limit


@pytest.mark.parametrize(
    "proposal", [pytest.param(each, marks=[] if each == "sqrt" else pytest.mark.slow) for each in PROPOSALS]
)
@pytest.mark.parametrize("kind", ["canonical", "semi-grand"])
def test_ising(kind, proposal):
    """Energy and magnetisation of 4 × 4 spins above the transition (k_B T = 2.6 J), in a small field."""
    coupling = 1 / (2.6 * BETA)
    arrangements, model = ising(4, 4, coupling)
    ensemble = Canonical(arrangements) if kind == "canonical" else SemiGrand(arrangements, {"Na": coupling / 5, "K": 0})
    labels = everything(arrangements)
    if kind == "canonical":
        labels = labels[labels.sum(axis=1) == 6]
    exact = boltzmann(model, ensemble, labels)
    energy = model.energies(None, None, arrangements.weights(labels)[:, None])[:, 0].numpy()
    spin = 1 - 2 * labels
    n = 48
    start = arrangements.random([[10, 6]], range(n))
    run = chains(model, ensemble, start, proposal=proposal)
    energies, spins = [], []
    for k in range(700):
        run.attempt()
        if k >= 100:
            energies.append(run.current.energy_eV)
            spins.append(1 - 2 * run.current.labels)
    energies, spins = np.mean(energies, axis=0), np.array(spins)
    found = {
        "energy": energies,
        "magnetisation": spins.mean(axis=(0, 2)),
        "|magnetisation|": np.abs(spins.mean(axis=2)).mean(axis=0),
        "first spin": spins[:, :, 0].mean(axis=0),
    }
    expected = {
        "energy": exact @ energy,
        "magnetisation": exact @ spin.mean(axis=1),
        "|magnetisation|": exact @ np.abs(spin.mean(axis=1)),
        "first spin": exact @ spin[:, 0],
    }
    for name, values in found.items():
        error = values.std(ddof=1) / np.sqrt(n)
        assert abs(values.mean() - expected[name]) < max(3 * error, 1e-12), name
    sd = np.sqrt(exact @ (energy - exact @ energy) ** 2)
    assert energies.std(ddof=1) / np.sqrt(n) < 0.06 * sd


def test_composition_follows_its_constraint():
    """Without interaction, the variance of a share is k_B T / (4 K n) and the mean gives Δμ of the field."""
    n, field, stiffness = 12, 0.03, 0.5
    arrangements = sites_of([["Na", "K"]] * n)
    model = PairLattice(np.tile([0.0, field], n), np.zeros((2 * n, 2 * n)))
    ensemble = Constrained(arrangements, {"Na": 0.5, "K": 0.5}, stiffness)
    labels = everything(arrangements)
    exact = boltzmann(model, ensemble, labels)
    share = labels.mean(axis=1)
    mean = exact @ share
    # The mixing entropy adds k_B T ln[x / (1 − x)] to the field.
    delta_mu = 2 * stiffness * ((1 - mean - 0.5) - (mean - 0.5))
    assert delta_mu == pytest.approx(field + np.log(mean / (1 - mean)) / BETA, rel=1 / n)
    run = chains(model, ensemble, labels[:: len(labels) // 40])
    shares = []
    for _ in range(400):
        run.attempt()
        shares.append(run.current.labels.mean(axis=1))
    means = np.mean(shares[100:], axis=0)
    assert abs(means.mean() - mean) < 3 * means.std(ddof=1) / np.sqrt(len(means))
    assert np.var(shares[100:]) == pytest.approx(exact @ (share - mean) ** 2, rel=0.1)


def test_identical_elements_mix_ideally():
    """Counts are binomial, with the odds exp(β Δμ)."""
    n, delta_mu = 10, 0.03
    arrangements = sites_of([["Na", "K"]] * n)
    model = PairLattice(np.zeros(2 * n), np.zeros((2 * n, 2 * n)))
    run = chains(model, SemiGrand(arrangements, {"Na": 0.0, "K": delta_mu}), arrangements.random([[5, 5]], range(80)))
    counts = []
    for _ in range(500):
        run.attempt()
        counts.append(run.current.labels.sum(axis=1))
    counts = np.array(counts[50:])
    share = 1 / (1 + np.exp(-BETA * delta_mu))
    means = counts.mean(axis=0)
    assert abs(means.mean() - n * share) < 3 * means.std(ddof=1) / np.sqrt(len(means))
    assert counts.var() == pytest.approx(n * share * (1 - share), rel=0.05)


@pytest.mark.parametrize("proposal", RULES)
@pytest.mark.parametrize("ensemble", [Canonical, lambda arrangements: SemiGrand(arrangements, np.zeros((1, 3)))])
def test_equal_energies_accept_every_move(ensemble, proposal):
    arrangements = sites_of([["Na", "K", "Rb"]] * 6)
    model = PairLattice(np.full(18, 0.7), np.zeros((18, 18)))
    run = chains(model, ensemble(arrangements), arrangements.random([[3, 2, 1]], range(20)), proposal=proposal)
    for _ in range(30):
        assert run.attempt().all()


def test_replicas_do_not_depend_on_others():
    arrangements, model = random_mixture()
    ensemble = Canonical(arrangements)
    labels = arrangements.random([[1, 1, 0, 0, 1], [0, 0, 2, 1, 0]], range(6))
    together = chains(model, ensemble, labels, temperature_K=np.linspace(300, 800, 6), seeds=range(10, 16))
    alone = chains(model, ensemble, labels[3:4], temperature_K=600.0, seeds=[13])
    for _ in range(50):
        together.attempt()
        alone.attempt()
        assert np.array_equal(together.current.labels[3], alone.current.labels[0])
        assert together.current.energy_eV[3] == alone.current.energy_eV[0]
    assert not np.array_equal(together.current.labels[0], together.current.labels[3])


def test_chemical_potentials_of_each_replica():
    arrangements, model = ising(2, 3, 0.01)
    mu = np.array([[[0.0, 5.0]], [[5.0, 0.0]]])
    run = chains(model, SemiGrand(arrangements, mu), np.array([[0, 1] * 3] * 2))
    for _ in range(30):
        run.attempt()
    assert run.current.labels.mean(axis=1).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("proposal", PROPOSALS)
def test_one_evaluation_per_attempt(proposal):
    arrangements, model = ising(2, 3, 0.03)
    run = chains(model, Canonical(arrangements), arrangements.random([[3, 3]], range(4)), proposal=proposal)
    for _ in range(20):
        run.attempt()
    assert model.n_evaluations == 21
    assert 0 < run.n_accepted.sum() < 80
    exact = model.evaluate(None, None, arrangements.weights(run.current.labels))
    assert np.array_equal(run.current.energy_eV, exact.energy.numpy())
    if proposal != "uniform":
        slopes = arrangements.slopes(exact.weight_gradients.numpy())
        assert np.array_equal(run.current.slopes_eV, slopes)


@pytest.mark.parametrize("proposal", SEVERAL_TRIES)
def test_several_tries_are_two_evaluations_of_one_batch(proposal):
    arrangements, model = ising(2, 3, 0.06)
    run = chains(model, Canonical(arrangements), arrangements.random([[3, 3]], range(50)), proposal=proposal)
    for _ in range(20):
        before = model.n_evaluations
        run.attempt()
        assert model.n_evaluations == before + 2
    exact = model.evaluate(None, None, arrangements.weights(run.current.labels))
    assert np.array_equal(run.current.energy_eV, exact.energy.numpy())


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("proposal", RULES)
def test_resumes_bit_for_bit(proposal, gentle, mixed_iodide):
    """With a potential whose neighbour lists affect rounding."""
    ensemble = SemiGrand(mixed_iodide, {"Pb": 0.0, "Sn": 0.05, "vacancy": 0.02})
    start = mixed_iodide.labels(mixed_iodide.weights([[0, 1, 0, 2], [1, 1, 0, 0]]))

    def begun() -> MonteCarlo:
        potential = AlchemicalPotential(mixed_iodide.system, gentle)
        return chains(potential, ensemble, start, proposal=proposal, temperature_K=2000)

    straight, first, second = begun(), begun(), begun()
    for _ in range(6):
        straight.attempt()
    for _ in range(3):
        first.attempt()
    saved = first.snapshot()
    first.attempt()  # does not change the snapshot
    second.restore(saved)
    for _ in range(3):
        second.attempt()
    assert second.n_attempts == 6 and second.n_accepted.sum() > 0
    assert same(straight.snapshot(), second.snapshot())


@pytest.fixture(scope="module")
def gentle(gentle_model):
    return load_potential(PotentialSpec(name=str(gentle_model), dtype="float64", device="cpu"))


@pytest.fixture(scope="module")
def mixed_iodide() -> Arrangements:
    """Return four Pb or Sn sites, which may be vacant, between I atoms."""
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(6.1), ["Pb", "I"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    structure.perturb(0.1, seed=3)
    groups = tuple(uniform_group([site], ["Pb", "Sn"]) for site in range(4))
    return Arrangements(AlchemicalSystem(structure, groups, "mean-field"), vacant=[0])


def test_energies_are_those_of_ordered_crystals(gentle, mixed_iodide):
    """Energies along a chain, with vacancies, against structures without alchemy."""
    system = mixed_iodide.system
    run = chains(
        AlchemicalPotential(system, gentle),
        SemiGrand(mixed_iodide, {"Pb": 0.0, "Sn": 0.0, "vacancy": 0.0}),
        np.array([[0, 1, 2, 0], [2, 0, 0, 1]]),
        temperature_K=5000,
    )
    for _ in range(4):
        run.attempt()
    assert run.n_accepted.sum() > 0
    for replica, weights in enumerate(mixed_iodide.weights(run.current.labels)):
        ordered = system.at_vertex(weights)
        plain = AlchemicalPotential(AlchemicalSystem(ordered), gentle)
        energy = plain.energies(ordered.cart_coords[None], ordered.lattice.matrix[None], np.zeros((1, 1, 0)))
        assert run.current.energy_eV[replica] == pytest.approx(float(energy[0, 0]), abs=1e-9)


def test_draw_never_leaves_the_candidates():
    log_q = np.log(np.array([[0.1, 0.7, 0.2, 1e-300]]))
    log_q[0, 3] = -np.inf
    top = np.nextafter(1.0, 0.0)
    assert draw(log_q, np.array([top])).tolist() == [2]
    log_q[0, 0] = -np.inf
    assert draw(log_q, np.array([0.0])).tolist() == [1]
    found = draw(np.repeat(np.log([[0.25, 0.75]]), 4, axis=0), np.array([0.0, 0.24, 0.26, 0.9]))
    assert found.tolist() == [0, 0, 1, 1]


def test_what_is_not_finite_stops():
    arrangements, model = ising(2, 3, 0.03)
    labels = arrangements.random([[3, 3]], range(3))
    model.fields[2 * 2 + labels[1, 2]] = np.nan
    with pytest.raises(TrajectoryError, match="replica"):
        chains(model, Canonical(arrangements), labels)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"temperature_K": 0.0}, "temperature_K"),
        ({"temperature_K": [300.0]}, "temperature_K"),
        ({"seeds": [1, 2]}, "seeds"),
        ({"seeds": [1, 2, 1]}, "seeds"),
        ({"labels": [[0] * 5] * 3}, r"\b6\b"),
        ({"labels": [[0] * 5 + [2]] * 3}, r"\b1\b"),
        ({"labels": [[0, 1] * 3, [1] * 6, [0, 1] * 3]}, r"replica 1\b"),
    ],
)
def test_wrong_input_is_refused(change, reason):
    arrangements, model = ising(2, 3, 0.03)
    values = {"labels": [[0, 1] * 3] * 3, "temperature_K": T, "seeds": range(3)} | change
    with pytest.raises(InvalidInputError, match=reason):
        chains(model, Canonical(arrangements), values.pop("labels"), **values)


def test_tables_of_another_number_of_replicas_are_refused():
    arrangements, model = ising(2, 3, 0.03)
    with pytest.raises(InvalidInputError, match=r"mu_eV.*\b3\b.*\b2\b"):
        chains(model, SemiGrand(arrangements, np.zeros((2, 1, 2))), [[0, 1] * 3] * 3)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda a: SemiGrand(a, {"Na": 0.0}), r"\bK\b"),
        (lambda a: SemiGrand(a, {"Na": 0.0, "K": 0.0, "Rb": 1.0}), "Rb"),
        (lambda a: SemiGrand(a, {"Na": 0.0, "K": np.nan}), "mu_eV"),
        (lambda a: SemiGrand(a, [{"Na": 0.0, "K": 0.0}] * 2), "mu_eV"),
        (lambda a: SemiGrand(a, np.zeros((2, 2))), "mu_eV"),
        (lambda a: Constrained(a, {"Na": 0.5, "K": 0.5}, 0.0), "stiffness_eV"),
        (lambda a: Constrained(a, {"Na": 0.5}, 1.0), "shares"),
        (lambda a: Proposal("blind"), "blind"),
        (lambda a: Proposal(balancing="tanh"), "tanh"),
        (lambda a: Proposal(n_tries=0), "n_tries"),
    ],
)
def test_wrong_ensembles_are_refused(make, reason):
    with pytest.raises(InvalidInputError, match=reason):
        make(ising(2, 2, 0.03)[0])
