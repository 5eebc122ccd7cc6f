"""The flow of Monte Carlo on arrangements with mace-demo: what it returns, how it resumes, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.io import read
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure
from rich.console import Console

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.targets import PotentialTarget
from alchemflows.analysis.frames import monte_carlo_states
from alchemflows.cli.monte_carlo_tables import monte_carlo_tables
from alchemflows.errors import InvalidInputError, RunStoppedError, TrajectoryError
from alchemflows.flows.monte_carlo import MonteCarloMaker
from alchemflows.jobs.monte_carlo import ArrangementsMaker
from alchemflows.jobs.relax import relaxing
from alchemflows.jobs.resuming import stopped_by_signals
from alchemflows.results.frames import write_frames
from alchemflows.sampling.sweeps import Explosion, run_sweeps
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA
from alchemflows.schemas.monte_carlo_result import MonteCarloDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reasons import Reason

ROCK_SALT = [[0, 0, 0], [0.5, 0.5, 0.5]]
SHORT = {"n_replicas": 2, "n_equilibration_sweeps": 1, "n_production_sweeps": 4}
DEMO = {"potential": PotentialSpec(name="mace-demo", dtype="float64", device="cpu")}


def salt(**cations: float) -> Structure:
    """Return a primitive cell of rock salt with these cations; its repeats along a alternate along (111)."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.95), [cations, "Cl"], ROCK_SALT)
    return cell.get_primitive_structure()


MIXED = salt(Na=0.5, K=0.5)


@pytest.fixture(autouse=True)
def short_quench(monkeypatch):
    """Make first arrangements of low energy at two temperatures."""
    monkeypatch.setattr("alchemflows.sampling.starts.COOLING", (2.0, 0.5))


def run(flow, folder) -> MonteCarloDocument:
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    outputs = run_locally(flow, store=store, create_folders=True, root_dir=folder, ensure_success=True, log=False)
    return outputs[flow.output.uuid][1].output


def shown(tables) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(tables)
    return captured.get()


def test_samples_are_those_of_the_relaxed_crystal(tmp_path):
    """The last sample of each replica has the energy of its last structure, by the plain potential."""
    maker = MonteCarloMaker(**DEMO, **SHORT, relax_maker=relaxing(0.1))
    document = run(maker.make(MIXED, (2, 2, 1), [800.0, 500.0], waves=[[0.5, 0.5, 0]]), tmp_path)
    assert document.ensemble == "canonical" and document.temperatures_K == [500.0, 800.0]
    assert [(point.n_replicas, point.n_samples) for point in document.points] == [(2, 8), (2, 8)]
    assert [(each.point, each.start) for each in document.replicas] == [
        (0, "random"), (0, "quenched"), (1, "random"), (1, "quenched")
    ]  # fmt: skip
    assert len({each.seed for each in document.replicas}) == 4
    assert document.points[0].volume_A3.value != pytest.approx((MIXED * (2, 2, 1)).volume, rel=1e-3)
    for each in document.replicas:
        series = each.series.unpack()
        assert (np.bincount(series.labels[-1], minlength=2) == [2, 2]).all()
        assert each.final.composition.reduced_formula == "KNaCl2"
        plain = AlchemicalPotential(AlchemicalSystem(each.final), load_potential(DEMO["potential"]))
        positions, cells = each.final.cart_coords[None], each.final.lattice.matrix[None]
        assert float(plain.energies(positions, cells, np.zeros((1, 1, 0)))[0, 0]) == pytest.approx(series.energy_eV[-1])
    target = PotentialTarget(DEMO["potential"])
    states = monte_carlo_states(document)
    assert [(state.name, len(state.frames), state.unit) for state in states] == [
        ("500 K", 8, "sweeps"), ("800 K", 8, "sweeps")
    ]  # fmt: skip
    for state in states:
        assert state.conditions == {"temperature_K": float(state.name.split()[0])}
        assert state.frames.sweeps.tolist() == [1, 2, 3, 4] * 2 and state.spacing == 1.0
        found = [target.energies([atoms])[0] for atoms in state.frames.atoms()]
        np.testing.assert_allclose(found, state.frames.energy_eV, rtol=1e-9)
    assert write_frames(document, states[1:], tmp_path / "hot.xyz") == 8
    images = read(tmp_path / "hot.xyz", ":")
    assert images[3].info["sweep"] == 4 and images[3].info["temperature_K"] == 800.0
    without = document.model_copy(deep=True)
    for each in without.replicas:
        each.frames = None
    with pytest.raises(InvalidInputError, match="n_frames = 0"):
        monte_carlo_states(without)
    with pytest.raises(InvalidInputError, match="n_frames"):
        MonteCarloMaker(**DEMO, n_frames=-1).make(MIXED, (2, 2, 1), [800.0])


def test_a_large_chemical_potential_fills_the_crystal(tmp_path):
    maker = MonteCarloMaker(**DEMO, **SHORT, relax_maker=None, mu_eV={"K": 9.0})
    document = run(maker.make(MIXED, (2, 1, 1), [300.0]), tmp_path)
    assert document.ensemble == "semi-grand" and document.points[0].mu_eV == [{"Na": 0.0, "K": 9.0}]
    assert {each.final.composition.reduced_formula for each in document.replicas} == {"KCl"}


def test_stiff_targets_keep_the_composition(tmp_path):
    maker = MonteCarloMaker(**DEMO, **SHORT, relax_maker=None, targets={"K": 0.25}, stiffness_eV=100.0, n_tries=2)
    document = run(maker.make(MIXED, (2, 2, 1), [300.0]), tmp_path)
    (point,) = document.points
    assert document.ensemble == "variance-constrained" and document.stiffness_eV == 100.0
    assert point.targets == [{"Na": 0.75, "K": 0.25}] and document.settings.n_tries == 2
    assert point.composition[0]["K"].value == 0.25
    assert point.constrained_mu_eV[0]["K"].value == pytest.approx(0.0, abs=1e-12)
    text = shown(monte_carlo_tables(document))
    assert "target K 0.25" in text and "variance-constrained" in text and "μ (eV)" in text


def test_exchanges_keep_the_charge(tmp_path):
    """The first arrangements have two Fe, one Li and one Al; the others follow by the exchange."""
    oxide = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.4), [{"Fe": 0.5, "Li": 0.25, "Al": 0.25}, "O"], ROCK_SALT
    )
    exchange = {"2 Fe -> Li + Al": 30.0}
    maker = MonteCarloMaker(
        **DEMO, **SHORT, relax_maker=None, exchange_mu_eV=exchange, oxidation_states={"Fe": 2}, attempts_per_sweep=3
    )
    document = run(maker.make(oxide.get_primitive_structure(), (2, 2, 1), [3000.0]), tmp_path)
    (point,) = document.points
    assert document.ensemble == "charge-neutral semi-grand" and point.exchange_mu_eV == exchange
    assert {each.final.composition.reduced_formula for each in document.replicas} == {"LiAlO2"}
    assert "Δμ(2 Fe -> Li + Al) = 30 eV" in shown(monte_carlo_tables(document))


def test_a_stopped_job_resumes_with_the_same_result(tmp_path, monkeypatch):
    """It is stopped while first arrangements are made, and again while it samples."""
    job = MonteCarloMaker(**DEMO, **SHORT, relax_maker=None, n_md_steps=2).make(MIXED, (2, 2, 1), [300.0]).jobs[0]
    disorder, maker = Disorder(MIXED, (2, 2, 1)), job.maker

    def sampled() -> MonteCarloDocument:
        return ArrangementsMaker.make.original(maker, disorder)

    (tmp_path / "unbroken").mkdir()
    monkeypatch.chdir(tmp_path / "unbroken")
    expected = sampled()
    monkeypatch.chdir(tmp_path)
    for folder in ("starts", "."):
        with monkeypatch.context() as patch, stopped_by_signals(), pytest.raises(RunStoppedError):
            patch.setattr("alchemflows.jobs.resuming.stop_requested", lambda: True)
            sampled()
        assert list((tmp_path / "checkpoint" / folder).glob("state-*.npz"))
    resumed = sampled()
    for one, other in zip(expected.replicas, resumed.replicas, strict=True):
        assert one.series == other.series and one.final == other.final
    assert expected.points == resumed.points and expected.points[0].sites is not None


def test_the_temperature_at_which_a_replica_explodes_is_named(tmp_path, monkeypatch):
    """As if the dynamics of the third replica exploded after the last sample, when moves had been made."""
    others = np.array([[0, 1], [1, 0], [0, 1], [1, 0]])

    def exploding(*arguments, **options):
        found = run_sweeps(*arguments, **options)
        return replace(found, explosion=Explosion(2, 6, 9, "temperature 1e+05 K"), labels=others)

    monkeypatch.setattr("alchemflows.sampling.sweeps.run_sweeps", exploding)
    document = run(MonteCarloMaker(**DEMO, **SHORT, relax_maker=None).make(MIXED, (2, 1, 1), [300.0, 500.0]), tmp_path)
    (text,) = (each for each in document.verdict.reasons if Reason.of(each) is Reason.EXPLODED)
    assert text.startswith("500 K: ") and "sweep 6 of 9 (temperature 1e+05 K)" in text
    symbols = [[site.specie.symbol for site in each.final if site.specie.symbol != "Cl"] for each in document.replicas]
    assert symbols == [[document.species[label] for label in labels] for labels in others]


@pytest.mark.slow
def test_a_crystal_that_melts_is_named_and_one_that_evaporates_ends_the_job(tmp_path, monkeypatch):
    """Hot Na0.5K0.5Cl melts if pressure holds it together, and has no finite volume without."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], ROCK_SALT)
    hot = MonteCarloMaker(
        **SHORT, potential="mace-demo", relax_maker=None, n_md_steps=100, timestep_fs=3.0, attempts_per_sweep=1,
        replica_exchange=False, pressure_GPa=3.0,
    )  # fmt: skip
    document = run(hot.make(cell, (1, 1, 1), [4000.0]), tmp_path)
    assert [text for text in document.verdict.reasons if Reason.of(text) is Reason.MELTED]
    (point,) = document.points
    assert point.sites.largest_displacement_A > point.sites.nearest_A
    (job,) = replace(hot, pressure_GPa=ATMOSPHERE_GPA).make(MIXED, (2, 1, 1), [4000.0]).jobs
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrajectoryError, match=r"4000 K.*volume"):
        ArrangementsMaker.make.original(job.maker, Disorder(MIXED, (2, 1, 1)))


def test_the_cell_moves_only_with_dynamics_between_sweeps():
    def settings(**changes):
        maker = MonteCarloMaker(**DEMO, pressure_GPa=1.0, relax_maker=None, **changes)
        (job,) = maker.make(MIXED, (2, 2, 1), [900.0, 600.0]).jobs
        return job.maker.settings

    frozen, switched, moving = settings(), settings(n_switching_steps=5), settings(n_md_steps=5)
    assert (frozen.pressure_GPa, switched.pressure_GPa, moving.pressure_GPa) == (None, None, 1.0)
    assert moving.cell_freedom != "isotropic"  # the supercell is not cubic
    assert moving.replica_exchange and moving.temperature_K == 600.0


@pytest.mark.parametrize(
    ("changes", "arguments", "named"),
    [
        ({}, {"structure": salt(Na=1.0)}, "NaCl"),
        ({}, {"supercell": (1, 1, 1)}, "supercell"),
        ({}, {"supercell": (3, 1, 1)}, "1.5"),
        ({}, {"temperatures": []}, "temperatures"),
        ({}, {"temperatures": [300.0, 300.0]}, "temperatures"),
        ({}, {"temperatures": [300.0, -5.0]}, "temperature"),
        ({}, {"waves": [[0.25, 0, 0]]}, "0.25"),
        ({}, {"waves": [[0.5, 0]]}, "wave"),
        ({"n_replicas": 0}, {}, "n_replicas"),
        ({"n_replicas": 3}, {}, "n_replicas"),
        ({"n_production_sweeps": 3}, {}, "n_production_sweeps"),
        ({"proposal": "guess"}, {}, "proposal"),
        ({"mu_eV": {"Li": 0.1}}, {}, "Li"),
        ({"mu_eV": {"Na": 0.0, "K": 0.1}}, {}, "mu_eV"),
        ({"mu_eV": {"K": float("nan")}}, {}, "mu_eV"),
        ({"mu_eV": {"K": 0.1}}, {"structure": salt(Na=0.5, K=0.25, Li=0.25), "supercell": (2, 2, 1)}, "Na, Li"),
        ({"mu_eV": {"K": 0.1}, "targets": {"K": 0.5}}, {}, "mu_eV and targets"),
        ({"targets": {"Li": 0.5}}, {}, "Li"),
        ({"targets": {"K": 0.5}, "stiffness_eV": -1.0}, {}, "stiffness_eV"),
        ({"exchange_mu_eV": {"Na -> Li": 0.0}}, {}, "Li"),
        ({"oxidation_states": {"Na": 1}}, {}, "oxidation_states"),
        (
            {"exchange_mu_eV": {"3 Na -> 3 K": 0.0}},
            {"structure": salt(Na=0.25, K=0.25, Li=0.5), "supercell": (2, 2, 1)},
            "1 Na",
        ),
        ({"n_tries": 2, "n_switching_steps": 5}, {}, "n_tries"),
        ({"seed": -1}, {}, "seed"),
        ({"n_md_steps": 5}, {"structure": salt(Na=0.5, K=0.25), "supercell": (2, 2, 1)}, "n_md_steps"),
        ({"n_md_steps": -5}, {}, "n_md_steps"),
    ],
)
def test_wrong_input_is_named_before_any_job(changes, arguments, named):
    valid = {"structure": MIXED, "supercell": (2, 1, 1), "temperatures": [300.0]}
    maker = replace(MonteCarloMaker(**DEMO), **changes)
    with pytest.raises(InvalidInputError, match=named):
        maker.make(**valid | arguments)
