"""Tests of the flow maker of thermodynamic integration: invalid input, metadata and serialisation of jobs."""

from __future__ import annotations

import json

import pytest
from jobflow import Flow
from jobflow.managers.fireworks import flow_to_workflow
from monty.json import MontyDecoder, MontyEncoder

from alchemflows.errors import AlchemflowsError, InvalidInputError, PotentialError
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"temperature": 0.0}, "temperature .* 0"),
        ({"temperature": -5.0}, "temperature .* -5"),
        ({"temperature": float("nan")}, "temperature.*nan"),
        ({"timestep_fs": 0.0}, r"timestep_fs.*0\.0"),
        ({"friction_per_ps": -1.0}, "friction_per_ps"),
        ({"n_production_steps": 0}, "n_production_steps"),
        ({"n_production_steps": 5}, "n_production_steps = 5"),
        ({"n_windows": 1}, "n_windows.*1"),
        ({"seed": -1}, "seed.*-1"),
        ({"windows_per_job": 0}, "windows_per_job"),
        ({"lambdas": [0.0, 0.7, 0.5, 1.0]}, r"lambdas.*0\.7"),
        ({"lambdas": [0.1, 1.0]}, r"lambdas.*0\.1"),
        ({"coupling": "pairwise"}, "coupling.*pairwise"),
    ],
)
def test_invalid_settings_are_refused(gentle_model, perovskite, settings, reason):
    with pytest.raises(InvalidInputError, match=reason) as caught:
        ThermodynamicIntegrationMaker(potential=str(gentle_model), **settings).make(perovskite, {"Pb": "Sn"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("substitution", "options", "reason"),
    [
        ({"Ge": "Sn"}, {}, r"\bGe\b"),
        ({"Pb": "Sn"}, {"sites": [0]}, r"\bPb\b"),
        ({"Pb": "Sn"}, {"sites": [9]}, "site 9"),
        ({"Pb": "Xx"}, {}, "Xx"),
        ({"Pb": "Au"}, {}, r"\bAu\b"),
        ({"Pb": None}, {}, r"Pb sum to 0\b.*vacancy"),
        ({"Pb": {"Sn": 0.5, "Ge": 0.4}}, {}, r"Pb sum to 0\.9\b.*vacancy"),
        ({"Cs": "K", "Pb": {"Sn": 0.25}}, {}, r"Pb sum to 0\.25\b.*vacancy"),
        ({"Pb": {"Sn": 0.7, "Ge": 0.4}}, {}, r"Pb.* sum to 1\.1\b"),
        ({}, {}, "substitution"),
        ({"Pb": "Pb"}, {}, "substitution"),
        ({"Pb": "D"}, {}, "isotope"),
        ({"Pb": "Sn"}, {"sites": [1, 0]}, "site 0 .*Pb"),
    ],
)
def test_invalid_substitutions_are_refused(gentle_model, perovskite, substitution, options, reason):
    with pytest.raises(InvalidInputError, match=reason):
        ThermodynamicIntegrationMaker(potential=str(gentle_model)).make(perovskite, substitution, **options)


def test_atoms_too_close_are_refused(gentle_model, perovskite):
    squeezed = perovskite.copy()
    squeezed.translate_sites([1], [0.5, 0.45, 0.5])
    with pytest.raises(InvalidInputError, match=r"atoms 0 .* and 1 .* Å"):
        ThermodynamicIntegrationMaker(potential=str(gentle_model)).make(squeezed, {"Pb": "Sn"})


def test_unreadable_potential_files_are_refused(perovskite, tmp_path):
    (tmp_path / "text.model").write_text("not a model")
    for name in ("missing.model", str(tmp_path / "text.model")):
        with pytest.raises(PotentialError, match=name.rpartition("/")[2]) as caught:
            ThermodynamicIntegrationMaker(potential=name).make(perovskite, {"Pb": "Sn"})
        assert isinstance(caught.value, AlchemflowsError) and "\n" not in str(caught.value)


def test_jobs_have_the_category_and_the_hash_of_the_potential(gentle_model, perovskite):
    flow = ThermodynamicIntegrationMaker(potential=str(gentle_model), n_windows=5, windows_per_job=2).make(
        perovskite, {"Pb": "Sn"}
    )
    fireworks = flow_to_workflow(flow).fws
    assert [fw.spec.get("_category") for fw in fireworks] == ["gpu"] * 6 + [None]
    assert [job.name for job in flow.jobs[3:6]] == ["λ = 0, 0.25", "λ = 0.5, 0.75", "λ = 1"]
    assert len(flow.jobs[3].maker.potential.sha256) == 64
    anywhere = ThermodynamicIntegrationMaker(potential=str(gentle_model), category=None).make(perovskite, {"Pb": "Sn"})
    assert all("_category" not in fw.spec for fw in flow_to_workflow(anywhere).fws)


def test_changed_potential_file_is_refused_by_the_job(gentle_model, perovskite, tmp_path):
    from alchemflows.alchemy.backends.loading import _load
    from alchemflows.jobs.windows import WindowsMaker

    copy = tmp_path / "copy.model"
    copy.write_bytes(gentle_model.read_bytes())
    flow = ThermodynamicIntegrationMaker(potential=str(copy), relax_maker=None).make(perovskite, {"Pb": "Sn"})
    copy.write_bytes(gentle_model.read_bytes() + b" ")
    _load.cache_clear()  # as in a new process; in this one, the original potential is cached
    job = flow.jobs[0]
    with pytest.raises(PotentialError, match="SHA-256"):
        WindowsMaker.make.original(job.maker, *job.function_args)


def test_flow_is_restored_from_json(gentle_model, perovskite):
    flow = ThermodynamicIntegrationMaker(potential=str(gentle_model)).make(perovskite, {"Pb": "Sn"})
    back = MontyDecoder().process_decoded(json.loads(json.dumps(flow, cls=MontyEncoder)))
    assert isinstance(back, Flow)
    assert back.jobs[3].maker == flow.jobs[3].maker
    assert back.jobs[3].function_args[0] == flow.jobs[3].function_args[0]


def test_maker_is_restored_from_json(gentle_model):
    maker = ThermodynamicIntegrationMaker(potential=str(gentle_model), temperature=123.0)
    back = MontyDecoder().process_decoded(json.loads(json.dumps(maker, cls=MontyEncoder)))
    assert back.temperature == 123.0 and back.relax_maker.maker.steps == maker.relax_maker.maker.steps
