"""Windows of several jobs in one batch: the same trajectories as alone, and the same results after an interruption."""

from __future__ import annotations

import numpy as np
import pytest

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.campaign.durations import largest_batch
from alchemflows.errors import RunStoppedError
from alchemflows.jobs.companions import batch_key_of
from alchemflows.jobs.window_plans import run_in_one_batch
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.potential import PotentialSpec

LENGTHS = {"n_equilibration_steps": 4, "n_production_steps": 20, "sample_interval_steps": 4}


@pytest.fixture
def jobs(gentle_model, perovskite):
    """Return jobs of three ladders: other substitutions, temperatures, pressures and lengths, and replica exchange."""
    potential = PotentialSpec(name=str(gentle_model), dtype="float64", device="cpu")
    found = []
    for seed, (change, indices, conditions) in enumerate(
        [
            ({"Pb": "Sn"}, [0, 2], {"temperature_K": 200.0, "replica_exchange": True}),
            ({"I": "Cl"}, [1], {"temperature_K": 300.0, "pressure_GPa": 0.1, "cell_freedom": "axes"}),
            ({"Pb": "Sn", "I": "Cl"}, [1], {"temperature_K": 250.0, "n_production_steps": 28}),
        ]
    ):
        maker = WindowsMaker(
            potential=potential, dynamics=DynamicsSettings(**LENGTHS | conditions), lambdas=[0.0, 0.5, 1.0], seed=seed
        )
        found.append(maker.make(AlchemicalPath.from_substitution(perovskite, change), indices))
    return found


def plans(jobs):
    return [job.maker.plan(*job.function_args, **job.function_kwargs) for job in jobs]


def energies(runs):
    return [[series.energies_eV for series in run.series] for run in runs]


def test_jobs_in_one_batch_sample_what_each_samples_alone(jobs):
    assert len({batch_key_of(job) for job in jobs}) == 1
    reports = []
    together = run_in_one_batch(plans(jobs), [NO_CHECKPOINT] * 3, reports.append)
    alone = [plan.run(plan.model, lambda _: None, NO_CHECKPOINT) for plan in plans(jobs)]
    for ours, theirs in zip(together, alone, strict=True):
        assert len(ours.series) == len(theirs.series) and ours.origins == theirs.origins
        for one, other in zip(ours.series, theirs.series, strict=True):
            for name, values in vars(other).items():
                np.testing.assert_allclose(getattr(one, name), values, rtol=1e-8, err_msg=name)
    # The replicas of all jobs are reported, at the end those of the longest alone.
    assert max(len(report.temperatures_K) for report in reports) == 4
    assert (len(reports[-1].temperatures_K), reports[-1].step) == (1, 32)


def test_jobs_in_one_batch_continue_bit_for_bit(jobs, tmp_path):
    whole = run_in_one_batch(plans(jobs), [NO_CHECKPOINT] * 3, lambda _: None)
    seen = []
    first = [Checkpoint(tmp_path / str(k), 1e9, lambda: len(seen) >= 3) for k in range(3)]
    stopped = run_in_one_batch(plans(jobs), first, seen.append)
    assert all(isinstance(each, RunStoppedError) for each in stopped)
    assert all(0 < each.reached() < 24 for each in first)
    again = [Checkpoint(tmp_path / str(k)) for k in range(3)]
    resumed = run_in_one_batch(plans(jobs), again, lambda _: None)
    for whole_run, resumed_run in zip(energies(whole), energies(resumed), strict=True):
        for one, other in zip(whole_run, resumed_run, strict=True):
            assert np.array_equal(one, other)
    # The last checkpoint holds the whole result, so that a job alone is completed without a step.
    assert [each.reached() for each in again] == [24, 24, 32]
    plan = plans(jobs)[1]
    alone = plan.run(plan.model, lambda _: None, Checkpoint(tmp_path / "1"))
    assert np.array_equal(alone.series[0].energies_eV, resumed[1].series[0].energies_eV)


def test_jobs_of_other_sizes_or_potentials_have_other_keys(jobs, perovskite):
    (job, *_), larger = jobs, AlchemicalPath.from_substitution(perovskite * (2, 1, 1), {"Pb": "Sn"})
    single = WindowsMaker(potential=job.maker.potential.model_copy(update={"dtype": "float32"}))
    keys = {
        batch_key_of(job),
        batch_key_of(job.maker.make(larger, [0])),
        batch_key_of(single.make(job.function_args[0], [0])),
    }
    assert len(keys) == 3


def test_memory_of_the_largest_batch_is_that_of_the_largest_jobs(jobs):
    one, two, all_three = (largest_batch(jobs, n) for n in (1, 2, 3))
    each = sorted(largest_batch([job]).n_bytes for job in jobs)
    assert (one.n_bytes, two.n_bytes, all_three.n_bytes) == (each[2], each[1] + each[2], sum(each))
    assert all_three.n_replicas == 4
