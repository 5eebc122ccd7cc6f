"""What public makers are given from Python: it works, or is one line that names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Element, IStructure, Lattice, Molecule, Structure

from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.arguments import as_structure, checked
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.flows.composition_optimization import CompositionOptimizationMaker
from alchemflows.flows.composition_sweep import CompositionSweepMaker
from alchemflows.flows.defect_pairs import FrenkelPairMaker, SchottkyMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.monte_carlo import MonteCarloMaker
from alchemflows.flows.order_disorder import OrderDisorderMaker
from alchemflows.flows.ordering_search import OrderingSearchMaker
from alchemflows.flows.phase_stability import PhaseStabilityMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.flows.transition import OrderDisorderTransitionMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker, VacancyTemperatureMaker
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.schemas.substitution import check_substitution

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
MIXED = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.7), [{"Na": 0.5, "K": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
DEMO = {"potential": "mace-demo"}
ABSOLUTE = FrenkelLaddMaker(**DEMO)
SODIUM = ChemicalPotentials({"Na": -1.0})

#: How each maker is called with a structure and with nothing else unusual.
CALLS = {
    "ti": lambda s: ThermodynamicIntegrationMaker(**DEMO).make(s, {"Na": "K"}),
    "switching": lambda s: SwitchingMaker(**DEMO).make(s, {"Na": "K"}),
    "frenkel-ladd": lambda s: ABSOLUTE.make(s),
    "vacancy": lambda s: VacancyFreeEnergyMaker(frenkel_ladd_maker=ABSOLUTE).make(s, chemical_potentials=SODIUM),
    "vacancy, temperatures": lambda s: VacancyTemperatureMaker(
        vacancy_maker=VacancyFreeEnergyMaker(frenkel_ladd_maker=ABSOLUTE)
    ).make(s, [300, 400], chemical_potentials={300: SODIUM, 400: SODIUM}),
    "schottky": lambda s: SchottkyMaker(frenkel_ladd_maker=ABSOLUTE).make(s),
    "frenkel-pair": lambda s: FrenkelPairMaker(frenkel_ladd_maker=ABSOLUTE).make(s, 0, [0.25, 0.25, 0.25]),
    "phases": lambda s: PhaseStabilityMaker(frenkel_ladd_maker=ABSOLUTE).make({"rocksalt": s}, [300]),
    "sweep": lambda s: CompositionSweepMaker(**DEMO).make(CompositionGrid.line(s, {"Na": "K"}, [0, 1])),
    "optimization": lambda s: CompositionOptimizationMaker(**DEMO).make(
        s, {"Na": ["Na", "K"]}, [{"quantity": "a_A", "value": 6.0}]
    ),
    "grid": lambda s: CompositionGrid.simplex(s, {"Na": ["Na", "K"]}, 2),
    "path": lambda s: AlchemicalPath.from_substitution(s, {"Na": "K"}),
}
DISORDERED = {
    "order": lambda s: OrderDisorderMaker(quasirandom=False, **DEMO).make(s, (1, 1, 1)),
    "search": lambda s: OrderingSearchMaker(**DEMO).make(s, (1, 1, 1)),
    "transition": lambda s: OrderDisorderTransitionMaker(**DEMO).make(s, [(1, 1, 1)], [300, 400, 500]),
    "monte-carlo": lambda s: MonteCarloMaker(**DEMO).make(s, (1, 1, 1), [300]),
}
ATOMS = bulk("NaCl", "rocksalt", a=5.7, cubic=True)
SLAB = ATOMS.copy()
SLAB.pbc = [True, True, False]
HEAVY = ATOMS.copy()
HEAVY.set_masses([2.0] * len(ATOMS))
NOT_CRYSTALS = [
    "NaCl.cif", Path("NaCl.cif"), b"NaCl", [SALT], (ATOMS,), SALT.as_dict(), None, 3, 0.5, True, np.eye(3), "mp-1",
    SLAB, Atoms("NaCl"), HEAVY, Molecule(["Na", "Cl"], [[0, 0, 0], [0, 0, 2.5]]), SALT.lattice, SALT[0], Structure,
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_ase_atoms_do_as_structures_do(call):
    for structure in (SALT, ATOMS, IStructure.from_sites(list(SALT))):
        CALLS[call](structure)


@pytest.mark.parametrize("call", [*CALLS, *DISORDERED])
@pytest.mark.parametrize("value", NOT_CRYSTALS, ids=lambda value: type(value).__name__)
def test_other_objects_than_crystals_are_refused_in_one_line(call, value):
    with pytest.raises(AlchemflowsError) as error:
        (CALLS | DISORDERED)[call](value)
    assert "\n" not in str(error.value)
    assert any(word in str(error.value) for word in ("structure", "phases")), error.value


def test_a_converted_structure_is_the_same_crystal():
    converted = as_structure(ATOMS)
    assert converted.composition == SALT.composition and np.allclose(converted.lattice.abc, SALT.lattice.abc)


SYMBOLS = ("K", "Li", "No", "Rb")
GOALS = (
    st.sampled_from(SYMBOLS)
    | st.sampled_from(SYMBOLS).map(Element)
    | st.dictionaries(st.sampled_from(SYMBOLS), st.floats(0, 0.25), min_size=1)
    | st.none()
)


@given(goal=GOALS)
def test_good_goals_are_kept(goal):
    found = check_substitution({"Na": goal})["Na"]
    assert found == (goal.symbol if isinstance(goal, Element) else goal)


@given(
    goal=st.lists(st.sampled_from(SYMBOLS))
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.just("")
    | st.binary()
    | st.dictionaries(st.sampled_from(SYMBOLS), st.text(alphabet="abc") | st.none() | st.booleans(), min_size=1)
    | st.dictionaries(st.sampled_from(SYMBOLS), st.floats(max_value=-1e-3) | st.floats(min_value=1.001), min_size=1)
    | st.dictionaries(st.integers() | st.booleans(), st.floats(0, 1), min_size=1)
)
def test_bad_goals_name_the_element(goal):
    with pytest.raises(InvalidInputError, match="Na") as error:
        check_substitution({"Na": goal})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "substitution",
    ["Na:K", ["Na", "K"], [("Na", "K")], None, 3, {3: "K"}, {False: "K"}, {"Na": "K", Element("Na"): "Li"}],
)
@pytest.mark.parametrize("maker", [ThermodynamicIntegrationMaker, SwitchingMaker])
def test_wrong_substitutions_are_refused_in_one_line(maker, substitution):
    with pytest.raises(InvalidInputError, match="substitution") as error:
        maker(**DEMO).make(SALT, substitution)
    assert "\n" not in str(error.value)


def test_an_unquoted_no_is_explained():
    with pytest.raises(InvalidInputError, match=r"\"No\" for nobelium"):
        check_substitution({"Na": False})


@pytest.mark.parametrize(
    ("maker", "field", "value"),
    [
        *((ThermodynamicIntegrationMaker, "temperature", bad) for bad in ("hot", [300], None, float("nan"), True, {})),
        *((ThermodynamicIntegrationMaker, "n_windows", bad) for bad in (2.5, "many", None, float("inf"), False)),
        (ThermodynamicIntegrationMaker, "lambdas", 0.5),
        (ThermodynamicIntegrationMaker, "lambdas", ["a", "b"]),
        (ThermodynamicIntegrationMaker, "replica_exchange", "perhaps"),
        (ThermodynamicIntegrationMaker, "relax_maker", "no"),
        (ThermodynamicIntegrationMaker, "relax_maker", {"steps": 3}),
        (ThermodynamicIntegrationMaker, "potential", 3),
        (ThermodynamicIntegrationMaker, "coupling", "strong"),
        (SwitchingMaker, "pressure_GPa", "high"),
        (SwitchingMaker, "seed", None),
        (SwitchingMaker, "schedule", 3),
        (FrenkelLaddMaker, "springs_eV_per_A2", ["Na"]),
        (FrenkelLaddMaker, "springs_eV_per_A2", {"Na": "stiff"}),
        (FrenkelLaddMaker, "cell_freedom", "round"),
        (FrenkelLaddMaker, "category", 3),
    ],
)
def test_a_field_of_the_wrong_type_is_named(maker, field, value):
    with pytest.raises(InvalidInputError, match=field) as error:
        maker(**DEMO | {field: value}).make(SALT, *([] if maker is FrenkelLaddMaker else [{"Na": "K"}]))
    assert "\n" not in str(error.value) and "Traceback" not in str(error.value)


def test_numbers_of_numpy_and_texts_of_numbers_work():
    maker = ThermodynamicIntegrationMaker(
        temperature=np.float32(300), n_windows=np.int64(3), pressure_GPa="0.5", lambdas=np.linspace(0, 1, 3), **DEMO
    )
    assert maker.make(SALT, {"Na": "K"}, sites=np.array([0, 1])).name.endswith("300 K 0.5 GPa")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("sites", lambda: ThermodynamicIntegrationMaker(**DEMO).make(SALT, {"Na": "K"}, sites=0)),
        ("site", lambda: ThermodynamicIntegrationMaker(**DEMO).make(SALT, {"Na": "K"}, sites=[0, 0])),
        ("sites", lambda: SchottkyMaker(frenkel_ladd_maker=ABSOLUTE).make(SALT, [0, 4])),
        ("site", lambda: FrenkelPairMaker(frenkel_ladd_maker=ABSOLUTE).make(SALT, "first", [0.25, 0.25, 0.25])),
        ("interstitial", lambda: FrenkelPairMaker(frenkel_ladd_maker=ABSOLUTE).make(SALT, 0, "middle")),
        ("potential of Na", lambda: ChemicalPotentials({"Na": "-1 eV"})),
        ("potential of Na", lambda: ChemicalPotentials({"Na": (-1.0,)})),
        ("potential of Na", lambda: ChemicalPotentials({"Na": None})),
        ("supercells", lambda: ABSOLUTE.make(SALT, supercells=2)),
        ("supercells", lambda: ABSOLUTE.make(SALT, supercells=[2, 3])),
        ("twice", lambda: ABSOLUTE.make(SALT, supercells=[(1, 1, 1), (2, 1, 1), (1, 1, 1)])),
        ("temperatures", lambda: PhaseStabilityMaker(frenkel_ladd_maker=ABSOLUTE).make({"a": SALT}, 300)),
        ("phases", lambda: PhaseStabilityMaker(frenkel_ladd_maker=ABSOLUTE).make([SALT], [300])),
        ("frenkel_ladd_maker", lambda: PhaseStabilityMaker(frenkel_ladd_maker="x").make({"a": SALT}, [300])),
        ("grid", lambda: CompositionSweepMaker(**DEMO).make(SALT)),
        ("choices", lambda: CompositionGrid.simplex(SALT, {"Na": "K"}, 2)),
        ("choices", lambda: CompositionGrid.simplex(SALT, ["Na", "K"], 2)),
        ("supercell", lambda: OrderDisorderMaker(**DEMO).make(MIXED, 2)),
        ("orders", lambda: OrderDisorderMaker(**DEMO).make(MIXED, (1, 1, 1), 3)),
        ("temperatures", lambda: MonteCarloMaker(**DEMO).make(MIXED, (1, 1, 1), 300)),
        ("mu_eV", lambda: MonteCarloMaker(mu_eV=0.1, **DEMO).make(MIXED, (1, 1, 1), [300])),
        ("bounds", lambda: CompositionOptimizationMaker(**DEMO).make(SALT, {"Na": ["Na", "K"]}, [], bounds={"Na": 1})),
        (
            "a_A has two targets",
            lambda: CompositionOptimizationMaker(**DEMO).make(
                SALT, {"Na": ["Na", "K"]}, [{"quantity": "a_A", "value": v} for v in (6, 7)]
            ),
        ),
    ],
)  # fmt: skip
def test_an_argument_of_the_wrong_type_is_named(name, call):
    with pytest.raises(InvalidInputError, match=name) as error:
        call()
    assert "\n" not in str(error.value)


@checked
def plain(count: int, names: Sequence[str] = (), shares: Mapping[str, float] | None = None):
    return count, names, shares


def test_a_checked_function_keeps_its_signature_and_defaults():
    assert plain(3) == (3, (), None) and plain(np.int64(3), names=["a"], shares={"a": np.float64(1)}) == (
        3,
        ["a"],
        {"a": 1},
    )
    with pytest.raises(TypeError, match="colour"):
        plain(3, colour=1)
