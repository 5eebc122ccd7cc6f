"""Exact values lie within printed errors as often as they should, at default settings and at a tenth of them."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel
from scipy.signal import lfilter
from scipy.stats import t

import alchemflows.schemas
from alchemflows.free_energy.errors import (
    correlated_variance,
    error_of_mean,
    independent_variance,
    small_sample_factor,
)
from alchemflows.free_energy.ladders import ladder
from alchemflows.free_energy.work import analyse_work
from alchemflows.jobs.equilibrium import error_of_mean_volume

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
known, mixed, mixed_committees, ordered_committees, axes, committees, corrected, lines, phases, ordered, listed = (
    importlib.import_module(name)
    for name in (
        "error_rows",
        "mixing_rows",
        "mixing_committee_rows",
        "transition_committee_rows",
        "combination_rows",
        "committee_rows",
        "correction_rows",
        "isoline_rows",
        "phase_rows",
        "transition_rows",
        "errors",
    )
)

N_REPEATS = 200
#: Numbers of switches in each direction; 4 is the default.
SWITCHES = [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 8, 32))]


def assert_rows(rows) -> None:
    failed = [(row.name, row.value, row.n) for row in rows if not row.holds or row.n < 100]
    assert not failed, failed


@pytest.mark.parametrize("n", SWITCHES)
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0, 3.0])
def test_switching_with_gaussian_works(sigma, n):
    """From quick switches (σ = 3 k_B T) to slow ones; the default is 4 + 4."""
    n_repeats = 400 if sigma == 3 else N_REPEATS
    assert_rows(known.switching_rows("Gaussian", partial(known.gaussian_works, sigma), n, n_repeats))


@pytest.mark.parametrize("n", SWITCHES)
@pytest.mark.parametrize(("factor", "modes"), [(1.3, 24), (3.0, 3)])
def test_switching_with_works_that_are_not_gaussian(factor, modes, n):
    mean, bar = known.switching_rows("stiffness", partial(known.stiffening_works, factor, modes), n, 400)
    # The mean work is biased where both ways dissipate differently; with many switches its error is mostly that bias.
    assert_rows([bar] if n == 32 else [mean, bar])


def test_free_energies_along_isobars():
    assert_rows(lines.isobar_rows(4, 0.5, N_REPEATS))


def test_quantum_corrections_along_isotherms():
    assert_rows(lines.isotherm_rows(4, 0.5, N_REPEATS))


@pytest.mark.slow
def test_transitions_between_curves():
    """Temperature, latent heat, ΔS, ΔV and dT/dp where two curves G(T) cross."""
    assert_rows(phases.phase_rows(4, 0.9, N_REPEATS))


@pytest.mark.slow
def test_boundaries_over_the_pressure():
    """The transition at a second pressure, whose curves start from a sweep of the pressure, and dT/dp between both."""
    assert_rows(phases.boundary_rows(4, 0.9, N_REPEATS))


def test_growth_of_solid_and_liquid_in_contact():
    """The rate at one temperature, and the temperature at which it is zero."""
    assert_rows(importlib.import_module("growth_rows").growth_rows(400, N_REPEATS))


def test_two_switches_each_way_are_too_few():
    rng = np.random.default_rng(0)
    for n, few in ((2, True), (3, False)):
        warnings = analyse_work(*known.gaussian_works(0.3, n, rng), known.T).warnings
        assert any("each direction" in warning for warning in warnings) == few


#: The default length takes a minute or two.
LENGTHS = [pytest.param(known.DEFAULT, marks=pytest.mark.slow), known.TENTH]


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("memory", [5.0, *(pytest.param(m, marks=pytest.mark.slow) for m in (0.0, 20.0))])
def test_ladders(n, memory):
    """TI, BAR, MBAR and the means of 11 windows."""
    assert_rows(known.ladder_rows("11 windows", ladder(11), n, memory, N_REPEATS))


@pytest.mark.slow
@pytest.mark.parametrize("n", LENGTHS)
def test_other_ladders(n):
    """Gauss–Legendre, few windows, and energies that are not linear in λ."""
    assert_rows(known.ladder_rows("nodes", ladder(5, "gauss-legendre"), n, 5.0, 150))
    assert_rows(known.ladder_rows("5 windows, not linear", ladder(5), n, 5.0, 150, exponential=True))


@pytest.mark.slow
@pytest.mark.parametrize("n", LENGTHS)
def test_points_of_the_convergence_curve(n):
    assert_rows(known.curve_rows(n, 5.0, N_REPEATS))


@pytest.mark.slow
def test_refined_ladders():
    """A refinement ends at the first error below its target, which is small by chance more often than large."""
    assert_rows([known.refined_row(known.TENTH, 5.0, 200)])


@pytest.mark.parametrize("n", [1000, 100])
@pytest.mark.parametrize("n_directions", [1, 2, 6])
def test_noise_of_a_mean_cell(n_directions, n):
    """Alone and in G; 100 samples with a memory of 12.5 are only 4 independent ones, of six directions too."""
    assert_rows(known.cell_rows(n, n_directions, 12.5, 1000 if n == 100 else 200))


@pytest.mark.slow
def test_means_sizes_transitions_and_volumes():
    assert_rows([known.mean_row(n, 1000) for n in (2, 3, 4, 5)])
    assert_rows([known.size_row(n, 400) for n in (2, 3, 4)])
    assert_rows([known.vacancy_sizes_row(n, 400) for n in (2, 3, 4)])
    assert_rows([row for n in (2, 3, 4, 5, 8) for row in known.thermal_rows(n, 400)])
    assert_rows([known.transition_row(n, error, 400) for n in (2, 3, 4, 5) for error in (2.0, 10.0)])
    lengths = ((1000, 1), (100, 1), (500, 4), (50, 4))
    # 100 samples that remember 12.5 are some 4 independent ones.
    assert_rows([known.volume_row(n, b, m, 2000 if n == 100 else 400) for n, b in lengths for m in (2.0, 12.5)])
    assert_rows([known.volume_difference_row(n, 2.0, 400) for n in (1000, 100)])


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_vacancies_defects_and_other_sums(sigma):
    assert_rows(known.sums(sigma, 200))


@pytest.mark.slow
def test_combined_ladders():
    """ΔG, ΔH, ΔS, ΔC_p and ΔV between two temperatures, and between two pressures."""
    assert_rows(axes.combination_rows(500, 1.0, 110))


@pytest.mark.slow
def test_ladders_with_exchanged_temperatures():
    """The same between the temperatures of one ladder, whose windows exchange their configurations."""
    assert_rows(axes.exchanged_rows(200, 2.0, 110))


@pytest.mark.slow
def test_short_ladders_that_are_combined():
    """ΔG of ladders with about ten independent samples of each window, combined and each alone."""
    assert_rows(axes.short_ladder_rows(200, 20.0, 200))


@pytest.mark.parametrize("n", [200, 20])
def test_averages_of_monte_carlo(n):
    assert_rows(mixed.chain_rows(n, N_REPEATS))


@pytest.mark.parametrize(
    ("n", "changes"),
    [
        pytest.param(100, ((0.05, -0.05), (0.2, -0.15), (0.3, -0.2)), marks=pytest.mark.slow),
        (40, ((0.05, -0.05), (0.1, -0.1))),
    ],
)
def test_corrections_to_another_potential(n, changes):
    """Harmonic ends whose force constants change by a few to thirty per cent."""
    assert_rows(corrected.correction_rows(n, changes, (0.0, 1.0), N_REPEATS))


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0.0, 1.0])
def test_corrections_of_phases(memory):
    """ΔΔG, ΔΔS and the shift of the transition between two harmonic phases."""
    assert_rows(corrected.state_rows(100, ((0.05, -0.05), (0.2, -0.15)), (memory,), N_REPEATS))


@pytest.mark.parametrize("memory", [1.0, pytest.param(0.0, marks=pytest.mark.slow)])
def test_corrections_with_sampled_targets(memory):
    """Targets whose force constants differ so much that reweighting fails."""
    assert_rows(corrected.sampled_target_rows(100, 4, 25, ((0.8, -0.4),), (memory,), 120))


@pytest.mark.parametrize("memory", [1.0, pytest.param(0.0, marks=pytest.mark.slow)])
def test_corrections_in_two_stages(memory):
    """A cheap target on 100 frames of each end, and a better one on half of them."""
    assert_rows(corrected.stages_rows(100, (50,), corrected.STAGES[: 1 if memory else 2], (memory,), N_REPEATS))


@pytest.mark.slow
@pytest.mark.parametrize("changes", [(-0.15, 0.2), pytest.param((0.2, -0.15), marks=pytest.mark.slow)])
def test_corrected_ladders(changes):
    """Frames are samples of the ladder. Errors in quadrature are too small for one target and too large for another."""
    assert_rows([corrected.corrected_ladder_row(400, 100, changes, 2.0, 120)])


@pytest.mark.parametrize("n", [100, pytest.param(40, marks=pytest.mark.slow)])
def test_committees(n):
    """Harmonic members with exact free energies: the mean over the members, and their spread."""
    assert_rows(committees.committee_rows(n, (0.0, 1.0), 120))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "kept"), [(400, 0.5), (40, 0.2)])
def test_free_energies_of_mixing(n, kept):
    """At a tenth of the samples, G_mix of a composition is missing in a third of the runs."""
    assert_rows(mixed.mixing_rows(n, kept, 110 if n == 400 else 200))


@pytest.mark.slow
def test_committees_on_free_energies_of_mixing():
    """Regular solutions with other interactions: the gap and the consolute point of a member, and their spread."""
    assert_rows(mixed_committees.mixing_committee_rows(40, (0.0,), 130))


@pytest.mark.slow
def test_committees_on_transitions():
    """The largest heat capacity of one cell; members with a stronger coupling have a proportional temperature."""
    assert_rows(ordered_committees.transition_committee_rows(200, 50, 0.3, 120, sizes=(48,)))


@pytest.mark.slow
def test_transitions_between_order_and_disorder():
    assert_rows(ordered.transition_rows(400, 0.5, 120))


def error_fields() -> set[str]:
    """Return the names of all fields and properties of documents that are errors; targets are none."""
    for module in pkgutil.iter_modules(alchemflows.schemas.__path__):
        importlib.import_module(f"alchemflows.schemas.{module.name}")
    kinds = [kind for kind in subclasses(BaseModel) if kind.__module__.startswith("alchemflows.schemas")]
    assert len(kinds) > 40
    names = {name for kind in kinds for name in kind.model_fields}
    return {name for name in names if re.search(r"(^|_)errors?(_|$)", name) and not name.startswith("target")}


def subclasses(kind: type) -> set[type]:
    return {kind, *(below for each in kind.__subclasses__() for below in subclasses(each))}


def test_every_error_of_a_document_has_a_measured_coverage():
    """A field is listed once, with the rows that measure the coverage of its estimator."""
    names = [name for quantity in listed.QUANTITIES for name in quantity.fields]
    assert sorted(names) == sorted(error_fields())
    assert all(callable(globals().get(name)) for quantity in listed.QUANTITIES for name in quantity.tests)


def test_the_page_lists_every_quantity():
    page = (Path(__file__).parents[2] / "docs" / "method.md").read_text()
    lines = [line.split(" | ")[:2] for line in page.splitlines()]
    for quantity in listed.QUANTITIES:
        assert [f"| {quantity.name}", quantity.error] in lines


def test_the_error_of_a_mean_volume():
    rng = np.random.default_rng(0)
    assert error_of_mean_volume(rng.normal(size=(100, 1))) == pytest.approx(0.1, rel=0.3)
    assert error_of_mean_volume(np.full((100, 1), 3.0)) == 0.0


@pytest.mark.parametrize("degrees", [1, 2, 3, 6, 30])
def test_the_factor_is_that_of_students_t(degrees):
    """By quadrature of the density, both shares are within their bounds."""
    within = [1 - 2 * t.sf(k * small_sample_factor(degrees), degrees) for k in (1, 2)]
    assert 0.68 < within[0] < 0.80 and 0.88 < within[1] < 0.96
    assert small_sample_factor(1e9) == pytest.approx(1.0, abs=1e-6)


def test_one_value_has_no_error():
    assert error_of_mean([1.0]) is None
    assert error_of_mean([1.0, 1.0, 1.0]) == 0.0


def test_degrees_of_freedom_lie_between_those_of_the_smaller_and_of_all_sets():
    rng = np.random.default_rng(0)
    even = independent_variance([rng.normal(size=500), rng.normal(size=500)])
    assert even.degrees_of_freedom == pytest.approx(998, rel=0.01) and even.value == pytest.approx(1000, rel=0.15)
    one = independent_variance([rng.normal(size=5), 1e-6 * rng.normal(size=5)])
    assert one.degrees_of_freedom == pytest.approx(6)


@pytest.mark.parametrize("memory", [0.0, 1.0, 5.0])
def test_correlations_are_summed(memory):
    """The variance of a sum of an Ornstein–Uhlenbeck process: n (1 + ρ)/(1 − ρ) for many samples."""
    rng, decay, n = np.random.default_rng(0), np.exp(-1 / memory) if memory else 0.0, 400
    noise = rng.normal(size=(8, n)) * np.sqrt(1 - decay**2)
    found = correlated_variance(lfilter([1], [1, -decay], noise, axis=1))
    assert found.value == pytest.approx(8 * n * (1 + decay) / (1 - decay), rel=0.2)
    assert found.degrees_of_freedom < 8 * n
    assert (found.window > 3 * memory) == (memory > 0) or found.window <= 2


def test_variance_of_constant_and_unknown_series():
    assert correlated_variance([np.ones(5), np.ones(7)]).value == 0.0
    assert np.isnan(correlated_variance([np.full(5, np.nan)]).value)
