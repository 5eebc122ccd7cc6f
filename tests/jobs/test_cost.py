"""Tests of the cost of jobs, which their makers state."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, fields, is_dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from harmonic import harmonic_path
from jobflow import Flow, Job, Maker, job
from pymatgen.core import Lattice, Structure

import alchemflows.jobs
from alchemflows.alchemy.arrangements import Disorder
from alchemflows.campaign.estimate import work_of
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.jobs.correction import EvaluateFramesMaker
from alchemflows.jobs.cost import CostlyMaker, FrameCost, JobCost, cost_of
from alchemflows.jobs.equilibrium import EquilibriumMaker
from alchemflows.jobs.frame_forces import FrameForcesMaker
from alchemflows.jobs.frame_jobs import FrameJobsMaker
from alchemflows.jobs.frenkel_ladd import EinsteinSwitchesMaker
from alchemflows.jobs.monte_carlo import bytes_of_frames, packed_frames
from alchemflows.jobs.optimize import OptimizeMaker
from alchemflows.jobs.order_disorder import SampledDisorderMaker
from alchemflows.jobs.ordering import SearchMaker
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.jobs.removal import RemovalMaker
from alchemflows.jobs.switching import SwitchesMaker
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.schemas.correction import EvaluationLimits, TargetRunSettings
from alchemflows.schemas.dynamics import DynamicsSettings, SwitchingSettings
from alchemflows.schemas.frames import packed_bytes
from alchemflows.schemas.monte_carlo import MonteCarloSettings

DYNAMICS = DynamicsSettings(
    temperature_K=300.0, n_equilibration_steps=40, n_production_steps=100, sample_interval_steps=10
)
RUNS = TargetRunSettings(n_runs=3, n_equilibration_steps=50, n_production_steps=100)
SWITCHES = SwitchingSettings(temperature_K=300.0, n_repeats=3, n_equilibration_steps=40, n_switching_steps=100)


@dataclass
class TwiceMaker(Maker):
    """A maker that is defined outside this package."""

    name: str = "twice"

    def cost(self, n: int) -> JobCost:
        return JobCost("sampling", n, 2 * n, 5)

    @job
    def make(self, n: int) -> int:
        return 2 * n


def test_cost_of_windows():
    path = harmonic_path(2)
    maker = WindowsMaker(dynamics=DYNAMICS, lambdas=[0.0, 0.5, 1.0], n_frames=4)
    samples, frames = 10 * (4 * 3 + 40) * 4 // 3, packed_bytes(4, 2, cells_vary=False)
    assert cost_of(maker.make(path, [0, 2])) == JobCost("sampling", 2, 2 * 140, 2 * (samples + frames), n_frames=8)
    assert cost_of(maker.make(path, [1])).n_bytes == samples
    longer = cost_of(maker.make(path, indices=[0], first_runs=[1], starts=[None], n_runs=3))
    assert (longer.n_replicas, longer.n_steps) == (1, 300)
    assert longer.n_bytes == 30 * 52 * 4 // 3 + packed_bytes(12, 2, cells_vary=False)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            EquilibriumMaker(dynamics=DYNAMICS, n_replicas=2, n_frames=5).make(harmonic_path(2).system, []),
            JobCost("sampling", 2, 280, packed_bytes(6, 2, cells_vary=False), n_frames=6),
        ),
        (SwitchesMaker(settings=SWITCHES, n_frames=0).make(harmonic_path(2)), JobCost("sampling", 6, 6 * 140)),
        (
            SwitchesMaker(settings=SWITCHES, n_frames=7).make(harmonic_path(2)),  # there are three, one of each replica
            JobCost("sampling", 6, 6 * 140, 2 * packed_bytes(3, 2, cells_vary=False)),
        ),
        (RemovalMaker(settings=SWITCHES).make(None, 0), JobCost("sampling", 6, 6 * 140)),
        (
            EinsteinSwitchesMaker(settings=SWITCHES, n_sampling_steps=50).make(None, []),
            JobCost("sampling", 6, 3 * 90 + 6 * 100),
        ),
        (AlchemicalRelaxMaker().make(None, [], None), JobCost("relaxation", n_relaxations=1)),
        (AlchemicalRelaxMaker().make(None, [], None, [None, None]), JobCost("relaxation", n_relaxations=2)),
        (
            OptimizeMaker(max_steps=20, round_to=8).make(None, [], [[0.5], [0.1]], None),
            JobCost("relaxation", n_relaxations=2 * 21 + 1),
        ),
        (
            SearchMaker(n_starts=3, n_steps=10, n_relaxed=2).make(None, (1, 1, 1), None),
            JobCost("relaxation", n_relaxations=2, n_evaluations=30),
        ),
        (SampledDisorderMaker(n_sampled=6).make(None), JobCost("relaxation", n_relaxations=6)),
        (EvaluateFramesMaker().make("a3c0"), JobCost("sampling", frames=FrameCost("a3c0"))),
        (
            EvaluateFramesMaker(limits=EvaluationLimits(max_evaluations=20), target_runs=RUNS).make("a3c0"),
            JobCost("sampling", 6, 6 * 150, frames=FrameCost("a3c0", 20)),
        ),
        (FrameForcesMaker().make("a3c0", "mace"), JobCost("sampling", frames=FrameCost("a3c0", forces=True))),
        (FrameJobsMaker().make("a3c0"), JobCost(frames=FrameCost("a3c0"))),
        (AnalyseMaker().make(None, []), JobCost("analysis")),
        (Job(print, function_args=("no maker",)), JobCost("analysis")),
    ],
    ids=lambda value: value.name if isinstance(value, Job) else "",
)
def test_cost_of_other_jobs(made, expected):
    assert cost_of(made) == expected


@pytest.mark.parametrize(
    "dynamics", [{}, {"n_md_steps": 4}, {"n_md_steps": 4, "pressure_GPa": 0.1}], ids=["frozen", "NVT", "NPT"]
)
@pytest.mark.parametrize("cation", [{"Na": 0.5, "K": 0.5}, {"Na": 0.5, "K": 0.25, "Rb": 0.125}])
def test_the_estimate_of_space_of_arrangements_is_that_of_the_packed_frames(cation, dynamics):
    """For two elements, and for three and vacancies."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [cation, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    disorder = Disorder(salt, (2, 2, 2))
    arrangements, rng, n = Arrangements.of(disorder), np.random.default_rng(1), 50
    settings = MonteCarloSettings(temperature_K=600.0, n_production_sweeps=2 * n, **dynamics)
    crystal = disorder.system.structure
    moved = rng.normal(0, 0.1, (n, len(crystal), 3)) * settings.moves_atoms
    cells = crystal.lattice.matrix * (1 + 0.01 * rng.normal(size=(n, 1, 1)) * ("pressure_GPa" in dynamics))
    series = SimpleNamespace(
        labels=rng.integers(0, len(arrangements.species), (2 * n, arrangements.n_sites)),
        energy_eV=rng.normal(size=2 * n),
    )
    recorder = SimpleNamespace(of_window=lambda k: (np.arange(1, 2 * n, 2), crystal.cart_coords + moved, cells))
    stored = packed_frames(arrangements, series, recorder, 0, settings)
    assert bytes_of_frames(disorder, settings, n) == pytest.approx(len(stored.npz_base64), rel=0.05)
    # There are not more frames than sweeps.
    assert bytes_of_frames(disorder, settings, 1000) == bytes_of_frames(disorder, settings, 2 * n)
    assert bytes_of_frames(disorder, settings, 0) == 0


def test_cost_of_a_campaign_includes_makers_of_other_packages():
    flow = Flow([TwiceMaker().make(3), TwiceMaker().make(n=4), AnalyseMaker().make(None, [])])
    work = work_of(SimpleNamespace(flow=lambda: flow, n_sites=10, crystals={"a": None}))
    assert (work.n_jobs, work.n_replicas, work.n_steps, work.n_atom_steps, work.n_bytes) == (3, 7, 14, 140, 10)


def makers_with_a_potential() -> list[type[Maker]]:
    found = []
    for module in pkgutil.iter_modules(alchemflows.jobs.__path__, "alchemflows.jobs."):
        for each in vars(importlib.import_module(module.name)).values():
            if isinstance(each, type) and issubclass(each, Maker) and each.__module__ == module.name:
                assert is_dataclass(each)
                found += [each] if "potential" in {field.name for field in fields(each)} else []
    return found


def test_every_maker_with_a_potential_states_its_cost():
    assert len(found := makers_with_a_potential()) >= 7
    assert [each.__name__ for each in found if not isinstance(each(), CostlyMaker)] == []
