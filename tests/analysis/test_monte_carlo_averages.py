"""Averages of Monte Carlo against enumeration, the calibration of their errors, and the reasons of the verdict."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from ase import units
from lattices import UP, PairLattice, everything, places
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.analysis.monte_carlo import (
    ONE_START,
    SampledReplica,
    monte_carlo_document,
    snapshot,
    summarise,
)
from alchemflows.errors import InvalidInputError
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.ensembles import Canonical, Constrained, SemiGrand
from alchemflows.sampling.exchange import ExchangeStatistics
from alchemflows.sampling.monte_carlo import MonteCarlo
from alchemflows.sampling.proposals import Proposal
from alchemflows.sampling.reactions import Reactions
from alchemflows.schemas.monte_carlo import ArrangementSeries, MonteCarloSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.sites import SitesSummary

T = 1000.0
J = 0.2 * units.kB * T
CELL = Structure(Lattice.tetragonal(3.0, 10.0), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
DISORDER = Disorder(CELL, (4, 3, 1))
ARRANGEMENTS = Arrangements.of(DISORDER)
CRYSTAL = ARRANGEMENTS.system.structure
#: Neighbours in the plane; no site is a neighbour of its own image.
BONDS = ((CRYSTAL.distance_matrix < 3.1) & ~np.eye(12, dtype=bool)).astype(float)
MU = {"Na": 0.0, "K": 0.02}
SHARES = {"Na": 0.6, "K": 0.4}
STIFFNESS = 0.3
ENSEMBLES = {
    "canonical": (Canonical(ARRANGEMENTS), {}),
    "semi-grand": (SemiGrand(ARRANGEMENTS, MU), {"mu_eV": MU}),
    "variance-constrained": (
        Constrained(ARRANGEMENTS, SHARES, STIFFNESS),
        {"targets": SHARES, "stiffness_eV": STIFFNESS},
    ),
    "charge-neutral semi-grand": (
        Reactions(ARRANGEMENTS, ["Na -> K"], 0.02),
        {"exchange_mu_eV": {"Na -> K": 0.02}},
    ),
}
WAVE = (0.5, 0, 0)


def model() -> PairLattice:
    """Return the Ising model in which like neighbours are preferred."""
    spins = np.kron(np.eye(12), [[1.0, -1.0]])
    return PairLattice(np.zeros(24), -J * spins.T @ BONDS @ spins)


def exact(ensemble) -> dict[str, float]:
    """Return averages over all arrangements, from the definitions."""
    every = everything(ARRANGEMENTS)
    if isinstance(ensemble, Canonical):
        every = every[(every == 0).sum(axis=1) == 6]
    energy = model().energies(None, None, ARRANGEMENTS.weights(every)[:, None])[:, 0].numpy()
    total = energy + ensemble.composition_energy_eV(every)
    chance = np.exp(-(total - total.min()) / (units.kB * T))
    chance /= chance.sum()
    up = (every == 0).astype(float)
    share = chance @ up.mean(axis=1)
    pairs = np.einsum("ki,ij,kj->k", up, BONDS, 1 - up) / BONDS.sum()
    signs = np.where(np.rint(CRYSTAL.cart_coords[:, 0] / 3.0) % 2 == 0, 1.0, -1.0)
    amplitude = (up @ signs / 12) ** 2
    return {
        "energy": chance @ energy,
        "heat capacity": (chance @ total**2 - (chance @ total) ** 2) / (units.kB * T**2),
        "composition": share,
        "alpha": 1 - (chance @ pairs) / (share * (1 - share)),
        "wave": (chance @ amplitude) / min(share, 1 - share) ** 2,
    }


@cache
def sampled(name: str, n_chains: int, n_samples: int, seed: int = 0) -> list[SampledReplica]:
    """Return chains of the Ising model, of 6 attempts per sample."""
    ensemble, conditions = ENSEMBLES[name]
    chains = MonteCarlo(
        model(),
        ensemble,
        *places(ARRANGEMENTS, n_chains),
        ARRANGEMENTS.random([[6, 6]], seeds=range(n_chains)),
        temperature_K=T,
        seeds=range(seed, seed + n_chains),
        proposal=Proposal("uniform"),
    )
    for _ in range(100):
        chains.attempt()
    energy, labels, acceptance = np.zeros((n_samples, n_chains)), [], np.zeros((n_samples, n_chains))
    for k in range(n_samples):
        acceptance[k] = np.mean([chains.attempt() for _ in range(6)], axis=0)
        energy[k] = chains.current.energy_eV
        labels.append(chains.current.labels)
    each = np.array(labels)
    return [
        replica(energy[:, b], labels=each[:, b], acceptance=acceptance[:, b], **conditions) for b in range(n_chains)
    ]


def replica(energy_eV: np.ndarray, start: str = "random", temperature_K: float = T, **others) -> SampledReplica:
    """Return a replica with the given energies, by default of random arrangements."""
    n = len(energy_eV)
    rng = np.random.default_rng(len(others) + int(temperature_K))
    series = {
        "volume_A3": np.full(n, CRYSTAL.volume),
        "labels": rng.permuted(np.tile([0] * 6 + [1] * 6, (n, 1)), axis=1),
        "acceptance": np.full(n, 0.5),
        "walker": np.zeros(n, dtype=np.int64),
    }
    series |= {key: others.pop(key) for key in list(others) if key in series}
    samples = ArrangementSeries(energy_eV=energy_eV, **series)
    return SampledReplica(samples, temperature_K, start, CRYSTAL.cart_coords, CRYSTAL.lattice.matrix, **others)


def summary(replicas, **others):
    settings = {"counts": DISORDER.counts, "unit_cell": CELL.lattice, "wave_vectors": [WAVE], "n_shells": 1} | others
    return summarise(ARRANGEMENTS, replicas, **settings)


def averages(point) -> dict:
    return {
        "energy": point.energy_eV,
        "heat capacity": point.heat_capacity_eV_per_K,
        "composition": point.composition[0][UP],
        "alpha": point.warren_cowley[0].alpha,
        "wave": point.waves[0].order,
    }


def deviations_of(chains: list[SampledReplica], wanted: dict[str, float], group: int = 1) -> dict[str, np.ndarray]:
    """Return the deviations from exact values in standard errors, of averages over groups of chains."""
    found = [averages(summary(chains[k : k + group]).points[0]) for k in range(0, len(chains), group)]
    return {
        key: np.array([abs(each[key].value - value) / each[key].error for each in found])
        for key, value in wanted.items()
        if found[0][key].error
    }


@pytest.mark.parametrize("name", ENSEMBLES)
def test_averages_are_exact_and_their_errors_calibrated(name):
    """50 chains of about 100 independent samples, each analysed alone, and all together."""
    chains, wanted = sampled(name, 50, 120), exact(ENSEMBLES[name][0])
    (point,) = summary(chains).points
    for key, average in averages(point).items():
        if average.error:
            assert abs(average.value - wanted[key]) < 3 * average.error < 0.15 * abs(wanted[key]) + 1e-3, key
        else:
            assert (name, key, average.value) == ("canonical", "composition", pytest.approx(0.5))
    deviations = deviations_of(chains, wanted)
    assert len(deviations) == (4 if name == "canonical" else 5)
    together = np.concatenate(list(deviations.values()))
    assert 0.55 < np.mean(together < 1) < 0.8 and 0.88 < np.mean(together < 2) < 0.99


@pytest.mark.slow
@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("name", ENSEMBLES)
def test_the_error_of_each_quantity_is_calibrated(name, group):
    n_sweeps = 500 if name == "charge-neutral semi-grand" else 250  # coupled moves are slower
    chains, wanted = sampled(name, 256, n_sweeps), exact(ENSEMBLES[name][0])
    for key, deviations in deviations_of(chains, wanted, group).items():
        noise = 1 / np.sqrt(len(deviations))  # two standard errors of a share, by which errors may seem too large
        assert 0.55 < np.mean(deviations < 1) < 0.8 + noise and np.mean(deviations < 2) > 0.88, key


def test_chemical_potentials_follow_from_targets():
    """Their errors are those of the shares, times the slope."""
    (point,) = summary(sampled("variance-constrained", 50, 120)).points
    share, mu = point.composition[0]["Na"], point.constrained_mu_eV[0]
    assert list(mu) == ["K"]
    beyond = share.value - SHARES["Na"]
    assert mu["K"].value == pytest.approx(2 * STIFFNESS * (beyond + beyond))
    assert mu["K"].error == pytest.approx(4 * STIFFNESS * share.error)
    (other,) = summary(sampled("semi-grand", 50, 120)).points
    assert other.constrained_mu_eV is None


def noise(n: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=n)


def keys(found) -> list[str]:
    return [Reason.of(reason).key for reason in found.verdict.reasons]


def test_replicas_at_equal_conditions_are_one_point():
    replicas = [
        replica(noise(seed=k), temperature_K=temperature, start=start, seed=k)
        for k, (temperature, start) in enumerate([(900, "random"), (600, "random"), (900, "ordered"), (600, "ordered")])
    ]
    found = summary(replicas)
    assert [point.temperature_K for point in found.points] == [600, 900]
    assert found.point_of_replica == [1, 0, 1, 0] and found.verdict.converged and not found.verdict.notes
    (low, _) = found.points
    assert (low.n_replicas, low.n_samples, low.formula) == (2, 400, "KNa")
    assert low.energy_eV.value == pytest.approx(np.mean([noise(seed=1), noise(seed=3)]))
    assert low.energy_eV.error == pytest.approx(0.1 / 20, rel=0.3)
    assert low.volume_A3.value == CRYSTAL.volume and low.volume_A3.error == 0
    assert low.composition[0][UP].value == 0.5 and low.composition[0][UP].error == 0
    (pair,) = low.warren_cowley
    assert (pair.pair, pair.n_neighbours, pair.distance_A) == (("Na", "K"), 4, pytest.approx(3))
    assert abs(pair.alpha.value - pair.random) < 3 * pair.alpha.error and pair.random == pytest.approx(-1 / 11)
    (wave,) = low.waves
    assert abs(wave.order.value - wave.random) < 3 * wave.order.error and wave.random == pytest.approx(1 / 11)


def test_heat_capacity_at_constant_pressure_contains_the_volume():
    """Energy and volume that are correlated, so that Var(E) alone is wrong."""
    strain = noise(2000)
    pressure_GPa = 2.0
    volume = CRYSTAL.volume + 5 * strain
    energy = 0.3 * strain + noise(2000, seed=1) / 10
    (point,) = summary([replica(energy, volume_A3=volume)], pressure_GPa=pressure_GPa).points
    expected = np.var(energy + pressure_GPa * units.GPa * volume) / (units.kB * T**2)
    assert point.heat_capacity_eV_per_K.value == pytest.approx(expected, rel=0.01)
    assert np.var(energy) / (units.kB * T**2) < 0.9 * expected
    assert point.volume_A3.error == pytest.approx(0.5 / np.sqrt(2000), rel=0.2)


def test_chains_that_remember_their_start_are_found():
    apart = [replica(noise(seed=k) + 5 * (k % 2), start=["random", "ordered"][k % 2]) for k in range(4)]
    found = summary(apart)
    assert keys(found).count("chain-starts") == 1
    (reason,) = [reason for reason in found.verdict.reasons if Reason.of(reason) is Reason.CHAIN_STARTS]
    assert "1000 K" in reason and "the energy" in reason
    (point,) = found.points
    assert point.energy_eV.error > 1
    alike = summary([replace(each, start="random") for each in apart])
    assert "chain-starts" not in keys(alike) and alike.points[0].energy_eV.error > 1
    assert "few-arrangements" in keys(alike)
    assert alike.verdict.notes == [ONE_START.format(start="random")]


def test_false_alarms_are_rare():
    alarms = [
        key
        for k in range(40)
        for key in keys(
            summary([replica(noise(seed=10 * k + b), start="ordered" if b else "random", seed=b) for b in range(2)])
        )
    ]
    assert len(alarms) <= 1


def test_few_samples_drifts_and_few_moves_are_found():
    slow = np.repeat(noise(10), 20)
    assert "few-arrangements" in keys(summary([replica(slow)]))
    assert keys(summary([replica(noise() + np.linspace(0, 1, 200))])).count("drift") == 1
    frozen = replica(np.zeros(200), labels=np.tile([0, 1] * 6, (200, 1)), acceptance=np.zeros(200))
    found = summary([frozen])
    assert keys(found) == ["few-moves"]
    (point,) = found.points
    assert point.energy_eV.error is None and point.energy_eV.n_independent is None
    assert point.warren_cowley[0].alpha.error is None
    assert point.heat_capacity_eV_per_K.value == 0


def displaced(time_away: float) -> SitesSummary:
    return SitesSummary(
        atom=3, element="Na/K", largest_displacement_A=4.0 * time_away, nearest_A=3.0, time_away=time_away,
        away_at_end=False, mean_shift_A=0.1,
    )  # fmt: skip


def test_a_crystal_that_melted_is_found_at_its_temperature():
    """Of the replicas at a point the one whose atoms were away most is stored."""
    cold = [replica(noise(seed=k), temperature_K=600.0, sites=displaced(0.01 * k)) for k in range(2)]
    hot = [replica(noise(seed=k), temperature_K=900.0, sites=displaced(0.1 + 0.2 * k)) for k in range(2)]
    found = summary([*cold, *hot])
    assert [point.sites.time_away for point in found.points] == [0.01, pytest.approx(0.3)]
    (reason,) = [text for text in found.verdict.reasons if Reason.of(text) is Reason.MELTED]
    assert reason.startswith("900 K") and "atom 3 (Na/K)" in reason
    assert "melted" not in keys(summary(cold))
    assert [point.sites for point in summary([replica(noise())]).points] == [None]


def test_a_species_that_is_absent_has_no_order():
    (point,) = summary([replica(noise(), labels=np.zeros((200, 12), dtype=np.int64), mu_eV=MU)]).points
    assert point.warren_cowley == point.waves == []
    assert (point.composition[0][UP].value, point.formula, point.mu_eV) == (1, "Na", [MU])


def test_replica_exchange_without_round_trips_is_found():
    temperatures = (600.0, 800.0, 1000.0)
    replicas = [replica(noise(seed=k), temperature_K=t, start=f"start {k % 2}") for k, t in enumerate(temperatures)]
    mixed, still = (
        ExchangeStatistics(np.array([[0, 1, 2]]), np.array([0.5, 0.25]), np.array(trips))
        for trips in ([0, 1, 0], [0, 0, 0])
    )
    assert keys(summary(replicas, exchange=mixed)) == []
    found = summary(replicas, exchange=still)
    assert keys(found) == ["no-round-trips"] and "600 K" in found.verdict.reasons[0]
    apart = [replica(noise(seed=k) + 5 * k, start=str(k)) for k in range(2)]  # each was part of both chains
    assert "chain-starts" not in keys(summary(apart, exchange=mixed))
    separate = ExchangeStatistics(np.array([[0], [1]]), np.zeros(0), np.array([1, 1]))
    assert "chain-starts" in keys(summary(apart, exchange=separate))


def test_wrong_replicas_are_refused():
    mixed = [replica(noise()), replica(noise(), mu_eV=MU)]
    invalid = replica(noise(), labels=np.full((200, 12), 2))
    for wrong in ([], mixed, [invalid]):
        with pytest.raises(InvalidInputError, match=r"replicas|labels"):
            summary(wrong)
    with pytest.raises(InvalidInputError, match=r"0\.4"):
        summary([replica(noise())], wave_vectors=[(0.4, 0, 0)])


def test_document():
    replicas = [replica(noise(seed=k), start=start, seed=k) for k, start in enumerate(["random", "ordered"])]
    settings = MonteCarloSettings(temperature_K=T, n_production_sweeps=200)
    document = monte_carlo_document(
        DISORDER,
        replicas,
        settings,
        unit_cell=CELL,
        provenance=Provenance(),
        wave_vectors=[WAVE],
        exchange=ExchangeStatistics(np.array([[0, 1]]), np.array([0.5]), np.array([1, 2])),
    )
    assert (document.exchange.acceptance, document.exchange.round_trips) == ([0.5], [1, 2])
    assert (document.ensemble, document.temperatures_K, document.species) == ("canonical", [T], ["Na", "K"])
    assert document.sites == [list(range(12))] and document.verdict.converged
    assert type(document).read(document.model_dump()) == document
    for stored, own in zip(document.replicas, replicas, strict=True):
        series = stored.series.unpack()
        assert all(np.array_equal(getattr(series, name), values) for name, values in vars(own.series).items())
        symbols = [site.specie.symbol for site in stored.final]
        assert symbols == [ARRANGEMENTS.species[label] for label in own.series.labels[-1]]


def test_snapshots_have_no_vacant_sites():
    cell = Structure(Lattice.cubic(4.0), [{"Na": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    arrangements = Arrangements.of(Disorder(cell, (2, 1, 1)))
    crystal = arrangements.system.structure
    labels = np.array([arrangements.species.index("vacancy"), 0])
    moved = crystal.cart_coords + 0.1
    structure = snapshot(arrangements, labels, moved, crystal.lattice.matrix)
    (sodium,) = [group.sites[0] for group, label in zip(arrangements.system.groups, labels, strict=True) if not label]
    assert structure.composition.formula == "Na1 Cl2"
    assert structure[0].coords == pytest.approx(moved[sodium])


def test_several_species_vacancies_and_sublattices():
    """Random labels: shares, numbers of atoms, and α of all pairs are those of random arrangements."""
    cell = Structure(Lattice.cubic(4.0), [{"Na": 0.5, "K": 0.25}, {"Cl": 0.5, "I": 0.5}], [[0, 0, 0], [0.5, 0.5, 0.5]])
    disorder = Disorder(cell, (3, 2, 2), rounded=False)
    arrangements = Arrangements.of(disorder)
    crystal = arrangements.system.structure
    counts = np.zeros((2, 5), dtype=int)
    for symbol, count in {"Na": 6, "K": 3, "vacancy": 3}.items():
        counts[0, arrangements.species.index(symbol)] = count
    for symbol, count in {"Cl": 6, "I": 6}.items():
        counts[1, arrangements.species.index(symbol)] = count
    labels = arrangements.random(counts, seeds=range(800))
    series = ArrangementSeries(noise(800), np.full(800, 1.0), labels, np.ones(800), np.zeros(800, dtype=int))
    chain = SampledReplica(series, T, "random", crystal.cart_coords, crystal.lattice.matrix)
    found = summarise(
        arrangements, [chain], counts=disorder.counts, unit_cell=cell.lattice, n_shells=2, wave_vectors=[(0, 0.5, 0)]
    )
    (point,) = found.points
    assert point.counts == disorder.counts and point.counts.atoms == 21
    assert [{symbol: share.value for symbol, share in each.items()} for each in point.composition] == [
        {"Na": 0.5, "K": 0.25, "vacancy": 0.25}, {"Cl": 0.5, "I": 0.5},
    ]  # fmt: skip
    assert {(each.sublattice, each.shell, each.pair) for each in point.warren_cowley} == {
        (sublattice, shell, pair)
        for sublattice, pairs in enumerate([[("Na", "K"), ("Na", "vacancy"), ("K", "vacancy")], [("Cl", "I")]])
        for pair in pairs
        for shell in (1, 2)
    }
    assert [(each.sublattice, each.species) for each in point.waves] == [(0, "Na"), (0, "K"), (0, "vacancy"), (1, "Cl")]
    for average, random in [(each.alpha, each.random) for each in point.warren_cowley] + [
        (each.order, each.random) for each in point.waves
    ]:
        assert abs(average.value - random) < 3.5 * average.error < 0.2
