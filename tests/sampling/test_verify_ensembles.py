"""Monte Carlo with a potential against exact averages over all arrangements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lattices import places, random_mixture

from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.sampling.remembered import Remembered
from alchemflows.sampling.verify import PROPOSALS, Sampled, load_ensembles, sample_case

#: Written by tests/data/make_ensembles.py.
CASES = Path(__file__).parents[1] / "data" / "ensembles.json"
#: Results of others, for those who have them.
REFERENCE = Path(os.environ.get("ALCHEMFLOWS_REFERENCE", Path(__file__).parents[2].parent / "shared" / "reference"))


def sampled(case: dict, tmp_path: Path, **options):
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"one": case}))
    return sample_case("one", load_ensembles(file)["one"], tmp_path, device="cpu", **options)


@pytest.fixture
def case() -> dict:
    """The binary case at one set of chemical potentials."""
    found = json.loads(CASES.read_text())["binary"]
    found["expected"] = {"semi-grand": found["expected"]["semi-grand"][:1]}
    return found


def test_exact_averages(case, tmp_path):
    (found,) = sampled(case, tmp_path, proposals=["informed, sqrt"])
    assert found.holds and found.proposal == "informed, sqrt"
    assert found.relative_error <= 0.02 and found.largest <= 3
    assert found.acceptance > 0.5
    assert sum(count.mean for count in found.counts) == pytest.approx(4)
    exact = case["expected"]["semi-grand"][0]
    # Each number that is wrong is found.
    for name, off in (
        ("energy_eV", 5 * found.energy_eV.error),
        ("unlike_neighbour_fraction", 5 * found.unlike_neighbour_fraction.error),
    ):
        average = getattr(found, name)
        wrong = replace(found, **{name: replace(average, exact=average.mean + off)})
        assert not wrong.holds and wrong.largest == pytest.approx(5)
    counts = [replace(found.counts[0], exact=exact["mean_counts"][0] + 1), found.counts[1]]
    assert not replace(found, counts=counts).holds
    assert not replace(found, energy_eV=replace(found.energy_eV, error=0.03 * found.sd_energy_eV)).holds


def test_numbers_that_are_none_are_not_agreement():
    assert Sampled(1.0, 0.0, 1.0 + 1e-12).deviation == 0
    assert Sampled(1.0, 0.0, 1.1).deviation == float("inf")
    assert not Sampled(float("nan"), 0.1, 1.0).deviation <= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["binary", "ternary"])
def test_every_ensemble_and_proposal(name, tmp_path):
    found = sample_case(name, load_ensembles(CASES)[name], tmp_path, device="cpu")
    assert len(found) == 3 * len(PROPOSALS)
    assert all(each.holds for each in found), found
    rates = {rule: [each.acceptance for each in found if each.proposal == rule] for rule in PROPOSALS}
    assert np.all(np.array(rates["informed, sqrt"]) > rates["uniform"])


@pytest.mark.slow
def test_reference_results(tmp_path):
    file = REFERENCE / "ensembles.json"
    if not file.is_file():
        pytest.skip(f"no reference results at {REFERENCE} (ALCHEMFLOWS_REFERENCE says where they are)")
    subprocess.run([sys.executable, REFERENCE / "build_models.py", tmp_path], check=True, capture_output=True)
    for name, case in load_ensembles(file).items():
        found = sample_case(name, case, tmp_path, device="cpu")
        assert all(each.holds for each in found), found


def test_a_potential_that_remembers():
    arrangements, model = random_mixture()
    remembered = Remembered(model)
    labels = arrangements.random([[1, 1, 0, 0, 1], [0, 0, 2, 1, 0]], [0, 1, 0, 2])
    weights, where = arrangements.weights(labels), places(arrangements, 4)
    expected = model.evaluate(*where, weights)
    sets = np.stack([weights, weights[::-1]], axis=1)
    energies = model.energies(*where, sets)
    model.n_evaluations = 0
    for _ in range(2):
        found = remembered.evaluate(*where, weights, forces=False, stress=False)
        assert np.array_equal(found.energy, expected.energy)
        assert np.array_equal(found.weight_gradients, expected.weight_gradients)
        assert np.array_equal(remembered.energies(*where, sets), energies)
    assert model.n_evaluations == 1
    # Other positions are another crystal.
    remembered.energies(where[0] + 0.1, where[1], sets)
    assert model.n_evaluations == 2


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"elements": ["Na", "Xx"]}, InvalidInputError, "Xx"),
        ({"elements": ["Na", "K", "Li"]}, InvalidInputError, "mean_counts"),
        ({"sites": [0, 2, 4, 60]}, InvalidInputError, "60"),
        ({"positions": [[0, 0, 0]]}, InvalidInputError, "positions"),
        ({"temperature_K": -5}, InvalidInputError, "temperature_K"),
        ({"neighbour_shell_A": 0.5}, InvalidInputError, "neighbour_shell_A"),
        ({"model": "missing"}, PotentialError, "missing"),
    ],
)
def test_wrong_cases_are_refused(change, error, reason, case, tmp_path):
    with pytest.raises(error, match=reason):
        sampled(case | change, tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{}", "cases.json"), ("[1]", "dict"), ("no json", "JSON"), ('{"a": {}}', "a.model"), (None, "cases.json")],
)
def test_wrong_files_are_refused(text, reason, tmp_path):
    file = tmp_path / "cases.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidInputError, match=reason):
        load_ensembles(file)
