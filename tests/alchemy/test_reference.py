"""Results of independent implementations of the method, and the comparison with them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import multigraph
import numpy as np
import pytest
import torch
from models import interior, perovskite_system

from alchemflows.alchemy.interfaces import single
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.verify import compare, load_cases
from alchemflows.errors import InvalidInputError, PotentialError

#: Written by tests/multigraph.py.
BETWEEN_VERTICES = Path(__file__).parent / "between_vertices.json"
#: Results of others, for those who have them.
REFERENCE = Path(os.environ.get("ALCHEMFLOWS_REFERENCE", Path(__file__).parents[2].parent / "shared" / "reference"))


@pytest.mark.slow
def test_reference_results(tmp_path):
    cases = REFERENCE / "alchemical-energies.json"
    if not cases.is_file():
        pytest.skip(f"no reference results at {REFERENCE} (ALCHEMFLOWS_REFERENCE says where they are)")
    subprocess.run([sys.executable, REFERENCE / "build_models.py", tmp_path], check=True, capture_output=True)
    found = load_cases(cases)
    deviations = [compare(name, case, tmp_path, device="cpu") for name, case in found.items()]
    assert {d.case for d in deviations} == set(found)
    assert max(d.largest for d in deviations) < 1e-9, deviations


@pytest.mark.parametrize("name", multigraph.cases())
def test_between_vertices(name, tmp_path):
    stored = load_cases(BETWEEN_VERTICES)[name]
    cell = multigraph.cases()[name]
    assert stored.weights == [count / multigraph.N for count in cell.counts]
    assert np.array_equal(stored.positions, cell.positions)
    assert compare(name, stored, tmp_path, device="cpu").largest < 1e-9
    other = {"paired": "mean-field", "mean-field": "paired"}[stored.coupling]
    wrong = compare(name, stored.model_copy(update={"coupling": other}), tmp_path, device="cpu")
    # Coupling changes nothing where no atom of a group has another, or its own image, within the cutoff.
    assert (wrong.energy_eV > 1e-4) == (name != "halide, one group")


@pytest.mark.parametrize(
    ("variant", "name"), [("residual", "halide, vacancies"), ("non-residual-first", "halide, one group")]
)
def test_between_vertices_of_random_models(variant, name, mace_file, tmp_path):
    cell = multigraph.cases()[name]
    results = multigraph.evaluate(torch.load(mace_file(variant), weights_only=False), cell)
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"one": multigraph.written(variant, cell, results)}))
    assert compare("one", load_cases(file)["one"], mace_file(variant).parent, device="cpu").largest < 1e-8


@pytest.fixture
def case(backend, mace_file):
    """A case of two groups whose channels are not next to each other and list their atoms in other orders."""
    system = perovskite_system("several groups", "mean-field")
    weights = interior(system, seed=3)
    result = single(
        AlchemicalPotential(system, backend("residual")).evaluate(
            system.structure.cart_coords[None], system.structure.lattice.matrix[None], weights[None]
        )
    )
    order = [3, 0, 4, 2, 1]  # of the weights in the file
    channels = [
        [[site, z] for site, z in zip(group.sites, channel, strict=True)]
        for group in system.groups
        for channel in group.channels
    ]
    return {
        "model": "residual",
        "comment": "not read",
        "cell": system.structure.lattice.matrix.tolist(),
        "positions": system.structure.cart_coords.tolist(),
        "symbols": [site.specie.symbol for site in system.structure],
        "groups": [channels[k][::-1] if k % 2 else channels[k] for k in order],
        "weights": weights[order].tolist(),
        "coupling": "mean-field",
        "energy_eV": result["energy"],
        "forces_eV_per_A": result["forces"].tolist(),
        "stress_eV_per_A3": result["stress"].tolist(),
        "dE_dweights_eV": result["weight_gradients"][order].tolist(),
    }


def deviation(case, mace_file, tmp_path):
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"one": case}))
    folder = mace_file("residual").parent
    return compare("one", load_cases(file)["one"], folder, device="cpu")


def test_own_case_agrees_in_any_order(case, mace_file, tmp_path):
    found = deviation(case, mace_file, tmp_path)
    assert found.case == "one"
    assert found.largest < 1e-11


KEYS = ("energy_eV", "forces_eV_per_A", "stress_eV_per_A3", "dE_dweights_eV")


@pytest.mark.parametrize("key", KEYS)
def test_one_wrong_number_is_found(key, case, mace_file, tmp_path):
    values = np.array(case[key])
    values.reshape(-1)[-1] += 1e-6
    found = deviation(case | {key: values.tolist()}, mace_file, tmp_path)
    for other in KEYS:
        assert getattr(found, other) == pytest.approx(1e-6 if other == key else 0, abs=1e-11)
    assert found.largest == pytest.approx(1e-6, abs=1e-11)


@pytest.mark.parametrize("key", ["energy_eV", "forces_eV_per_A"])
def test_a_number_that_is_none_is_not_agreement(key, case, mace_file, tmp_path):
    values = np.array(case[key])
    values.reshape(-1)[0] = math.nan
    assert not deviation(case | {key: values.tolist()}, mace_file, tmp_path).largest < 1


def test_coupling_of_a_case_matters(case, mace_file, tmp_path):
    assert deviation(case | {"coupling": "paired"}, mace_file, tmp_path).energy_eV > 1e-4
    without = {k: v for k, v in case.items() if k != "coupling"}
    assert deviation(without, mace_file, tmp_path).energy_eV > 1e-4


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"coupling": "none"}, InvalidInputError, "coupling"),
        ({"weights": [0.1, 0.2, 0.3]}, InvalidInputError, "weights"),
        ({"weights": [2.0, 0, 0, 0, 0]}, InvalidInputError, r"\b2\b"),
        ({"symbols": ["Xx"] * 10}, InvalidInputError, "Xx"),
        ({"model": "missing"}, PotentialError, "missing"),
        ({"groups": "none"}, InvalidInputError, "groups"),
    ],
)
def test_wrong_cases_are_refused(change, error, reason, case, mace_file, tmp_path):
    with pytest.raises(error, match=reason):
        deviation(case | change, mace_file, tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{}", "cases.json"), ("[1]", "dict"), ("no json", "JSON"), ('{"a": {}}', "a.model"), (None, "cases.json")],
)
def test_wrong_files_are_refused(text, reason, tmp_path):
    file = tmp_path / "cases.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidInputError, match=reason):
        load_cases(file)
