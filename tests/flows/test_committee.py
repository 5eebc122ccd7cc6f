"""Committees of potentials on one ladder, run by jobflow in this process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calculators import Springs
from jobflow import JobStore, run_locally
from jobflow.managers.fireworks import flow_to_workflow
from maggma.stores import MemoryStore
from models import GENTLE, save_mace
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.analysis.committee import N_LISTED, force_spread
from alchemflows.cli.layout import plain_console
from alchemflows.cli.shown import show
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.flows.committee import CommitteeLadderMaker, CommitteeMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.jobs.frames import frames_of_ladder, stored_ladder
from alchemflows.plotting import figures_of
from alchemflows.schemas.committee import CommitteeDocument
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialRecord, PotentialSpec
from alchemflows.schemas.reasons import Reason

SPRINGS = "calculators:Springs"
ID = "a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10"


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Return the file of a model with two heads, whose energies are close to those of the sampled potential."""
    own = {"atomic_energies": np.full((2, 5), -3.0), "atomic_inter_scale": [0.31, 0.34], "atomic_inter_shift": [0, 0]}
    return str(save_mace(tmp_path_factory.mktemp("heads") / "heads.model", "heads", **GENTLE | own))


def both(heads: str) -> list[PotentialSpec]:
    return [PotentialSpec(name=heads, dtype="float64", head=head) for head in ("Default", "other")]


def compared(framed_ladder, tmp_path, members, **settings) -> CommitteeDocument:
    store, uuid = framed_ladder
    flow = CommitteeMaker(members=members, **settings).make(uuid)
    outputs = run_locally(flow, store=store, root_dir=tmp_path, log=False)
    return outputs[flow.jobs[-1].uuid][1].output


def test_two_heads_of_one_file(framed_ladder, heads, tmp_path, capsys):
    found = compared(framed_ladder, tmp_path, both(heads), tolerance_meV_per_atom=1e-3)
    store, uuid = framed_ladder
    document = stored_ladder(store, uuid)
    assert [member.sampled for member in found.members] == [True, False, False]
    assert [member.name for member in found.members[1:]] == [f"{heads}, head Default", f"{heads}, head other"]
    assert found.members[0].total == document.total and found.members[0].potential == found.source
    values = np.array([member.total.delta_f_eV for member in found.members])
    assert found.sigma_model_eV == pytest.approx(values.std(ddof=1)) != 0
    assert found.mean.delta_f_eV == pytest.approx(values.mean())
    assert found.sigma_stat_eV > document.total.error_eV > 0 and found.sigma_model_error_eV > 0
    assert all(member.total.delta_f_eV - document.total.delta_f_eV == pytest.approx(member.correction.delta_f_eV)
               for member in found.members)  # fmt: skip
    (reason,) = [text for text in found.verdict.reasons if Reason.of(text) is Reason.MEMBERS_DISAGREE]
    worst = max(found.frames, key=lambda frame: frame.spread_eV)
    assert f"frame {worst.index} of {worst.formula} (λ = {worst.lambda_value:g})" in reason
    assert CommitteeDocument.read(found.model_dump()) == found
    show(found, plain_console())
    printed = capsys.readouterr().out
    assert "σ_model" in printed and "σ_stat" in printed and "3 members, with the sampled potential" in printed
    drawn = figures_of(found)
    assert list(drawn) == ["committee"] and "σ_model" in drawn["committee"]()._suptitle.get_text()


def test_frames_at_which_members_disagree(framed_ladder, heads, tmp_path):
    """Their spread and deviations are those of ΔU minus its mean, over the members with the sampled potential."""
    found = compared(framed_ladder, tmp_path, both(heads))
    assert not any(Reason.of(text) is Reason.MEMBERS_DISAGREE for text in found.verdict.reasons)
    for end, differences in enumerate(found.differences_eV):
        assert differences.shape == (2, 40)
        listed = [frame for frame in found.frames if frame.lambda_value == end]
        deviations = differences - differences.mean(axis=1, keepdims=True)
        spread = np.vstack([np.zeros(40), deviations]).std(axis=0, ddof=1)
        assert [frame.index for frame in listed] == np.argsort(-spread)[:N_LISTED].tolist()
        first = listed[0]
        assert first.spread_eV == pytest.approx(spread.max()) and first.time_fs == 20 * (first.index + 1)
        assert abs(first.deviation_eV) == pytest.approx(np.abs(deviations[:, first.index]).max())


def test_without_the_sampled_potential(framed_ladder, gentle_model, heads, tmp_path):
    same = PotentialSpec(name=str(gentle_model), dtype="float64")
    found = compared(framed_ladder, tmp_path, [same, both(heads)[0]], include_sampled=False)
    assert not any(member.sampled for member in found.members) and len(found.members) == 2
    values = [member.total.delta_f_eV for member in found.members]
    assert found.sigma_model_eV == pytest.approx(abs(values[0] - values[1]) / np.sqrt(2))


@pytest.mark.parametrize(("least", "overlaps"), [(4.0, True), (41.0, False)])
def test_few_independent_frames_show_no_overlap(framed_ladder, gentle_model, tmp_path, monkeypatch, least, overlaps):
    """The same potential has the largest effective sample size that there can be; 40 frames are stored."""
    monkeypatch.setattr("alchemflows.analysis.committee.MIN_INDEPENDENT", least)
    found = compared(framed_ladder, tmp_path, [PotentialSpec(name=str(gentle_model), dtype="float64")])
    (member,) = found.members[1:]
    assert member.n_effective == pytest.approx(member.n_independent, rel=1e-3) and min(member.n_independent) > 4
    assert member.overlaps is overlaps and (member.rerun is None) is overlaps


def test_a_constant_difference_between_members_is_no_disagreement(framed_ladder, tmp_path):
    """Two calculators that differ from the sampled potential in the same way."""
    springs = [
        CalculatorSpec(path=SPRINGS, arguments={"stiffness_eV_per_A2": 1.0, "offset_eV": value})
        for value in (0.0, 40.0)
    ]
    found = compared(framed_ladder, tmp_path, springs, include_sampled=False)
    assert found.sigma_model_eV < 1e-9 and found.sigma_noise_eV < 1e-9
    assert found.members[0].name == "calculators:Springs(stiffness_eV_per_A2=1.0, offset_eV=0.0)"
    assert not found.members[0].overlaps and not found.verdict.converged
    assert not any("agree" in note for note in found.verdict.notes)  # without overlap, nothing is known
    named = [text for text in found.verdict.reasons if Reason.of(text) is Reason.FRAMES_OVERLAP]
    assert len(named) == 4 and all(SPRINGS in text for text in named)


def test_spread_of_forces(framed_ladder, gentle_model, heads, tmp_path, capsys):
    """Over the sampled potential, a head and springs, from forces that are computed here."""
    store, uuid = framed_ladder
    springs = CalculatorSpec(path=SPRINGS, arguments={"stiffness_eV_per_A2": 1e-3})
    members = [both(heads)[1], springs]
    sampled = stored_ladder(store, uuid).provenance.potential
    flow = CommitteeMaker(members=members, forces=True).make(uuid, sampled=sampled)
    outputs = run_locally(flow, store=store, root_dir=tmp_path, log=False)
    found = outputs[flow.jobs[-1].uuid][1].output
    assert len(found.force_members) == 3 and found.force_members[0] == f"{sampled.name} (sampled)"
    potentials = [PotentialSpec(name=str(gentle_model), dtype="float64"), members[0]]
    for end, frames in enumerate(frames_of_ladder(store, stored_ladder(store, uuid))):
        image = frames.frames.atoms()[7]
        system, weights = AlchemicalSystem.from_structure(frames.frames.structures()[7])
        forces = []
        for calculator in (*(AlchemicalCalculator(system, weights, each) for each in potentials), Springs()):
            image.calc = calculator
            forces.append(image.get_forces())
        spread = np.sqrt(np.var(forces, axis=0, ddof=1).sum(axis=1))
        assert found.force_spreads_eV_per_A[end][7] == pytest.approx(spread.max(), rel=1e-5)
        listed = [frame for frame in found.force_frames if frame.lambda_value == end]
        assert listed[0].force_spread_eV_per_A == pytest.approx(found.force_spreads_eV_per_A[end].max())
        assert len(listed) == N_LISTED and 0 <= listed[0].atom < 5
    show(found, plain_console())
    assert "forces of 3 members" in capsys.readouterr().out


def test_members_without_forces(framed_ladder, tmp_path):
    """Forces that fail on some frames leave these out; a member without any is named."""
    silent = CalculatorSpec(path="calculators:WithoutForces")
    some = CalculatorSpec(path=SPRINGS, arguments={"fails": [3]})
    other = CalculatorSpec(path=SPRINGS, arguments={"stiffness_eV_per_A2": 0.002})
    found = compared(framed_ladder, tmp_path, [silent, some, other], forces=True)
    assert len(found.members) == 4 and found.force_members == [some.name, other.name]
    assert any("WithoutForces" in note and "forces" in note for note in found.verdict.notes)
    assert np.flatnonzero(np.isnan(found.force_spreads_eV_per_A[0])).tolist() == [3]
    alone = compared(framed_ladder, tmp_path, [silent, other], forces=True)
    assert alone.force_members == [] and alone.force_frames == []


def test_the_spread_of_forces_is_the_largest_over_atoms():
    forces = np.zeros((3, 4, 2, 3))  # members, frames, atoms, components
    forces[0, 1, 1] = [3.0, 0.0, 4.0]
    forces[2, 2, 0, 1] = np.nan
    spread, atoms = force_spread(list(forces))
    np.testing.assert_allclose(spread, [0.0, 5 / np.sqrt(3), np.nan, 0.0])
    assert atoms.tolist() == [0, 1, -1, 0]


@pytest.mark.slow
def test_a_foundation_model_on_a_ladder_of_mace_demo(tmp_path):
    """SevenNet-0 and mace-demo, which was trained on its energies, agree in ΔF of NaCl → KCl."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(6.0), ["Na", "Cl"], sites)
    lengths = {"n_windows": 2, "windows_per_job": 2, "n_equilibration_steps": 100, "n_production_steps": 500}
    maker = ThermodynamicIntegrationMaker(
        potential="mace-demo", temperature=300.0, relax_maker=None, n_frames=25, **lengths
    )
    flow = maker.make(salt, {"Na": "K"})
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    run_locally(flow, store=store, root_dir=tmp_path, ensure_success=True, log=False)
    found = compared((store, flow.jobs[-1].uuid), tmp_path, [PotentialSpec(name="sevennet-0", dtype="float64")])
    demo, seven = (member.total.delta_f_eV_per_atom for member in found.members)
    assert abs(seven - demo) < 0.02
    assert found.sigma_model_eV_per_atom == pytest.approx(abs(seven - demo) / np.sqrt(2))
    assert all(frame.spread_eV < 0.1 for frame in found.frames)


def test_a_ladder_with_its_committee(perovskite, gentle_model, tmp_path):
    """The ladder and its evaluations are one flow; members and forces are evaluated after the ladder."""
    lengths = {"n_windows": 2, "n_equilibration_steps": 10, "n_production_steps": 80, "windows_per_job": 2}
    ladder = ThermodynamicIntegrationMaker(
        potential=str(gentle_model), temperature=200.0, relax_maker=None, n_frames=8, **lengths
    )
    springs = [CalculatorSpec(path=SPRINGS, arguments={"stiffness_eV_per_A2": value}) for value in (1e-4, 2e-4)]
    maker = CommitteeLadderMaker(ladder_maker=ladder, committee_maker=CommitteeMaker(members=springs, forces=True))
    flow = maker.make(perovskite, {"Pb": "Sn"})
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    outputs = run_locally(flow, store=store, root_dir=tmp_path, ensure_success=True, log=False)
    found = outputs[flow.output.uuid][1].output
    assert stored_ladder(store, found.ladder).total == found.members[0].total
    assert [member.name for member in found.members[1:]] == [spec.name for spec in springs]
    assert len(found.force_members) == 3 and found.source.sha256
    for changes, words in (
        ({"ladder_maker": replace(ladder, n_frames=0)}, "n_frames"),
        ({"committee_maker": CommitteeMaker()}, "members"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            replace(maker, **changes).make(perovskite, {"Pb": "Sn"})
    with pytest.raises(InvalidInputError, match="ordered ends"):
        maker.make(perovskite, {"Pb": {"Pb": 0.5, "Sn": 0.5}})


@pytest.mark.slow
def test_members_that_do_not_overlap_are_run_within_the_budget(framed_ladder, heads, tmp_path, capsys, monkeypatch):
    """With a limit that no member reaches: three window runs suffice for one of two; calculators are never run."""
    monkeypatch.setattr("alchemflows.analysis.correction.MIN_EFFECTIVE", 1e9)
    monkeypatch.setattr("alchemflows.analysis.correction.MIN_SHARE", 2.0)
    store, uuid = framed_ladder
    sampled = stored_ladder(store, uuid)
    springs = CalculatorSpec(path=SPRINGS, arguments={"stiffness_eV_per_A2": 1.0})
    flow = CommitteeMaker(members=[springs, *both(heads)], budget=3).make(uuid, sampled=sampled.provenance.potential)
    outputs = run_locally(flow, store=store, root_dir=tmp_path, log=False)
    versions = outputs[flow.jobs[-1].uuid]
    found = versions[max(versions)].output
    assert len(found.members) == 4 and not any(member.overlaps for member in found.members[1:])
    first, second, third = found.members[1:]
    assert first.ladder is None and first.rerun is None
    own = stored_ladder(store, second.ladder)
    assert second.total == own.total and second.rerun is None
    assert own.provenance.potential.name == heads and own.provenance.potential.head == "Default"
    assert own.provenance.potential.dtype == sampled.provenance.potential.dtype
    assert second.correction.delta_f_eV == pytest.approx(own.total.delta_f_eV - sampled.total.delta_f_eV)
    assert second.correction.error_eV == pytest.approx(np.hypot(own.total.error_eV, sampled.total.error_eV))
    assert third.ladder is None and third.rerun.startswith("alchemflows rerun")
    values = [member.total.delta_f_eV for member in found.members]
    assert found.mean.delta_f_eV == pytest.approx(np.mean(values))
    assert found.sigma_model_eV == pytest.approx(np.std(values, ddof=1))
    overlap = [text for text in found.verdict.reasons if Reason.of(text) is Reason.FRAMES_OVERLAP]
    assert not any("head Default" in text for text in overlap) and any("head other" in text for text in overlap)
    assert CommitteeDocument.read(found.model_dump()) == found
    show(found, plain_console())
    assert "a ladder with this member" in capsys.readouterr().out
    with pytest.raises(InvalidInputError, match="budget"):
        CommitteeMaker(members=both(heads), budget=-1).make(uuid)


def test_a_member_that_fails(framed_ladder, heads, tmp_path, capsys):
    """Frames that fail are left out; a member that fails on too many is named, and the others are compared."""
    some = CalculatorSpec(path=SPRINGS, arguments={"fails": [1, 42]})
    many = CalculatorSpec(path=SPRINGS, arguments={"fails": list(range(30))})
    found = compared(framed_ladder, tmp_path, [both(heads)[1], some, many])
    assert [member.name for member in found.failed] == [many.name]
    assert [member.name for member in found.members[1:]] == [f"{heads}, head other", some.name]
    first, last = found.differences_eV
    assert np.flatnonzero(np.isnan(first).any(axis=0)).tolist() == [1]
    assert np.flatnonzero(np.isnan(last).any(axis=0)).tolist() == [2]
    assert not {(frame.lambda_value, frame.index) for frame in found.frames} & {(0.0, 1), (1.0, 2)}
    assert any("2 frames" in note for note in found.verdict.notes)
    assert any(found.failed[0].job[:8] in note for note in found.verdict.notes)
    show(found, plain_console())
    assert "failed" in capsys.readouterr().out


def test_too_few_members_are_left(framed_ladder, tmp_path):
    many = CalculatorSpec(path=SPRINGS, arguments={"fails": list(range(30))})
    store, uuid = framed_ladder
    flow = CommitteeMaker(members=[many]).make(uuid)
    run_locally(flow, store=store, root_dir=tmp_path, log=False)
    compare = flow.jobs[-1]
    with pytest.raises(AlchemflowsError, match=r"fewer than 2 members.*Springs"):
        compare.run(store)


def test_bad_committees_are_refused_before_work(gentle_model, heads, tmp_path):
    same = PotentialSpec(name=str(gentle_model), dtype="float64")
    first, second = both(heads)
    springs = CalculatorSpec(path=SPRINGS)
    backend = PotentialRecord(name="gentle", backend="mace", sha256="0" * 64, dtype="float32", device="cpu")
    for settings, arguments, words in (
        ({"members": []}, {}, "at least 1"),
        ({"members": [same], "include_sampled": False}, {}, "at least 2"),
        ({"members": [first, second, first]}, {}, "head Default.*once"),
        ({"members": [springs, springs]}, {}, "Springs.*once"),
        ({"members": [same, same.model_copy(update={"dtype": "float32"})]}, {}, "gentle.*once"),
        ({"members": [same], "tolerance_meV_per_atom": -1.0}, {}, "tolerance_meV_per_atom"),
        ({"members": [same], "max_failed": 2.0}, {}, "max_failed"),
        ({"members": [same]}, {"elements": [32]}, r"\bGe\b"),
        ({"members": [first.model_copy(update={"head": "third"})]}, {}, "third"),
    ):
        with pytest.raises(AlchemflowsError, match=words):
            CommitteeMaker(**settings).make(ID, sampled=backend, **arguments)


def test_the_sampled_potential_is_not_given_twice(gentle_model):
    from alchemflows.alchemy.backends import resolve

    same = PotentialSpec(name=str(gentle_model), dtype="float64")
    _, backend = resolve(same)
    with pytest.raises(InvalidInputError, match="sampled potential"):
        CommitteeMaker(members=[same]).make(ID, sampled=backend.record)
    springs = CalculatorSpec(path=SPRINGS)
    CommitteeMaker(members=[same, springs], include_sampled=False).make(ID, sampled=backend.record)


def test_each_member_has_its_category(heads):
    springs = CalculatorSpec(path=SPRINGS)
    flow = CommitteeMaker(members=[both(heads)[0], springs], categories={1: "dft"}).make(ID)
    categories = {firework.name: firework.spec.get("_category") for firework in flow_to_workflow(flow).fws}
    assert categories == {f"{heads}, head Default": "gpu", springs.name: "dft", "committee": None}
