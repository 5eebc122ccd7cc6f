"""Committees of potentials on a stored transition of an Ising model, whose frames are exact samples."""

from __future__ import annotations

from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
from ase import units
from jobflow import JobStore, run_locally
from lattices import IsingSquare, everything
from maggma.stores import MemoryStore
from monty.json import jsanitize
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.analysis.frames import arranged_frames
from alchemflows.analysis.members import EvaluatedMember
from alchemflows.analysis.monte_carlo import SampledReplica, monte_carlo_document
from alchemflows.analysis.transition import SampledCell, transition_document
from alchemflows.analysis.transition_committee import (
    monte_carlo_jobs,
    sampled_cells,
    transition_committee_document,
    transition_states,
)
from alchemflows.cli.layout import plain_console
from alchemflows.cli.shown import show
from alchemflows.errors import AlchemflowsError, DatabaseError, InvalidInputError
from alchemflows.flows.transition_committee import TransitionCommitteeMaker
from alchemflows.jobs.frames import states_to_evaluate, transition_with_samples
from alchemflows.jobs.stores import stored_output
from alchemflows.plotting import figures_of
from alchemflows.results.frames import states_of, write_frames
from alchemflows.results.worst_frames import worst_frames
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.frames import evenly_spaced
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.monte_carlo import ArrangementSeries, MonteCarloSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.transition_committee import TransitionCommitteeDocument

SQUARE = Structure(Lattice.tetragonal(3.0, 10.0), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
#: Coupling with which the transition of the infinite lattice is at 600 K (Onsager, Phys. Rev. 65, 117, 1944).
J = units.kB * 600.0 * np.log(1 + np.sqrt(2)) / 2
TEMPERATURES_K = (420.0, 520.0, 620.0, 740.0, 900.0)
SHAPES = ((2, 4), (4, 4))
UUID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
JOBS = ("1c9e6679-7425-40de-944b-e07fc1f90ae7", "2c9e6679-7425-40de-944b-e07fc1f90ae7")
STRONGER = CalculatorSpec(path="calculators:SquareLattice", arguments={"coupling_eV": 1.1 * J, "offset_eV": -9.0})
SAME = CalculatorSpec(path="calculators:SquareLattice", arguments={"coupling_eV": J, "offset_eV": 3.0})


def sampled(shape: tuple[int, int], job: str, n: int = 200, n_frames: int = 30) -> SampledCell:
    """Return independent samples of the Ising model, two replicas at each temperature, some of them as frames."""
    disorder = Disorder(SQUARE, (*shape, 1))
    arrangements = Arrangements.of(disorder)
    every = everything(arrangements)
    every = every[every.sum(axis=1) * 2 == shape[0] * shape[1]]
    energy = IsingSquare(*shape, -J).evaluate(None, None, arrangements.weights(every)).energy.numpy()
    rng, replicas = np.random.default_rng(shape), []
    positions, cell = disorder.system.structure.cart_coords, disorder.system.structure.lattice.matrix
    settings = MonteCarloSettings(temperature_K=TEMPERATURES_K[0], n_production_sweeps=n, replica_exchange=False)
    kept = np.array(evenly_spaced(n, n_frames))
    for temperature_K in TEMPERATURES_K:
        weight = np.exp(-(energy - energy.min()) / (units.kB * temperature_K))
        for start in ("random", "quenched"):
            chosen = rng.choice(len(energy), size=n, p=weight / weight.sum())
            labels = every[chosen]
            series = ArrangementSeries(
                energy[chosen], np.full(n, 90.0), labels, np.full(n, 0.5), np.zeros(n, dtype=int)
            )
            recorded = kept, np.tile(positions, (len(kept), 1, 1)), np.tile(cell, (len(kept), 1, 1))
            frames = arranged_frames(arrangements, series, recorded, settings).packed()
            replicas.append(SampledReplica(series, temperature_K, start, positions, cell, frames=frames))
    return SampledCell(
        disorder,
        monte_carlo_document(disorder, replicas, settings, unit_cell=SQUARE, provenance=Provenance()),
        job,
    )


@pytest.fixture(scope="module")
def stored() -> JobStore:
    """Return a store with the transition of the Ising model and its Monte Carlo in two supercells."""
    cells = [sampled(shape, job) for shape, job in zip(SHAPES, JOBS, strict=True)]
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    store.connect()
    outputs = {UUID: transition_document(cells), **{cell.job: cell.document for cell in cells}}
    for uuid, document in outputs.items():
        row = {"uuid": uuid, "index": 1, "output": jsanitize(document, strict=True)}
        store.docs_store.update(row, key=["uuid", "index"])
    return store


def analysed(store: JobStore, difference, **settings) -> TransitionCommitteeDocument:
    """Return the committee of the sampled potential and one whose energy differs by a function of that energy."""
    document, found = transition_with_samples(store, UUID)
    states = transition_states(UUID, document, found)
    member = EvaluatedMember("other", "", None, [difference(state.frames.energy_eV) for state in states])
    return transition_committee_document(UUID, document, sampled_cells(document, found), [member], **settings)


@pytest.fixture
def database(stored, monkeypatch):
    """Return the store as a database whose results are found by their whole identifiers."""
    for module in ("frames", "worst_frames"):
        monkeypatch.setattr(
            f"alchemflows.results.{module}.find_result",
            lambda database, uuid: (uuid, stored_output(database.job_store, uuid)),
        )
    return SimpleNamespace(job_store=stored)


def test_the_transition_of_each_member(stored, database, tmp_path, capsys):
    """A stronger coupling scales all temperatures; a constant energy changes nothing."""
    flow = TransitionCommitteeMaker(members=[STRONGER, SAME], tolerance_K=1.0).make(UUID)
    outputs = run_locally(flow, store=stored, root_dir=tmp_path, log=False)
    found = outputs[flow.output.uuid][1].output
    document, _ = transition_with_samples(stored, UUID)
    first, stronger, same = found.members
    assert first.sampled and [len(member.transitions) for member in found.members] == [3, 3, 3]
    wanted = [document.crossings[0], *(cell.heat_capacity_peak for cell in document.cells)]
    for known, of_all, of_stronger, of_same in zip(
        wanted, first.transitions, stronger.transitions, same.transitions, strict=True
    ):
        assert of_all.temperature_K == pytest.approx(known.temperature_K)
        assert of_same.temperature_K == pytest.approx(known.temperature_K, abs=1e-3)
        assert of_same.temperature_error_K == pytest.approx(of_all.temperature_error_K, rel=1e-2)
        error_K = of_stronger.temperature_error_K
        assert abs(of_stronger.temperature_K - 1.1 * known.temperature_K) < 3 * error_K
    assert all(member.overlaps for member in found.members) and found.quantity == "crossing"
    assert states_to_evaluate(stored, UUID)[1][0].name == "2×4×1, 420 K"
    values = [member.transition("crossing").temperature_K for member in found.members]
    assert found.spread.mean_K == pytest.approx(np.mean(values))
    assert found.spread.sigma_model_K == pytest.approx(np.std(values, ddof=1))
    (reason,) = [text for text in found.verdict.reasons if Reason.of(text) is Reason.TRANSITIONS_DISAGREE]
    assert "SquareLattice" in reason and f"{found.spread.sigma_model_K:.3g} K" in reason
    assert TransitionCommitteeDocument.read(found.model_dump()) == found
    show(found, plain_console())
    printed = capsys.readouterr().out
    assert "σ_model" in printed and "σ_stat" in printed and "4×4×1" in printed
    drawn = figures_of(found)
    assert list(drawn) == ["committee"] and "committee" in drawn["committee"]()._suptitle.get_text()
    numbers = dict(found.__repr_args__())
    for name in ("mean_K", "sigma_model_K", "sigma_stat_K"):
        assert numbers[name] == pytest.approx(getattr(found.spread, name), rel=1e-5)
    check_worst_frames(database, flow.output.uuid, found)


def check_worst_frames(database, uuid: str, found: TransitionCommitteeDocument) -> None:
    """Check the frames at which the members disagree most; positions are constant, so that many frames are equal."""
    frames = worst_frames(database, uuid, 5)
    first, listed = frames[0], found.frames[0]
    assert (first.conditions["supercell"], first.conditions["temperature_K"], first.index) == (
        "×".join(map(str, listed.supercell)), listed.temperature_K, listed.index
    )  # fmt: skip
    spreads = [frame.spread_eV for frame in frames]
    assert spreads[0] == pytest.approx(listed.spread_eV) and spreads == sorted(spreads, reverse=True)
    assert len({frame.atoms.positions.tobytes() + frame.atoms.numbers.tobytes() for frame in frames}) == 5
    _, states = states_of(database, UUID)
    n_frames = sum(len(state.frames) for state in states)
    with pytest.raises(InvalidInputError, match=f"fewer than {n_frames}"):
        worst_frames(database, uuid, n_frames)
    job = found.members[1].job
    database.job_store.additional_stores["data"].remove_docs({"job_uuid": job})
    with pytest.raises(DatabaseError, match=job):
        worst_frames(database, uuid, 5)


def test_frames_of_a_transition_are_exported(database, tmp_path):
    """Those of all supercells, which have different numbers of atoms."""
    document, states = states_of(database, UUID)
    n = write_frames(document, states, tmp_path / "frames.xyz")
    images = ase.io.read(tmp_path / "frames.xyz", index=":")
    assert len(images) == n == 10 * 60 and [len(images[0]), len(images[-1])] == [8, 16]
    assert images[0].info["supercell"] == "2×4×1" and images[-1].info["temperature_K"] == 900


def test_without_overlap(stored):
    rng = np.random.default_rng(0)
    found = analysed(stored, lambda energy: rng.normal(size=len(energy)))
    other = found.members[1]
    assert not other.overlaps and found.spread is None
    assert all(each.temperature_K is None for each in other.transitions)
    (reason,) = [text for text in found.verdict.reasons if Reason.of(text) is Reason.TRANSITION_FRAMES]
    assert reason.startswith("other")


def test_a_transition_outside_of_the_temperatures(stored):
    """With twice the coupling the transition is above all sampled temperatures."""
    found = analysed(stored, lambda energy: energy)
    assert found.members[1].transition("crossing").temperature_K is None
    named = {Reason.of(text) for text in found.verdict.reasons}
    assert named & {Reason.NO_MEMBER_TRANSITION, Reason.TRANSITION_FRAMES}


def test_frames_that_fail_are_left_out(stored):
    """The other frames of this member are compared with the same ones of the sampled potential."""
    rng = np.random.default_rng(1)
    found = analysed(stored, lambda energy: np.where(rng.random(len(energy)) < 0.2, np.nan, 2.0))
    known, other = (member.transition("heat capacity").temperature_K for member in found.members)
    assert other == pytest.approx(known, abs=1e-3)


def test_what_is_refused(stored):
    with pytest.raises(InvalidInputError, match="tolerance_K"):
        TransitionCommitteeMaker(members=[SAME], tolerance_K=0.0).make(UUID)
    with pytest.raises(InvalidInputError, match="members"):
        TransitionCommitteeMaker().make(UUID)
    document, _ = transition_with_samples(stored, UUID)
    with pytest.raises(AlchemflowsError, match="broken"):
        transition_committee_document(UUID, document, [], [EvaluatedMember("broken", "1234", None, None)])
    earlier = document.model_copy(update={"unit_cell": None})
    with pytest.raises(InvalidInputError, match="earlier release"):
        monte_carlo_jobs(UUID, earlier)
    few = [sampled(shape, JOBS[0], n=8, n_frames=1).document for shape in SHAPES]
    with pytest.raises(InvalidInputError, match="n_frames"):
        transition_states(UUID, document, few)
    with pytest.raises(InvalidInputError, match="no free energy of mixing"):
        states_to_evaluate(stored, JOBS[0])
    with pytest.raises(InvalidInputError, match="4 frames"):
        analysed(stored, lambda energy: np.where(np.arange(len(energy)) < 3, 0.0, np.nan))
