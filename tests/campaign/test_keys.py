"""Keys of tasks: equal for the same calculation in every release, different if anything that affects it differs."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import fields, replace
from importlib.resources import files

import pytest
from atomate2.forcefields.jobs import ForceFieldRelaxMaker
from pymatgen.core import Lattice, Structure

from alchemflows.campaign.keys import FIELDS, NOT_IN_KEY, POTENTIAL_FIELDS, VACANCY_FIELDS
from alchemflows.campaign.specification import MAKERS, campaign_of, tasks
from alchemflows.campaign.task import Task, VacancyTask
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker
from alchemflows.jobs.relax import RELAXATION_FIELDS, AlchemicalRelaxMaker, relaxing
from alchemflows.schemas.campaign import TRANSFORMING
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.schemas.potential import PotentialSpec

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.68), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SODIUM = Structure(Lattice.cubic(4.2), ["Na", "Na"], [[0, 0, 0], [0.5, 0.5, 0.5]])
POTENTIAL = PotentialSpec(name="a model", sha256="5" * 64)
KINDS = list(MAKERS)


def task(kind, *, relax_maker=..., **settings):
    """Return a task of a method with its defaults, or with other settings."""
    maker = MAKERS[kind](**{"potential": POTENTIAL, "temperature": 500.0, "pressure_GPa": 0.1} | settings)
    return Task(
        campaign="salts",
        structure="NaCl",
        transformation="NaK" if kind in TRANSFORMING else "",
        temperature_K=maker.temperature,
        pressure_GPa=maker.pressure_GPa,
        repeat=0,
        crystal=SALT,
        substitution={"Na": "K"} if kind in TRANSFORMING else {},
        kind=kind,
        maker=maker if relax_maker is ... else replace(maker, relax_maker=relax_maker),
        vacancy=VacancyTask(1, 1.0, ChemicalPotentials({"Na": -1.3})) if kind == "vacancy" else None,
    )


@pytest.mark.parametrize(
    ("kind", "key"),
    {
        "thermodynamic-integration": "22e44a33602be83726a802e7262b3bb434c18e01a660f0f0a4a38bc576cea460",
        "switching": "c29b8d6f374c62285a8d586286e19e9901737ec9b59adf037d3e36329ce9ddf6",
        "frenkel-ladd": "e47fdd341caab28ff4f7a61c065b6c6ca5ce1250a276ea191199d9d8b36bd357",
        "vacancy": "b61f83a9805a3ad1d48999b3c7e5fecf0094657036a6769c56a5db94f4b9ce83",
    }.items(),
)
def test_keys_of_every_release(kind, key):
    """If these keys change, all campaigns are computed again; change them only on purpose."""
    assert task(kind).key == key


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_or_a_moved_module_changes_no_key(kind, monkeypatch):
    before = task(kind).key
    for package in ("alchemflows", "atomate2", "emmet.core", "pymatgen.core", "ase", "jobflow", "numpy"):
        monkeypatch.setattr(importlib.import_module(package), "__version__", "99.9", raising=False)
    for moved in (MAKERS[kind], AlchemicalRelaxMaker, PotentialSpec, Structure, ChemicalPotentials, VacancyTask):
        monkeypatch.setattr(moved, "__module__", "elsewhere")
    assert task(kind).key == before


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_of_a_maker_is_in_the_key_or_is_not_for_a_reason(kind):
    there = {field.name for field in fields(MAKERS[kind])}
    missing = there - set(FIELDS[kind]) - set(NOT_IN_KEY)
    assert not missing, (
        f"{', '.join(sorted(missing))} of {MAKERS[kind].__name__}: if it can change a result, add it with its default "
        "to FIELDS in campaign/keys.py, so that keys of what was computed before do not change; if it cannot, add it "
        "to NOT_IN_KEY with the reason"
    )
    assert set(FIELDS[kind]) <= there and not set(FIELDS[kind]) & set(NOT_IN_KEY)
    assert {f.name for f in fields(VacancyFreeEnergyMaker)} == {"name", "frenkel_ladd_maker", "degeneracy"}
    assert {f.name for f in fields(VacancyTask)} == {"site", "degeneracy", "chemical_potentials"}


def other(value):
    """Return another value of the same type, no matter whether it makes sense."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"not {value}"


@pytest.mark.parametrize(("kind", "name"), [(kind, f.name) for kind in KINDS for f in fields(MAKERS[kind])])
def test_the_effect_of_each_field_on_the_key(kind, name):
    """Fields in NOT_IN_KEY do not change the key; all others do, also when set to an earlier default."""
    default = FIELDS[kind].get(name, getattr(task(kind).maker, name))
    before, after = task(kind, **{name: default}), task(kind, **{name: other(default)})
    if name == "relax_maker":
        after = task(kind, relax_maker=None)
    elif name == "potential":
        after = task(kind, potential=POTENTIAL.model_copy(update={"sha256": "6" * 64}))
    assert (after.key == before.key) == (name in set(NOT_IN_KEY) - {"relax_maker", "potential"})


@pytest.mark.parametrize("kind", KINDS)
def test_other_changes_of_the_key(kind):
    here = task(kind)
    moved = SALT.copy()
    moved.translate_sites([0], [0.01, 0, 0])
    others = {
        "crystal": replace(here, crystal=moved),
        "dtype": task(kind, potential=POTENTIAL.model_copy(update={"dtype": "float64"})),
        "head": task(kind, potential=POTENTIAL.model_copy(update={"head": "other"})),
        "substitution": replace(here, substitution={"Na": {"K": 0.5, "Li": 0.5}}),
    }
    keys = {name: each.key for name, each in others.items()} | {kind: task(kind).key for kind in KINDS}
    assert len(set(keys.values())) == len(keys)
    known = ChemicalPotentials({"Na": -1.3})
    different = [
        VacancyTask(0, 1.0, known),
        VacancyTask(1, 2.0, known),
        VacancyTask(1, 1.0, ChemicalPotentials({"Na": -1.4})),
        VacancyTask(1, 1.0, ChemicalPotentials({"Na": (-1.3, 0.1)})),
        VacancyTask(1, 1.0, ChemicalPotentials({"Cl": -1.3})),
        VacancyTask(1, 1.0, ChemicalPotentials({}, {"Na": SODIUM})),
        VacancyTask(1, 1.0, ChemicalPotentials({}, {"Na": SODIUM * (2, 1, 1)})),
    ]
    vacancy = task("vacancy")
    keys = [vacancy.key, *(replace(vacancy, vacancy=each).key for each in different)]
    assert len({*keys}) == len(different) + 1 and len(different) >= len(VACANCY_FIELDS)


def test_equivalent_input_has_one_key():
    assert replace(task("vacancy"), vacancy=VacancyTask(1, 1, ChemicalPotentials({"Na": (-1.3, 0)}))).key == (
        task("vacancy").key
    )
    here = task("switching")
    assert replace(here, substitution={"Na": {"K": 1}}).key == here.key
    assert task("switching", temperature=500, seed=0.0).key == here.key
    assert replace(here, campaign="others", structure="salt", transformation="change", repeat=3).key == here.key


#: Each scientific field of a relaxation, changed.
RELAXATIONS = {
    "relax_cell": {"relax_cell": False},
    "relax_shape": {"relax_cell": False, "relax_shape": True},
    "fix_symmetry": {"fix_symmetry": True},
    "symprec": {"symprec": 0.1},
    "steps": {"steps": 7},
    "fmax": {"relax_kwargs": {"fmax": 0.02}},
    "optimizer": {"optimizer_kwargs": {"optimizer": "BFGS"}},
    "relax_options": {"relax_kwargs": {"fmax": 0.01, "interval": 2}},
    "optimizer_options": {"optimizer_kwargs": {"maxstep": 0.1}},
}


#: Fields of atomate2's maker that decide nothing, or are written by what they hold.
NOT_SCIENTIFIC = {
    *("name", "force_field_name", "calculator_kwargs", "task_document_kwargs", "ionic_step_data", "store_trajectory"),
    *("tags", "relax_kwargs", "optimizer_kwargs", "calculator_meta"),
}


def test_each_field_of_a_relaxation_and_of_a_potential_is_considered():
    assert {field.name for field in fields(AlchemicalRelaxMaker)} == {"name", "maker", "require_convergence"}
    unknown = {field.name for field in fields(ForceFieldRelaxMaker)} - set(RELAXATION_FIELDS) - NOT_SCIENTIFIC
    assert not unknown, f"{unknown} of atomate2's maker: if it can change a result, add it to RELAXATION_FIELDS"
    assert set(PotentialSpec.model_fields) - set(POTENTIAL_FIELDS) == {"name", "device", "sha256", "kernels"}


def test_a_relaxation_changes_the_key_of_a_task():
    assert set(RELAXATIONS) == set(RELAXATION_FIELDS)
    plain = AlchemicalRelaxMaker()
    makers = {name: replace(plain, maker=replace(plain.maker, **changes)) for name, changes in RELAXATIONS.items()}
    keys = {name: task("switching", relax_maker=maker).key for name, maker in makers.items()}
    keys |= {"none": task("switching", relax_maker=None).key, "default": task("switching").key}
    assert len(set(keys.values())) == len(RELAXATIONS) + 2
    named = replace(plain, name="another", require_convergence=False, maker=replace(plain.maker, name="name"))
    assert task("switching", relax_maker=named).key == keys["default"]
    assert task("switching", relax_maker=relaxing(0.01)).key == keys["default"]


def test_keys_of_files(tmp_path):
    """Keys do not depend on the format of the structure, the device, or the path of the model."""
    SALT.to(str(tmp_path / "NaCl.cif"))
    model = tmp_path / "copy.safetensors"
    shutil.copy(str(files("alchemflows") / "data" / "mace-demo.safetensors"), model)
    written = {"structures": {"NaCl": {"file": str(tmp_path / "NaCl.cif")}}, "potential": {"name": "mace-demo"}}
    keys = set()
    for change in (
        {},
        {"structures": {"salt": {"structure": SALT.as_dict()}}, "name": "others"},
        {"potential": {"name": "mace-demo", "device": "cpu", "kernels": "cuequivariance"}},
        {"potential": {"name": str(model), "device": "cpu"}},
        {"transformations": {"K": {"Na": {"K": 1.0}}}},
    ):
        content = {
            "name": "salts",
            "transformations": {"NaK": {"Na": "K"}},
            "temperatures_K": [300],
            "method": {"kind": "switching"},
        }
        keys |= {each.key for each in tasks(campaign_of(content | written | change))}
    assert len(keys) == 1
