"""Corrections of a ladder with makers of atomate2: one job for each frame, run by jobflow in this process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from atomate2.forcefields.jobs import ForceFieldStaticMaker
from atomate2.vasp.jobs.core import StaticMaker
from atomate2.vasp.sets.core import StaticSetGenerator
from calculators import SpringsMaker
from jobflow import Flow, JobStore, run_locally
from jobflow.managers.fireworks import flow_to_workflow
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Composition

from alchemflows.alchemy.targets import imported_calculator
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.flows.correction import CorrectionMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.jobs.frame_jobs import FrameJobsMaker, energy_of, imported_maker
from alchemflows.jobs.frames import frames_of_ladder
from alchemflows.schemas.correction import CalculatorSpec, CorrectionDocument, EvaluationLimits

ID = "a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10"
SHORT = {"n_windows": 2, "n_equilibration_steps": 20, "n_production_steps": 300, "temperature": 200.0, "n_frames": 6}


@pytest.fixture(scope="module")
def sampled(gentle_model, perovskite, tmp_path_factory):
    """Return a store with a ladder of six frames of each end, and its identifier."""
    maker = ThermodynamicIntegrationMaker(potential=str(gentle_model), windows_per_job=2, relax_maker=None, **SHORT)
    flow = maker.make(perovskite, {"Pb": "Sn"})
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    run_locally(flow, store=store, root_dir=tmp_path_factory.mktemp("ladder"), ensure_success=True, log=False)
    return store, flow.jobs[-1].uuid


def corrected(sampled, folder: Path, target, **settings):
    """Return the result of the last job; None if it failed."""
    store, uuid = sampled
    flow = CorrectionMaker(target=target, **settings).make(uuid)
    outputs = run_locally(flow, store=store, root_dir=folder, log=False)[flow.jobs[-1].uuid]
    return MontyDecoder().process_decoded(store.get_output(flow.output.uuid, load=True)) if len(outputs) > 1 else None


def ends(sampled):
    store, uuid = sampled
    return frames_of_ladder(store, MontyDecoder().process_decoded(store.get_output(uuid, load=True)))


@pytest.mark.slow
def test_energies_are_those_of_the_force_field(sampled, gentle_model, tmp_path):
    """Atomate2's static maker and its calculator, called directly on the same frames."""
    settings = {"model": str(gentle_model), "default_dtype": "float64", "device": "cpu"}
    target = ForceFieldStaticMaker(force_field_name="MACE", calculator_kwargs=settings)
    found = corrected(sampled, tmp_path, target)
    assert isinstance(found, CorrectionDocument)
    calculator = target.calculator
    for name, end in zip(("initial", "final"), ends(sampled), strict=True):
        energies = []
        for atoms in end.frames.atoms():
            atoms.calc = calculator
            energies.append(atoms.get_potential_energy())
        np.testing.assert_allclose(found.energies.arrays()[f"{name}_target_eV"], energies, atol=1e-6)
    assert found.target == "atomate2.forcefields.jobs:ForceFieldStaticMaker('Force field static')"
    assert len(set(found.frame_jobs)) == 12 and found.provenance.potential is None
    store, _ = sampled
    (row,) = store.docs_store.query({"uuid": found.frame_jobs[7]}, ["name", "metadata"])
    assert row["name"] == "Force field static λ = 1, frame 1"
    assert row["metadata"]["frame"] == {"result": found.ladder, "state": "λ = 1", "lambda": 1.0, "index": 1}


def test_frames_whose_jobs_fail_or_do_not_converge_are_named_and_left_out(sampled, tmp_path):
    """Jobs that raise an error, have an unsuccessful state, are of another cell or crystal, or have no energy."""
    lost = {"raises": [1], "unconverged": [2], "other_cells": [8], "empty": [9]}
    found = corrected(sampled, tmp_path, SpringsMaker(**lost), max_failed=0.4)
    assert [each.index for each in found.initial.failed] == [1, 2]
    assert [each.index for each in found.final.failed] == [2, 3]
    reasons = [each.error.split(maxsplit=3)[3] for each in (*found.initial.failed, *found.final.failed)]
    for reason, word in zip(reasons, ("failed", "state failed", "10 atoms", "no energy"), strict=False):
        assert word.split()[-1] in reason
    assert (found.initial.n_frames, found.final.n_frames) == (4, 4)
    assert any("2 of 6 frames" in note for note in found.verdict.notes)
    another = corrected(sampled, tmp_path, SpringsMaker(other_crystals=[3]), max_failed=0.4)
    (only,) = another.initial.failed
    assert only.index == 3 and "Rb1" in only.error and "Cs1" in only.error and not another.final.failed


def test_frames_are_evaluated_in_rounds(sampled, tmp_path):
    """Rounds end with the limit, or with the stored frames. The earlier stage is a calculator."""
    springs = CalculatorSpec(path="calculators:Springs")
    limits = EvaluationLimits(max_evaluations=8)
    found = corrected(sampled, tmp_path, SpringsMaker(), earlier=[springs], limits=limits)
    assert (found.initial.n_frames, found.final.n_frames) == (4, 4)
    assert len(found.frame_jobs) == 8 and found.stages[0].initial.n_frames == 6
    assert abs(found.initial.best.delta_f_eV) < 1e-9  # both are the same springs
    lost = SpringsMaker(raises=[1])
    limits = EvaluationLimits(target_error_eV_per_atom=1e-9)
    alone = corrected(sampled, tmp_path, lost, max_failed=0.5, limits=limits)
    assert len(set(alone.frame_jobs)) == 12 and (alone.initial.n_frames, alone.final.n_frames) == (5, 6)


def test_later_rounds_refer_to_no_earlier_job(sampled, tmp_path, monkeypatch):
    """FireWorks refuses references to jobs that were not added at the same time, so each round must be a workflow."""
    rounds = []

    def flow(jobs, name):
        rounds.append(made := Flow(jobs, name=name))
        assert len(flow_to_workflow(made).fws) == len(jobs)
        return made

    monkeypatch.setattr("alchemflows.jobs.frame_jobs.Flow", flow)
    monkeypatch.setattr("alchemflows.free_energy.selection.N_PILOT", 4)
    limits = EvaluationLimits(target_error_eV_per_atom=1e-9)
    found = corrected(sampled, tmp_path, SpringsMaker(), limits=limits)
    assert [len(each.jobs) for each in rounds] == [9, 5]  # four, then two of each end, and the job itself
    assert len(set(found.frame_jobs)) == 12 and (found.initial.n_frames, found.final.n_frames) == (6, 6)


def test_too_many_failures_end_the_correction(sampled, tmp_path, caplog):
    store, uuid = sampled
    flow = CorrectionMaker(target=SpringsMaker(raises=[0, 3])).make(uuid)
    with caplog.at_level("INFO", logger="jobflow"):
        run_locally(flow, store=store, root_dir=tmp_path, log=False)
    assert PotentialError.__name__ in caplog.text
    assert "2 of 6 frames" in caplog.text and "frame 3" in caplog.text


def test_flows_of_targets_and_their_categories(sampled):
    """The jobs of a target, also those of its flows, have the category; what makes and collects them has none."""
    flow = CorrectionMaker(target=SpringsMaker(), category="dft").make(ID)
    (firework,) = flow_to_workflow(flow).fws
    assert "_category" not in firework.spec
    back = MontyDecoder().process_decoded(json.loads(json.dumps(flow.jobs[0].maker, cls=MontyEncoder)))
    assert isinstance(back, FrameJobsMaker) and back.target == SpringsMaker()
    for target in (SpringsMaker(category="own"), SpringsMaker(as_flow=True)):
        made = replaced(sampled, target)
        *jobs, collect = flow_to_workflow(made).fws
        assert {job.spec["_category"] for job in jobs} == {"dft"} and len(jobs) == 12
        assert "_category" not in collect.spec and collect.spec["_allow_fizzled_parents"]
    with pytest.raises(InvalidInputError, match="output of one job"):
        replaced(sampled, SpringsMaker(as_flow=True, with_output=False))


def replaced(sampled, target) -> Flow:
    """Return the jobs by which the first job replaces itself."""
    store, uuid = sampled
    flow = CorrectionMaker(target=target, category="dft").make(uuid)
    return flow.jobs[0].run(store).replace


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ({"output": {"energy": -3.5}, "state": "successful", "nsites": 5}, -3.5),
        ({"energy": 2}, 2.0),
        (None, "it failed"),
        ({"output": {"energy": -3.5}, "state": "failed"}, "failed"),
        ({"output": {"energy": float("nan")}}, "no energy"),
        ({"energy": None}, "no energy"),
        ({"energy": 1.0, "nsites": 10}, "10 atoms"),
        ({"energy": 1.0, "nsites": 5, "composition": {"Cs": 1.0, "Sn": 1.0, "I": 3.0}}, "Sn1"),
        ({"energy": 1.0, "composition": {"@class": "Composition", "Cs": 1.0, "Pb": 1.0, "I": 3.0}}, 1.0),
        ({"energy": 1.0, "composition": {"Cs+": 1, "Pb2+": 1, "I-": 3}}, 1.0),
        ({"energy": 1.0, "composition": {"Cs": 2.0, "Pb": 2.0, "I": 6.0}}, "Pb2"),
    ],
)
def test_energies_of_outputs(output, found):
    energy = energy_of(output, Composition("CsPbI3"), "it")
    assert found in energy if isinstance(found, str) else energy == found


def test_inputs_of_vasp_are_those_of_atomate2(sampled, tmp_path, monkeypatch):
    """VASP itself is replaced by an error, after its inputs are written; POTCAR is written as a list of its names."""
    settings = {"user_incar_settings": {"ENCUT": 433}, "user_kpoints_settings": {"grid_density": 200}}
    generator = StaticSetGenerator(**settings)
    target = StaticMaker(input_set_generator=generator, write_input_set_kwargs={"potcar_spec": True})
    made = replaced(sampled, target)
    job = made.jobs[7]
    assert job.name == "static λ = 1, frame 1" and job.config.manager_config == {"_category": "dft"}

    def no_vasp(**settings):
        raise FileNotFoundError("vasp_std")

    monkeypatch.setattr("atomate2.vasp.jobs.base.run_vasp", no_vasp)
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    with pytest.raises(FileNotFoundError, match="vasp_std"):
        job.run(sampled[0])
    structure = ends(sampled)[1].frames.structures()[1]
    generator.get_input_set(structure, potcar_spec=True).write_input(tmp_path / "own")
    written = {file.name: file.read_text() for file in (tmp_path / "job").iterdir()}
    own = {file.name: file.read_text() for file in (tmp_path / "own").iterdir()}
    assert written == own and {"INCAR", "KPOINTS", "POSCAR", "POTCAR.spec"} <= set(written)
    assert "ENCUT = 433" in written["INCAR"] and "Sn" in written["POTCAR.spec"]


def from_path(path: str, **arguments):
    spec = CalculatorSpec(path=path, arguments=arguments)
    return imported_maker(spec, imported_calculator(spec))


def test_makers_by_their_import_path():
    generator = MontyEncoder().default(StaticSetGenerator(user_incar_settings={"ENCUT": 433}))
    static = from_path("atomate2.vasp.jobs.core:StaticMaker", input_set_generator=generator)
    assert isinstance(static, StaticMaker)
    assert static.input_set_generator.user_incar_settings == {"ENCUT": 433}
    assert from_path("calculators:static_springs", raises=[4]) == SpringsMaker(raises=[4])
    assert from_path("calculators:SpringsMaker.failing", n=2) == SpringsMaker(raises=[0, 1])
    assert from_path("calculators:Springs") is None
    with pytest.raises(InvalidInputError, match=r"StaticMaker.*nonsense"):
        from_path("atomate2.vasp.jobs.core:StaticMaker", nonsense=1)
    with pytest.raises(InvalidInputError, match=r"SpringsMaker.*3 is not"):
        from_path("calculators:SpringsMaker", raises=3)


def test_makers_that_need_more_than_a_structure_are_refused_before_work():
    with pytest.raises(InvalidInputError, match=r"ThermodynamicIntegrationMaker.*structure alone"):
        CorrectionMaker(target=ThermodynamicIntegrationMaker()).make(ID)
