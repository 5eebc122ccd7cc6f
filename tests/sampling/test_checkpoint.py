"""Runs that are stopped and go on give the numbers of unbroken ones, whatever happened to their files."""

from __future__ import annotations

import os
import time
from dataclasses import fields

import numpy as np
import pytest
import torch
from ase import units
from command_line import CODE, run_command
from harmonic import HarmonicCrystal, HarmonicWells, harmonic_path

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.errors import RunStoppedError
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.sampling.equilibrium import sample_equilibrium
from alchemflows.sampling.sites import SiteWatch
from alchemflows.sampling.switching import equilibrate_ends, switch
from alchemflows.sampling.windows import run_windows
from alchemflows.schemas.dynamics import DynamicsSettings, SwitchingSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.samples import WindowSeries

T = 300.0
LAMBDAS = [0.0, 0.5, 1.0]


class StopAfter:
    """Says stop at the n-th block."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def broken(run, folder, stops):
    """Run in pieces, each with a fresh checkpoint object, as other processes would."""
    for n in stops:
        with pytest.raises(RunStoppedError, match=r"step \d+"):
            run(Checkpoint(folder, interval_s=1e9, should_stop=StopAfter(n)))
    return run(Checkpoint(folder, interval_s=1e9))


def assert_same(first, second) -> None:
    """Bitwise."""
    for field in fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, np.ndarray):
            assert np.array_equal(a, b), field.name
        elif isinstance(a, torch.Tensor):
            assert torch.equal(a, b), field.name


def dynamics(**changes) -> DynamicsSettings:
    defaults = {
        "temperature_K": T,
        "timestep_fs": 2.0,
        "friction_per_ps": 5.0,
        "n_equilibration_steps": 33,
        "n_production_steps": 80,
        "sample_interval_steps": 5,
    }
    return DynamicsSettings(**defaults | changes)


def demo_windows(perovskite, name, **changes):
    """Windows of a real model, in which atoms move so far that neighbour lists are rebuilt, not all at once."""
    path = AlchemicalPath.from_substitution(perovskite, {"Pb": "Sn"})

    def run(checkpoint):
        model = AlchemicalPotential(path.system, load_potential(PotentialSpec(name=str(name), device="cpu")), 0.2)
        return run_windows(
            model, path, LAMBDAS, range(3), dynamics(**changes), [5, 6, 7], exchange_seed=3, checkpoint=checkpoint
        )

    return run


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"pressure_GPa": 0.1, "cell_freedom": "full", "barostat_time_ps": 0.05},
        pytest.param({"replica_exchange": True, "n_production_steps": 120}, marks=pytest.mark.slow),
    ],
    ids=["constant volume", "full cells", "replica exchange"],
)
def test_windows_go_on_bitwise(perovskite, tmp_path, changes):
    run = demo_windows(perovskite, "mace-demo", **changes)
    whole = run(Checkpoint(tmp_path / "whole", interval_s=0.0))
    again = broken(run, tmp_path / "broken", [2, 3, 7, 1, 4])
    for one, other in zip(whole.series, again.series, strict=True):
        assert_same(one, other)
    assert_same(whole.end, again.end)
    assert len({len(s) for s in again.series}) == 1


def test_a_resumed_watch_continues_bitwise(tmp_path):
    path = harmonic_path(2)
    wells = HarmonicWells(path.system.structure.cart_coords, (2.0, 3.0))

    def run(checkpoint):
        watch = SiteWatch([path.system.structure] * 3)
        run_windows(wells, path, LAMBDAS, range(3), dynamics(), [1, 2, 3], watch=watch, checkpoint=checkpoint)
        return watch.summaries()

    assert broken(run, tmp_path / "broken", [3, 9, 2]) == run(Checkpoint())


@pytest.mark.slow
def test_another_process_goes_on_bitwise(perovskite, tmp_path):
    """What a process has in its memory (compiled modules, lists) leaves no trace in the numbers."""
    perovskite.to(str(tmp_path / "cell.json"))
    code = """
import sys
import numpy as np, torch
from pathlib import Path
from pymatgen.core import Structure
from sampling.test_checkpoint import StopAfter, demo_windows
from alchemflows.errors import RunStoppedError
from alchemflows.sampling.checkpoint import Checkpoint
torch.set_num_threads(1)
folder, stop = Path(sys.argv[1]), int(sys.argv[2])
run = demo_windows(Structure.from_file({cell!r}), "mace-demo", pressure_GPa=0.1)
try:
    found = run(Checkpoint(folder, interval_s=1e9, should_stop=StopAfter(stop) if stop else lambda: False))
    np.savez(folder.parent / (folder.name + ".npz"), energies=np.array([s.energies_eV for s in found.series]))
except RunStoppedError:
    print("stopped")
"""
    code = code.format(cell=str(tmp_path / "cell.json"))

    def go(folder: str, stop: int) -> None:
        done = run_command([code, tmp_path / folder, stop], tmp_path, os.environ, entry=CODE)
        assert done.returncode == 0, done.stderr

    go("whole", 0)
    for stop in (4, 9, 0):
        go("broken", stop)
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "broken.npz") as again:
        assert np.array_equal(whole["energies"], again["energies"])


def harmonic_windows(n_steps: int = 200):
    path = harmonic_path(2)
    wells = HarmonicWells(path.system.structure.cart_coords, (2.0, 3.0))

    def run(checkpoint):
        return run_windows(
            wells, path, LAMBDAS, range(3), dynamics(n_production_steps=n_steps), [1, 2, 3], checkpoint=checkpoint
        )

    return run


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "two states"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage, caplog):
    run, folder = harmonic_windows(), tmp_path / "broken"
    whole = run(Checkpoint())
    for n in (9, 8, 8):
        with pytest.raises(RunStoppedError):
            run(Checkpoint(folder, interval_s=1e9, should_stop=StopAfter(n)))
    states = sorted(folder.glob("state-*.npz"))
    assert len(states) == 2
    for path in states if damage == "two states" else states[-1:]:
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(
            {
                "truncated": content[:middle],
                "flipped": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
            }.get(damage, b"")
        )
    went_on_at = []
    again = run(Checkpoint(folder, interval_s=1e9, should_stop=lambda: bool(went_on_at.append(1))))
    for one, other in zip(whole.series, again.series, strict=True):
        assert_same(one, other)
    assert all(path.name in caplog.text for path in (states if damage == "two states" else states[-1:]))
    # 46 blocks in all, less those that were kept
    assert len(went_on_at) == {"two states": 46}.get(damage, 46 - 17) - 1


def test_a_run_that_went_back_keeps_its_new_checkpoints(tmp_path):
    """States of earlier steps than the damaged ones are not taken for older than those."""
    run, folder = harmonic_windows(), tmp_path / "broken"
    for n in (20, 8):
        with pytest.raises(RunStoppedError):
            run(Checkpoint(folder, interval_s=1e9, should_stop=StopAfter(n)))
    for path in folder.glob("state-*.npz"):
        path.write_bytes(b"")
    with pytest.raises(RunStoppedError):
        run(Checkpoint(folder, interval_s=1e9, should_stop=StopAfter(9)))
    blocks = []
    again = run(Checkpoint(folder, interval_s=1e9, should_stop=lambda: bool(blocks.append(1))))
    assert len(blocks) == 46 - 9 - 1
    for one, other in zip(run(Checkpoint()).series, again.series, strict=True):
        assert_same(one, other)


def test_damaged_samples_cost_what_follows_them(tmp_path):
    run, folder = harmonic_windows(), tmp_path / "broken"
    whole = run(Checkpoint())
    for n in (9, 8, 8):
        with pytest.raises(RunStoppedError):
            run(Checkpoint(folder, interval_s=1e9, should_stop=StopAfter(n)))
    sorted(folder.glob("samples-*.npz"))[-1].write_bytes(b"")
    again = run(Checkpoint(folder))
    for one, other in zip(whole.series, again.series, strict=True):
        assert_same(one, other)


def test_a_disk_that_fails_stops_no_run(tmp_path, monkeypatch, caplog):
    """No checkpoint can be written any more: the run goes on, and the last one before is good."""
    run, folder = harmonic_windows(), tmp_path / "full"
    with pytest.raises(RunStoppedError):
        run(Checkpoint(folder, interval_s=1e9, should_stop=StopAfter(12)))
    before = sorted(path.name for path in folder.iterdir())

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("numpy.savez", full)
        with pytest.raises(RunStoppedError, match=r"No space left"):
            run(Checkpoint(folder, interval_s=0.0, should_stop=StopAfter(9)))
        assert sorted(path.name for path in folder.iterdir()) == before
        unwritten = run(Checkpoint(folder, interval_s=0.0))
    assert "No space left" in caplog.text
    for one, other in zip(run(Checkpoint()).series, unwritten.series, strict=True):
        assert_same(one, other)


def test_a_run_that_was_taken_over_stops_writing(tmp_path):
    """A worker that was thought dead comes back: who has the run now is not disturbed."""
    run, folder = harmonic_windows(), tmp_path / "shared"
    late = Checkpoint(folder, interval_s=0.0)
    taken = []

    def take_over() -> bool:
        if len(taken) == 10:
            Checkpoint(folder).load()
        taken.append(1)
        return False

    late._should_stop = take_over
    with pytest.raises(RunStoppedError, match=folder.name):
        run(late)
    again = run(Checkpoint(folder))
    for one, other in zip(run(Checkpoint()).series, again.series, strict=True):
        assert_same(one, other)


def test_samples_of_two_workers_are_counted_once(tmp_path):
    """Both have written parts that overlap: a run that goes on has each sample once."""
    run = harmonic_windows()
    for name, stops in (("a", (11, 9)), ("b", (14,))):
        for n in stops:
            with pytest.raises(RunStoppedError):
                run(Checkpoint(tmp_path / name, interval_s=1e9, should_stop=StopAfter(n)))
    for path in (tmp_path / "b").glob("s*.npz"):
        path.rename(tmp_path / "a" / path.name)
    again = run(Checkpoint(tmp_path / "a"))
    for one, other in zip(run(Checkpoint()).series, again.series, strict=True):
        assert_same(one, other)
    assert np.array_equal(again.series[0].time_fs, 10.0 * np.arange(1, 41))


def crystal():
    path = harmonic_path(2)
    volume = path.system.structure.volume
    kT = units.kB * T
    model = HarmonicCrystal(
        path.system.structure.frac_coords,
        [np.diag([4.0, 5.0]), np.diag([6.0, 7.0])],
        [1200 * kT / volume, 900 * kT / volume],
        [volume, 1.02 * volume],
    )
    return path, model


@pytest.mark.parametrize("changes", [{}, {"pressure_GPa": 0.02, "barostat_time_ps": 0.1}])
def test_windows_at_several_temperatures_go_on_bitwise(tmp_path, changes):
    path, model = crystal()
    settings = dynamics(replica_exchange=True, **changes)
    places = [(index, temperature_K) for temperature_K in (T, 1.3 * T) for index in range(3)]
    indices, temperatures = zip(*places, strict=True)

    def run(checkpoint):
        seeds, asked = range(6), {"temperatures_K": temperatures, "exchange_seed": 5, "checkpoint": checkpoint}
        return run_windows(model, path, LAMBDAS, indices, settings, seeds, **asked)

    whole, again = run(Checkpoint()), broken(run, tmp_path / "broken", [3, 5, 4])
    for one, other in zip(whole.series, again.series, strict=True):
        assert_same(one, other)
    assert_same(whole.end, again.end)
    assert_same(whole.exchange, again.exchange)
    assert whole.origins == again.origins and whole.exchange.accepted.sum() > 10


def test_equilibria_go_on_bitwise(tmp_path):
    path, model = crystal()
    settings = dynamics(pressure_GPa=0.02, barostat_time_ps=0.1, temperature_K=100.0)

    def run(checkpoint):
        return sample_equilibrium(model, path.system, path.initial, settings, [3, 4], checkpoint=checkpoint)

    assert_same(run(Checkpoint()), broken(run, tmp_path / "broken", [3, 5, 6]))


def test_switches_go_on_bitwise(tmp_path):
    path, model = crystal()
    settings = SwitchingSettings(
        temperature_K=T, timestep_fs=2.0, n_equilibration_steps=70, n_switching_steps=130, n_repeats=2
    )

    def run(checkpoint):
        ends = equilibrate_ends(model, path, settings, [1, 2, 3, 4], checkpoint=checkpoint.stage("equilibration"))
        return switch(model, path, settings, ends, [5, 6, 7, 8], checkpoint=checkpoint.stage("switching"))

    assert_same(run(Checkpoint()), broken(run, tmp_path / "broken", [1, 2, 2, 3]))


def test_finished_parts_are_not_computed_again(tmp_path, monkeypatch):
    """The last checkpoint holds everything: a job whose result was lost after its end samples nothing anew."""
    run = harmonic_windows()
    whole = run(Checkpoint(tmp_path / "done", interval_s=1e9))

    def step(*args, **kwargs):
        raise AssertionError("a step")

    monkeypatch.setattr("alchemflows.sampling.langevin.Langevin.step", step)
    again = run(Checkpoint(tmp_path / "done"))
    for one, other in zip(whole.series, again.series, strict=True):
        assert_same(one, other)
    assert isinstance(again.series[0], WindowSeries)
    assert_same(whole.end, again.end)


def test_time_of_earlier_tries_counts(tmp_path):
    """What a run took until its last checkpoint is part of its wall time, stages and their stages included."""

    def one_try(seconds: float) -> float:
        whole = Checkpoint(tmp_path, interval_s=0.0)
        stage = whole.stage("switching")
        stage.load()
        before = whole.spent_s
        time.sleep(seconds)
        stage.offer(int(1 + 100 * before), lambda: {"x": np.zeros(1)})
        return before

    assert one_try(0.2) == 0.0
    first = one_try(0.3)
    assert first >= 0.2
    assert one_try(0.0) >= first + 0.3
