"""Use the alchemical ASE calculator directly.

Evaluate energy and ∂E/∂w of (Na,K)Cl at several λ, and relax displaced atoms with ASE.
"""

# %% [markdown]
# You will learn to
#
# - make an ASE calculator of a crystal whose atoms are mixtures of elements,
# - read the derivatives of the energy with respect to the weights, and check them,
# - use it with any tool of ASE.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
from ase.optimize import BFGS

from alchemflows import AlchemicalCalculator, AlchemicalPath, PotentialSpec, read_structure

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The alchemical crystal
#
# A *path* leads from one composition (λ = 0) to another (λ = 1). `path.weights(λ)` are the weights of Na and K on their
# common sites.

# %%
structure = read_structure("NaCl.cif").structure
path = AlchemicalPath.from_substitution(structure, {"Na": "K"})
potential = PotentialSpec(name="mace-demo", dtype="float64")
print("weights at λ = 0.25:", dict(zip(path.system.weight_labels, path.weights(0.25), strict=True)))

# %% [markdown]
# ## Energy and its derivatives with respect to the weights
#
# The calculator returns energy, forces and stress as every calculator of ASE. `results["weight_gradients"]` has ∂E/∂w
# of each weight (eV). Along the path, dE/dλ is its product with the change of the weights.

# %%
lambdas = np.linspace(0, 1, 11)
energies, slopes = [], []
for x in lambdas:
    atoms = AlchemicalCalculator(path.system, path.weights(x), potential).make_atoms()
    energies.append(atoms.get_potential_energy())
    slopes.append(atoms.calc.results["weight_gradients"] @ (path.weights(1) - path.weights(0)))
    print(f"λ = {x:.1f}: E = {energies[-1]:.4f} eV, dE/dλ = {slopes[-1]:.4f} eV")

# %% The derivative agrees with differences of the energy
figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
axes.plot(lambdas, slopes, "o", label="dE/dλ of the calculator")
axes.plot((lambdas[1:] + lambdas[:-1]) / 2, np.diff(energies) / np.diff(lambdas), label="differences of E")
axes.set_xlabel("λ")
axes.set_ylabel("dE/dλ (eV)")
axes.legend(frameon=False)
figure.savefig("calculator.png")

# %% [markdown]
# The atoms do not move here. At a finite temperature, the mean of this slope over the trajectories at each λ is what
# thermodynamic integration integrates.
#
# ## Relax displaced atoms at λ = 0.5

# %%
atoms = AlchemicalCalculator(path.system, path.weights(0.5), potential).make_atoms()
atoms.rattle(0.05, seed=0)
print(f"displaced: E = {atoms.get_potential_energy():.4f} eV")
BFGS(atoms, logfile=None).run(fmax=0.01, steps=2 if short else 100)
print(f"relaxed:   E = {atoms.get_potential_energy():.4f} eV, largest force {abs(atoms.get_forces()).max():.4f} eV/Å")

# %% [markdown]
# ## Next
#
# - [The alchemical energy](../method.md)
# - [Sweeps](sweep.md) and [inverse design](optimization.md), which relax such crystals
# - [Quickstart in Python](ti.md)
