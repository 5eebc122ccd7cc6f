"""Relax (Ce,Zr)O2 at several compositions.

Atoms and cell are relaxed at each fraction of Zr, in a cell of 12 sites.
"""

# %% [markdown]
# You will learn to
#
# - relax an alchemical crystal at a series of compositions,
# - compare its lattice parameters with Vegard's law, and read the energy of mixing.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import CompositionGrid, CompositionSweepMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The crystal and the compositions
#
# Every Ce site is a mixture of Ce and Zr, so one small cell describes any composition, without a supercell.

# %%
structure = read_structure("CeO2.cif").structure
shares = [0.0, 0.5] if short else [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
grid = CompositionGrid.line(structure, {"Ce": "Zr"}, shares)
flow = CompositionSweepMaker(potential="mace-demo", both_starts=not short).make(grid)

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% The lattice parameter at each composition
for point in document.points:
    print(f"{point.formula}: a = {point.cell_parameters[0]:.4f} Å")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% Lattice parameters and energies of mixing
plot(document, "sweep.png")

# %% [markdown]
# A lattice parameter on the straight line between the ends follows Vegard's law. `both_starts` relaxes each composition
# from the cell of either end; if the results differ, there are two minima, and the verdict says so. An alchemical atom
# is a mean of two elements: local distortions around single atoms are not included. [Disorder](order-disorder.md)
# measures what this neglects.
#
# ## Next
#
# - [Inverse design](optimization.md): the composition with a given lattice parameter
# - [Sweeps over compositions](../sweeps.md), on triangles of three elements too
