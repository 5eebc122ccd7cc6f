"""Tests of the errors in free-energy documents, by comparison with the scatter of independent ladders."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from harmonic import harmonic_path
from ladders import correlated

from alchemflows.jobs.analyse import free_energy
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedSeries, WindowSeries
from alchemflows.schemas.windows import WindowDocument, WindowsDocument

T = 300.0
KT = units.kB * T
LAMBDAS = np.linspace(0, 1, 5)
#: Stiffness of the springs (eV/Å²) at each λ, linear in λ like an alchemical energy.
STIFFNESS = 2.0 + 1.5 * LAMBDAS
N_MODES, N_SAMPLES, TAU = 12, 400, 3.0
N_SEEDS = 60
EXACT_EV = 0.5 * N_MODES * KT * float(np.log(STIFFNESS[-1] / STIFFNESS[0]))
PATH = harmonic_path(2)


def sampled(seed: int) -> WindowsDocument:
    """Return the document of a window job, with AR(1) samples of oscillators whose springs change along the path."""
    rng = np.random.default_rng([seed, 17])
    ones = np.ones(N_SAMPLES)
    windows = []
    for k, stiffness in enumerate(STIFFNESS):
        # The square of an AR(1) coordinate decays twice as fast, so dU/dλ has a correlation time of TAU samples.
        half_squares = 0.5 * KT / stiffness * (correlated((N_SAMPLES, N_MODES), 2 * TAU, rng) ** 2).sum(axis=1)
        energies = half_squares[:, None] * STIFFNESS
        dudl = half_squares * (STIFFNESS[-1] - STIFFNESS[0])
        series = WindowSeries(20.0 * np.arange(1, N_SAMPLES + 1), energies[:, k], dudl, T * ones, energies, ones)
        windows.append(
            WindowDocument(
                index=k,
                lambda_value=LAMBDAS[k],
                weights=PATH.weights(LAMBDAS[k]).tolist(),
                seed=seed,
                n_samples=N_SAMPLES,
                mean_dudl_eV=dudl.mean(),
                mean_energy_eV=energies[:, k].mean(),
                mean_temperature_K=T,
                mean_volume_A3=1.0,
                series=PackedSeries.pack(series),
            )
        )
    return WindowsDocument(
        windows=windows,
        lambdas=LAMBDAS.tolist(),
        temperature_K=T,
        counts=Counts(atoms=2, sites=2, formula_units=1),
        volume_A3=1.0,
        initial_formula=PATH.system.formula(PATH.initial),
        final_formula=PATH.system.formula(PATH.final),
        coupling=PATH.system.coupling,
        weight_labels=list(PATH.system.weight_labels),
        initial_weights=list(PATH.initial),
        final_weights=list(PATH.final),
        dynamics=DynamicsSettings(temperature_K=T, n_production_steps=10 * N_SAMPLES, sample_interval_steps=10),
        provenance=Provenance(seed=seed),
    )


@pytest.fixture(scope="module")
def some_documents():
    return [free_energy(PATH, [sampled(seed)]) for seed in range(10)]


@pytest.fixture(scope="module")
def documents(some_documents):
    return some_documents + [free_energy(PATH, [sampled(seed)]) for seed in range(10, N_SEEDS)]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ti", "bar", "mbar"])
def test_stored_errors_equal_the_scatter_of_independent_ladders(documents, method):
    found = [getattr(document, method) for document in documents]
    values, errors = np.array([[each.delta_f_eV, each.error_eV] for each in found]).T
    scatter = values.std(ddof=1)
    typical = np.sqrt((errors**2).mean())
    print(method, typical / scatter, (values.mean() - EXACT_EV) / scatter)
    assert 0.75 < typical / scatter < 1.25
    assert abs(values.mean() - EXACT_EV) < 4 * scatter / np.sqrt(N_SEEDS)


def test_total_is_mbar_plus_mass_term_with_the_error_of_mbar(some_documents):
    for document in some_documents:
        assert document.total.error_eV == document.mbar.error_eV
        assert document.total.delta_f_eV == pytest.approx(document.mbar.delta_f_eV + document.mass_term_eV)


def test_statistical_inefficiency_equals_that_of_the_ar1_noise(some_documents):
    """The statistical inefficiency of AR(1) noise with decay a is (1 + a)/(1 − a)."""
    decay = np.exp(-1 / TAU)
    known = (1 + decay) / (1 - decay)
    found = [window.statistical_inefficiency for document in some_documents for window in document.windows]
    assert 0.75 < np.mean(found) / known < 1.25
