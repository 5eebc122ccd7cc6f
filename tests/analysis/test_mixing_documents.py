"""Documents of free energies of mixing: phase diagrams of a mean-field mixture, and verdicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import units
from mixtures import drawn, mean_field, sample

from alchemflows.analysis.mixing import analyse_mixing, mixing_samples
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.coexistence import coexistence
from alchemflows.free_energy.mixing import log_arrangements, semi_grand_bias_eV
from alchemflows.free_energy.redlich_kister import RedlichKister
from alchemflows.sampling.arrangements import VACANCY
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.mixing import MixingDocument
from alchemflows.schemas.monte_carlo import ArrangementSeries
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.sites import SitesSummary

N_SITES = 12
W_EV = 0.16
CONSOLUTE_K = W_EV / (2 * units.kB)
TEMPERATURES_K = [650.0, 800.0, 1100.0]
MU_EV = np.linspace(-0.3, 0.3, 9)
N_SAMPLES = 250


def document_of(states, **options) -> MixingDocument:
    return analyse_mixing(
        states,
        formula="Na0.5K0.5Cl",
        species=("Na", "K"),
        counts=Counts(atoms=2 * N_SITES, sites=2 * N_SITES, formula_units=N_SITES),
        provenance=Provenance(),
        **options,
    )


def exact_eV_per_site(temperature_K: float) -> np.ndarray:
    """Return the free energy of mixing of the mean-field mixture, shape (M + 1,)."""
    x = np.arange(N_SITES + 1) / N_SITES
    return W_EV * x * (1 - x) - units.kB * temperature_K * log_arrangements(N_SITES) / N_SITES


@pytest.fixture(scope="module")
def runs():
    n = np.arange(N_SITES + 1)
    states = [(t, semi_grand_bias_eV(mu, N_SITES)) for t in TEMPERATURES_K for mu in MU_EV]
    return [drawn(W_EV * n * (N_SITES - n) / N_SITES, states, N_SAMPLES, seed, kept=0.3) for seed in range(2)]


@pytest.fixture(scope="module")
def documents(runs):
    return [document_of(run) for run in runs]


def test_free_energy_of_mixing(documents):
    for document in documents:
        assert document.temperatures_K == TEMPERATURES_K and len(document.states) == 27
        for isotherm in document.isotherms:
            exact = exact_eV_per_site(isotherm.temperature_K)
            deviation = np.abs(isotherm.mixing_eV_per_mixing_site - exact)
            assert (deviation <= 4 * isotherm.mixing_errors_eV_per_mixing_site + 1e-9).all()
            np.testing.assert_allclose(isotherm.mixing_eV_per_atom, isotherm.mixing_eV_per_mixing_site / 2)
            assert not isotherm.unvisited and sum(isotherm.n_samples) == 9 * N_SAMPLES


def test_phase_diagram_of_a_large_crystal(documents):
    """The fit has the binodal and the consolute point of the mean field."""
    for document in documents:
        point = document.consolute
        assert abs(point.temperature_K - CONSOLUTE_K) < 4 * point.temperature_error_K < 250
        assert abs(point.fraction - 0.5) <= 4 * point.fraction_error + 1e-9 and not point.extrapolated
        cold, _, hot = document.isotherms
        x = 0.5 * (1 - np.sqrt(1 - 2 * units.kB * 650 / W_EV))
        assert cold.spinodal.left == pytest.approx(x, abs=4 * cold.spinodal.left_error)
        binodal = cold.binodal
        tangent = np.log((1 - binodal.left) / binodal.left) - W_EV / (units.kB * 650) * (1 - 2 * binodal.left)
        assert abs(tangent) < 1.0 and binodal.left_error < 0.02
        assert (hot.binodal, hot.spinodal) == (None, None)


def test_coexistence_in_the_cell(documents):
    exact = coexistence(N_SITES * exact_eV_per_site(650.0) / (units.kB * 650))
    for document in documents:
        cold, _, hot = document.isotherms
        assert (cold.gap, hot.gap, hot.coexistence) == ("gap", "no gap", None)
        found = cold.coexistence
        for side in ("left", "right"):
            error = getattr(found.compositions, f"{side}_error")
            assert abs(getattr(found.compositions, side) - getattr(exact, side)) < 4 * error < 0.2
        assert abs(found.delta_mu_eV) < 4 * found.delta_mu_error_eV < 0.05
        assert found.barrier_kT == pytest.approx(exact.barrier, abs=1.5)


def test_verdict_of_good_samples(documents):
    assert [document.verdict.reasons for document in documents] == [[]] * 2
    assert MixingDocument.read(documents[0].model_dump()) == documents[0]


def test_reasons(runs):
    pure = [state for state in runs[0] if state.temperature_K == 650 and abs(state.bias_eV[-1]) > 3]
    document = document_of(pure)
    found = [Reason.of(text) for text in document.verdict.reasons]
    assert Reason.MIXING_OVERLAP in found and Reason.COMPOSITIONS_MISSING in found
    assert document.fit is None and document.consolute is None
    middle = [state for state in runs[0] if abs(state.bias_eV[-1]) < 1.2]
    without = [
        replace(state, enthalpy_eV=state.enthalpy_eV[kept], n_second=state.n_second[kept])
        for state in middle
        for kept in [state.n_second > 0]
    ]
    document = document_of(without)
    assert Reason.PURE_MISSING in [Reason.of(text) for text in document.verdict.reasons]
    assert document.isotherms[0].mixing_eV == [None] * (N_SITES + 1)
    assert document.isotherms[0].unvisited == [0]
    short = [replace(s, enthalpy_eV=s.enthalpy_eV[:8], n_second=s.n_second[:8]) for s in runs[0]]
    assert Reason.FEW_ARRANGEMENTS in [Reason.of(text) for text in document_of(short).verdict.reasons]


def test_a_crystal_that_melted_is_found_at_its_temperature(runs):
    """At each temperature the worst state gives the reason."""
    away = [0.0 if state.temperature_K < 1000 else 0.1 + 0.01 * k for k, state in enumerate(runs[0])]
    sites = [
        SitesSummary(
            atom=1, element="Na/K", largest_displacement_A=5.0, nearest_A=3.0, time_away=share, away_at_end=False,
            mean_shift_A=0.1,
        )
        for share in away
    ]  # fmt: skip
    document = document_of(runs[0], sites=sites)
    assert [state.sites.time_away for state in document.states] == away
    (reason,) = document.verdict.reasons
    assert Reason.of(reason) is Reason.MELTED and reason.startswith("1100 K") and f"{max(away):.0%}" in reason
    assert [state.sites for state in document_of(runs[0]).states] == [None] * len(runs[0])


def test_a_gap_between_compositions_that_were_never_visited_is_not_shown(runs, documents):
    """The peaks alone do not show a gap: the verdict names those compositions between them that are missing."""
    missing = range(5, 8)
    apart = [
        replace(state, enthalpy_eV=state.enthalpy_eV[kept], n_second=state.n_second[kept])
        for state in runs[0]
        for kept in [~np.isin(state.n_second, missing) | (state.temperature_K > 700)]
        if kept.sum() > 20
    ]
    document = document_of(apart)
    cold = document.isotherms[0]
    assert cold.gap == "gap" and cold.coexistence.barrier_kT is None
    (found,) = [text for text in document.verdict.reasons if Reason.of(text) is Reason.GAP_NOT_SAMPLED]
    for part in ("650 K", "5–7 of 12", f"{cold.coexistence.compositions.left:.2f}"):
        assert part in found
    sides = cold.coexistence.compositions
    n_within = sum(sides.left < n / N_SITES < sides.right for n in range(N_SITES + 1))
    assert f"3 of the {n_within} " in found
    assert not any(Reason.of(text) is Reason.GAP_NOT_SAMPLED for each in documents for text in each.verdict.reasons)


def test_a_drift_is_found(runs):
    early = np.arange(N_SAMPLES) < N_SAMPLES / 2
    drifting = [
        replace(s, n_second=np.where(early, np.minimum(s.n_second, 5), np.maximum(s.n_second, 5)))
        if s.temperature_K > 1000
        else s
        for s in runs[1]
    ]
    document = document_of(drifting)
    assert {Reason.HALVES, Reason.EXCESS_FIT, Reason.FEW_ARRANGEMENTS} & {
        Reason.of(t) for t in document.verdict.reasons
    }


def test_samples_of_a_series():
    arrangements, _ = mean_field(N_SITES, W_EV)
    labels = np.random.default_rng(0).integers(2, size=(6, N_SITES))
    series = ArrangementSeries(np.arange(6.0), np.full(6, 100.0), labels, np.ones(6), np.zeros(6, dtype=int))
    bias = semi_grand_bias_eV(0.1, N_SITES)
    samples = mixing_samples(arrangements, series, "K", temperature_K=300.0, bias_eV=bias, pressure_GPa=1.0)
    assert samples.walker is None
    other = mixing_samples(arrangements, series, "Na", temperature_K=300.0, bias_eV=bias, exchanged=True)
    assert (samples.n_second + other.n_second == N_SITES).all() and other.walker.tolist() == [0] * 6
    assert samples.n_second.tolist() == labels.sum(axis=1).tolist()
    np.testing.assert_allclose(samples.enthalpy_eV, np.arange(6) + 100 * units.GPa)
    arrangements.species = ("K", VACANCY)
    with pytest.raises(InvalidInputError, match=VACANCY):
        mixing_samples(arrangements, series, "K", temperature_K=300.0, bias_eV=bias)


@pytest.mark.slow
def test_real_runs():
    """Samples of Monte Carlo give the binodal of the mean field below its consolute point, and no gap above it."""
    lattice = mean_field(N_SITES, W_EV)
    for run in sample(*lattice, TEMPERATURES_K, MU_EV, n_runs=3, n_sweeps=300, seed=2):
        document = document_of(run)
        point = document.consolute
        assert abs(point.temperature_K - CONSOLUTE_K) < 4 * point.temperature_error_K
        for isotherm in document.isotherms:
            deviation = np.abs(isotherm.mixing_eV_per_mixing_site - exact_eV_per_site(isotherm.temperature_K))
            assert np.nanmax(deviation / (isotherm.mixing_errors_eV_per_mixing_site + 1e-9)) < 4.5
        assert document.isotherms[-1].gap == "no gap"


@pytest.mark.slow
def test_errors_of_the_phase_diagram():
    """Consolute temperature and binodal of 60 runs are within one and two errors as often as they should be."""
    exact = RedlichKister(np.array([W_EV]), np.array([0.0]))
    n = np.arange(N_SITES + 1)
    states = [(t, semi_grand_bias_eV(mu, N_SITES)) for t in (650.0, 900.0) for mu in np.linspace(-0.3, 0.3, 7)]
    deviations = []
    for seed in range(60):
        samples = drawn(W_EV * n * (N_SITES - n) / N_SITES, states, 120, seed, kept=0.4)
        document = document_of(samples, n_terms=1)
        point, binodal = document.consolute, document.isotherms[0].binodal
        deviations.append(
            (
                (point.temperature_K - float(exact.consolute()[0])) / point.temperature_error_K,
                (binodal.left - float(exact.binodal(650.0)[0])) / binodal.left_error,
            )
        )
    distances = np.abs(deviations)
    assert ((np.mean(distances < 1, axis=0) >= 0.55) & (np.mean(distances < 1, axis=0) <= 0.8)).all()
    assert (np.mean(distances < 2, axis=0) >= 0.88).all()
