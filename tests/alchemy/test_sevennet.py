"""Checkpoints of SevenNet, also multi-modal ones and those of newer releases, built without the package sevenn."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.backends import load_potential, sevennet
from alchemflows.alchemy.backends.loading import _load
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem, SiteGroup
from alchemflows.errors import PotentialError
from alchemflows.schemas.potential import PotentialSpec

#: Written by tests/data/make_sevennet.py with sevenn 0.13.0 and e3nn 0.6.0.
DATA = Path(__file__).parents[1] / "data" / "sevennet"
REFERENCES = json.loads((DATA / "references.json").read_text())
MODELS = [("modal", "PBE"), ("single", None), pytest.param("modal", "R2SCAN", marks=pytest.mark.slow)]
CL, SN, IODINE, PB = 17, 50, 53, 82
#: Weights of the references: Pb or Sn, I or Cl.
CORNERS = np.array([[1.0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]])


def spec(name: str, head: str | None, dtype: str = "float64") -> PotentialSpec:
    return PotentialSpec(name=str(DATA / f"{name}.pth"), head=head, dtype=dtype, device="cpu")


def references(name: str, head: str | None) -> list[dict]:
    return [each for each in REFERENCES if (each["checkpoint"], each["head"]) == (name, head)]


def system(coupling: str = "paired") -> AlchemicalSystem:
    first = REFERENCES[0]
    structure = Structure(Lattice(first["cell"]), first["numbers"], first["positions"], coords_are_cartesian=True)
    groups = SiteGroup((1, 6), ((PB, PB), (SN, SN))), SiteGroup((2, 8, 9), ((IODINE,) * 3, (CL,) * 3))
    return AlchemicalSystem(structure, groups, coupling)


def evaluated(backend, coupling: str, weights: np.ndarray):
    crystal = system(coupling)
    structure = crystal.structure
    tiled = (np.tile(values, (len(weights), 1, 1)) for values in (structure.cart_coords, structure.lattice.matrix))
    return AlchemicalPotential(crystal, backend).evaluate(*tiled, weights)


@pytest.mark.parametrize("coupling", ["paired", "mean-field"])
@pytest.mark.parametrize(("name", "head"), MODELS)
def test_vertices_equal_the_calculator_of_sevenn_0_13(name, head, coupling):
    found = evaluated(load_potential(spec(name, head)), coupling, CORNERS)
    for k, expected in enumerate(references(name, head)):
        assert np.flatnonzero(np.array(expected["numbers"]) == PB).tolist() == ([1, 6] if CORNERS[k, 0] else [])
        forces = np.array(expected["forces_eV_per_A"])
        assert abs(forces).max() > 0.03
        np.testing.assert_allclose(found.energy[k], expected["energy_eV"], rtol=1e-11)
        np.testing.assert_allclose(found.forces[k], forces, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(found.stress[k], expected["stress_eV_per_A3"], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("name", "head"), MODELS[:2])
def test_derivatives_and_merged_messages(name, head):
    """Inside the simplex: finite differences of energies, and the network with and without merged messages."""
    weights = np.array([[0.3, 0.6, 0.2, 0.7]])
    backend = load_potential(spec(name, head))
    fast = backend.specialised(system().elements)
    assert fast.merges_messages and not backend.merges_messages
    for coupling in ("paired", "mean-field"):
        crystal = system(coupling)
        potential = AlchemicalPotential(crystal, backend)
        x, h = crystal.structure.cart_coords[None], crystal.structure.lattice.matrix[None]
        found = potential.evaluate(x, h, weights)
        step = 1e-4
        shifted = weights[:, None] + step * np.concatenate([np.eye(4), -np.eye(4)])[None]
        energies = potential.energies(x, h, shifted)[0].numpy()
        slopes = (energies[:4] - energies[4:]) / (2 * step)
        np.testing.assert_allclose(found.weight_gradients[0], slopes, rtol=1e-6, atol=1e-6)
        moved = np.zeros_like(x)
        moved[0, 2, 1] = step
        energies = [potential.energies(x + sign * moved, h, weights[:, None]).item() for sign in (1, -1)]
        assert found.forces[0, 2, 1].item() == pytest.approx((energies[1] - energies[0]) / (2 * step), rel=1e-5)
    plain = AlchemicalPotential(crystal, _AsItIs(backend)).evaluate(x, h, weights)
    for result in ("energy", "forces", "stress", "weight_gradients"):
        np.testing.assert_allclose(getattr(found, result), getattr(plain, result), rtol=1e-9, atol=1e-11)


class _AsItIs:
    def __init__(self, backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str):
        return getattr(self._backend, name)

    def specialised(self, _numbers):
        return self._backend


@pytest.mark.slow
def test_single_precision():
    single, double = (
        evaluated(load_potential(spec("modal", "PBE", dtype)), "paired", CORNERS[:1])
        for dtype in ("float32", "float64")
    )
    np.testing.assert_allclose(single.energy, double.energy, atol=1e-4)
    np.testing.assert_allclose(single.forces, double.forces, atol=1e-4)


# Modalities


def test_modality_is_recorded():
    record = load_potential(spec("modal", "PBE")).record
    assert (record.backend, record.head) == ("sevennet", "PBE")


@pytest.mark.parametrize(
    ("name", "head", "reason"),
    [("modal", None, "R2SCAN, PBE"), ("modal", "SCAN", "R2SCAN, PBE; got 'SCAN'"), ("single", "PBE", "head.*'PBE'")],
)
def test_modalities_that_are_refused(name, head, reason):
    with pytest.raises(PotentialError, match=rf"{name}\.pth: .*{reason}"):
        load_potential(spec(name, head))


# Checkpoints that are refused


@pytest.fixture
def checkpoint() -> Iterator[dict]:
    yield torch.load(DATA / "single.pth", weights_only=False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": "0.14.0"}, "sevenn 0.14.0"),
        ({"interaction_type": "mace"}, "interaction 'mace'"),
        ({"self_connection_type": "none"}, "self-connection 'none'"),
        ({"act_radial": "gelu"}, "activation function 'gelu'"),
        ({"cutoff_function": {"cutoff_function_name": "cosine"}}, "cutoff function 'cosine'"),
        ({"optimize_by_reduce": False}, "optimize_by_reduce"),
        ({"channel": 5}, "parameters .* do not fit"),
    ],
)
def test_configurations_that_are_refused(change, reason, checkpoint, tmp_path):
    torch.save(checkpoint | {"config": checkpoint["config"] | change}, tmp_path / "bad.pth")
    with pytest.raises(PotentialError, match=rf"bad\.pth: .*{reason}"):
        load_potential(PotentialSpec(name=str(tmp_path / "bad.pth"), device="cpu"))


def test_checkpoints_without_coupling_coefficients_are_refused(checkpoint, tmp_path):
    """As for other kernels; the signs of the coefficients could not be known."""
    tensors = {k: v for k, v in checkpoint["model_state_dict"].items() if "_w3j" not in k}
    torch.save(checkpoint | {"model_state_dict": tensors}, tmp_path / "bad.pth")
    with pytest.raises(PotentialError, match=r"_w3j.*cuEquivariance"):
        load_potential(PotentialSpec(name=str(tmp_path / "bad.pth"), device="cpu"))


def test_signs_of_the_coupling_coefficients_are_those_of_the_checkpoint():
    """E3nn 0.5 changed the sign of some; otherwise this test and the stored ones would mean little."""
    from e3nn.o3 import wigner_3j

    tensors = torch.load(DATA / "single.pth", weights_only=False)["model_state_dict"]
    name = "1_convolution.convolution._compiled_main_left_right._w3j_{}_{}_{}"
    for degrees, sign in {(1, 2, 2): -1, (1, 1, 2): 1, (2, 1, 2): -1}.items():
        torch.testing.assert_close(tensors[name.format(*degrees)], sign * wigner_3j(*degrees))


# The package sevenn


def test_checkpoints_need_no_sevenn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sevenn", None)
    monkeypatch.setattr(sevennet, "version", not_installed)
    _load.cache_clear()
    backend = load_potential(spec("single", None))
    assert backend.library_calculator() is None
    assert backend.specialised(frozenset({CL, SN, IODINE})).merges_messages


def not_installed(package: str) -> str:
    raise PackageNotFoundError(package)


@pytest.mark.slow
def test_no_calculator_of_a_release_with_another_e3nn(monkeypatch):
    pytest.importorskip("sevenn")
    loaded = load_potential(PotentialSpec(name="sevennet-0", device="cpu"))
    monkeypatch.setattr(sevennet, "version", lambda _package: "0.13.0")
    assert loaded.library_calculator() is None
    assert load_potential(spec("modal", "PBE")).library_calculator() is None


def test_names_of_potentials(monkeypatch, tmp_path):
    """Files of sevenn 0.13.0 that 0.10.4 lacks are named; they are found without importing the package."""
    pytest.importorskip("sevenn")
    with pytest.raises(PotentialError, match=r"sevennet-mf-0.*--no-deps sevenn==0\.13\.0"):
        sevennet.sevennet_model_file("sevennet-mf-0")
    with pytest.raises(PotentialError, match="sevennet-l3i5"):
        sevennet.sevennet_model_file("sevennet-l3i6")
    package = tmp_path / "sevenn" / "pretrained_potentials" / "SevenNet_MF_0"
    package.mkdir(parents=True)
    (tmp_path / "sevenn" / "__init__.py").write_text("raise ValueError('e3nn must be 0.5.0 or later')")
    (package / "checkpoint_sevennet_mf_0.pth").write_bytes((DATA / "modal.pth").read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sevenn", raising=False)
    _load.cache_clear()
    assert load_potential(PotentialSpec(name="7net-MF-0", head="R2SCAN", device="cpu")).numbers == {17, 50, 53, 55, 82}
