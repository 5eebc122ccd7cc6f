"""Loading: by name and by file, what is refused and why, and what is written down."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import urllib.error
from pathlib import Path

import mace.calculators.foundations_models as foundations
import numpy as np
import pytest
import torch
from mace.modules import MACE
from models import NUMBERS, VARIANTS, build_mace, interior, perovskite, perovskite_system, save_mace
from pymatgen.core import Structure

from alchemflows.alchemy.backends import load_potential, resolve
from alchemflows.alchemy.backends.loading import _load
from alchemflows.alchemy.interfaces import single
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.schemas.potential import PotentialSpec


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cpu(name: object, **more: object) -> PotentialSpec:
    return PotentialSpec(name=str(name), device="cpu", **more)


# What is loaded


def test_record_of_a_file(mace_file):
    path = mace_file("residual")
    loaded = load_potential(cpu(path, dtype="float64"))
    assert loaded.record.model_dump() == {
        "name": str(path),
        "backend": "mace",
        "sha256": sha256(path),
        "dtype": "float64",
        "device": "cpu",
        "head": None,
        "kernels": "built-in",
    }
    assert loaded.numbers == set(NUMBERS)
    assert loaded.cutoff_A == 4.5
    assert loaded.dtype == torch.float64


@pytest.mark.parametrize(
    "name", ["sevennet-0", *(pytest.param(name, marks=pytest.mark.slow) for name in ("7net-0", "SevenNet-0"))]
)
def test_sevennet_by_name(name):
    sevenn_util = pytest.importorskip("sevenn.util")
    loaded = load_potential(cpu(name, dtype="float64"))
    assert loaded.record.backend == "sevennet"
    assert loaded.record.sha256 == sha256(Path(sevenn_util.pretrained_name_to_path("7net-0")))
    assert loaded.cutoff_A == 5.0
    assert {8, 55, 82} <= loaded.numbers
    assert len(loaded.numbers) == 89


def test_default_is_single_precision(mace_file):
    spec = cpu(mace_file("residual"))
    assert load_potential(spec).record.dtype == "float32"
    system = perovskite_system()
    x, h, w = system.structure.cart_coords, system.structure.lattice.matrix, interior(system)
    single, double = (
        AlchemicalPotential(system, load_potential(s)).evaluate(x[None], h[None], w[None])
        for s in (spec, spec.model_copy(update={"dtype": "float64"}))
    )
    for name in ("energy", "forces", "stress", "weight_gradients"):
        assert getattr(single, name).dtype == torch.float64
        torch.testing.assert_close(getattr(single, name), getattr(double, name), rtol=1e-4, atol=1e-4)
    assert not torch.equal(single.forces, double.forces)


def test_loaded_once_per_request(mace_file):
    spec = cpu(mace_file("residual"))
    assert load_potential(spec) is load_potential(cpu(mace_file("residual")))
    assert load_potential(spec) is not load_potential(spec.model_copy(update={"dtype": "float64"}))


def test_a_plain_string_is_a_name(mace_file):
    assert load_potential(str(mace_file("residual"))).record.sha256 == sha256(mace_file("residual"))


def test_home_folder_is_understood(mace_file, monkeypatch):
    monkeypatch.setenv("HOME", str(mace_file("residual").parent))
    assert load_potential(cpu("~/residual.model")).record.sha256 == sha256(mace_file("residual"))


def test_resolve_writes_down_the_file(mace_file):
    spec = cpu(mace_file("residual"), dtype="float64")
    resolved, _ = resolve(spec)
    assert resolved == spec.model_copy(update={"sha256": sha256(mace_file("residual"))})
    assert load_potential(resolved).record.sha256 == resolved.sha256


# Heads


def test_heads_by_name(mace_file):
    system = perovskite_system()
    x, h, w = system.structure.cart_coords, system.structure.lattice.matrix, interior(system)
    energies = {}
    for head in (None, "Default", "other"):
        loaded = load_potential(cpu(mace_file("heads"), head=head))
        assert loaded.record.head == (head or "Default")
        energies[head] = float(AlchemicalPotential(system, loaded).evaluate(x[None], h[None], w[None]).energy)
    assert energies[None] == energies["Default"]
    assert abs(energies["other"] - energies["Default"]) > 0.1


def test_only_head_of_a_model(mace_file):
    assert load_potential(cpu(mace_file("residual"), head="Default")).record.head is None


@pytest.mark.parametrize("variant", ["heads", "residual"])
def test_unknown_head_names_those_there_are(variant, mace_file):
    with pytest.raises(PotentialError, match=r"pbe.*Default"):
        load_potential(cpu(mace_file(variant), head="pbe"))


def test_no_default_among_several_heads(tmp_path):
    path = save_mace(tmp_path / "two.model", "heads", heads=["pbe", "r2scan"])
    with pytest.raises(PotentialError, match="pbe, r2scan"):
        load_potential(cpu(path))
    assert load_potential(cpu(path, head="r2scan")).record.head == "r2scan"


def test_sevennet_has_no_heads():
    pytest.importorskip("sevenn")
    with pytest.raises(PotentialError, match="head"):
        load_potential(cpu("sevennet-0", head="pbe"))


# Files that are refused


def test_missing_file_names_what_is_known(tmp_path):
    with pytest.raises(PotentialError, match=r"absent\.model.*sevennet-0.*medium-mpa-0"):
        load_potential(cpu(tmp_path / "absent.model"))


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(PotentialError, match=tmp_path.name):
        load_potential(cpu(tmp_path))


CONTENTS = {
    "text": b"this is not a model\n" * 10,
    "empty": b"",
    "random": np.random.default_rng(0).bytes(5000),
    "start of a zip": b"PK\x03\x04" + bytes(100),
    "dictionary": pickle.dumps({"a": 1}),
    "list": pickle.dumps([1, 2]),
    "cut pickle": pickle.dumps(list(range(1000)))[:500],
    "endless string": b"\x8e" + b"\xff" * 8,
    "class that is not there": b"cno_such_module\nThing\n.",
}


@pytest.mark.parametrize("content", CONTENTS)
def test_files_that_are_no_model(content, tmp_path):
    path = tmp_path / "file.model"
    path.write_bytes(CONTENTS[content])
    with pytest.raises(PotentialError, match=r"file\.model"):
        load_potential(cpu(path))


@pytest.mark.parametrize("cut", [0.02, 0.5, 0.99])
def test_model_that_is_cut_off(cut, mace_file, tmp_path):
    content = mace_file("residual").read_bytes()
    path = tmp_path / "file.model"
    path.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(PotentialError, match=r"file\.model"):
        load_potential(cpu(path))


@pytest.mark.parametrize("content", [{"a": torch.ones(1)}, torch.ones(3), {"model_state_dict": {}, "config": {}}])
def test_torch_files_that_are_no_model(content, tmp_path):
    torch.save(content, tmp_path / "file.model")
    with pytest.raises(PotentialError, match=r"file\.model"):
        load_potential(cpu(tmp_path / "file.model"))


class Trap:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_wrong_sha256_is_refused_before_anything_is_read(tmp_path):
    sprung = tmp_path / "sprung"
    path = tmp_path / "trap.model"
    torch.save(Trap(sprung), path)
    with pytest.raises(PotentialError, match=f"{sha256(path)}.*{'0' * 64}|{'0' * 64}.*{sha256(path)}"):
        load_potential(cpu(path, sha256="0" * 64))
    assert not sprung.exists()
    with pytest.raises(PotentialError, match=r"trap\.model"):
        load_potential(cpu(path))
    assert sprung.exists()  # the trap works


def test_another_file_of_the_same_name_is_refused(mace_file, tmp_path):
    path = tmp_path / "file.model"
    path.write_bytes(mace_file("residual").read_bytes())
    spec, _ = resolve(cpu(path))
    path.write_bytes(mace_file("density").read_bytes())
    _load.cache_clear()  # another process
    with pytest.raises(PotentialError, match="SHA-256"):
        load_potential(spec)


# Models that are refused


def refused(model: torch.nn.Module, tmp_path: Path, reason: str) -> None:
    torch.save(model, tmp_path / "model.model")
    with pytest.raises(PotentialError, match=reason):
        load_potential(cpu(tmp_path / "model.model"))


def test_mace_without_scale_and_shift_is_refused(tmp_path):
    refused(build_mace(cls=MACE, **VARIANTS["residual"]), tmp_path, r"\bMACE\b.*ScaleShiftMACE")


def test_another_network_is_refused(tmp_path):
    refused(torch.nn.Linear(2, 2), tmp_path, "Linear")


@pytest.mark.parametrize("readout", [False, True])
def test_embedding_of_other_inputs_is_refused(readout, tmp_path):
    specs = {"total_charge": {"type": "continuous", "per": "graph", "in_dim": 1, "emb_dim": 4}}
    model = build_mace(**VARIANTS["residual"], embedding_specs=specs, use_embedding_readout=readout)
    refused(model, tmp_path, "total charge")


def test_basis_that_torch_cannot_differentiate_is_refused(tmp_path):
    model = build_mace(**VARIANTS["residual"], radial_type="chebyshev")
    refused(model, tmp_path, "Chebyshev")


# Elements


@pytest.mark.parametrize("alchemical", [True, False])
def test_unknown_element_is_named(alchemical, backend):
    structure = perovskite()
    if not alchemical:
        structure.replace(0, "Og")
    replacement = "Og" if alchemical else "Sn"
    system = AlchemicalPath.from_substitution(structure, {"Pb": replacement}).system
    with pytest.raises(InvalidInputError, match=r"\bOg\b"):
        AlchemicalPotential(system, backend("residual"))


def test_unknown_element_of_sevennet_is_named(backend):
    structure = Structure(perovskite().lattice, ["Cs", "Fm"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(InvalidInputError, match=r"\bFm\b"):
        AlchemicalPotential(AlchemicalSystem(structure), backend("sevennet"))


# Devices and packages


@pytest.mark.parametrize("device", ["toaster", "cuda:77"])
def test_devices_that_are_not_there(device, mace_file):
    with pytest.raises(PotentialError, match=device):
        load_potential(PotentialSpec(name=str(mace_file("residual")), device=device))


@pytest.mark.slow
def test_sevenn_is_imported_only_when_it_is_needed(mace_file):
    """Nothing else is printed: the line of mace on cuequivariance would be in the output of each command."""
    code = (
        "import sys; from alchemflows.alchemy.backends import load_potential;"
        "backend = load_potential(sys.argv[1]).record.backend; import mace.tools.cg;"
        "print(backend, 'sevenn' in sys.modules)"
    )
    words = [sys.executable, "-W", "ignore", "-c", code, mace_file("residual")]
    found = subprocess.run(words, check=True, capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("mace False\n", "")


def test_without_sevenn_the_way_to_get_it_is_told(monkeypatch):
    monkeypatch.setattr("alchemflows.schemas.potential.find_spec", lambda name: None)
    _load.cache_clear()
    with pytest.raises(PotentialError, match=r"alchemflows\[sevennet\]"):
        load_potential(cpu("sevennet-0", dtype="float64", sha256=None))


# Foundation models of MACE


@pytest.fixture
def mace_cache(tmp_path, monkeypatch):
    """An empty cache of mace-torch, and no network."""

    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(foundations, "get_cache_dir", lambda: tmp_path / "mace")
    monkeypatch.setattr(foundations.urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(foundations, "local_model_path", str(tmp_path / "not-shipped.model"))
    return tmp_path / "mace"


@pytest.mark.parametrize("name", ["small", "medium-mpa-0"])
def test_foundation_model_without_network(name, mace_cache, capsys):
    with pytest.raises(PotentialError, match=name):
        load_potential(cpu(name))
    assert capsys.readouterr().out == ""


def test_foundation_model_from_the_cache(mace_cache, mace_file, capsys):
    url = foundations.mace_mp_urls["small"]
    mace_cache.mkdir()
    cached = mace_cache / "".join(c for c in os.path.basename(url) if c.isalnum() or c == "_")  # noqa: PTH119
    cached.write_bytes(mace_file("residual").read_bytes())
    loaded = load_potential(cpu("small"))
    assert loaded.record.name == "small"
    assert loaded.record.sha256 == sha256(mace_file("residual"))
    assert capsys.readouterr().out == ""
    _load.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sevennet-0_22May2024", "7net-l3i5"])
def test_other_checkpoints_of_sevenn(name):
    """At a vertex they give what the plain calculator gives (float32)."""
    pytest.importorskip("sevenn")
    from sevenn.calculator import SevenNetCalculator

    system = perovskite_system("one group", "mean-field", lattice_parameter_A=6.0)
    weights = np.array([0.0, 1.0])
    backend = load_potential(PotentialSpec(name=name, device="cpu"))
    structure = system.structure
    result = single(
        AlchemicalPotential(system, backend).evaluate(
            structure.cart_coords[None], structure.lattice.matrix[None], weights[None]
        )
    )
    atoms = system.at_vertex(weights).to_ase_atoms()
    atoms.calc = SevenNetCalculator(name.replace("sevennet", "7net"), device="cpu")
    assert result["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
    np.testing.assert_allclose(result["forces"], atoms.get_forces(), atol=1e-4)


def test_a_name_that_sevenn_does_not_have():
    pytest.importorskip("sevenn")
    with pytest.raises(PotentialError, match="sevennet-99"):
        load_potential("sevennet-99")


def test_resolving_makes_a_relative_path_whole(mace_file, monkeypatch):
    path = mace_file("residual")
    monkeypatch.chdir(path.parent)
    spec, _ = resolve(path.name)
    assert spec.name == str(path) and spec.sha256 is not None
    assert resolve("sevennet-0")[0].name == "sevennet-0"


def test_a_file_that_changes_is_another_model(tmp_path):
    """Also in the same process, and under the same relative name."""
    path = save_mace(tmp_path / "model.model", "scalars")
    first = resolve(cpu(path))[0].sha256
    save_mace(path, "scalars", seed=2)
    second, backend = resolve(cpu(path))
    assert second.sha256 == sha256(path) == backend.record.sha256 != first


def test_a_device_of_another_machine_can_be_asked_for(mace_file):
    """A login node makes flows for GPU workers; only the job needs the device."""
    spec, backend = resolve(PotentialSpec(name=str(mace_file("scalars")), device="cuda:7"))
    assert spec.device == "cuda:7" and backend.device.type == "cpu"


@pytest.mark.parametrize("content", [{"model_state_dict": {}, "config": 3}, {"model_state_dict": {}, "config": {}}])
def test_damaged_checkpoints_are_one_line(content, tmp_path):
    pytest.importorskip("sevenn")
    torch.save(content, tmp_path / "damaged.pth")
    with pytest.raises(PotentialError, match=r"damaged\.pth") as caught:
        load_potential(cpu(tmp_path / "damaged.pth"))
    assert "\n" not in str(caught.value)


def test_a_mace_model_that_lacks_a_part(tmp_path):
    model = build_mace(**VARIANTS["scalars"])
    del model.radial_embedding
    torch.save(model, tmp_path / "part.model")
    with pytest.raises(PotentialError, match=r"part\.model"):
        load_potential(cpu(tmp_path / "part.model"))
