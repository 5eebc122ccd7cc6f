"""Compute ΔG with a given error bar for your own crystal.

A ladder of windows at 1 atm and 300 K that is refined until its error reaches a target; (Na,K)Cl, 64 atoms.
"""

# %% [markdown]
# You will learn to
#
# - read your own structure file and see how it was understood,
# - estimate the cost before you run,
# - ask for an error bar, and let the ladder be refined until it is reached,
# - check the error bar with a second run.

# %%
import os
from dataclasses import replace

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import ThermodynamicIntegrationMaker, read_structure
from alchemflows.plotting import plot
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## Read the structure
#
# Replace the name by that of your file: CIF, POSCAR, or any format of pymatgen and ASE. A file whose information would
# be lost, for example partial occupancies that exclude each other, is refused with a reason
# ([structures](../structures.md)). The cell must be large enough for its atoms to move independently of their images.

# %%
read = read_structure("NaCl.cif")
print(read.structure.composition, *read.record.notes, sep="\n")
structure = read.structure if short else read.structure * (2, 2, 2)
print(f"{len(structure)} atoms, shortest cell vector {min(structure.lattice.abc):.2f} Å")

# %% [markdown]
# ## Choose the method
#
# `pressure_GPa` makes the result a ΔG. The refinement inserts windows where neighbours overlap too little and extends
# windows that contribute most to the error, until the standard error is at most `target_error` (eV/atom), or until
# `budget` runs were added. With your own crystal, use a potential that was made for it
# ([potentials](../potentials.md)); a potential that does not know an element is refused here, before any job starts.

# %%
maker = ThermodynamicIntegrationMaker(
    potential="mace-demo",
    temperature=300.0,
    pressure_GPa=ATMOSPHERE_GPA,
    n_windows=3 if short else 5,
    windows_per_job=5,
    n_equilibration_steps=10 if short else 500,
    n_production_steps=250 if short else 1500,
    target_error=0.0005,
    budget=1 if short else 10,
)
flow = maker.make(structure, {"Na": "K"})
print(*(job.name for job in flow.jobs), sep="\n")

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][max(responses[flow.output.uuid])].output

# %% The result
total = document.total
print(f"ΔG = {total.delta_f_eV_per_atom:.5f} ± {total.error_eV_per_atom:.5f} eV/atom")
print(f"target error: {document.refinement.target_error_eV_per_atom} eV/atom, met: {document.refinement.target_met}")
for k, each in enumerate(document.refinement.rounds):
    print(f"round {k}: {each.n_runs} runs added, error {each.error_eV_per_atom} eV/atom")
print(document.verdict.status, *document.verdict.reasons, *document.verdict.notes, sep="\n")

# %% ΔG from the first and from the last part of each window
plot(document, "own-crystal.png", "convergence")

# %% [markdown]
# The error bar describes the noise of the samples that were taken. It is reliable if both curves reach the band from
# all samples well before the end. If they approach it from opposite sides, the windows drift: equilibrate longer.
#
# ## Check the error bar
#
# A second run with another `seed` is independent. In most cases the two results differ by less than twice the error of
# their difference. A larger difference is a sign of slow motions, which the error bar of a single run cannot show.

# %%
repeat = replace(maker, seed=1, target_error=None, budget=0)
flow = repeat.make(structure, {"Na": "K"})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log=False)
second = responses[flow.output.uuid][1].output.total
difference = second.delta_f_eV_per_atom - total.delta_f_eV_per_atom
error = (second.error_eV_per_atom**2 + total.error_eV_per_atom**2) ** 0.5
print(f"second run: {second.delta_f_eV_per_atom:.5f} ± {second.error_eV_per_atom:.5f} eV/atom")
print(f"difference: {difference:.5f} ± {error:.5f} eV/atom")

# %% [markdown]
# ## Next
#
# - The same on the command line: `alchemflows ti NaCl.cif Na:K -T 300 -p 0.000101325 --supercell 2 2 2 --target-error
#   0.0005`
# - [How to read a verdict](verdict.md)
# - [A campaign](campaign-on-a-cluster.md) of many such calculations
# - [Constant pressure](../npt.md), [the cost of an error bar](../costs.md)
