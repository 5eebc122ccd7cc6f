"""Find the composition of (Na,K)Cl with a given lattice parameter.

Gradient descent on the composition; the crystal is relaxed at each step.
"""

# %% [markdown]
# You will learn to
#
# - find a composition with a given property by gradient descent,
# - see how the property approaches its target.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import CompositionOptimizationMaker, OptimizeMaker, Target, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The crystal and the target
#
# The composition is a continuous variable. The derivative of a property with respect to it, including the response of
# the relaxed cell, comes from the potential. `Target` names a quantity and its value; several targets can be combined.

# %%
structure = read_structure("NaCl.cif").structure
maker = CompositionOptimizationMaker(
    potential="mace-demo", optimize_maker=OptimizeMaker(relaxation="isotropic", max_steps=1 if short else 50)
)
flow = maker.make(structure, {"Na": ["Na", "K"]}, [Target(quantity="a_A", value=6.0)])

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% The composition that was found
best = document.runs[document.best]
print(f"{best.formula}: a = {best.steps[-1].quantities['a_A']:.4f} Å")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% Objective and composition at each step
plot(document, "optimization.png")

# %% [markdown]
# The descent stops when the objective no longer falls. If the target was not reached, it may lie outside the range of
# the ends: compare it with a [sweep](sweep.md).
#
# ## Next
#
# - [Composition optimization](../optimization.md): quantities, extrema, your own objective, whole atoms
