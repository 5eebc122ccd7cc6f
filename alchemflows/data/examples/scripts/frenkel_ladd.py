"""Compute the absolute Gibbs energy of NaCl by the Frenkel–Ladd method.

64 atoms at 1 atm and 300 K.
"""

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import FrenkelLaddMaker, read_structure

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% The crystal and the method
structure = read_structure("NaCl.cif").structure * (2, 2, 2)
maker = FrenkelLaddMaker(
    potential="mace-demo",
    temperature=300.0,
    n_repeats=2 if short else 4,
    n_cell_steps=60 if short else 2000,
    n_equilibration_steps=10 if short else 500,
    n_sampling_steps=40 if short else 1000,
    n_switching_steps=20 if short else 2000,
)
flow = maker.make(structure)

# %% Run all jobs here, without a database: the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True)
document = responses[flow.output.uuid][1].output

# %% The result
gibbs = document.gibbs
print(f"G = {gibbs.value_eV_per_atom:.5f} ± {gibbs.error_eV_per_atom:.5f} eV/atom")
print(document.verdict.status, *document.verdict.reasons, sep="\n")
