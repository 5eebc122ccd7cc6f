"""The benchmark scripts run, and say what they should; their numbers are not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anharmonic import MASS_TERM_EV_PER_K, exact, stored_ladder
from ase import units
from command_line import CODE, run_command
from lattices import ising, places

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.free_energy.errors import correlated_variance
from alchemflows.sampling.ensembles import Canonical
from alchemflows.sampling.monte_carlo import MonteCarlo

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

TARGET = {"number", "name", "value", "minimum", "maximum", "bound", "sense", "unit", "note", "holds"}
MACHINE = {"date", "cpu", "cores", "threads", "load_average", "platform", "python", "versions", "device"}


def run(script: str, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    words = [str(BENCHMARKS / script), *arguments]
    code = f"import runpy, sys; sys.argv = {words!r}; sys.path.insert(0, {str(BENCHMARKS)!r})\n"
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    return run_command([code], Path.cwd(), os.environ | {"OMP_NUM_THREADS": "1"}, timeout, CODE)


def report(file: Path, script: str, *arguments: str, timeout: float = 300) -> dict:
    done = run(script, "--quick", "--threads", "1", "--json", str(file), *arguments, timeout=timeout)
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    assert set(document) == {"title", "command", "settings", "machine", "targets", "measurements", "notes"}
    assert set(document["machine"]) >= MACHINE
    assert {"torch", "mace-torch", "alchemflows"} <= set(document["machine"]["versions"])
    assert document["command"].startswith(f"python benchmarks/{script} --quick")
    assert str(file) not in document["command"]
    for target in document["targets"]:
        assert set(target) == TARGET
        if target["value"] is None:
            assert target["holds"] is None
            assert target["note"].startswith("not available")
            continue
        assert target["minimum"] <= target["value"] <= target["maximum"]
        if target["bound"] is None:
            assert target["holds"] is None
        elif target["sense"] == "at most":
            assert target["holds"] == (target["value"] <= target["bound"])
        else:
            assert target["holds"] == (target["value"] >= target["bound"])
    assert document["measurements"]
    for measurement in document["measurements"]:
        assert measurement["minimum"] <= measurement["median"] <= measurement["maximum"]
    shown = run("table.py", str(file))
    assert shown.returncode == 0, shown.stderr
    for target in document["targets"]:
        assert f"| {target['number']} | {target['name']} | " in shown.stdout
    assert document["command"] in shown.stdout
    assert "OMP_NUM_THREADS=1" in shown.stdout
    return document


@pytest.mark.slow
def test_step(tmp_path):
    document = report(tmp_path / "step.json", "step.py", "--targets", "1,3,5")
    measured = {t["name"]: t for t in document["targets"] if t["value"] is not None}
    assert {t["number"] for t in measured.values()} == {1, 3, 5}
    assert {t["bound"] for t in document["targets"]} >= {0.20, 0.03, 1.05}
    shares = [t["value"] for t in measured.values() if t["unit"] == "share"]
    assert len(shares) >= 3
    assert all(0 < share < 1 for share in shares)


@pytest.mark.slow
def test_profile_of_a_step(tmp_path):
    document = report(tmp_path / "profile.json", "profile_step.py", "mace")
    *shares, ratio = (t["value"] for t in document["targets"])
    np.testing.assert_allclose(sum(shares), 1)
    measured = {m["name"].split(",")[0]: m["median"] for m in document["measurements"]}
    assert ratio > 1
    bounds = [measured[f"lower bound by {each}"] for each in ("arithmetic", "memory")]
    np.testing.assert_allclose(ratio, measured["step"] / max(bounds), rtol=0.2)
    assert measured["least memory traffic"] < measured["memory traffic of all operations"]


def test_arithmetic_and_traffic_are_counted(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from profile_step import count, kind

    a, b, index = torch.rand(3, 5), torch.rand(5, 7), torch.tensor([0, 0, 2])
    counted = count(lambda: (a @ b).T.index_select(0, index) + a[0, 0])
    assert counted.n_flops == 2 * 3 * 5 * 7
    # The matrices, one of which is read twice, and the index are from before; a view of the product moves nothing.
    assert counted.least == 4 * (3 * 5 + 5 * 7) + 8 * 3
    # Product; rows of the transpose and their index; sum with a number.
    executed = 4 * (3 * 5 + 5 * 7 + 3 * 7) + (4 * (3 * 7 + 3 * 3) + 8 * 3) + 4 * (3 * 3 + 1 + 3 * 3)
    assert counted.executed == executed
    for operation, expected in (
        ("aten::bmm", "matrix products"),
        ("aten::index_add_", "gather and scatter"),
        ("aten::_index_put_impl_", "gather and scatter"),
        ("aten::copy_", "copies, joins and fills"),
        ("aten::linalg_vector_norm", "sums"),
        ("aten::silu_backward", "pointwise"),
        ("aten::add_", "pointwise"),
        ("aten::reshape", "others"),
    ):
        assert kind(operation) == expected, operation


@pytest.mark.slow
def test_gpu_on_a_cpu(tmp_path):
    document = report(tmp_path / "gpu.json", "gpu.py", "--device", "cpu")
    ladder = next(t for t in document["targets"] if t["value"] is not None)
    assert (ladder["number"], ladder["bound"], ladder["sense"]) == (6, 15.0, "at least")
    medians = {m["unit"]: m["median"] for m in document["measurements"] if not m["name"].startswith("step of one run")}
    # 3 replicas of 5 atoms at 2 fs a step
    np.testing.assert_allclose(medians["ns/day"], medians["1/s"] / 5 * 2e-6 * 86400, rtol=1e-9)


@pytest.mark.slow
def test_composition_search(tmp_path):
    document = report(tmp_path / "search.json", "composition_search.py")
    off, on_the_triangle, on_the_edge, together = (t["value"] for t in document["targets"])
    assert 0 <= off <= 1 and 0 < on_the_triangle < on_the_edge and together > 0
    assert {m["n"] for m in document["measurements"]} == {1, 2}


@pytest.mark.slow
def test_campaign(tmp_path):
    document = report(tmp_path / "campaign.json", "campaign.py", timeout=900)
    assert {t["number"] for t in document["targets"]} == {1, 2, 3, 4, 5, 6}
    assert {t["bound"] for t in document["targets"]} == {2.0, None, 1.5, 3.0, 0.5, 1.0}
    memories = {t["name"]: t["value"] for t in document["targets"] if t["number"] == 6}
    assert len(memories) >= 2 and all(0.05 < value < 1.0 for value in memories.values()), memories
    # Ratios are of what was measured.
    measured = {m["name"]: m["median"] for m in document["measurements"]}
    ratio = next(t["value"] for t in document["targets"] if t["number"] == 4)
    total, reading, pymbar = (
        next(value for name, value in measured.items() if name.startswith(words))
        for words in ("reaggregation", "reading", "pymbar")
    )
    np.testing.assert_allclose(ratio, total / (reading + pymbar), rtol=1e-9)


@pytest.mark.slow
def test_curves(tmp_path):
    document = report(tmp_path / "curves.json", "curves.py")
    assert [(t["number"], t["bound"]) for t in document["targets"]] == [(1, 2.0)]
    times = [m["name"] for m in document["measurements"] if m["unit"] == "s"]
    assert [name.split()[-2] for name in times] == ["350", "400", "450"]


def test_two_ladders_are_compared_with_the_others(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from curves import compare
    from measure import Report

    ladders = {t: stored_ladder(t, n=400, seed=int(t)) for t in (300.0, 350.0, 400.0, 450.0, 500.0)}
    found = Report("", "curves.py", {})
    compare(found, "alpha", ladders, (350.0, 450.0), 3)
    assert [(t.number, t.holds) for t in found.targets] == [(3, True), (4, True), (5, True)]
    values = {m.name: m.median for m in found.measurements}
    for t in ladders:
        value, error = (values[f"{what}, alpha, {t:g} K, two ladders"] for what in ("ΔG", "its error"))
        expected = (exact(t)[0] + MASS_TERM_EV_PER_K * t) / 2
        assert abs(value - 1e3 * expected) < 4 * error < 4
    # A ladder whose result is five errors away is named, and nothing else.
    ladder = ladders[400.0]
    total = ladder.document.total
    moved = total.model_copy(update={"delta_f_eV": total.delta_f_eV + 5 * total.error_eV})
    ladders[400.0] = replace(ladder, document=ladder.document.model_copy(update={"total": moved}))
    found = Report("", "curves.py", {})
    compare(found, "alpha", ladders, (350.0, 450.0))
    assert [t.holds for t in found.targets] == [True, False, True]


def test_impossible_benchmarks_are_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu
    import step

    monkeypatch.setattr(sys, "argv", ["step.py", "--targets", "1,8"])
    with pytest.raises(SystemExit) as stop:
        step.arguments()
    assert stop.value.code == 2
    assert "no target 8" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 2
    assert capsys.readouterr().err.splitlines() == [
        "torch finds no CUDA device; try the script with --device cpu --quick"
    ]


def test_arithmetic(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from gpu import union_length
    from measure import Target, loglog_slope
    from step import rebuilds
    from temperature import mean

    assert union_length([(0, 2), (1, 1.5), (1, 3), (5, 6)]) == 4
    sizes = np.array([1.0, 2, 4, 8])
    np.testing.assert_allclose(loglog_slope(sizes, 3 * sizes**1.3), 1.3)
    assert Target(1, "", 0.6, 0.6, 0.6, 0.6).holds
    # Two repeats of values and errors at two temperatures: means of the values, and of the squared errors.
    np.testing.assert_allclose(mean([[[1, 2], [3, 4]], [[3, 6], [1, 2]]]), [[2, 4], [5, 10]])
    assert not Target(6, "", 14.9, 1, 20, 15, sense="at least").holds
    # An atom that moves 0.1 Å a step has moved half the skin (0.25 Å) every third step.
    track = [np.array([[[0.1 * step, 0, 0], [0, 0, 0]]]) for step in range(8)]
    assert rebuilds(track).tolist() == [False, False, True, False, False, True, False]


@pytest.mark.slow
def test_stored_frames(tmp_path):
    document = report(tmp_path / "frames.json", "stored_frames.py")
    assert {(t["number"], t["bound"]) for t in document["targets"]} == {(1, 0.1), (2, 0.02)}
    assert all(0 < t["value"] < t["bound"] for t in document["targets"])


@pytest.mark.slow
def test_corrected_frames(tmp_path):
    document = report(tmp_path / "memory.json", "corrected_frames.py")
    assert [target["bound"] for target in document["targets"]] == [1.0, 1.0]
    assert all("400 frames of 2 ladders" in t["name"] and 0.1 < t["value"] < t["bound"] for t in document["targets"])


@pytest.mark.slow
def test_verdicts(tmp_path):
    document = report(tmp_path / "verdicts.json", "verdicts.py")
    shares = {target["name"]: target["value"] for target in document["targets"]}
    assert shares["converged: hysteretic, medium"] == 0 and shares["converged: good"] >= 2 / 3


def test_errors_of_reweighted_means_are_honest(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from better_potentials import mean_with

    rng, z = np.random.default_rng(0), []
    for _ in range(400):
        values = rng.normal(size=100)
        mean, influences = mean_with(values, 0.5 * values)  # exp(−x) moves the mean of a Gaussian to −1/2
        z.append((mean + 0.5) / correlated_variance([influences]).error)
    inside = [np.mean(np.abs(z) < n) for n in (1, 2)]
    assert 0.55 < inside[0] < 0.8 and 0.88 < inside[1] < 0.99


def test_shares_of_the_orders_of_a_double_perovskite(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from double_perovskites import SUPERCELL, WAVES, perovskite, shares_of

    disorder = Disorder(cell := perovskite("Ba", "Mg", "W", 4.0), SUPERCELL)
    for kind in WAVES:
        ordered = disorder.wave(WAVES[kind][0], cell)
        np.testing.assert_allclose(shares_of(ordered, ["Mg", "W"]), [kind == each for each in WAVES], atol=1e-9)
    shares = [n / 70 * np.array(shares_of(each, ["Mg", "W"])) for each, n in disorder.distinct()]
    np.testing.assert_allclose(np.sum(shares, axis=0), np.array([1, 3, 3]) / 7)


def test_sampled_arrangements_of_a_double_perovskite_are_judged_by_their_order(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from double_perovskites import SUPERCELL, WAVES, perovskite, says_ordered, shares_of

    disorder = Disorder(cell := perovskite("Ba", "Mg", "W", 4.0), SUPERCELL)
    arrangements = {kind: [disorder.wave(WAVES[kind][0], cell)] for kind in WAVES}
    arrangements["random"] = disorder.random(20)
    for kind, those in arrangements.items():
        for each in those:
            each.perturb(0.1)
        shares = [shares_of(each, ["Mg", "W"]) for each in those]
        # The energy of ordered arrangements is that of the best order, whose ordering energy is zero.
        row = {"sampled_shares": shares, "ordering_energies_eV_per_atom": {"sampled": 0.0}, "entropy_kB_per_atom": 0.14}
        assert says_ordered(row, "sampled") == (kind != "random")


def test_acceptance_of_blind_swaps_is_that_of_all_swaps(monkeypatch):
    """Random swaps of two arrangements of an Ising model, against the mean over all swaps of unlike species."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from solid_solutions import Bench

    temperature_K, coupling_eV = 600.0, 0.03
    arrangements, model = ising(2, 4, coupling_eV)
    ensemble = Canonical(arrangements)
    chains = MonteCarlo(
        model, ensemble, *places(arrangements, 2), arrangements.random([[5, 3]], range(2)),
        temperature_K=temperature_K, seeds=range(2),
    )  # fmt: skip
    states = []
    for _ in range(8):
        chains.attempt()
        states.append(chains.current)
    bench = SimpleNamespace(
        arrangements=arrangements, potential=model, solution=SimpleNamespace(temperature_K=temperature_K)
    )
    found = Bench.blind_acceptance(bench, states, 400)

    def accepted(labels: np.ndarray) -> float:
        """Return the mean probability that a swap from this arrangement is accepted."""
        swapped = [labels]
        for first, second in np.argwhere(labels[:, None] < labels[None]):
            swapped.append(labels.copy())
            swapped[-1][[first, second]] = labels[[second, first]]
        energies = model.energies(None, None, arrangements.weights(np.array(swapped))[:, None])[:, 0].numpy()
        return np.exp(-np.maximum(energies[1:] - energies[0], 0) / (units.kB * temperature_K)).mean()

    exact = np.mean([accepted(labels) for state in states for labels in state.labels])
    assert 0.05 < exact < 0.95 and found.value == pytest.approx(exact, abs=0.02) and 0 < found.error < 0.2
