"""Relax (Ce,Zr)O2 at several compositions.

Atoms and cell are relaxed at each fraction of Zr, in a cell of 12 sites.
"""

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import CompositionGrid, CompositionSweepMaker, read_structure

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% The crystal and the compositions
structure = read_structure("CeO2.cif").structure
shares = [0.0, 0.5] if short else [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
grid = CompositionGrid.line(structure, {"Ce": "Zr"}, shares)
flow = CompositionSweepMaker(potential="mace-demo", both_starts=not short).make(grid)

# %% Run all jobs here, without a database: the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True)
document = responses[flow.output.uuid][1].output

# %% The lattice parameter at each composition
for point in document.points:
    print(f"{point.formula}: a = {point.cell_parameters[0]:.4f} Å")
print(document.verdict.status, *document.verdict.reasons, sep="\n")
