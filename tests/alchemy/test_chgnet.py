"""CHGNet: vertices against its own calculator, its graphs, and models that are refused."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from alchemical import COUPLINGS, FOUNDATION_A, evaluate, present, system_for
from ase import Atoms
from comparison import AsItIs, assert_same, evaluated
from models import groups_and_couplings, interior, perovskite, perovskite_system, vertices
from pymatgen.core import Lattice, Structure
from test_exactness import assert_vertices, calculated, remembered

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.graph import BondGraph
from alchemflows.alchemy.groups import SiteGroup, uniform_group
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.targets import load_target
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialSpec

pytest.importorskip("chgnet")

import chgnet.graph.converter
import chgnet.model.model
from chgnet.graph import CrystalGraph, CrystalGraphConverter
from chgnet.model import CHGNet, CHGNetCalculator
from chgnet.model.composition_model import AtomRef

from alchemflows.alchemy.backends import chgnet as backend_module
from alchemflows.alchemy.backends.loading import CHGNET_FILES

NAMES = ("chgnet", "chgnet-r2scan")


def cpu(name: object, **more: Any) -> PotentialSpec:
    return PotentialSpec(name=str(name), device="cpu", **more)


def model_name(name: str) -> str:
    return {"chgnet": "0.3.0", "chgnet-r2scan": "r2scan"}[name]


def shares_of_elements(_model: AtomRef, graphs: list[CrystalGraph]) -> torch.Tensor:
    """Return the share of each element in structures, in float64."""
    return torch.stack(
        [torch.bincount(g.atomic_number - 1, minlength=94).double() / len(g.atomic_number) for g in graphs]
    )


# Vertices


@pytest.fixture(scope="module")
def in_double() -> Callable[[str], Callable[[Atoms], tuple[float, np.ndarray, np.ndarray]]]:
    """Return chgnet's calculators, which are written for float32, made to run in float64."""

    def of(name: str) -> Callable[[Atoms], tuple[float, np.ndarray, np.ndarray]]:
        calculator = CHGNetCalculator(CHGNet.load(model_name=model_name(name), use_device="cpu"), use_device="cpu")
        calculator.model.double()

        def plain(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
            with pytest.MonkeyPatch.context() as patch:
                for module in (chgnet.graph.converter, chgnet.model.model):
                    patch.setattr(module, "TORCH_DTYPE", torch.float64)
                patch.setattr(AtomRef, "_assemble_graphs", shares_of_elements)
                return calculated(atoms, calculator)

        return remembered(plain)

    return of


@pytest.mark.parametrize(("groups", "coupling"), groups_and_couplings())
def test_vertices_equal_the_plain_model_in_double(groups, coupling, backend, in_double):
    assert_vertices(backend("chgnet"), system_for("chgnet", groups, coupling), in_double("chgnet"), seed=3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_vertices_equal_the_published_calculator(name, dtype):
    """Within the rounding of float32: 1e-5 eV per atom."""
    loaded = load_potential(cpu(name, dtype=dtype))
    calculator = CHGNetCalculator(CHGNet.load(model_name=model_name(name), use_device="cpu"), use_device="cpu")
    system = system_for("chgnet", "several groups", "mean-field")
    corners = vertices(system)[[0, 7, 12]]
    result = evaluate(loaded, system, corners)
    for k, corner in enumerate(corners):
        atoms = system.at_vertex(corner).to_ase_atoms()
        energy, forces, stress = calculated(atoms, calculator)
        np.testing.assert_allclose(result.energy[k] / len(atoms), energy / len(atoms), rtol=0, atol=1e-5)
        np.testing.assert_allclose(result.forces[k, present(system, corner)], forces, rtol=0, atol=3e-4)
        np.testing.assert_allclose(result.stress[k], stress, rtol=0, atol=3e-5)


@pytest.mark.parametrize(("groups", "coupling"), groups_and_couplings())
def test_split_gates_change_nothing(groups, coupling, backend):
    system = system_for("chgnet", groups, coupling)
    fast = backend("chgnet").specialised(system.elements)
    assert fast is not backend("chgnet")
    assert fast.specialised(system.elements) is fast
    assert_same(evaluated(fast, system), evaluated(backend("chgnet"), system))


def test_as_a_target_of_corrections():
    """By its name as by the import path of its calculator."""
    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    images = [crystal.copy().perturb(0.1, seed=seed).to_ase_atoms() for seed in range(3)]
    path = "chgnet.model.dynamics:CHGNetCalculator"
    calculator = load_target(CalculatorSpec(path=path, arguments={"use_device": "cpu"}))
    potential = load_target(cpu("chgnet", dtype="float64"))
    for target in (calculator, potential):
        target.check_elements([11, 17])
    n_atoms = len(crystal)
    np.testing.assert_allclose(potential.energies(images), calculator.energies(images), rtol=0, atol=1e-5 * n_atoms)
    np.testing.assert_allclose(potential.forces(images), calculator.forces(images), rtol=0, atol=1e-4)


# Graphs


def edges_and_angles(directed: np.ndarray, vectors: np.ndarray, angles: np.ndarray) -> tuple[list[tuple], list[tuple]]:
    """Return edges (receiver, sender, vector) and angles (receiver, both senders and vectors), sorted.

    Parameters
    ----------
    directed
        Receiver and sender of each edge, shape (E, 2).
    vectors
        Vector of each edge (Å), shape (E, 3).
    angles
        The two edges of each angle, shape (A, 2).
    """
    edges = [(int(i), int(j), *np.round(v, 3).tolist()) for (i, j), v in zip(directed, vectors + 0.0, strict=True)]
    return sorted(edges), sorted(edges[a] + edges[b][1:] for a, b in angles)


@pytest.mark.parametrize("lattice_parameter_A", [2.9, 3.9, 6.0])
def test_graphs_equal_those_of_chgnets_converter(lattice_parameter_A):
    """Also in a cell in which atoms make bonds and angles with their own images."""
    structure = perovskite(lattice_parameter_A)
    found = CrystalGraphConverter(atom_graph_cutoff=6, bond_graph_cutoff=3)(structure)
    directed = found.atom_graph.numpy()
    x, h = structure.cart_coords, structure.lattice.matrix
    vectors = x[directed[:, 0]] - x[directed[:, 1]] - found.neighbor_image.numpy() @ h
    expected = edges_and_angles(directed, vectors, found.bond_graph.numpy()[:, [2, 4]])

    graph, angles = bond_graph(AlchemicalSystem(structure), np.zeros(0))
    # the nodes are sorted by element, in the order of the atoms
    atom = np.argsort(structure.atomic_numbers, kind="stable")
    ends = atom[torch.stack([graph.receiver, graph.sender], dim=1).numpy()]
    assert edges_and_angles(ends, graph.vectors[graph.vector].numpy(), angles) == expected


def bond_graph(system: AlchemicalSystem, weights: np.ndarray) -> tuple[BondGraph, np.ndarray]:
    """Return the graph that the backend gets, and the two edges of each angle, shape (A, 2)."""
    loaded, graphs = load_potential(cpu("chgnet", dtype="float64")), []

    def geometry(_self: object, graph: BondGraph) -> object:
        graphs.append(graph)
        return original(graph)

    original = loaded.geometry
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(loaded), "geometry", geometry)
        evaluate(AsItIs(loaded), system, weights, forces=False, stress=False)
    (graph,) = graphs
    bonds = backend_module._Bonds(graph, graph.vectors.norm(dim=1) < loaded.bond_cutoff_A)
    return graph, torch.stack([bonds.edges[bonds.receiving], bonds.edges[bonds.sending]], dim=1).numpy()


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_channels_of_one_atom_make_no_angle(coupling):
    system = system_for("chgnet", "several groups", coupling)
    graph, angles = bond_graph(system, interior(system))
    vector = graph.vector.numpy()[angles]
    assert (vector[:, 0] != vector[:, 1]).all()
    receivers = graph.receiver.numpy()[angles]
    assert (receivers[:, 0] == receivers[:, 1]).all()
    # every two edges to a node from different pairs of atoms make two angles
    is_short = graph.vectors.norm(dim=1)[graph.vector] < 3
    counts = {}
    for node, pair in zip(graph.receiver[is_short].tolist(), graph.vector[is_short].tolist(), strict=True):
        counts.setdefault(node, []).append(pair)
    assert len(angles) == sum(sum(a != b for a in pairs for b in pairs) for pairs in counts.values()) > 0


def test_angles_have_products_of_weights(backend):
    """An ordinary atom with two alchemical neighbours: the energy of the angle needs both of them."""
    places = [[7.0, 7.0, 7.0], [9.6, 7.0, 7.0], [7.0, 9.4, 7.0]]  # I and Cl make no bond that is part of an angle
    structure = Structure(Lattice.cubic(14.0), ["Pb", "I", "Cl"], places, coords_are_cartesian=True)
    system = AlchemicalSystem(structure, (SiteGroup((1,), ((53,),)), SiteGroup((2,), ((17,),))))
    without_angles = copy(backend("chgnet"))
    without_angles.bond_cutoff_A = 0.0

    def energy_of_the_angle(*weights: tuple[float, float]) -> np.ndarray:
        both, bonds = (
            evaluate(AsItIs(loaded), system, np.array(weights), forces=False, stress=False).energy
            for loaded in (backend("chgnet"), without_angles)
        )
        return (both - bonds).numpy()

    occupied, *others = energy_of_the_angle((1, 1), (1, 0), (0, 1), (0, 0))
    assert abs(occupied) > 1e-3
    np.testing.assert_allclose(others, 0, atol=1e-12)
    h = 1e-3
    one, two, with_iodine, with_more = energy_of_the_angle((h, h), (2 * h, 2 * h), (1, h), (1, 2 * h))
    assert two / one == pytest.approx(4, rel=0.02)
    assert with_more / with_iodine == pytest.approx(2, rel=0.02)


# Derivatives


def test_forces_change_abruptly_at_straight_angles(backend):
    """Force on a displaced O atom of MgO per displacement, as in docs/potentials.md."""
    oxide = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.25), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    moves = np.array([0.001, 0.05])
    positions = np.tile(oxide.cart_coords, (2, 1, 1))
    positions[:, 4, 0] += moves
    cells, none = np.tile(oxide.lattice.matrix, (2, 1, 1)), np.zeros((2, 0))
    forces = AlchemicalPotential(AlchemicalSystem(oxide), backend("chgnet")).evaluate(positions, cells, none).forces
    np.testing.assert_allclose(-forces[:, 4, 0] / moves, [2.8, 8.4], atol=0.05)


def test_second_derivatives_at_a_straight_angle_are_refused(backend):
    salt = Structure(2.845 * (np.ones((3, 3)) - np.eye(3)), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    system = AlchemicalSystem(salt, (uniform_group([0], ["Na", "K"]),))
    potential = AlchemicalPotential(system, backend("chgnet"))
    cell, weights = salt.lattice.matrix, np.array([0.5, 0.5])
    with pytest.raises(PotentialError, match=r"chgnet.*straight.*(Cl–Na–Cl|Na–Cl–Na)"):
        potential.second_derivatives(salt.cart_coords, cell, weights)
    # wider cells have no bonds that make angles
    potential.second_derivatives(salt.cart_coords * 1.1, cell * 1.1, weights)


# Loading


@pytest.mark.parametrize("name", NAMES)
def test_by_name(name, capfd):
    loaded = load_potential(cpu(name, dtype="float64", sha256=None))
    assert loaded.record.backend == "chgnet"
    assert loaded.cutoff_A == 6.0
    assert capfd.readouterr().out == ""
    missing = {84, 85, 86, 87, 88} | ({70} if name == "chgnet-r2scan" else set())  # Po to Ra; Yb
    assert loaded.numbers == set(range(1, 95)) - missing


def test_an_element_without_reference_energy_is_named():
    structure = Structure(Lattice.cubic(4.0), ["Yb", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    AlchemicalPotential(AlchemicalSystem(structure), load_potential(cpu("chgnet")))
    with pytest.raises(InvalidInputError, match=r"chgnet-r2scan.*\bYb\b"):
        AlchemicalPotential(AlchemicalSystem(structure), load_potential(cpu("chgnet-r2scan")))


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(chgnet.__file__).parent


def test_the_file_of_a_name_and_its_copy_are_one_potential(folder, tmp_path):
    path = tmp_path / "mine.pth.tar"
    path.write_bytes((folder / CHGNET_FILES["chgnet"]).read_bytes())
    assert load_potential(cpu(path)).record.sha256 == load_potential(cpu("chgnet")).record.sha256


def test_biases_of_the_first_release_are_refused(folder):
    (path,) = folder.glob("pretrained/0.2.0/*.tar")
    with pytest.raises(PotentialError, match=r"biases.*chgnet-r2scan"):
        load_potential(cpu(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mlp_first": False}, "mlp_first"),
        ({"composition_model": None}, "reference energies"),
        ({"is_intensive": False}, "is_intensive"),
        ({"cutoff_coeff": 0}, "cutoff"),
        ({"conv_norm": "layer"}, "conv_norm"),
        ({"mlp_out_bias": True}, "biases"),
    ],
)
def test_models_that_are_refused(arguments, message, tmp_path):
    torch.save({"model": small(**arguments)}, tmp_path / "small.pth.tar")
    with pytest.raises(PotentialError, match=rf"small\.pth\.tar.*{message}"):
        load_potential(cpu(tmp_path / "small.pth.tar"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"update_angle": False},
        {"update_bond": False, "update_angle": False},
        {"gMLP_norm": None, "readout_norm": None},
        {"n_conv": 2, "final_mlp": "gated", "gMLP_norm": "batch"},
    ],
    ids=["no angles updated", "no bonds updated", "no norms", "gated readout"],
)
def test_other_models_equal_their_calculator(arguments, tmp_path):
    torch.save({"model": small(**arguments)}, tmp_path / "small.pth.tar")
    loaded = load_potential(cpu(tmp_path / "small.pth.tar"))
    calculator = CHGNetCalculator(CHGNet.from_file(str(tmp_path / "small.pth.tar")), use_device="cpu")
    system = perovskite_system("one group", lattice_parameter_A=FOUNDATION_A)
    for corner in vertices(system)[:2]:
        energy, forces, _ = calculated(system.at_vertex(corner).to_ase_atoms(), calculator)
        result = evaluate(loaded, system, corner)
        np.testing.assert_allclose(result.energy[0], energy, rtol=1e-6)
        np.testing.assert_allclose(result.forces[0], forces, atol=1e-4 * np.abs(forces).max())


def small(**arguments: Any) -> dict[str, Any]:
    """Return a random small CHGNet as its files contain it."""
    torch.manual_seed(4)
    sizes = dict.fromkeys(("atom_fea_dim", "bond_fea_dim", "angle_fea_dim", "num_radial"), 8)
    model = CHGNet(**sizes, num_angular=5, mlp_hidden_dims=(8, 8), **arguments)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model.as_dict()


@pytest.mark.parametrize(("field", "value"), [("head", "pbe"), ("kernels", "cuequivariance")])
def test_there_are_no_heads_and_no_other_kernels(field, value):
    with pytest.raises(PotentialError, match=f"{field}.*chgnet"):
        load_potential(cpu("chgnet", **{field: value}))


def test_without_chgnet_the_way_to_get_it_is_told(monkeypatch):
    monkeypatch.setattr("alchemflows.schemas.potential.find_spec", lambda name: None)
    with pytest.raises(PotentialError, match=r"alchemflows\[chgnet\]"):
        load_potential(cpu("chgnet"))
