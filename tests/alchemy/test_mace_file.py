"""MACE models in safetensors files: the same energies in every bit, and what is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from e3nn import o3
from mace.modules import MACE, ScaleShiftMACE
from mace.modules.symmetric_contraction import Contraction
from models import VARIANTS, build_mace, interior, perovskite_system, variants

from alchemflows.alchemy.backends import load_potential, resolve
from alchemflows.alchemy.backends.loading import mace_model
from alchemflows.alchemy.backends.mace import MACEBackend
from alchemflows.alchemy.backends.mace_file import METADATA_KEY, load_mace, save_mace
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.errors import PotentialError
from alchemflows.schemas.potential import PotentialSpec


def written(model: torch.nn.Module, folder: Path) -> Path:
    path = folder / "model.safetensors"
    save_mace(model, path, name="a model", description="for a test")
    return path


def evaluated(model: torch.nn.Module, dtype: str):
    system = perovskite_system()
    spec = PotentialSpec(name="model", dtype=dtype, device="cpu")
    potential = AlchemicalPotential(system, MACEBackend(deepcopy(model), spec, "0" * 64, torch.device("cpu")))
    x, h, w = system.structure.cart_coords, system.structure.lattice.matrix, interior(system)
    return potential.evaluate(x[None], h[None], w[None])


@pytest.fixture(scope="module")
def residual(tmp_path_factory) -> Path:
    return written(build_mace(**VARIANTS["residual"]), tmp_path_factory.mktemp("plain"))


# The same model


#: Every argument of the description takes more than one value; writing checks each model in every bit, too.
DIFFERENT = [
    "non-residual-first",
    "density-residual",
    "attention-first",
    "non-linear-cutoff",
    "soft",
    "gaussian",
    "zbl-agnesi-density",
    "heads-zbl-non-linear",
    "agnostic-product",
    "last-readout-only",
    "one-layer",
    "three-layers",
    "so3",
    "keep-last-irreps",
    "full-couplings",
    "scalars",
]


@pytest.mark.parametrize("variant", variants(DIFFERENT, core=("agnostic-product", "scalars")))
def test_same_results_in_every_bit(variant, tmp_path):
    model = build_mace(**VARIANTS[variant])
    loaded = load_mace(written(model, tmp_path).read_bytes())
    before, after = (evaluated(m, "float64") for m in (model, loaded))
    assert torch.equal(before.energy, after.energy)
    assert torch.equal(before.weight_gradients, after.weight_gradients)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["residual", pytest.param("zbl-agnesi-density", marks=pytest.mark.slow)])
def test_single_precision_stays_single(variant, tmp_path):
    model = build_mace(**VARIANTS[variant]).float()
    loaded = load_mace(written(model, tmp_path).read_bytes())
    assert {v.dtype for v in loaded.parameters()} == {torch.float32}
    for dtype in ("float32", "float64"):
        assert torch.equal(evaluated(model, dtype).energy, evaluated(loaded, dtype).energy)


@pytest.mark.slow
def test_default_precision_is_left_alone(residual):
    before = torch.get_default_dtype()
    load_mace(residual.read_bytes())
    assert torch.get_default_dtype() == before


def test_same_model_same_bytes(residual, tmp_path):
    again = written(load_mace(residual.read_bytes()), tmp_path)
    assert again.read_bytes() == residual.read_bytes()


def test_the_model_that_is_written_stays_as_it_is(tmp_path):
    model = build_mace(**VARIANTS["residual"]).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    written(model, tmp_path)
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_record_and_cache(residual):
    spec, loaded = resolve(PotentialSpec(name=str(residual), device="cpu"))
    assert loaded.record.sha256 == spec.sha256 == hashlib.sha256(residual.read_bytes()).hexdigest()
    assert loaded.record.backend == "mace"
    assert load_potential(spec) is load_potential(spec)
    with pytest.raises(PotentialError, match="SHA-256"):
        load_potential(spec.model_copy(update={"sha256": "0" * 64}))


def test_no_pickle_in_the_file(residual):
    content = residual.read_bytes()
    assert content[8:9] == b"{"
    assert b"torch\n" not in content
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(content)


#: Attributes that models of 2023, such as MACE-MP-0, lack. mace-torch then does what it did at that time.
LATER = ("heads", "edge_irreps", "use_reduced_cg", "use_so3", "use_agnostic_product", "use_last_readout_only")


def of_2023() -> torch.nn.Module:
    model = build_mace(**VARIANTS["full-couplings"])
    for module in model.modules():
        if isinstance(module, Contraction):
            for name in [name for name in module._buffers if name.endswith("_zeroed")]:
                delattr(module, name)
        for name in (*LATER, "num_heads", "apply_cutoff", "use_edge_irreps_first"):
            vars(module).pop(name, None)
    return model


def test_models_of_2023_are_written(tmp_path):
    """Also if their pickle lacks what later releases of mace-torch save."""
    model = of_2023()
    assert not [name for name in model.state_dict() if name.endswith("_zeroed")]
    path = tmp_path / "old.model"
    torch.save(model, path)
    loaded = load_mace(written(mace_model(str(path)), tmp_path).read_bytes())
    before, after = (evaluated(m, "float64") for m in (of_2023(), loaded))
    assert torch.equal(before.energy, after.energy)
    assert torch.equal(before.weight_gradients, after.weight_gradients)


def test_only_files_of_mace_are_read_as_mace(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "other.pt")
    with pytest.raises(PotentialError, match=r"other\.pt is not a MACE model"):
        mace_model(str(tmp_path / "other.pt"))


# What cannot be written


class Subclass(ScaleShiftMACE):
    pass


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: build_mace(cls=MACE, **VARIANTS["residual"]), r"\bMACE\b"),
        (lambda: build_mace(cls=Subclass, **VARIANTS["residual"]), "Subclass"),
        (lambda: torch.nn.Linear(2, 2), "Linear"),
        (lambda: build_mace(**VARIANTS["residual"], radial_type="chebyshev"), "ChebychevBasis"),
        (lambda: build_mace(**VARIANTS["residual"], gate=torch.nn.functional.gelu), "gelu"),
        (lambda: mixed_precision(), "float32, float64"),
        (lambda: with_a_trick(), "energies"),
        (lambda: with_charge(), "total.charge|inputs"),
    ],
)
def test_models_that_cannot_be_written(model, reason, tmp_path):
    with pytest.raises(PotentialError, match=reason):
        written(model(), tmp_path)
    assert not list(tmp_path.iterdir())


def mixed_precision() -> torch.nn.Module:
    model = build_mace(**VARIANTS["residual"])
    model.scale_shift.float()
    return model


def with_a_trick() -> torch.nn.Module:
    """Something that neither tensors nor arguments tell."""
    model = build_mace(**VARIANTS["residual"])
    model.interactions[1].avg_num_neighbors = 3.0
    return model


def with_charge() -> torch.nn.Module:
    specs = {"total_charge": {"type": "continuous", "per": "graph", "in_dim": 1, "emb_dim": 4}}
    return build_mace(**VARIANTS["residual"], embedding_specs=specs)


def test_name_of_the_file(tmp_path):
    with pytest.raises(PotentialError, match=r"\.safetensors"):
        save_mace(build_mace(**VARIANTS["residual"]), tmp_path / "a.model", name="", description="")


# Files that are refused


def refused(content: bytes, folder: Path, reason: str) -> None:
    path = folder / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(PotentialError, match=rf"bad\.safetensors: {reason}"):
        load_potential(PotentialSpec(name=str(path), device="cpu"))


@pytest.mark.parametrize("cut", [0, 4, 100, 0.5, 0.999])
def test_truncated(cut, residual, tmp_path):
    content = residual.read_bytes()
    refused(content[: cut if cut in (0, 4, 100) else int(cut * len(content))], tmp_path, ".*deserializing")


@pytest.mark.parametrize("content", [b"no model\n" * 50, np.random.default_rng(0).bytes(3000), pickle.dumps([1])])
def test_not_safetensors(content, tmp_path):
    refused(content, tmp_path, ".*deserializing")


def changed(path: Path, tensors: dict | None = None, **architecture: object) -> bytes:
    """The file with other values in its description, or other tensors."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    about = json.loads(header["__metadata__"][METADATA_KEY])
    about["architecture"] |= architecture
    kept = safetensors.torch.load(content) | (tensors or {})
    return safetensors.torch.save({k: v for k, v in kept.items() if v is not None}, {METADATA_KEY: json.dumps(about)})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"interaction_cls": "os.system"}, r".*architecture.*'os\.system'"),
        ({"readout_cls": "Thing"}, ".*architecture.*'Thing'"),
        ({"gate": "eval"}, ".*architecture.*'eval'"),
        ({"model_class": "MACELES"}, r"the description .* architecture\.model_class"),
        ({"hidden_irreps": "__import__('os')"}, r"the description .* architecture\.hidden_irreps"),
        ({"hidden_irreps": "99999999x0e"}, r"the description .* architecture\.hidden_irreps"),
        ({"num_bessel": 10**9}, r"the description .* architecture\.num_bessel"),
        ({"correlation": [2, 2, 2]}, ".*correlation.* 2 interactions"),
        ({"surprise": 1}, r"the description .* architecture\.surprise"),
        ({"num_bessel": 7}, ".*tensors"),
        ({"hidden_irreps": "4x0e+4x1o"}, ".*tensors"),
        ({"pair_repulsion": True}, ".*tensors"),
        ({"max_ell": 1}, ".*tensors"),
    ],
)
def test_descriptions_that_are_refused(change, reason, residual, tmp_path):
    refused(changed(residual, **change), tmp_path, reason)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"atomic_numbers": None}, "the file lacks the tensor 'atomic_numbers'"),
        ({"node_embedding.linear.weight": None}, ".*tensors"),
        ({"more": torch.ones(2)}, ".*tensors"),
        ({"node_embedding.linear.weight": torch.ones(3)}, ".*tensors"),
    ],
)
def test_tensors_that_are_refused(tensors, reason, residual, tmp_path):
    refused(changed(residual, tensors), tmp_path, reason)


def test_safetensors_of_something_else(tmp_path):
    refused(safetensors.torch.save({"a": torch.ones(2)}), tmp_path, f".*{METADATA_KEY}")
    refused(safetensors.torch.save({"a": torch.ones(2)}, {METADATA_KEY: "{"}), tmp_path, "the description .* not valid")


def test_unchanged_copy_is_accepted(residual, tmp_path):
    path = tmp_path / "copy.safetensors"
    path.write_bytes(changed(residual))
    assert load_potential(PotentialSpec(name=str(path), device="cpu")).cutoff_A == 4.5
    assert o3.Irreps("8x0e+8x1o") == load_mace(path.read_bytes()).products[0].linear.irreps_out
