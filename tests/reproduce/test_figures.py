"""Tests of the tables, checks and flows of the figures, with artificial results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.errors import small_sample_factor
from alchemflows.plotting import plot_lattices
from alchemflows.reproduce.fig2 import Fig2ComparisonMaker, Fig2Maker
from alchemflows.reproduce.fig3 import Fig3ComparisonMaker, Fig3Maker
from alchemflows.reproduce.fig4 import Fig4ComparisonMaker, Fig4Maker
from alchemflows.reproduce.fig5 import Fig5ComparisonMaker, Fig5Maker
from alchemflows.reproduce.mixed_crystals import MIXED_CRYSTALS
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue, FrenkelLaddDocument
from alchemflows.schemas.optimization import OptimizationDocument, OptimizationRun, OptimizationStep
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.relax import RelaxDocument
from alchemflows.schemas.reproduction import ReproductionDocument
from alchemflows.schemas.sweep import CompositionPoint, CompositionSweepDocument
from alchemflows.schemas.switching import SwitchingDocument
from alchemflows.schemas.vacancy import VacancyDocument
from alchemflows.schemas.verdict import Verdict


def result(kind, *reasons, **numbers):
    """Return a document that contains only the given fields."""
    return kind.model_construct(verdict=Verdict.of(reasons), provenance=Provenance(seed=3), **numbers)


def fig5(difference_eV: float, *reasons: str, version: str = "small") -> ReproductionDocument:
    vacancy = result(
        VacancyDocument,
        *reasons,
        temperature_K=100.0,
        frenkel_ladd_eV=1.5,
        frenkel_ladd_error_eV=0.01,
        alchemical_eV=1.5 + difference_eV,
        alchemical_error_eV=0.01,
        difference_eV=difference_eV,
        difference_error_eV=0.01,
    )
    return Fig5ComparisonMaker.make.original(Fig5ComparisonMaker(), [vacancy], version)


def fig4(tin_eV: float, version: str = "paper") -> ReproductionDocument:
    """Return the table for both phases at 300 K; ΔG is 0.02 eV/atom by switching, `tin_eV` by Frenkel–Ladd."""
    keys, documents = [("alpha", 300.0), ("delta", 300.0)], []
    for lead_eV in (0.0, -0.005):
        change = Estimate(delta_f_eV=0.2, error_eV=0.003, delta_f_eV_per_atom=0.02, error_eV_per_atom=0.0003)
        documents.append(result(SwitchingDocument, total=change))
        for name, value in (("CsPbI3", lead_eV), ("CsSnI3", lead_eV + tin_eV)):
            gibbs = FreeEnergyValue.of(10 * value, 0.004, Counts(atoms=10, sites=10, formula_units=2))
            documents.append(result(FrenkelLaddDocument, f"{name} is not converged", gibbs=gibbs))
    return Fig4ComparisonMaker.make.original(Fig4ComparisonMaker(), keys, documents, version)


def test_passed_checks_without_warnings_give_a_converged_verdict():
    document = fig5(0.015)
    assert document.verdict.converged and document.holds
    assert [row.value for row in document.rows] == pytest.approx([1.5, 1.515])
    assert document.provenance.seed == 3


def test_failed_check_is_in_the_verdict_with_value_and_bound():
    document = fig5(-0.025)
    assert not document.holds and not document.verdict.converged
    (reason,) = document.verdict.reasons
    assert "100 K" in reason and "-2.5 σ" in reason and "±2 σ" in reason


def test_reason_of_a_single_result_is_in_the_verdict_but_fails_no_check():
    document = fig5(0.015, "too short")
    assert document.holds
    assert document.verdict.reasons == ["100 K: too short"]


@pytest.mark.parametrize(("version", "published"), [("paper", [1.548, 1.541]), ("medium", [None, None])])
def test_published_values_are_shown_only_for_the_settings_of_the_paper(version, published):
    assert [row.published for row in fig5(0.0, version=version).rows] == published


@pytest.mark.parametrize(
    ("version", "device", "used"),
    [("small", None, "cpu"), ("paper", None, "auto"), ("small", "cuda:1", "cuda:1"), ("paper", "cpu", "cpu")],
)
def test_chosen_device_replaces_the_default_of_the_version(version, device, used):
    for maker in (Fig4Maker(version=version, device=device), Fig5Maker(version=version, device=device)):
        assert maker.effort.potential.device == used
        assert replace(maker.effort, potential=maker.efforts[version].potential) == maker.efforts[version]


def test_every_job_uses_the_chosen_device():
    flow = Fig5Maker(version="small", device="cuda:1").make()
    potentials = [job.maker.potential for job, _ in flow.iterflow() if hasattr(job.maker, "potential")]
    assert len(potentials) == 5 and {potential.device for potential in potentials} == {"cuda:1"}


def test_table_of_figure_4():
    document = fig4(0.021)
    rows = {row.quantity: (row.value, row.error, row.published) for row in document.rows}
    assert rows == {
        "ΔG CsPbI3 → CsSnI3, alpha, alchemical": pytest.approx((0.02, 0.0003, 0.0233)),
        "ΔG CsPbI3 → CsSnI3, alpha, Frenkel–Ladd": pytest.approx((0.021, 0.0004 * 2**0.5, 0.0217)),
        "ΔG CsPbI3 → CsSnI3, delta, alchemical": pytest.approx((0.02, 0.0003, 0.0271)),
        "ΔG CsPbI3 → CsSnI3, delta, Frenkel–Ladd": pytest.approx((0.021, 0.0004 * 2**0.5, 0.0271)),
        "G(δ) − G(α) of CsPbI3": pytest.approx((-0.005, 0.0004 * 2**0.5, -0.0046)),
    }
    assert document.holds and len(document.checks) == 4
    assert "delta, 300 K, CsSnI3: CsSnI3 is not converged" in document.verdict.reasons


def test_routes_of_figure_4_must_agree_in_sigma_and_in_eV_per_atom():
    failed = fig4(0.0235).verdict.reasons
    in_sigma, in_eV = (reason for reason in failed if reason.startswith("alpha, 300 K: alchemical − Frenkel–Ladd"))
    assert "-5.466 σ" in in_sigma and "±2 σ" in in_sigma
    assert "-0.0035 eV/atom" in in_eV and "±0.002 eV/atom" in in_eV


@pytest.mark.parametrize(
    ("on_the_grid", "stress", "holds"), [(0.202, 5e-4, True), (0.21, 5e-4, False), (0.2, 0.1, False)]
)
def test_descent_of_figure_3_must_agree_with_the_grid_and_end_without_stress(on_the_grid, stress, holds):
    steps = [
        OptimizationStep.model_construct(weights=[1 - x, x], quantities={"stress_in_plane_GPa": s})
        for x, s in ((0.25, -2.5), (0.2, stress))
    ]
    run = OptimizationRun.model_construct(steps=steps)
    descent = result(OptimizationDocument, runs=[run])
    document = Fig3ComparisonMaker.make.original(Fig3ComparisonMaker(), descent, on_the_grid, "paper")
    assert document.holds is holds and document.verdict.converged is holds
    assert document.rows[0].value == 0.2 and document.rows[0].published == 0.198
    assert document.rows[0].error == pytest.approx(stress / (2.5 + stress) * 0.05, rel=1e-6)


def test_check_of_figure_3_fails_if_the_grid_has_no_zero_stress():
    step = OptimizationStep.model_construct(weights=[0.5, 0.5], quantities={"stress_in_plane_GPa": 3.0})
    first = OptimizationStep.model_construct(weights=[0.8, 0.2], quantities={"stress_in_plane_GPa": 5.0})
    descent = result(OptimizationDocument, runs=[OptimizationRun.model_construct(steps=[first, step])])
    document = Fig3ComparisonMaker.make.original(Fig3ComparisonMaker(), descent, float("nan"), "small")
    assert not document.holds


def test_flow_of_figure_3_has_four_jobs():
    flow = Fig3Maker(version="small").make()
    assert [job.name for job in flow.jobs] == [
        "relax GaN", "descent on the in-plane stress", "grid of compositions", "table of Fig. 3",
    ]  # fmt: skip


def relaxed_cube(a_A, n_points):
    """Return a relaxed cell of a face-centred cubic crystal with the given number of lattice points."""
    return result(RelaxDocument, formula="?", volume_A3=n_points * a_A**3 / 4, cell_parameters=[0.0] * 6)


def fig2(*, pure_off_A: float = 0.0, random_A: tuple[float, ...] = (0.0, 0.02), without_end: bool = False):
    """Return the table for (Ce,Sn)O2 with lattice parameter 5.4 − 0.3 x; random arrangements differ by `random_A`."""
    crystal = MIXED_CRYSTALS["(Ce,Sn)O2"]
    grid = crystal.grid(8)
    points = [
        CompositionPoint.model_construct(
            weights=list(w),
            formula=grid.system.formula(w),
            volume_A3=(5.4 - 0.3 * w[1]) ** 3 / 4,
            cell_parameters=[0.0] * 6,
        )
        for w in grid.weights
        if not (without_end and w[1] == 1)
    ]
    sweep = result(CompositionSweepDocument, points=points, n_sites=3)
    pure = [relaxed_cube(5.4 + pure_off_A, 1), relaxed_cube(5.1, 1)]
    random = [[relaxed_cube(5.4 - 0.3 * w[1] + off, 16) for off in random_A] for w in crystal.averaged]
    make = Fig2ComparisonMaker.make.original
    return make(Fig2ComparisonMaker(), ["(Ce,Sn)O2"], [sweep], [pure], [random], "small")


def test_table_of_figure_2():
    document = fig2()
    rows = {row.quantity: (row.value, row.error) for row in document.rows}
    assert rows["a of Ce0.5Sn0.5O2, alchemical"] == pytest.approx((5.25, 0.0))
    assert rows["a of Ce0.5Sn0.5O2, random"] == pytest.approx((5.26, 0.01 * small_sample_factor(1)))
    assert len(rows) == 6 and document.holds and document.verdict.converged
    (curve,) = document.curves
    assert sorted(w[1] for w in curve.weights) == [0.0, 0.125, 0.25, 0.375, 0.5, 1.0]
    assert plot_lattices(document).axes[0].get_xlabel() == "x(Sn)"


@pytest.mark.parametrize(
    ("wrong", "failed"),
    [
        ({"pure_off_A": 0.002}, "ordinary crystals: "),
        ({"random_A": (0.2, 0.3)}, "random − 1"),
        ({"without_end": True}, "ordinary crystals: nan"),
    ],
)
def test_figure_2_must_agree_with_ordinary_crystals_and_random_arrangements(wrong, failed):
    document = fig2(**wrong)
    assert not document.holds and [failed in reason for reason in document.verdict.reasons] == [True]


@pytest.mark.slow
def test_compositions_of_figure_2():
    sizes = {name: len(crystal.grid(12).weights) for name, crystal in MIXED_CRYSTALS.items()}
    assert sizes == {"(Ce,Sn)O2": 8, "(Ce,Zr)O2": 8, "(Li,Na,K)Cl": 91, "BiS(Cl,Br,I)": 36}
    for name, crystal in MIXED_CRYSTALS.items():
        points = np.array(crystal.grid(8 if len(crystal.elements) == 2 else 12).weights)
        for weights in crystal.averaged:
            assert np.abs(points - weights).max(axis=1).min() == 0, name
            one, other = crystal.arrangements(weights, 2, seed=1)
            amounts = one.composition.get_el_amt_dict()
            n_sites = sum(amounts.get(element, 0) for element in crystal.elements)
            assert [amounts.get(e, 0) / n_sites for e in crystal.elements] == list(weights)
            assert one != other


def test_lattice_parameters_of_a_supercell_equal_those_of_the_unit_cell():
    for crystal in MIXED_CRYSTALS.values():
        cell = crystal.pure(crystal.elements[0])
        large = cell * crystal.repeats
        one = crystal.lengths_A(cell.lattice.parameters, cell.volume)
        assert crystal.lengths_A(large.lattice.parameters, large.volume, crystal.repeats) == pytest.approx(one)
        assert len(one) == len(crystal.parameters) and min(one) > 4


@pytest.mark.slow
def test_flow_of_figure_2_relaxes_all_crystals():
    names = [job.name for job, _ in Fig2Maker(version="small").make().iterflow()]
    assert names[-1] == "table of Fig. 2"
    assert names.count("alchemical relax") == 7 + 3 * 3 * 2  # pure ends and random arrangements
    assert sum(name.startswith("relax ") for name in names) == 2 * 6 + 15


def test_plotting_a_document_without_curves_is_refused():
    with pytest.raises(InvalidInputError, match=r"Fig\. 5"):
        plot_lattices(fig5(0.0))
