"""Corrections of absolute free energies and transition temperatures, from short runs of a real crystal."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ase import units
from jobflow import Flow, JobStore, job, run_locally
from jobflow.managers.fireworks import flow_to_workflow
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure
from stored import DOCUMENTS, read_example

from alchemflows.analysis.absolute_states import absolute_states
from alchemflows.analysis.phases import Point, compare
from alchemflows.analysis.state_committee import state_committee_document
from alchemflows.analysis.state_correction import state_correction_document, transitions_of
from alchemflows.cli.layout import plain_console
from alchemflows.cli.shown import show
from alchemflows.errors import AlchemflowsError, DatabaseError, InvalidInputError
from alchemflows.flows.corrected_states import CorrectedFrenkelLaddMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.state_committee import StateCommitteeMaker
from alchemflows.flows.state_correction import StateCorrectionMaker
from alchemflows.free_energy.perturbation import state_change
from alchemflows.jobs.frames import states_of_result, states_with_frames, stored_absolute
from alchemflows.jobs.stores import stored_output
from alchemflows.plotting import figures_of
from alchemflows.results.worst_frames import worst_frames
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.document import decoded
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.state_committee import StateCommitteeDocument
from alchemflows.schemas.state_correction import StateCorrectionDocument

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
MAKER = FrenkelLaddMaker(
    potential=PotentialSpec(name="mace-demo", device="cpu"),
    timestep_fs=4.0,
    n_repeats=2,
    n_cell_steps=300,
    n_equilibration_steps=10,
    n_sampling_steps=40,
    n_switching_steps=20,
    n_frames=20,
    relax_maker=None,
)


def shifted(offset_eV: float, stiffness_eV_per_A2: float = 0.0) -> CalculatorSpec:
    arguments = {"offset_eV": offset_eV, "stiffness_eV_per_A2": stiffness_eV_per_A2}
    return CalculatorSpec(path="calculators:Shifted", arguments=arguments)


@job
def keep(document):
    """Return a document as the output of a job."""
    return document


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """Return a store with the absolute free energy of a crystal and with its correction, and both identifiers."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    correction = StateCorrectionMaker(target=shifted(-0.25))
    flow = CorrectedFrenkelLaddMaker(frenkel_ladd_maker=MAKER, correction_maker=correction).make(SALT)
    run_locally(flow, store=store, root_dir=tmp_path_factory.mktemp("crystal"), ensure_success=True, log=False)
    return store, flow.jobs[0].output.uuid, flow.output.uuid


@pytest.fixture
def crystal(computed):
    """Return a store with the absolute free energy of a crystal, and its identifier."""
    return computed[:2]


def run(store: JobStore, flow: Flow, folder) -> tuple[str, StateCorrectionDocument]:
    run_locally(flow, store=store, root_dir=folder, ensure_success=True, log=False)
    return flow.jobs[-1].uuid, decoded(store.get_output(flow.jobs[-1].uuid, load=True))


def test_a_constant_energy_is_kept(crystal, tmp_path, capsys):
    """ΔΔG is the constant difference: absolute free energies contain it."""
    store, uuid = crystal
    _, found = run(store, StateCorrectionMaker(target=shifted(-0.5)).make(uuid, elements=[11, 17]), tmp_path)
    before = stored_absolute(store, uuid)
    (state,) = found.states
    assert state.reweighting.n_frames == 20 and state.reweighting.lambda_value is None
    assert state.reweighting.best.delta_f_eV == pytest.approx(-4.0, abs=1e-3)  # frames are in single precision
    assert abs(state.entropy_eV_per_K) < 1e-6 and state.total.error_eV == pytest.approx(before.gibbs.error_eV, rel=1e-2)
    assert state.total.value_eV == pytest.approx(before.gibbs.value_eV - 4.0, abs=1e-3)
    assert found.transitions == [] and found.temperature_K == 300.0 and found.left_out == []
    assert all(reason.startswith("free energy: ") or "few" in reason or "frames" in reason
               for reason in found.verdict.reasons)  # fmt: skip
    assert StateCorrectionDocument.read(found.model_dump()) == found
    show(found, plain_console())
    printed = capsys.readouterr().out
    assert "NaCl, 300 K" in printed and "ΔΔG" in printed
    (drawn,) = figures_of(found).values()
    assert "ΔΔG" in drawn()._suptitle.get_text()


def test_the_change_is_that_of_the_formulas(crystal, tmp_path):
    """With springs between all atoms; the enthalpy contains pV of each frame."""
    store, uuid = crystal
    _, found = run(store, StateCorrectionMaker(target=shifted(0.0, 2e-3)).make(uuid), tmp_path)
    arrays = found.energies.arrays()
    ((each,), _) = states_of_result(store, stored_absolute(store, uuid))
    frames = each.frames.sampled.frames
    assert frames.energy_eV.tolist() == arrays["source_0_eV"].tolist()
    volumes = np.abs(np.linalg.det(frames.cells_A))
    enthalpies = frames.energy_eV + found.pressure_GPa * units.GPa * volumes
    expected = state_change(arrays["target_0_eV"] - arrays["source_0_eV"], enthalpies, 300.0)
    (state,) = found.states
    assert (state.reweighting.best.delta_f_eV, state.reweighting.best.error_eV) == pytest.approx(
        expected.reweighting.best
    )
    assert (state.entropy_eV_per_K, state.entropy_error_eV_per_K) == pytest.approx(expected.entropy_eV_per_K)
    assert state.reweighting.best.error_eV > 0


def phases(store: JobStore, uuid: str):
    """Return phases whose states are those of the crystal at two temperatures, with a transition between them."""
    document = stored_absolute(store, uuid)
    points, documents = [], []
    for phase, slope in (("cold", 0.0), ("hot", -4e-4)):
        for temperature in (280.0, 320.0):
            points.append(Point(phase, "NaCl", None, temperature, document.counts, 0.0))
            value = document.gibbs.model_copy(update={"value_eV": -30.0 + 8 * slope * (temperature - 305.0)})
            documents.append(document.model_copy(update={"gibbs": value, "temperature_K": temperature}))
    return compare(points, documents)


def test_a_constant_energy_per_atom_shifts_no_transition(crystal, tmp_path, capsys):
    store, uuid = crystal
    made = keep(phases(store, uuid))
    run_locally(made, store=store, root_dir=tmp_path, log=False)
    _, found = run(store, StateCorrectionMaker(target=shifted(2.0)).make(made.uuid), tmp_path)
    assert [state.name for state in found.states][:2] == ["cold NaCl, 280 K", "cold NaCl, 320 K"]
    (transition,) = found.transitions
    assert transition.temperature_K == pytest.approx(305.0) and transition.shift_K == pytest.approx(0.0, abs=0.1)
    assert transition.corrected_K == transition.temperature_K + transition.shift_K
    assert found.temperature_K is None and len(found.energies.arrays()) == 8
    show(found, plain_console())
    assert "cold → hot" in capsys.readouterr().out
    (drawn,) = figures_of(found).values()
    assert "305 K" in drawn()._suptitle.get_text()


def with_energies(store, uuid, result, change):
    """Return the correction of a result whose frames of one phase have a changed energy; others keep theirs."""
    states, left_out = states_of_result(store, result)
    for each in states:
        energies = each.frames.sampled.frames.energy_eV
        for row, energy in enumerate(energies):
            each.frames.record(row, float(energy + change(each.state, row)))
    return state_correction_document(uuid, result, "changed", states, left_out, Provenance())


def test_a_shift_of_a_transition(crystal):
    """δT = ΔΔG / ΔS, from the states of each phase that are nearest to the transition."""
    store, uuid = crystal
    result = phases(store, uuid)
    (transition,) = transitions_of(result)
    assert (transition.low, transition.high) == ("cold", "hot") and transition.entropy_eV_per_K[0] == pytest.approx(
        4e-4
    )

    def change(state, row):
        return 8 * {"cold": 0.001, "hot": 0.003}[state.phase] if state.temperature_K == 320.0 else 99.0

    found = with_energies(store, uuid, result, change)
    (shifted_by,) = found.transitions
    assert shifted_by.difference_eV_per_atom == pytest.approx(0.002)
    assert shifted_by.shift_K == pytest.approx(5.0) == shifted_by.next_shift_K
    assert shifted_by.corrected_error_K == pytest.approx(np.hypot(shifted_by.error_K, shifted_by.shift_error_K))
    far = with_energies(store, uuid, result, lambda state, row: 0.4 * (state.phase == "hot"))
    assert Reason.NOT_FIRST_ORDER in {Reason.of(reason) for reason in far.verdict.reasons}
    assert Reason.NOT_FIRST_ORDER not in {Reason.of(reason) for reason in found.verdict.reasons}


def test_states_without_frames_are_named(crystal):
    store, uuid = crystal
    result = phases(store, uuid)
    first = result.points[0].model_copy(update={"mean_cell_job": None})
    states, left_out = states_of_result(store, result.model_copy(update={"points": [first, *result.points[1:]]}))
    assert len(states) == 3 and left_out[0].startswith("cold NaCl, 280 K: it has no frames")


def test_a_transition_to_a_phase_without_frames_is_named_in_the_table(crystal, capsys):
    store, uuid = crystal
    result = phases(store, uuid)
    points = [
        each.model_copy(update={"mean_cell_job": None if each.phase == "hot" else each.mean_cell_job})
        for each in result.points
    ]
    found = with_energies(store, uuid, result.model_copy(update={"points": points}), lambda state, row: 0.0)
    (transition,) = found.uncorrected
    assert (transition.low_temperature_phase, transition.high_temperature_phase) == ("cold", "hot")
    assert transition.temperature_K == pytest.approx(305.0) and transition.without_frames == ["hot"]
    assert found.transitions == [] and len(found.left_out) == 2
    show(found, plain_console())
    assert "no frames of hot" in capsys.readouterr().out


def test_frames_are_not_read_to_know_which_states_have_them(crystal):
    store, uuid = crystal
    without_samples = JobStore(store.docs_store, additional_stores={"data": MemoryStore(key="blob_uuid")})
    states, left_out = states_with_frames(without_samples, stored_absolute(store, uuid))
    assert [state.formula for state in states] == ["NaCl"] and left_out == []
    states, left_out = states_with_frames(store, phases(store, uuid))
    assert len(states) == 4
    mixed = store.docs_store.query_one({"uuid": states[0].job})
    changed = MemoryStore()
    changed.connect()
    changed.update(mixed | {"output": mixed["output"] | {"weights": [0.5, 0.5]}}, key="uuid")
    assert "mixed crystal" in states_with_frames(JobStore(changed), stored_absolute(store, uuid))[1][0]
    changed.remove_docs({})
    with pytest.raises(DatabaseError, match=states[0].job):
        states_with_frames(JobStore(changed), stored_absolute(store, uuid))


def melting_point(crystal):
    """Return a melting point of 310 K, and its states; both have the frames of the crystal."""
    store, uuid = crystal
    example = read_example(DOCUMENTS / "MeltingDocument-1-quantum.json")
    (row,) = example["outputs"]
    stored = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    stored.connect()
    stored.docs_store.update(row, key="uuid")
    stored.additional_stores["data"].update(example["samples"], key="blob_uuid")
    heat = {"melting_K": 310.0, "melting_error_K": 2.0, "latent_heat_eV_per_atom": 0.031}
    result = stored_absolute(stored, row["uuid"]).model_copy(update=heat | {"latent_heat_error_eV_per_atom": 0.0})
    ((sampled,), _) = states_of_result(store, stored_absolute(store, uuid))
    return result, [
        replace(sampled, state=state, frames=replace(sampled.frames, target_eV=np.full(20, np.nan), errors={}))
        for state in absolute_states(result)
    ]


def melting_with(crystal, liquid_eV_per_atom, failed=()):
    """Return the correction of the melting point to a potential whose liquid has a higher energy."""
    result, states = melting_point(crystal)
    for each in states:
        per_atom = {"solid": 0.0, "liquid": liquid_eV_per_atom}[each.state.phase]
        for k, energy in enumerate(each.frames.sampled.frames.energy_eV):
            value = float(energy + each.state.counts.atoms * per_atom)
            each.frames.record(k, "not converged" if k in failed else value)
    return state_correction_document(crystal[1], result, "changed", states, [], Provenance())


def test_a_melting_point_is_shifted(crystal):
    """The entropy of fusion is the latent heat divided by the melting point; both states are anchors of curves."""
    result, states = melting_point(crystal)
    (transition,) = transitions_of(result)
    assert transition.entropy_eV_per_K == pytest.approx((1e-4, 0.0))
    found = melting_with(crystal, 0.001)
    (melting,) = found.transitions
    assert (melting.low_temperature_phase, melting.high_temperature_phase) == ("solid", "liquid")
    assert melting.shift_K == pytest.approx(10.0) and melting.corrected_K == pytest.approx(320.0)
    assert {Reason.of(reason) for reason in found.verdict.reasons} >= (
        {Reason.FAR_FRAMES} if any(abs(s.state.temperature_K - 310) > 0.25 * s.state.temperature_K for s in states)
        else set()
    )  # fmt: skip


def test_a_committee_on_a_melting_point(crystal, capsys):
    """The sampled potential, and two whose melting points are 10 and 20 K higher; one failed on two frames."""
    result, states = melting_point(crystal)
    members = [
        ("near", "1234", melting_with(crystal, 0.001)),
        ("far", "5678", melting_with(crystal, 0.002, failed=(3, 7))),
        ("broken", "9abc", None),
    ]
    found = state_committee_document(crystal[1], result, states, members, tolerance_K=5.0)
    (spread,) = found.spreads
    temperatures = [member.transitions[0].temperature_K for member in found.members]
    assert temperatures == pytest.approx([310.0, 320.0, 330.0]) and found.members[0].sampled
    assert (spread.mean_K, spread.sigma_model_K, spread.n_members) == pytest.approx((320.0, 10.0, 3))
    # Constant energies have no statistical error, so the error of the sampled melting point remains.
    assert spread.sigma_stat_K == pytest.approx(2.0, rel=1e-3) and spread.sigma_model_error_K < 1e-3
    (reason,) = [text for text in found.verdict.reasons if Reason.of(text) is Reason.TRANSITIONS_DISAGREE]
    assert reason.startswith("solid → liquid") and "frame" in reason
    assert [failed.name for failed in found.failed] == ["broken"]
    assert any("broken" in note for note in found.verdict.notes)
    assert any("far" in note and "3, 7" in note for note in found.verdict.notes)
    numbers = dict(found.__repr_args__())
    assert (numbers["mean_K"], numbers["sigma_model_K"]) == pytest.approx((320.0, 10.0))
    show(found, plain_console())
    printed = capsys.readouterr().out
    assert "σ_model" in printed and "σ_stat" in printed and "solid → liquid" in printed
    (drawn,) = figures_of(found).values()
    assert "solid → liquid" in drawn().axes[0].get_xlabel()
    without = state_committee_document(crystal[1], result, states, members, include_sampled=False, tolerance_K=50.0)
    assert without.spreads[0].mean_K == pytest.approx(325.0) and not without.includes_sampled
    assert Reason.TRANSITIONS_DISAGREE not in {Reason.of(text) for text in without.verdict.reasons}
    with pytest.raises(AlchemflowsError, match="broken"):
        state_committee_document(crystal[1], result, states, members[1:], include_sampled=False)


def test_a_committee_on_an_absolute_free_energy(crystal, tmp_path, capsys, monkeypatch):
    """Springs between all atoms, and a constant energy; each member is a correction of the same frames."""
    store, uuid = crystal
    maker = StateCommitteeMaker(members=[shifted(0.5), shifted(0.0, 2e-3)], tolerance_meV_per_atom=1.0)
    flow = maker.make(uuid, elements=[11, 17])
    compared, found = run(store, flow, tmp_path)
    before, _, springs = found.members
    alone = [decoded(store.get_output(job.uuid, load=True)) for job in flow.jobs[:2]]
    for member, correction in zip(found.members[1:], alone, strict=True):
        assert member.states[0].total == correction.states[0].total and member.transitions == []
    assert before.states[0].total == stored_absolute(store, uuid).gibbs
    (spread,) = found.state_spreads
    totals = [member.states[0].total.value_eV for member in found.members]
    assert spread.mean.value_eV == pytest.approx(np.mean(totals))
    assert spread.sigma_model_eV == pytest.approx(np.std(totals, ddof=1))
    # Only the springs have an error beside that of the sampled potential; it counts a third.
    (own,) = [state.reweighting.best.error_eV for state in alone[1].states]
    assert spread.mean.error_eV == pytest.approx(np.hypot(before.states[0].total.error_eV, own / 3), rel=1e-3)
    (reason,) = [text for text in found.verdict.reasons if Reason.of(text) is Reason.MEMBERS_DISAGREE]
    assert found.frames[0].member == springs.name and springs.name in reason
    assert StateCommitteeDocument.read(found.model_dump()) == found
    show(found, plain_console())
    assert "NaCl, 300 K" in capsys.readouterr().out
    (drawn,) = figures_of(found).values()
    assert "eV/atom" in drawn().axes[0].get_xlabel()
    for module in ("frames", "worst_frames"):
        monkeypatch.setattr(
            f"alchemflows.results.{module}.find_result",
            lambda database, uuid: (uuid, stored_output(database.job_store, uuid)),
        )
    worst = worst_frames(SimpleNamespace(job_store=store), compared, 5)
    assert [frame.index for frame in worst] == [frame.index for frame in found.frames]
    assert [frame.spread_eV for frame in worst] == pytest.approx([frame.spread_eV for frame in found.frames])


def test_a_committee_on_phases(crystal, capsys):
    """The transition is shifted by the states next to it; one to a phase without frames is named."""
    store, uuid = crystal
    result = phases(store, uuid)
    members = [
        (name, name, with_energies(store, uuid, result, lambda state, row, c=c: 8 * c * (state.phase == "hot")))
        for name, c in (("near", 0.002), ("far", 0.004))
    ]
    found = state_committee_document(uuid, result, states_of_result(store, result)[0], members)
    (spread,) = found.spreads
    assert spread.name == "cold → hot" and len(found.state_spreads) == 4 and found.uncorrected == []
    assert (spread.mean_K, spread.sigma_model_K) == pytest.approx((310.0, 5.0))
    sigmas = [each.sigma_model_eV_per_atom for each in found.state_spreads]
    assert sigmas == pytest.approx([0.0, 0.0, 0.002, 0.002], abs=1e-12)
    points = [
        each.model_copy(update={"mean_cell_job": None if each.phase == "hot" else each.mean_cell_job})
        for each in result.points
    ]
    result = result.model_copy(update={"points": points})
    same = with_energies(store, uuid, result, lambda state, row: 0.0)
    states, left_out = states_of_result(store, result)
    same = same.model_copy(update={"left_out": left_out})
    found = state_committee_document(uuid, result, states, [("same", "1234", same)])
    assert found.spreads == [] and len(found.left_out) == 2 and found.uncorrected == same.uncorrected
    show(found, plain_console())
    assert "no frames of hot" in capsys.readouterr().out


def test_bad_input_is_refused(crystal):
    _, uuid = crystal
    with pytest.raises(InvalidInputError, match="max_failed"):
        StateCorrectionMaker(target=shifted(0.0), max_failed=1.0).make(uuid)
    with pytest.raises(InvalidInputError, match="Xe"):
        StateCorrectionMaker(target=PotentialSpec(name="mace-demo", dtype="float64")).make(uuid, elements=[11, 54])
    with pytest.raises(InvalidInputError, match="maker of jobs"):
        StateCorrectionMaker(target=MAKER).make(uuid)
    for name in ("tolerance_K", "tolerance_meV_per_atom"):
        with pytest.raises(InvalidInputError, match=name):
            StateCommitteeMaker(members=[shifted(0.0)], **{name: 0.0}).make(uuid)


def test_a_flow_computes_and_corrects_free_energies(computed):
    store, uuid, corrected = computed
    found = decoded(store.get_output(corrected, load=True))
    assert found.result == uuid and found.target == shifted(-0.25).name
    (state,) = found.states
    assert state.reweighting.n_frames == 20 and state.reweighting.best.delta_f_eV == pytest.approx(-2.0, abs=1e-3)
    assert state.uncorrected == stored_absolute(store, uuid).gibbs


@pytest.mark.parametrize(
    ("run", "correction", "structure", "words"),
    [
        ({"n_frames": 0}, {}, SALT, "n_frames"),
        ({"pressure_GPa": None}, {}, SALT, "pressure_GPa"),
        ({}, {"max_failed": 2.0}, SALT, "max_failed"),
        ({}, {}, Structure(SALT.lattice, [{"Na": 0.5, "K": 0.5}, "Cl"], [[0] * 3, [0.5] * 3]), "partial occupancies"),
    ],
)
def test_flows_whose_result_cannot_be_corrected_are_refused(run, correction, structure, words):
    maker = CorrectedFrenkelLaddMaker(
        frenkel_ladd_maker=replace(MAKER, **run), correction_maker=StateCorrectionMaker(**correction)
    )
    with pytest.raises(InvalidInputError, match=words):
        maker.make(structure)


@pytest.mark.parametrize(("own", "expected"), [(None, "gpu"), ("chgnet", "chgnet")])
def test_the_target_may_have_a_category(own, expected):
    maker = CorrectedFrenkelLaddMaker(
        frenkel_ladd_maker=MAKER, correction_maker=StateCorrectionMaker(target=shifted(1.0)), target_category=own
    )
    categories = {firework.name: firework.spec["_category"] for firework in flow_to_workflow(maker.make(SALT)).fws}
    assert categories.pop("correction") == expected and set(categories.values()) == {"gpu"}


def test_a_target_that_lacks_an_element_is_refused_before_work(gentle_model):
    """It supports caesium, lead, tin and iodine; the sampled potential supports the crystal."""
    correction = StateCorrectionMaker(target=PotentialSpec(name=str(gentle_model)))
    with pytest.raises(InvalidInputError, match=r"\bNa\b"):
        CorrectedFrenkelLaddMaker(frenkel_ladd_maker=MAKER, correction_maker=correction).make(SALT)
