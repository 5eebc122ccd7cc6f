"""Corrections of a ladder to another potential, run by jobflow in this process."""

from __future__ import annotations

import json
from contextlib import contextmanager

import numpy as np
import pytest
from ase.io import read
from calculators import SpringsMaker
from jobflow import run_locally
from jobflow.managers.fireworks import flow_to_workflow
from models import GENTLE, save_mace
from monty.json import MontyDecoder, MontyEncoder

from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.cli.layout import plain_console
from alchemflows.cli.shown import show
from alchemflows.errors import InvalidInputError, PotentialError, RunStoppedError
from alchemflows.flows.correction import CorrectionMaker
from alchemflows.jobs.correction import EvaluateFramesMaker
from alchemflows.jobs.frames import frames_of_ladder
from alchemflows.plotting import figures_of
from alchemflows.results.frames import end_states, write_frames
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.schemas.correction import CalculatorSpec, CorrectionDocument, EvaluationLimits, TargetRunSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reasons import Reason

SPRINGS = "calculators:Springs"


@pytest.fixture
def ladder(framed_ladder):
    """Return the store and the identifier of a ladder with 40 frames of each end."""
    return framed_ladder


def corrected(ladder, tmp_path, target, **settings) -> CorrectionDocument:
    store, uuid = ladder
    flow = CorrectionMaker(target=target, **settings).make(uuid)
    outputs = run_locally(flow, store=store, root_dir=tmp_path, log=False, raise_immediately=True)
    return outputs[flow.jobs[-1].uuid][1].output


def ends(ladder):
    store, uuid = ladder
    document = MontyDecoder().process_decoded(store.get_output(uuid, load=True))
    return document, *frames_of_ladder(store, document)


def test_the_sampled_potential_itself_is_no_correction(ladder, gentle_model, tmp_path):
    """But for the rounding of the sampled energies (float32) and of the stored coordinates."""
    found = corrected(ladder, tmp_path, PotentialSpec(name=str(gentle_model), dtype="float64"))
    document, *_ = ends(ladder)
    assert found.initial.n_frames == found.final.n_frames == 40
    assert abs(found.correction.delta_f_eV) < 1e-4 and found.correction.error_eV < 1e-4
    assert found.initial.n_effective == pytest.approx(40 / found.initial.inefficiency, rel=1e-3)
    assert found.uncorrected == document.total
    assert found.total.delta_f_eV == pytest.approx(document.total.delta_f_eV, abs=1e-4)
    assert found.provenance.potential.sha256 == found.source.sha256
    assert [reason.split(":")[0] for reason in found.verdict.reasons] == ["ladder"] * len(document.verdict.reasons)


def test_forces_of_exported_frames(ladder, tmp_path):
    """They are those of the sampled potential, by finite differences of its energy."""
    document, initial, final = ends(ladder)
    states = end_states(document, initial, final)
    assert write_frames(document, states, tmp_path / "ends.xyz", forces=True, device="cpu") == 80
    images = read(tmp_path / "ends.xyz", ":")
    record = document.provenance.potential
    for image, end in ((images[3], initial), (images[77], final)):
        system, weights = AlchemicalSystem.from_structure(end.frames.structures()[0])
        spec = PotentialSpec(name=record.name, dtype="float64", device="cpu")
        forces, energy = image.get_forces(), image.get_potential_energy()
        image.calc = AlchemicalCalculator(system, weights, spec)
        assert image.get_potential_energy() == pytest.approx(energy, abs=1e-3)  # sampled in single precision
        moved = image.get_potential_energy()
        step = 1e-4
        image.positions[2, 1] += step
        slope = (image.get_potential_energy() - moved) / step
        assert forces[2, 1] == pytest.approx(-slope, abs=1e-3)
    other = document.model_copy(deep=True)
    other.provenance.potential.sha256 = "0" * 64
    with pytest.raises(PotentialError, match="SHA-256"):
        write_frames(other, states[:1], tmp_path / "other.xyz", forces=True, device="cpu")
    assert not (tmp_path / "other.xyz").exists()


def test_another_potential(ladder, tmp_path, monkeypatch):
    """The energies are those of the plain model, and the result that of the formulas."""
    monkeypatch.setattr("alchemflows.free_energy.shared_samples.BLOCK_INEFFICIENCIES", 1e-6)
    other = save_mace(tmp_path / "other.model", "scalars", **GENTLE | {"atomic_inter_scale": 0.33})
    found = corrected(ladder, tmp_path, PotentialSpec(name=str(other), dtype="float64"))
    document, *sampled = ends(ladder)
    for each, end in zip((found.initial, found.final), sampled, strict=True):
        system, weights = AlchemicalSystem.from_structure(end.frames.structures()[0])
        plain = AlchemicalCalculator(system, weights, PotentialSpec(name=str(other), dtype="float64"))
        energies = []
        for image in end.frames.atoms()[:3]:
            image.calc = plain
            energies.append(image.get_potential_energy())
        stored = found.energies.arrays()["initial_target_eV" if each is found.initial else "final_target_eV"]
        np.testing.assert_allclose(stored[:3], energies, atol=1e-9)
        assert each.spacing_fs == 20.0
        assert each.curve_eV[-1] == each.best.delta_f_eV
    value = found.final.best.delta_f_eV - found.initial.best.delta_f_eV
    assert found.correction.delta_f_eV == pytest.approx(value) != 0
    errors = [found.initial.best.error_eV, found.final.best.error_eV]
    assert found.correction.error_eV == pytest.approx(np.hypot(*errors))
    squares = found.correction.error_eV**2 + document.total.error_eV**2
    assert found.total.error_eV**2 == pytest.approx(squares + 2 * found.covariance_eV2)
    assert 0 < abs(found.covariance_eV2) < found.correction.error_eV * document.total.error_eV  # blocks are short here
    assert CorrectionDocument.read(found.model_dump()) == found
    drawn = figures_of(found)
    assert list(drawn) == ["correction"] and "CsSnI" in drawn["correction"]()._suptitle.get_text()


def test_a_sampled_target_is_bridged(ladder, tmp_path, capsys):
    """BAR between the frames and short runs with the target, whose energies are those of both potentials."""
    other = save_mace(tmp_path / "other.model", "scalars", **GENTLE | {"atomic_inter_scale": 0.33})
    runs = TargetRunSettings(n_runs=2, n_equilibration_steps=10, n_production_steps=100, n_frames=20)
    found = corrected(ladder, tmp_path, PotentialSpec(name=str(other), dtype="float64"), target_runs=runs)
    arrays = found.energies.arrays()
    for name, end in (("initial", found.initial), ("final", found.final)):
        energies, run = arrays[f"{name}_run_eV"], end.target_run
        assert energies.shape == (2, 2, 10) and (run.n_runs, run.n_frames) == (2, 20)
        assert end.estimator == "bar" and end.best == run.bar and run.overlap > 0.5
        assert run.mean_eV == pytest.approx(float((energies[:, 1] - energies[:, 0]).mean()))
        errors = np.hypot(end.best.error_eV, end.exponential.error_eV)
        assert abs(end.best.delta_f_eV - end.exponential.delta_f_eV) < 4 * errors
        assert end.curve_eV[-1] == end.best.delta_f_eV
    value = found.final.best.delta_f_eV - found.initial.best.delta_f_eV
    assert found.correction.delta_f_eV == pytest.approx(value)
    assert found.covariance_eV2 is not None and CorrectionDocument.read(found.model_dump()) == found
    show(found, plain_console())
    printed = capsys.readouterr().out
    assert "BAR" in printed and "overlap" in printed and list(figures_of(found)) == ["correction"]


def test_targets_that_cannot_be_sampled_are_refused(ladder, tmp_path):
    target, other = PotentialSpec(name="mace-demo"), PotentialSpec(name="mace-demo", dtype="float64")
    for maker in (
        CorrectionMaker(target=target, earlier=[other], target_runs=TargetRunSettings()),
        CorrectionMaker(target=SpringsMaker(), target_runs=TargetRunSettings()),
    ):
        with pytest.raises(InvalidInputError, match="target_runs"):
            maker.make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10")
    with pytest.raises(ValueError, match="n_frames"):
        TargetRunSettings(n_runs=8, n_frames=16)
    runs = TargetRunSettings(n_runs=2, n_equilibration_steps=0, n_production_steps=20, n_frames=20)
    spec = CalculatorSpec(path="calculators:WithoutForces")
    with pytest.raises(PotentialError, match="WithoutForces"):
        corrected(ladder, tmp_path, spec, target_runs=runs)


def test_without_all_windows_errors_are_added_in_quadrature(ladder, gentle_model, tmp_path, monkeypatch, caplog):
    def missing(*_):
        raise InvalidInputError("2 windows are required")

    monkeypatch.setattr("alchemflows.analysis.correction.covariance_with_ladder", missing)
    found = corrected(ladder, tmp_path, CalculatorSpec(path=SPRINGS, arguments={"stiffness_eV_per_A2": 1e-4}))
    assert found.covariance_eV2 is None and "2 windows are required" in caplog.text
    errors = found.correction.error_eV, found.uncorrected.error_eV
    assert found.total.error_eV == pytest.approx(np.hypot(*errors))


def test_frames_that_fail_are_named_and_left_out(ladder, tmp_path, capsys):
    spec = CalculatorSpec(path=SPRINGS, arguments={"stiffness_eV_per_A2": 1.0, "fails": [3, 50], "infinite": [4]})
    found = corrected(ladder, tmp_path, spec)
    assert [each.index for each in found.initial.failed] == [3, 4]
    assert [each.error for each in found.initial.failed] == [
        "ValueError: the cycle did not converge",
        "the energy is not finite",
    ]
    assert found.initial.failed[0].time_fs == 80.0 and found.final.failed[0].index == 10
    assert (found.initial.n_frames, found.final.n_frames) == (38, 39)
    assert any("2 of 40 frames" in note and "3, 4" in note for note in found.verdict.notes)
    assert found.provenance.potential is None and "Springs(stiffness_eV_per_A2=1.0" in found.target
    show(found, plain_console())
    printed = capsys.readouterr().out
    assert "corrected ΔF" in printed and "note:" in printed
    # springs have nothing in common with the sampled potential
    assert {Reason.of(text) for text in found.verdict.reasons} >= {Reason.FRAMES_OVERLAP}


def test_runs_with_the_target_start_from_frames_that_it_evaluates(ladder, tmp_path, monkeypatch):
    starts = []

    def stop(model, positions, *_: object, **__: object) -> None:
        starts.append(positions)
        raise KeyboardInterrupt

    monkeypatch.setattr("alchemflows.sampling.target_runs.run_from", stop)
    spec = CalculatorSpec(path=SPRINGS, arguments={"stiffness_eV_per_A2": 0.001, "fails": [0]})
    with pytest.raises(KeyboardInterrupt):
        corrected(ladder, tmp_path, spec, target_runs=TargetRunSettings())
    _, initial, _ = ends(ladder)
    frames = [atoms.positions for atoms in initial.frames.atoms()]
    used = [row for row, frame in enumerate(frames) if any(np.array_equal(frame, start) for start in starts[0])]
    assert len(used) == TargetRunSettings().n_runs and 0 not in used


def test_too_many_failures_end_the_job_and_are_named(ladder, tmp_path):
    spec = CalculatorSpec(path=SPRINGS, arguments={"fails": [0, 5, 9]})
    with pytest.raises(PotentialError, match=r"3 of 40 frames of CsPbI3.*0\.05.*frame 0 .*converge.*frame 5"):
        corrected(ladder, tmp_path, spec, max_failed=0.05)


def test_a_stopped_evaluation_continues(ladder, tmp_path, monkeypatch):
    """No frame is evaluated twice, and the failed ones are remembered."""
    spec = CalculatorSpec(path=SPRINGS, arguments={"fails": [2]})
    whole = corrected(ladder, tmp_path, spec)
    calls = []

    class Stopping(Checkpoint):
        def __init__(self, stop_after=None):
            super().__init__(tmp_path / "checkpoint", 0.0, lambda: calls.append(1) or len(calls) == stop_after)

    stops = iter([10, 60, None])

    @contextmanager
    def resumable():
        yield Stopping(next(stops))

    monkeypatch.setattr("alchemflows.jobs.correction.resumable", resumable)
    for _ in range(2):
        with pytest.raises(RunStoppedError):
            corrected(ladder, tmp_path, CalculatorSpec(path=SPRINGS, arguments={"fails": [2] if not calls else []}))
    again = corrected(ladder, tmp_path, CalculatorSpec(path=SPRINGS))
    assert len(calls) == 80 - 1  # the last frame ends the run, and asks nothing
    assert again.initial == whole.initial and again.final == whole.final


def test_two_stages_with_few_evaluations_of_the_last_target(ladder, tmp_path):
    """A potential on all frames, and another one close to it on some."""
    first, last = (
        PotentialSpec(
            name=str(save_mace(tmp_path / f"{scale}.model", "scalars", **GENTLE | {"atomic_inter_scale": scale})),
            dtype="float64",
        )
        for scale in (0.32, 0.322)
    )
    found = corrected(ladder, tmp_path, last, earlier=[first], limits=EvaluationLimits(max_evaluations=24))
    (stage,) = found.stages
    assert stage.target == first.name and stage.initial.n_frames == stage.final.n_frames == 40
    assert found.initial.n_frames + found.final.n_frames <= 24
    assert min(found.initial.n_frames, found.final.n_frames) >= 10
    change = found.final.best.delta_f_eV - found.initial.best.delta_f_eV
    assert found.correction.delta_f_eV == pytest.approx(stage.correction.delta_f_eV + change)
    arrays = found.energies.arrays()
    assert np.isfinite(arrays["initial_all_eV"]).sum(axis=1).tolist() == [40, found.initial.n_frames]
    assert found.differences_eV[0].mean() == pytest.approx(found.initial.mean_eV)
    direct = corrected(ladder, tmp_path, last)
    np.testing.assert_allclose(
        arrays["initial_all_eV"][1][np.isfinite(arrays["initial_all_eV"][1])],
        direct.energies.arrays()["initial_target_eV"][np.isfinite(arrays["initial_all_eV"][1])],
    )
    # both use the same frames: what differs is the error of the second stage
    second = np.hypot(found.initial.best.error_eV, found.final.best.error_eV)
    assert abs(found.correction.delta_f_eV - direct.correction.delta_f_eV) < 3 * second
    assert second < 0.5 * direct.correction.error_eV
    assert CorrectionDocument.read(found.model_dump()) == found


def test_a_target_error_ends_the_evaluation(ladder, tmp_path, capsys):
    """The difference of two potentials that are nearly equal has a small error after the first frames."""
    near = save_mace(tmp_path / "near.model", "scalars", **GENTLE | {"atomic_inter_scale": 0.302})
    target = PotentialSpec(name=str(near), dtype="float64")
    loose = corrected(ladder, tmp_path, target, limits=EvaluationLimits(target_error_eV_per_atom=0.01))
    assert (loose.initial.n_frames, loose.final.n_frames) == (10, 10)
    assert loose.correction.error_eV_per_atom <= 0.01 and loose.initial.spacing_fs > 40
    tight = corrected(ladder, tmp_path, target, limits=EvaluationLimits(target_error_eV_per_atom=1e-7))
    assert (tight.initial.n_frames, tight.final.n_frames) == (40, 40)
    springs = CalculatorSpec(path=SPRINGS)
    stages = corrected(ladder, tmp_path, springs, earlier=[target], limits=EvaluationLimits(max_evaluations=20))
    assert any(f"{near} → {SPRINGS}" in reason for reason in stages.verdict.reasons)
    show(stages, plain_console())
    assert "of all stages" in capsys.readouterr().out


def test_stages_and_categories(ladder):
    """The second job refers to the first; each has its category."""
    springs = CalculatorSpec(path=SPRINGS)
    uuid = "a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10"
    first, second = CorrectionMaker(target=springs, earlier=[springs], category=["cpu", "dft"]).make(uuid).jobs
    assert [job.config.manager_config["_category"] for job in (first, second)] == ["cpu", "dft"]
    assert second.input_uuids == (first.uuid,)
    with pytest.raises(InvalidInputError, match="2 targets"):
        CorrectionMaker(target=springs, earlier=[springs], category=["cpu"]).make(uuid)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        (CalculatorSpec(path="nowhere:Calculator"), "nowhere"),
        (CalculatorSpec(path="calculators:__name__"), "class or a function"),
        (PotentialSpec(name="no such potential"), "no such potential"),
    ],
)
def test_targets_that_do_not_exist_are_refused_before_work(spec, named):
    with pytest.raises((InvalidInputError, PotentialError), match=named):
        CorrectionMaker(target=spec).make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10")


def test_targets_that_cannot_be_made_are_named(ladder, tmp_path):
    with pytest.raises(InvalidInputError, match=r"Springs.*stiffness"):
        corrected(ladder, tmp_path, CalculatorSpec(path=SPRINGS, arguments={"stiffness": 1.0}))


def test_an_unknown_element_is_named_before_work(ladder, gentle_model, tmp_path):
    target = PotentialSpec(name=str(gentle_model), dtype="float64")
    with pytest.raises(InvalidInputError, match=r"\bGe\b"):
        CorrectionMaker(target=target).make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10", elements=[55, 32, 53])
    four = {"num_elements": 4, "atomic_numbers": [82, 17, 53, 55], "atomic_energies": np.full(4, -3.0)}
    without_tin = save_mace(tmp_path / "four.model", "scalars", **GENTLE | four)
    with pytest.raises(InvalidInputError, match=r"does not support Sn"):
        corrected(ladder, tmp_path, PotentialSpec(name=str(without_tin)))
    with pytest.raises(InvalidInputError, match="max_failed"):
        CorrectionMaker(target=target, max_failed=1.0).make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10")


def test_the_job_has_its_own_category(gentle_model):
    target = CalculatorSpec(path=SPRINGS, arguments={"fails": [1]})
    flow = CorrectionMaker(target=target, category="dft").make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10")
    (firework,) = flow_to_workflow(flow).fws
    assert firework.spec["_category"] == "dft"
    back = MontyDecoder().process_decoded(json.loads(json.dumps(flow.jobs[0].maker, cls=MontyEncoder)))
    assert back == flow.jobs[0].maker and isinstance(back, EvaluateFramesMaker) and back.target == target
