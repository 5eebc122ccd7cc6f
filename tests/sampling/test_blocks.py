"""The loop of all runs: where blocks end, what is reported, and that every part of a run goes on where it was."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from harmonic import HarmonicWells, harmonic_path

from alchemflows.errors import RunStoppedError
from alchemflows.sampling.blocks import Blocks, Samples
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.sampling.langevin import Langevin


class Travel:
    """A part of a run: how far atom 0 has come, step by step."""

    def __init__(self) -> None:
        self.sum = 0.0

    def snapshot(self) -> dict[str, np.ndarray]:
        return {"travel": np.array(self.sum)}

    def restore(self, snapshot) -> None:
        self.sum = float(snapshot["travel"])


def dynamics(*temperatures_K: float) -> Langevin:
    path = harmonic_path(2)
    x, h = path.system.structure.cart_coords, path.system.structure.lattice.matrix
    n, n_replicas = len(x), len(temperatures_K)
    return Langevin(
        HarmonicWells(x, (2.0, 3.0)),
        np.tile(x, (n_replicas, 1, 1)),
        np.tile(h, (n_replicas, 1, 1)),
        path.weights([0.5] * n_replicas),
        np.full((n_replicas, n), 20.0),
        temperature_K=temperatures_K,
        timestep_fs=1.0,
        friction_per_ps=5.0,
        seeds=range(n_replicas),
    )


def run(checkpoint: Checkpoint | None = None, on_progress=None) -> tuple[list[tuple[int, bool]], Samples, Travel]:
    """Equilibrate for 7 steps and sample 9 more, in blocks of 3 and of 4: steps 16 = 7 + 9."""
    langevin, samples, travel = dynamics(300.0), Samples("x"), Travel()
    blocks = Blocks(
        langevin, 16, parts=[travel], samples=samples, on_progress=on_progress, checkpoint=checkpoint or Checkpoint()
    )
    seen = []
    for phase, first, end, length in (("equilibration", 0, 7, 3), ("production", 7, 16, 4)):
        for step, ends_block in blocks.steps(phase, first, end, length):
            langevin.step()
            travel.sum += float(langevin.positions[0, 0, 0])
            seen.append((step, ends_block))
            if ends_block and phase == "production":
                samples.append(x=langevin.positions[0, 0].numpy())
    return seen, samples, travel


def test_blocks_end_within_their_phase_and_at_the_end_of_the_run():
    seen, samples, _ = run()
    assert [step for step, _ in seen] == list(range(1, 17))
    assert [step for step, ends in seen if ends] == [3, 6, 11, 15, 16]
    assert len(samples) == 3


def test_progress_says_how_much_time_is_left(monkeypatch):
    clock = iter(10.0 * k for k in range(100))
    monkeypatch.setattr("alchemflows.sampling.blocks.time", SimpleNamespace(monotonic=lambda: next(clock)))
    reports = []
    run(on_progress=reports.append)
    assert [(each.phase, each.step, each.n_steps) for each in reports] == [
        ("equilibration", 3, 16),
        ("equilibration", 6, 16),
        ("production", 11, 16),
        ("production", 15, 16),
        ("production", 16, 16),
    ]
    assert reports[0].seconds_left is None
    assert reports[2].steps_per_s == pytest.approx((11 - 3) / 20)
    assert reports[2].seconds_left == pytest.approx((16 - 11) * 20 / (11 - 3))
    assert reports[-1].seconds_left == 0
    assert len(reports[0].temperatures_K) == 1
    for first, end in ((0, 2), (2, 5)):  # the mean begins again with each phase
        temperatures = [each.temperatures_K[0] for each in reports[first:end]]
        for k, each in enumerate(reports[first:end], start=1):
            assert each.mean_temperature_K == pytest.approx(np.mean(temperatures[:k]))
    assert reports[0].timestep_fs == 1.0


@pytest.mark.parametrize(("temperatures_K", "has_mean"), [((300.0, 300.0), True), ((300.0, 600.0), False)])
def test_replicas_at_several_temperatures_have_no_mean_temperature(temperatures_K, has_mean):
    reports = []
    langevin = dynamics(*temperatures_K)
    for _ in Blocks(langevin, 2, on_progress=reports.append).steps("production", 0, 2, 1):
        langevin.step()
    assert [each.mean_temperature_K is not None for each in reports] == [has_mean] * 2
    assert [len(each.temperatures_K) for each in reports] == [2, 2]


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_every_part_of_a_stopped_run_goes_on(tmp_path, stop_at):
    seen, samples, travel = run()
    asked = iter(range(1, 100))
    with pytest.raises(RunStoppedError):
        run(Checkpoint(tmp_path, interval_s=1e9, should_stop=lambda: next(asked) == stop_at))
    later, again, travelled = run(Checkpoint(tmp_path, interval_s=1e9))
    end_of_block = [step for step, ends in seen if ends][stop_at - 1]
    assert later == seen[end_of_block:]
    assert np.array_equal(again.since(0)["x"], samples.since(0)["x"])
    assert travelled.sum == travel.sum
