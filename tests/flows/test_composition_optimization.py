"""Tests of composition optimization: comparison with other searches, and invalid input."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Composition, Lattice, Structure
from scipy.optimize import brentq

from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.errors import InvalidInputError
from alchemflows.flows.composition_optimization import CompositionOptimizationMaker
from alchemflows.jobs.optimize import OptimizeMaker
from alchemflows.optimize.crystal import RelaxedCrystal
from alchemflows.optimize.objective import Aim, check_function, of_function, of_targets
from alchemflows.optimize.quantities import Quantity
from alchemflows.schemas.optimization import Target
from alchemflows.schemas.potential import PotentialSpec

DEMO = PotentialSpec(name="mace-demo", device="cpu")
GAN_A = 3.217


def wurtzite(a: float = GAN_A) -> Structure:
    return Structure.from_spacegroup(
        186, Lattice.hexagonal(a, 5.05), ["Al", "N"], [[1 / 3, 2 / 3, 0.0], [1 / 3, 2 / 3, 0.38]]
    )


def rocksalt() -> Structure:
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.8), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return cell.get_primitive_structure()


def misfit(q):
    """Objective with its minimum, 0, at a volume of 48.5 Å³ and a = b, which targets cannot express."""
    return torch.log1p(100 * (q["volume_A3"] / 48.5 - 1) ** 2) + (q["a_A"] / q["b_A"] - 1) ** 2


def of_an_unknown_quantity(q):
    return q["hardness"] ** 2


def float_result(q):
    return float(q["a_A"])


def vector_result(q):
    return q["a_A"] * torch.ones(2)


def of_the_logarithm(q):
    """Objective that is not a number at the trial values, which are all 1."""
    return torch.log(q["energy_eV_per_atom"] - 2) + q["a_A"]


def of_the_modulus(q):
    return (q["bulk_modulus_GPa"] / 22 - 1) ** 2


def run(flow, folder):
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(flow, store=store, create_folders=True, root_dir=folder, ensure_success=True, log=False)
    return MontyDecoder().process_decoded(store.get_output(flow.jobs[-1].uuid))


@pytest.mark.slow
def test_stress_free_film_on_gan_agrees_with_a_root_search(tmp_path):
    """With the in-plane lattice of GaN and relaxed c, x equals the root of the stress."""
    maker = CompositionOptimizationMaker(potential=DEMO, optimize_maker=OptimizeMaker(relaxation="c"))
    target = Target(quantity="stress_in_plane_GPa", value=0.0)
    flow = maker.make(wurtzite(), {"Al": ["Al", "Sc"]}, [target], bounds={"Al": {"Sc": (0.0, 0.5)}})
    document = run(flow, tmp_path)
    (descent,) = document.runs
    last = descent.steps[-1]
    assert document.verdict.status == "converged" and descent.reached
    assert abs(last.quantities["stress_in_plane_GPa"]) < 1e-3
    assert last.quantities["a_A"] == pytest.approx(GAN_A)
    crystal = RelaxedCrystal(flow.jobs[0].function_args[0], DEMO, "c")
    x = brentq(lambda x: crystal.at(np.array([1 - x, x]))["stress_in_plane_GPa"].value, 0.05, 0.45, xtol=1e-4)
    assert last.weights[1] == pytest.approx(x, abs=1e-3)
    assert len(descent.steps) <= 8 and descent.n_second_derivatives <= 12
    assert [step.objective for step in descent.steps] == sorted((s.objective for s in descent.steps), reverse=True)
    np.testing.assert_allclose(descent.structure.lattice.abc[2], last.quantities["c_A"], atol=1e-6)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("projected", marks=pytest.mark.slow),
        pytest.param("exponentiated", marks=pytest.mark.slow),
        pytest.param("softmax", marks=pytest.mark.slow),
    ],
)
def test_lattice_parameter_is_reached_from_three_starts_in_a_ternary(method, tmp_path):
    maker = CompositionOptimizationMaker(
        potential=DEMO, optimize_maker=OptimizeMaker(relaxation="isotropic", method=method), n_starts=3, seed=1
    )
    target = Target(quantity="a_A", value=4.1)
    document = run(maker.make(rocksalt(), {"Na": ["Li", "Na", "K"]}, [target]), tmp_path)
    assert len(document.runs) == 3 and document.verdict.status == "converged"
    for descent in document.runs:
        assert abs(descent.steps[-1].quantities["a_A"] - 4.1) < 2e-3
        assert sum(descent.steps[-1].weights) == pytest.approx(1)
    # A whole line of compositions has this lattice parameter.
    assert len({descent.formula for descent in document.runs}) == 3
    # a grid with the same resolution, 2 mÅ of the 0.9 Å between LiCl and KCl, would need thousands of points
    assert sum(descent.n_second_derivatives for descent in document.runs) < 40


def test_verdict_gives_the_closest_value_if_a_target_is_out_of_reach(tmp_path):
    maker = CompositionOptimizationMaker(potential=DEMO, optimize_maker=OptimizeMaker(relaxation="isotropic"))
    target = Target(quantity="a_A", value=4.6)
    document = run(maker.make(rocksalt(), {"Na": ["Na", "K"]}, [target], bounds={"Na": {"K": (0.0, 0.6)}}), tmp_path)
    assert not document.runs[0].reached and document.runs[0].steps[-1].weights == pytest.approx([0.4, 0.6])
    (reason,) = document.verdict.reasons
    assert reason.startswith("a_A is 4.") and "4.6" in reason


def test_nearest_composition_of_whole_atoms_is_evaluated(tmp_path):
    """In a supercell of eight sites, the stored quantities are those of the crystal at the rounded composition."""
    steps = OptimizeMaker(relaxation="isotropic", round_to=8)
    target = Target(quantity="a_A", value=4.1)
    flow = CompositionOptimizationMaker(potential=DEMO, optimize_maker=steps).make(
        rocksalt(), {"Na": ["Na", "K"]}, [target]
    )
    document = run(flow, tmp_path)
    best, rounded = np.array(document.runs[0].steps[-1].weights), document.rounded
    expected = np.round(8 * best) / 8
    np.testing.assert_allclose(rounded.weights, expected, atol=1e-12)
    sodium, potassium = np.round(8 * expected).astype(int)
    assert sodium * potassium > 0 and np.abs(best - expected).max() > 1e-3
    assert Composition(rounded.formula) == Composition({"Na": int(sodium), "K": int(potassium), "Cl": 8})
    there = RelaxedCrystal(flow.jobs[0].function_args[0], DEMO, "isotropic").at(expected)
    assert rounded.quantities["a_A"] == pytest.approx(there["a_A"].value, abs=5e-4)  # relaxations converge within 5e-4
    assert rounded.objective == pytest.approx((rounded.quantities["a_A"] - 4.1) ** 2)
    assert rounded.objective > document.runs[0].steps[-1].objective
    assert list(rounded.quantities) == list(document.runs[0].steps[-1].quantities)
    assert document.verdict.converged and not rounded.verdict.converged
    assert [f"whole atoms miss a target: {reason}" for reason in rounded.verdict.reasons] == document.verdict.notes


def test_user_defined_function_is_serialised_and_minimised(tmp_path):
    """The optimum is found whether the smallest value of the function is given or not."""
    steps = OptimizeMaker(relaxation="isotropic", tolerance=1e-2)
    for least in (0.0, None):
        maker = CompositionOptimizationMaker(potential=DEMO, optimize_maker=replace(steps, rate=0.05))
        flow = maker.make(rocksalt(), {"Na": ["Na", "K"]}, objective=misfit, least=least)
        (job,) = flow.jobs
        again = MontyDecoder().decode(json.dumps(job, cls=MontyEncoder))
        assert again.function_kwargs["objective"] is misfit and again.function_kwargs["least"] == least
        document = run(flow, tmp_path)
        last = document.runs[0].steps[-1]
        assert last.quantities["volume_A3"] == pytest.approx(48.5, abs=0.1)
        assert 0.02 < last.weights[1] < 0.98 and document.verdict.status == "converged"
        assert document.function == f"{__name__}.misfit" and document.least == least and document.targets == []


@pytest.mark.parametrize(
    "wanted",
    [{"targets": [Target(quantity="bulk_modulus_GPa", value=22.0)]}, {"objective": of_the_modulus, "least": 0}],
)
def test_bulk_modulus_as_target_or_in_a_function(wanted, tmp_path):
    """The document contains the bulk modulus if a target or a function uses it."""
    steps = OptimizeMaker(relaxation="isotropic", tolerance=1e-2)
    flow = CompositionOptimizationMaker(potential=DEMO, optimize_maker=steps).make(
        rocksalt(), {"Na": ["Na", "K"]}, **wanted
    )
    document = run(flow, tmp_path)
    last = document.runs[0].steps[-1]
    assert document.verdict.status == "converged" and 0.02 < last.weights[1] < 0.98
    assert last.quantities["bulk_modulus_GPa"] == pytest.approx(22, abs=0.3)


def test_gradient_of_a_function_follows_from_the_chain_rule():
    found = {"a_A": Quantity(2.0, np.array([1.0, 0.5])), "b_A": Quantity(3.0, np.array([0.0, -1.0]))}
    total, slope = of_function(lambda q: q["a_A"] ** 2 * torch.exp(q["b_A"]), found)
    assert total == pytest.approx(4 * np.exp(3))
    np.testing.assert_allclose(slope, np.exp(3) * (4 * found["a_A"].gradient + 4 * found["b_A"].gradient))
    target = Target(quantity="a_A", value=1.0)
    both, slope_of_both = Aim([target], lambda q: 3 * q["a_A"], None, 1e-3).objective(found)
    assert both == pytest.approx(1 + 6)
    np.testing.assert_allclose(slope_of_both, 5 * found["a_A"].gradient)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda q: torch.log(q["a_A"] - 3), "nan.*a_A = 2"),
        (lambda q: torch.sqrt(q["a_A"] - 2), "gradient"),
        (lambda q: q["a_A"].detach(), "objective"),
        (lambda q: q["c_A"], "c_A.*a_A"),
        (lambda q: q["a_A"].item(), "float"),
    ],
)
def test_invalid_results_of_a_function_are_refused(function, reason):
    with pytest.raises(InvalidInputError, match=reason):
        of_function(function, {"a_A": Quantity(2.0, np.ones(2))})


def test_non_finite_result_at_the_trial_values_is_accepted():
    check_function(of_the_logarithm, ["energy_eV_per_atom", "a_A"])
    with pytest.raises(InvalidInputError, match="energy_eV_per_atom"):
        check_function(of_the_logarithm, ["a_A"])


def test_objective_is_the_weighted_sum_of_targets_and_extrema():
    grid = CompositionGrid.line(rocksalt(), {"Na": "K"}, [0.5])
    found = RelaxedCrystal(grid.system, DEMO, "isotropic").at(grid.points[0])
    targets = [
        Target(quantity="a_A", value=4.0, scale=0.1, factor=2.0),
        Target(quantity="energy_eV_per_atom", extremum="least", scale=0.5),
        Target(quantity="volume_A3", extremum="largest"),
    ]
    total, slope = of_targets(targets, found)
    a, e, v = (found[target.quantity] for target in targets)
    assert total == pytest.approx(2 * ((a.value - 4) / 0.1) ** 2 + 2 * e.value - v.value)
    np.testing.assert_allclose(slope, 40 * (a.value - 4) / 0.1 * a.gradient + 2 * e.gradient - v.gradient)


@pytest.mark.parametrize(
    ("options", "arguments", "reason"),
    [
        ({}, {"targets": []}, "target"),
        ({}, {"targets": [], "objective": lambda q: q["a_A"]}, "import.*lambda"),
        ({}, {"objective": of_an_unknown_quantity}, "hardness.*a_A"),
        ({}, {"objective": float_result}, "float"),
        ({}, {"objective": vector_result}, "shape \\(2,\\)"),
        ({}, {"objective": "a_A"}, "objective: .*callable.*a_A"),
        (
            {"optimize_maker": OptimizeMaker(relaxation="none")},
            {"targets": [Target(quantity="bulk_modulus_GPa", value=22.0)]},
            "bulk_modulus_GPa.*full, axes, isotropic",
        ),
        ({"optimize_maker": OptimizeMaker(relaxation="none")}, {"objective": of_the_modulus}, "bulk_modulus_GPa"),
        ({}, {"least": 0.0}, r"least.*0\.0"),
        ({}, {"least": float("nan"), "objective": misfit}, "least.*nan"),
        ({}, {"least": 0.0, "objective": misfit, "targets": [Target(quantity="a_A", extremum="least")]}, "least"),
        ({}, {"targets": [Target(quantity="a_A")]}, "target"),
        ({}, {"targets": [Target(quantity="hardness", value=1.0)]}, "hardness.*a_A"),
        ({}, {"choices": {"Na": ["Na", "Rb"]}}, r"\bRb\b"),
        ({}, {"bounds": {"Na": {"Li": (0, 1)}}}, "Na, K"),
        ({}, {"bounds": {"Cl": {"Cl": (0, 1)}}}, "Cl"),
        ({}, {"bounds": {"Na": {"Na": (0, 0.3), "K": (0, 0.3)}}}, r"group 0 .*0\.6"),
        ({}, {"totals": {"Na": 1.3}}, r"group 0 .*1\.3"),
        ({"optimize_maker": OptimizeMaker(relaxation="b")}, {}, "none, isotropic.*'b'"),
        ({"optimize_maker": OptimizeMaker(method="newton")}, {}, "projected, exponentiated, softmax"),
        ({"n_starts": 0}, {}, "n_starts"),
        ({"optimize_maker": OptimizeMaker(round_to=0)}, {}, "round_to"),
        ({"optimize_maker": OptimizeMaker(round_to=4)}, {"bounds": {"Na": {"K": (0.3, 0.45)}}}, "4 sites"),
    ],
)
def test_invalid_input_is_refused_before_a_job_exists(options, arguments, reason):
    defaults = {"choices": {"Na": ["Na", "K"]}, "targets": [Target(quantity="a_A", value=4.1)]}
    with pytest.raises(InvalidInputError, match=reason):
        CompositionOptimizationMaker(potential=DEMO, **options).make(rocksalt(), **defaults | arguments)
