"""Find the composition of (Na,K)Cl with a given lattice parameter.

Gradient descent on the composition; the crystal is relaxed at each step.
"""

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import CompositionOptimizationMaker, OptimizeMaker, Target, read_structure

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% The crystal and the target
structure = read_structure("NaCl.cif").structure
maker = CompositionOptimizationMaker(
    potential="mace-demo", optimize_maker=OptimizeMaker(relaxation="isotropic", max_steps=1 if short else 50)
)
flow = maker.make(structure, {"Na": ["Na", "K"]}, [Target(quantity="a_A", value=6.0)])

# %% Run all jobs here, without a database: the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True)
document = responses[flow.output.uuid][1].output

# %% The composition that was found
best = document.runs[document.best]
print(f"{best.formula}: a = {best.steps[-1].quantities['a_A']:.4f} Å")
print(document.verdict.status, *document.verdict.reasons, sep="\n")
