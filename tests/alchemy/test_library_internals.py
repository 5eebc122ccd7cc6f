"""Names inside other libraries that this package depends on; each test names the library and what has changed."""

from __future__ import annotations

import importlib
import inspect
import logging

import pytest
import torch
from mace.modules import ScaleShiftMACE
from models import VARIANTS, build_mace, perovskite

from alchemflows.alchemy.backends import mace_internals as internals
from alchemflows.alchemy.backends.precision import default_dtype
from alchemflows.alchemy.backends.trimming import KNOWN_BLOCKS

#: ``hasattr`` gates of ScaleShiftMACE.forward in mace-torch 0.3.16, all of which the backend knows.
GATES = ("pair_repulsion", "joint_embedding", "embedding_readout")


@pytest.mark.parametrize("block", KNOWN_BLOCKS, ids=lambda block: block.__name__)
@pytest.mark.parametrize("name", [internals.FUSION, internals.TENSOR_PRODUCT, internals.RADIAL_NETWORK])
def test_interaction_blocks_of_mace_read_these_names(block, name):
    source = inspect.getsource(block.forward)
    assert name in source, f"mace-torch: {block.__name__}.forward no longer reads {name}; see mace_internals.py"


def test_gates_of_mace_are_known():
    source = inspect.getsource(ScaleShiftMACE.forward)
    found = {part.split('"')[1] for part in source.split("hasattr(self, ")[1:]}
    assert found == set(GATES), f"mace-torch: ScaleShiftMACE.forward asks for other attributes: {found ^ set(GATES)}"


def test_gates_are_attributes_of_models_that_have_them():
    plain, zbl, agnesi, agnostic = (
        build_mace(**VARIANTS[v]) for v in ("residual", "zbl", "agnesi", "agnostic-product")
    )
    assert internals.has_pair_repulsion(zbl) and not internals.has_pair_repulsion(plain)
    assert internals.has_distance_transform(agnesi) and not internals.has_distance_transform(plain)
    assert internals.is_agnostic(agnostic.products[0]) and not internals.is_agnostic(plain.products[0])
    specs = {"total_charge": {"type": "continuous", "per": "graph", "in_dim": 1, "emb_dim": 4}}
    charged = build_mace(**VARIANTS["residual"], embedding_specs=specs)
    assert internals.embeds_other_inputs(charged) and not internals.embeds_other_inputs(plain)


def test_the_calculator_of_mace_prepares_atoms_in_the_dtype_of_its_model():
    """Also where torch's default is another one; otherwise positions would be rounded to float32."""
    calculator = internals.LibraryCalculator(
        models=[build_mace(**VARIANTS["residual"])], device="cpu", default_dtype="float64"
    )
    with default_dtype(torch.float32):
        calculator.calculate(perovskite().to_ase_atoms())
        batch = calculator._atoms_to_batch(perovskite().to_ase_atoms())
    assert batch["positions"].dtype == batch["node_attrs"].dtype == torch.float64


def test_contractions_of_mace():
    product = build_mace(**VARIANTS["scalars"]).products[0]
    (part,) = internals.contractions(product)
    assert internals.correlation(product) == part.correlation == 3
    for degree in (1, 2, 3):
        n_elements, n_paths, n_channels = internals.parameters(part, degree).shape
        assert (n_elements, n_channels) == (5, 8)
        assert internals.coupling(part, degree).shape[-1] == n_paths


def test_names_of_chgnets_modules():
    """The layers have these parts, with these inputs, and the features of bonds have no norms."""
    pytest.importorskip("chgnet")
    from chgnet.model import CHGNet

    model = CHGNet(version="test")
    atoms, bonds, angles = model.atom_conv_layers[0], model.bond_conv_layers[0], model.angle_layers[0]
    for layer, gate, n_parts in ((atoms, "twoBody_atom", 3), (bonds, "twoBody_bond", 4), (angles, "twoBody_bond", 4)):
        for mlp in (getattr(layer, gate).mlp_core, getattr(layer, gate).mlp_gate):
            linear = next(part for part in mlp.layers if isinstance(part, torch.nn.Linear))
            assert linear.in_features == 64 * n_parts, f"chgnet: {gate} of {type(layer).__name__} has another input"
        assert layer.resnet, f"chgnet: {type(layer).__name__} no longer adds its input"
    assert atoms.atom_norm is bonds.bond_norm is angles.angle_norm is None


def test_torchscript_has_a_profiling_mode():
    """Private to torch, as seen in 2.13.0; a setter that returns the mode before."""
    before = torch._C._jit_set_profiling_mode(False)
    try:
        assert torch._C._jit_set_profiling_mode(False) is False
    finally:
        torch._C._jit_set_profiling_mode(before)


def test_torch_counts_changes_in_place():
    """Private to torch, as seen in 2.13.0; alchemflows.alchemy.potential uses it."""
    values = torch.zeros(3)
    before = values._version
    values[0] = 1.0
    assert values._version > before, "torch: Tensor._version no longer counts changes in place"


def test_degree_of_the_spherical_harmonics_of_mace():
    """Models are written to files with it."""
    model = build_mace(**VARIANTS["residual"])
    degrees = [irrep.ir.l for irrep in model.spherical_harmonics.irreps_out]
    assert model.spherical_harmonics.irreps_out.lmax == max(degrees) == len(degrees) - 1


@pytest.mark.parametrize("module", ["pymbar.mbar", "pymbar.mbar_solvers", "pymbar.timeseries"])
def test_loggers_of_pymbar(module):
    """Seen in pymbar 4.0.3; alchemflows.free_energy silences them by the name of the package."""
    import alchemflows.free_energy  # noqa: F401

    logger = importlib.import_module(module).logger
    assert logger.name == module, f"pymbar: {module} logs to {logger.name}"
    assert logger.getEffectiveLevel() == logging.ERROR
