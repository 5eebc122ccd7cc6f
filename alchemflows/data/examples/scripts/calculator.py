"""Use the alchemical ASE calculator directly.

Evaluate energy and ∂E/∂w of (Na,K)Cl at several λ, and relax displaced atoms with ASE.
"""

# %%
import os

from ase.optimize import BFGS

from alchemflows import AlchemicalCalculator, AlchemicalPath, PotentialSpec, read_structure

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% The alchemical crystal
structure = read_structure("NaCl.cif").structure
path = AlchemicalPath.from_substitution(structure, {"Na": "K"})
potential = PotentialSpec(name="mace-demo", dtype="float64")

# %% Energy and its derivatives with respect to the weights
for x in (0.0, 0.5, 1.0):
    atoms = AlchemicalCalculator(path.system, path.weights(x), potential).make_atoms()
    energy = atoms.get_potential_energy()
    print(f"λ = {x}: E = {energy:.4f} eV, ∂E/∂w = {atoms.calc.results['weight_gradients'].round(4)} eV")

# %% Relax displaced atoms at λ = 0.5
atoms = AlchemicalCalculator(path.system, path.weights(0.5), potential).make_atoms()
atoms.rattle(0.05, seed=0)
BFGS(atoms, logfile=None).run(fmax=0.01, steps=2 if short else 100)
print(f"relaxed: E = {atoms.get_potential_energy():.4f} eV")
