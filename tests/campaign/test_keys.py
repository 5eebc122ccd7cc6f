"""Keys of tasks: equal for the same calculation in every release, different if anything that affects it differs."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files

import pytest
from atomate2.forcefields.jobs import ForceFieldRelaxMaker
from jobflow import Maker
from pymatgen.core import Lattice, Structure

from alchemflows.campaign.inputs import GridSpec
from alchemflows.campaign.keys import (
    ARGUMENTS,
    EVALUATED,
    EVALUATES,
    FIELDS,
    NOT_IN_KEY,
    NOT_SET,
    POTENTIAL_FIELDS,
    listed,
    task_key,
)
from alchemflows.campaign.methods import KINDS, SUBSTITUTION, method_of
from alchemflows.campaign.specification import campaign_of, tasks
from alchemflows.campaign.task import Task
from alchemflows.flows.committee import CommitteeMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.melting import MeltingPointMaker
from alchemflows.flows.phase_stability import PhaseStabilityMaker
from alchemflows.flows.state_correction import StateCorrectionMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.identity import fingerprint
from alchemflows.jobs.relax import RELAXATION_FIELDS, AlchemicalRelaxMaker, relaxing
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.optimization import Target
from alchemflows.schemas.potential import PotentialSpec

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.68), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SODIUM = Structure(Lattice.cubic(4.2), ["Na", "Na"], [[0, 0, 0], [0.5, 0.5, 0.5]])
POTENTIAL = PotentialSpec(name="a model", sha256="5" * 64)
#: Arguments of each method other than structures and transformations.
GIVEN = {
    "vacancy": {"site": 1, "chemical_potentials": ChemicalPotentials({"Na": -1.3})},
    "frenkel-pair": {"site": 1, "interstitial": [0.25, 0.25, 0.25]},
    "phases": {"temperatures": [300.0, 500.0]},
    "temperature-sweep": {"low_K": 200.0, "high_K": 600.0},
    "pressure-sweep": {"low_GPa": 0.0, "high_GPa": 2.0},
    "melting": {"temperatures": [900.0, 1300.0]},
    "corrected-melting": {"temperatures": [900.0, 1300.0]},
    "corrected-phases": {"temperatures": [300.0, 500.0]},
    "sweep": {"grid": GridSpec(shares=[0.0, 0.5, 1.0])},
    "optimization": {"choices": {"Na": ["Na", "K"]}, "targets": [Target(quantity="a_A", value=5.8)]},
    "order-disorder": {"supercell": [1, 1, 1]},
    "monte-carlo": {"supercell": [1, 1, 1], "temperatures": [600.0, 800.0]},
    "transition": {"supercells": [[1, 1, 1]], "temperatures": [600.0, 700.0, 800.0]},
    "mixing": {"choices": {"Na": ["Na", "K"]}, "supercell": [1, 1, 1], "temperatures": [600.0, 800.0]},
}
#: Target of the kinds that correct free energies.
CORRECTION = StateCorrectionMaker(target=PotentialSpec(name="a target", sha256="7" * 64))
#: The same with one argument changed, for each argument.
OTHERS = {
    "sites": [1],
    "supercells": [(1, 1, 1), (2, 2, 2)],
    "n_primitive_cells": 3,
    "site": 2,
    "interstitial": [0.25, 0.25, 0.3],
    "temperatures": [300.0],
    "compositions": [0.5],
    "boundary_pressures": [1.0],
    "low_K": 150.0,
    "high_K": 700.0,
    "low_GPa": -0.5,
    "high_GPa": 3.0,
    "grid": GridSpec(shares=[0.0, 1.0]),
    "choices": {"Na": ["Na", "Li"]},
    "targets": [Target(quantity="a_A", value=5.9)],
    "objective": "package.module.function",
    "least": 0.0,
    "bounds": {"Na": {"K": (0.0, 0.5)}},
    "totals": {"Na": 0.9},
    "supercell": [2, 1, 1],
    "orders": "distinct",
    "waves": [[0.5, 0.5, 0.5]],
    "delta_mu_eV": [-0.2, 0.0, 0.2],
    "chemical_potentials": ChemicalPotentials({"Na": -1.4}),
}
#: Fields of makers that are makers: the key has the fields of these.
WITHIN = {name for name in NOT_IN_KEY if name.endswith("_maker")}


def task(kind, *, relax_maker=..., arguments=None, potential=POTENTIAL, **settings):
    """Return a task of a method with its defaults, or with other settings and arguments."""
    method = method_of(kind)
    given = {"potential": potential, "temperature": 500.0, "pressure_GPa": 0.1}
    maker = method.made(method.settings.model_construct(_fields_set=set()), given)
    own = {f.name for f in fields(maker)}
    if "correction_maker" in own:
        settings = {"correction_maker": CORRECTION} | settings
    maker = replace(maker, **{name: value for name, value in settings.items() if name in own})
    changed = {name: value for name, value in settings.items() if name not in own}
    if relax_maker is not ...:
        changed["relax_maker"] = relax_maker
    if hasattr(maker, "frenkel_ladd_maker"):
        changed = {"frenkel_ladd_maker": replace(maker.frenkel_ladd_maker, **changed)}
    maker = replace(maker, **changed)
    return Task(
        campaign="salts",
        structure="NaCl",
        transformation="NaK" if SUBSTITUTION in method.parameters else "",
        temperature_K=500.0 if method.has_temperature else None,
        pressure_GPa=0.1,
        repeat=0,
        crystals={"NaCl": SALT} if method.takes_structures else {},
        substitution={"Na": "K"} if method.needs_transformations or method.grid else {},
        method=method,
        maker=maker,
        arguments=GIVEN.get(kind, {}) | (arguments or {}),
        potential=potential if "potential" in method.campaign_fields else None,
    )


#: The key of the task of each kind of campaign, with its defaults.
KEYS = {
    "thermodynamic-integration": "22e44a33602be83726a802e7262b3bb434c18e01a660f0f0a4a38bc576cea460",
    "committee": "8eb22840434173333bf3017b1d264ac7f2149507620d8d3f35e6fe4566c502a7",
    "switching": "c29b8d6f374c62285a8d586286e19e9901737ec9b59adf037d3e36329ce9ddf6",
    "frenkel-ladd": "e47fdd341caab28ff4f7a61c065b6c6ca5ce1250a276ea191199d9d8b36bd357",
    "liquid": "044a392ac7362e974ca4ad3bdc6fd720bfc1ec3bbee723e265742a58c83cb24d",
    "vacancy": "b61f83a9805a3ad1d48999b3c7e5fecf0094657036a6769c56a5db94f4b9ce83",
    "schottky": "53fd4df1af5e8389f17e94adaab8ad5cfaca61c3688bc5568c89e2280e8d6389",
    "frenkel-pair": "224ca91642931b87e3cb05514632350585a9589797a31d8040192c806de0f4c9",
    "phases": "99ac8605c5cbbba48ad3021f1ca4453bed812a798430c7027fefb524e63a9387",
    "temperature-sweep": "92c234543d1f93cfbb7a34dc2306e2955e07190787645faae91d1ce34ab41951",
    "pressure-sweep": "cf23459f4830e59982b80af38697c91b483bb857bf74ad359d5d515e5184f20a",
    "melting": "0eae660024ba75ab9bf6c25c8584995a5945e4a0192950d5b33d7480114a36ec",
    "corrected-frenkel-ladd": "ec767577d8701be9f096324089c3fa6deb9cde8568251aa61c9af3da5fbdf4e8",
    "corrected-liquid": "7b5bec5ff6ccd477d6eedcc0e707842a287d3fd15dc2da304902c45c6360cbfb",
    "corrected-melting": "a44e82271f934daff48f8a1f9efbc381ac3b40c075b9755627b887de81886ce9",
    "corrected-phases": "d4ce74b4f465baf7541dc0b33265783e8b38dbbcb73d6c5df8bb69efee14cb22",
    "sweep": "e058d9c452cba6cb28cca61679561f449166e6c025e8181e95efe5b308cb43d9",
    "optimization": "8d987d2f67f6245b0018c82c6d981cb4f4a519f69476a3907ccf96a1372a53db",
    "ordering-search": "26d4d8e78c29cf2466b2d7299e5adb32025c91fa65174f683c27d4abe2e3eed9",
    "order-disorder": "87a1f749d5af03957bb44be162cb80bc9bec2a69c16244d2412522de7de7828e",
    "monte-carlo": "a01470059a7a6b30d2ab01bbe7e94554e1099c5e6cfc16c4f242e14124b26166",
    "mixing": "ae2dae7272d60adba56b3d90e3256be23751a25a06ba19d3a8378232cb66bb0a",
    "transition": "2d5c73665a636c96ff3b9975c12abc9b6633652ff38576fe5bc6323d83a243cc",
    "relaxation": "df36f1197d637a8ca3b10bd0adc5cd457bf32e7246f954c0ccef21af9a2ca4df",
    "fig2": "49001ee106188da760b9b4cd7bc0546d5ca7aee4b8d30ce2e253de6ef772cb87",
    "fig3": "dc0a529995d1453f00824481fbae55a82e9e413457e7321842fa6532fced7916",
    "fig4": "0fcdfd6f71e84d3e1ea08e9c277331fd40e737542a05370543bae42a20042ed0",
    "fig5": "08f791f891bbeaf3915be51ead0450f5ff646569e67e70548273304ac285c838",
}
#: Fingerprints of the fields and of the arguments of each maker in the tables of keys, with their defaults.
TABLES = {
    "ThermodynamicIntegrationMaker": ("bcd7483e09b1", "048d29d2a92b"),
    "CommitteeLadderMaker": ("44136fa355b3", "048d29d2a92b"),
    "CommitteeMaker": ("557a390622c8", None),
    "SwitchingMaker": ("429479481abe", "048d29d2a92b"),
    "FrenkelLaddMaker": ("ef72737873ae", "c8df1c59d11e"),
    "LiquidFreeEnergyMaker": ("f0d21a8c1f9f", "44136fa355b3"),
    "VacancyFreeEnergyMaker": ("e77e40bcdcca", "d170c3024caf"),
    "SchottkyMaker": ("1d015b5a10e2", "048d29d2a92b"),
    "FrenkelPairMaker": ("479fa008b011", "cad4d93053f9"),
    "PhaseStabilityMaker": ("1d444aa9ed51", "c3c2f1ce1f7d"),
    "TemperatureSweepMaker": ("c1282ff7cd26", "e1e41b7040da"),
    "PressureSweepMaker": ("c1282ff7cd26", "24cd7960782f"),
    "MeltingPointMaker": ("b91a660531eb", "465378105145"),
    "CorrectedFrenkelLaddMaker": ("44136fa355b3", "51896ad7a94c"),
    "CorrectedLiquidMaker": ("44136fa355b3", "44136fa355b3"),
    "CorrectedMeltingPointMaker": ("44136fa355b3", "465378105145"),
    "CorrectedPhasesMaker": ("44136fa355b3", "465378105145"),
    "StateCorrectionMaker": ("a2d9e14a8b45", None),
    "CompositionSweepMaker": ("0549c073ab40", "d88fe51beca2"),
    "CompositionOptimizationMaker": ("63b5938310d1", "4a59d6704f8b"),
    "OptimizeMaker": ("0ddd3999848b", None),
    "OrderingSearchMaker": ("17e3e68ec203", "70bfd888252b"),
    "SearchMaker": ("dea99c3b9ddf", None),
    "OrderDisorderMaker": ("93904886fcd8", "52a744f1da13"),
    "MonteCarloMaker": ("a39b6b7e52dc", "f31c79e20a80"),
    "MixingMaker": ("ca2022d25090", "48cbd5a209f9"),
    "OrderDisorderTransitionMaker": ("47edb7f6e142", "1429f493cb7f"),
    "RelaxationMaker": ("f12b6f3fa833", "44136fa355b3"),
    "FigureMaker": ("16a69029bc43", "44136fa355b3"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_every_release(kind):
    """If these keys change, all campaigns are computed again; change them only on purpose."""
    assert task(kind).key == KEYS[kind]


def test_defaults_of_every_release():
    """A default that is changed in a maker and in its table would give the same key to different calculations.

    A new field or argument changes the fingerprint too: then check that nothing else changed, and update it here.
    """

    def short(table):
        written = {name: "required" if default is ... else default for name, default in table.items()}
        return fingerprint(written)[:12]

    found = {
        maker.__name__: (short(FIELDS[maker]), short(ARGUMENTS[maker]) if maker in ARGUMENTS else None)
        for maker in FIELDS
    }
    assert found == TABLES and set(ARGUMENTS) <= set(FIELDS)
    assert dict(POTENTIAL_FIELDS) == {"dtype": "float32", "head": None}
    assert dict(EVALUATED) == {"n_runs": 1, "n_frames": 100}


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_or_a_moved_module_changes_no_key(kind, monkeypatch):
    before = task(kind).key
    for package in ("alchemflows", "atomate2", "emmet.core", "pymatgen.core", "ase", "jobflow", "numpy"):
        monkeypatch.setattr(importlib.import_module(package), "__version__", "99.9", raising=False)
    moved = (*makers_of(kind), AlchemicalRelaxMaker, PotentialSpec, Structure, ChemicalPotentials, Target, GridSpec)
    for each in moved:
        monkeypatch.setattr(each, "__module__", "elsewhere")
    assert task(kind).key == before


def makers_of(kind):
    """Return the classes of the maker of a method and of makers within it, except that of its relaxation."""
    maker = task(kind).maker
    inner = [type(getattr(maker, f.name)) for f in fields(maker) if f.name in WITHIN - {"relax_maker"}]
    return [type(maker), *inner]


@pytest.mark.parametrize("maker", sorted({m for kind in KINDS for m in makers_of(kind)}, key=lambda m: m.__name__))
def test_each_field_of_a_maker_is_in_the_key_or_is_not_for_a_reason(maker):
    there = {field.name for field in fields(maker)} - {name for owner, name in NOT_SET if owner is maker}
    known = set(listed(maker, FIELDS))
    missing = there - known - set(NOT_IN_KEY)
    assert not missing, (
        f"{', '.join(sorted(missing))} of {maker.__name__}: if it can change a result, add it with its default "
        "to FIELDS in campaign/keys.py, so that keys of what was computed before do not change; if it cannot, add it "
        "to NOT_IN_KEY with the reason"
    )
    assert known <= there and not known & set(NOT_IN_KEY)


@pytest.mark.parametrize("kind", KINDS)
def test_each_argument_is_in_the_key(kind):
    method = method_of(kind)
    there = set(method.arguments.model_fields) - {method.group}
    if method.has_all_temperatures:
        there.add("temperatures")
    if method.potentials:
        there = there - {method.potentials} | {"chemical_potentials_eV", "references"}
    assert there == set(listed(method.maker, ARGUMENTS))


def other(value):
    """Return another value of the same type, no matter whether it makes sense."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, dict):
        return {"other": 1.0}
    return f"not {value}"


FIELDS_OF_KINDS = [
    (kind, f.name)
    for kind in KINDS
    for f in fields(method_of(kind).maker)
    if f.name not in WITHIN and (kind not in ("fig2", "fig3", "fig4") or f.name == "version")
]


@pytest.mark.parametrize(("kind", "name"), FIELDS_OF_KINDS)
def test_the_effect_of_each_field_on_the_key(kind, name):
    """Fields in NOT_IN_KEY do not change the key; all others do, also when set to an earlier default."""
    default = listed(method_of(kind).maker, FIELDS).get(name, getattr(task(kind).maker, name))
    before, after = task(kind, **{name: default}), task(kind, **{name: other(default)})
    if name == "potential":
        before, after = task(kind), task(kind, potential=POTENTIAL.model_copy(update={"sha256": "6" * 64}))
    assert (after.key == before.key) == (name in set(NOT_IN_KEY) - {"potential"})


FIELDS_WITHIN = [
    (kind, place, f.name)
    for kind in KINDS
    for place in sorted(WITHIN - {"relax_maker"})
    if (inner := getattr(task(kind).maker, place, None)) is not None
    for f in fields(inner)
    if f.name not in WITHIN and (type(inner), f.name) not in NOT_SET
]


@pytest.mark.parametrize(("kind", "place", "name"), FIELDS_WITHIN)
def test_the_effect_of_fields_of_a_maker_within_a_maker_on_the_key(kind, place, name):
    """As those of the maker; where what the maker within stores is evaluated, its amount affects the key."""
    inner = getattr(task(kind).maker, place)
    changed = replace(inner, **{name: other(getattr(inner, name))})
    same = task(kind, **{place: changed}).key == task(kind, **{place: inner}).key
    evaluates = any(base in EVALUATES for base in method_of(kind).maker.__mro__)
    assert same == (name in NOT_IN_KEY and not (evaluates and name in ("n_runs", "n_frames")))


def test_a_longer_or_better_recorded_ladder_of_a_committee_is_a_new_task():
    """The campaign file sets them; the tasks of ladders without a committee are continued instead."""
    content = {
        "name": "salts",
        "structures": {"NaCl": {"structure": SALT.as_dict()}},
        "transformations": {"NaK": {"Na": "K"}},
        "temperatures_K": [300],
        "potential": {"name": "mace-demo"},
    }

    def key(kind, **settings):
        (only,) = tasks(campaign_of(content | {"method": {"kind": kind, "settings": settings}}))
        return only.key

    changes = ({}, {"n_runs": 3}, {"n_frames": 400}, {"n_runs": 3, "n_frames": 400})
    members = {"committee_maker": {"members": [{"path": "calculators:Springs"}]}}
    assert len({key("committee", ladder_maker=change, **members) for change in changes}) == len(changes)
    assert key("committee", ladder_maker={"n_runs": 1, "n_frames": 100}, **members) == key("committee", **members)
    assert len({key("thermodynamic-integration", **change) for change in changes}) == 1


def test_the_maker_of_a_user_may_evaluate_what_a_maker_within_it_stores():
    @dataclass
    class Outer(Maker):
        name: str = "outer"
        ladder_maker: ThermodynamicIntegrationMaker = field(default_factory=ThermodynamicIntegrationMaker)

        def make(self, structure: Structure): ...

    @dataclass
    class Outermost(Maker):
        name: str = "outermost"
        phases_maker: PhaseStabilityMaker = field(default_factory=PhaseStabilityMaker)

        def make(self, structure: Structure): ...

    def key(maker):
        return task_key("package.Outer", {"NaCl": SALT}, {}, maker, {}, POTENTIAL)

    ladders = [Outer(ladder_maker=ThermodynamicIntegrationMaker(**c)) for c in ({}, {"n_runs": 2}, {"n_frames": 7})]
    assert len(set(map(key, ladders))) == 3
    solids = [PhaseStabilityMaker(frenkel_ladd_maker=FrenkelLaddMaker(n_frames=n)) for n in (100, 7)]
    assert len({key(Outermost(phases_maker=each)) for each in solids}) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_each_argument_changes_the_key(kind):
    method, here = method_of(kind), task(kind).key
    names = set(method.arguments.model_fields) - {method.group}
    keys = {name: task(kind, arguments={name: OTHERS[name]}).key for name in names}
    assert len({here, *keys.values()}) == len(keys) + 1


@pytest.mark.parametrize("kind", KINDS)
def test_other_changes_of_the_key(kind):
    here = task(kind)
    moved = SALT.copy()
    moved.translate_sites([0], [0.01, 0, 0])
    others = {"substitution": replace(here, substitution={"Na": {"K": 0.5, "Li": 0.5}})}
    if here.crystals:
        others["crystal"] = replace(here, crystals={"NaCl": moved})
    if here.potential is not None:
        others["dtype"] = task(kind, potential=POTENTIAL.model_copy(update={"dtype": "float64"}))
        others["head"] = task(kind, potential=POTENTIAL.model_copy(update={"head": "other"}))
    keys = {name: each.key for name, each in others.items()} | {kind: task(kind).key for kind in KINDS}
    assert len(set(keys.values())) == len(keys)


def test_chemical_potentials_change_the_key():
    different = [
        ChemicalPotentials({"Na": -1.4}),
        ChemicalPotentials({"Na": (-1.3, 0.1)}),
        ChemicalPotentials({"Cl": -1.3}),
        ChemicalPotentials({}, {"Na": SODIUM}),
        ChemicalPotentials({}, {"Na": SODIUM * (2, 1, 1)}),
    ]
    keys = [task("vacancy").key, *(task("vacancy", arguments={"chemical_potentials": each}).key for each in different)]
    assert len({*keys}) == len(different) + 1


def test_names_of_phases_are_in_the_key():
    here = task("phases")
    assert replace(here, crystals={"B1": SALT}).key != here.key
    assert replace(here, structure="group", campaign="others").key == here.key


def test_equivalent_input_has_one_key():
    same = {"site": 1, "chemical_potentials": ChemicalPotentials({"Na": (-1.3, 0)})}
    assert task("vacancy", arguments=same).key == task("vacancy").key
    assert task("ordering-search", arguments={"supercell": (1, 1, 1)}).key == task("ordering-search").key
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


def test_members_of_a_committee_are_known_by_their_files():
    """Neither their names nor their devices are in the key, but their files, heads and precision are."""

    def key(**changes) -> str:
        spec = PotentialSpec(name="a member", sha256="7" * 64).model_copy(update=changes)
        return task("committee", committee_maker=CommitteeMaker(members=[spec])).key

    here = key()
    assert key(name="another name", device="cuda") == here == key()
    springs = CalculatorSpec(path="calculators:Springs")
    calculator = task("committee", committee_maker=CommitteeMaker(members=[springs])).key
    assert (
        len({here, key(sha256="8" * 64), key(head="pbe"), key(dtype="float64"), calculator, task("committee").key}) == 6
    )


def test_the_target_of_a_correction_is_known_by_its_file():
    """The number of frames of the runs is part of the key, at any depth; the device of the target is not."""

    def key(n_frames=100, **changes) -> str:
        target = PotentialSpec(name="a target", sha256="7" * 64).model_copy(update=changes)
        made = task("corrected-melting", correction_maker=StateCorrectionMaker(target=target))
        run = replace(made.maker.melting_maker.frenkel_ladd_maker, n_frames=n_frames)
        return replace(made, maker=replace(made.maker, melting_maker=MeltingPointMaker(frenkel_ladd_maker=run))).key

    assert key() == key(name="another name", device="cuda")
    assert len({key(), key(n_frames=400), key(sha256="8" * 64), key(head="pbe"), key(dtype="float64")}) == 5
