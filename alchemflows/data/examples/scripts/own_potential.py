"""Use your own MACE potential.

From the file of a trained model to a free energy; here with a copy of mace-demo in place of your model.
"""

# %% [markdown]
# You will learn to
#
# - use the file of a model by its path,
# - compare it with the calculator of its library,
# - store it without pickle,
# - use it in a free-energy calculation.

# %%
import os
from importlib.resources import files
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import (
    AlchemicalCalculator,
    AlchemicalPath,
    PotentialSpec,
    ThermodynamicIntegrationMaker,
    load_potential,
    read_structure,
)
from alchemflows.alchemy.backends.loading import mace_model
from alchemflows.alchemy.backends.mace_file import load_mace, save_mace
from alchemflows.silence import silenced

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The file of the model
#
# `mace_run_train` writes a pickled model. This cell writes such a file from `mace-demo`, so that the page can run. With
# your own model, leave it out.

# %%
demo = files("alchemflows") / "data" / "mace-demo.safetensors"
torch.save(load_mace(demo.read_bytes()), "my-mace.model")

# %% [markdown]
# ## Load it
#
# A potential is chosen by the path of its file. A pickle can run code when it is loaded: load only files that you
# trust. At its first evaluation each potential is compared with the calculator of its own library, and refused if they
# differ.

# %%
potential = PotentialSpec(name="my-mace.model", dtype="float64", device="cpu")
backend = load_potential(potential)
print("architecture:", backend.record.backend)
print("SHA-256:", backend.record.sha256)

# %% [markdown]
# ## Compare it with its library
#
# At whole weights the alchemical energy is that of the ordinary crystal. Mixed weights describe crystals that the
# library cannot evaluate.

# %%
structure = read_structure("NaCl.cif").structure
path = AlchemicalPath.from_substitution(structure, {"Na": "K"})
with silenced():  # what mace-torch says of torch's settings
    from mace.calculators import MACECalculator

    library = MACECalculator(model_paths="my-mace.model", device="cpu", default_dtype="float64")
scales = np.linspace(0.97, 1.10, 5 if short else 14)


def energies_per_atom(atoms: Atoms, calculator: Calculator) -> np.ndarray:
    """Return the energy per atom (eV) at each scale of the cell."""
    scaled = []
    for scale in scales:
        changed = atoms.copy()
        changed.set_cell(atoms.cell * scale, scale_atoms=True)
        changed.calc = calculator
        scaled.append(changed.get_potential_energy() / len(atoms))
    return np.array(scaled)


ordinary = energies_per_atom(structure.to_ase_atoms(), library)
figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
for x in (0.0, 0.5, 1.0):
    calculator = AlchemicalCalculator(path.system, path.weights(x), potential)
    energies = energies_per_atom(calculator.make_atoms(), calculator)
    axes.plot(structure.lattice.a * scales, energies, label=f"alchemical, λ = {x:g}")
    if x == 0:
        print(f"largest difference from mace-torch: {abs(energies - ordinary).max():.1e} eV/atom")
axes.plot(structure.lattice.a * scales, ordinary, "k.", label="NaCl, mace-torch")
axes.set_xlabel("a (Å)")
axes.set_ylabel("energy (eV/atom)")
axes.legend(frameon=False)
figure.savefig("own-potential.png")

# %% [markdown]
# ## Store it without pickle
#
# A safetensors file has no code. It is written only if a model rebuilt from it gives the same energies. On the command
# line: `alchemflows potential convert my-mace.model my-mace.safetensors`.

# %%
save_mace(mace_model("my-mace.model"), Path("my-mace.safetensors"), name="my-mace", description="copy of mace-demo")
print(Path("my-mace.safetensors").stat().st_size, "bytes")

# %% [markdown]
# ## Use it
#
# Every maker and every command takes the path as its potential. The SHA-256 is stored with the results, and a worker
# refuses any other file.

# %%
maker = ThermodynamicIntegrationMaker(
    potential="my-mace.safetensors",
    n_windows=3,
    windows_per_job=3,
    n_equilibration_steps=10 if short else 200,
    n_production_steps=100 if short else 1000,
)
flow = maker.make(structure * (2, 2, 2), {"Na": "K"})
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log=False)
document = responses[flow.output.uuid][1].output
print(f"ΔF = {document.total.delta_f_eV_per_atom:.5f} ± {document.total.error_eV_per_atom:.5f} eV/atom")
print("potential:", Path(document.provenance.potential.name).name, document.provenance.potential.sha256)
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% [markdown]
# Before you trust a potential between two elements, test it at the ends: lattice parameters, energies of mixing of
# small ordered cells, and whether the crystal keeps its structure at your temperature. Alchemical energies at mixed
# weights are only a path between the ends; ΔF depends on the ends alone.
#
# ## Next
#
# - [Potentials](../potentials.md): supported models, SevenNet, heads, GPUs
# - [Use the alchemical ASE calculator](calculator.md)
# - `alchemflows verify` compares an installation with reference results
