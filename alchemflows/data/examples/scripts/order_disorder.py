"""Compute the energy of ordering of Na0.5K0.5Cl.

All ordered arrangements of the cubic cell are compared with random and with alchemical ones.
"""

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import OrderDisorderMaker, read_structure

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% The disordered crystal and the method
structure = read_structure("Na0.5K0.5Cl.cif").structure
maker = OrderDisorderMaker(potential="mace-demo", n_random=1 if short else 5, quasirandom=False)
flow = maker.make(structure, (1, 1, 1), "distinct")

# %% Run all jobs here, without a database: the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True)
document = responses[flow.output.uuid][1].output

# %% The energy of ordering relative to each description of disorder
for kind, energy in document.ordering_energies_eV_per_atom.items():
    print(f"{kind}: {1000 * energy:.2f} meV/atom")
print(document.verdict.status, *document.verdict.reasons, sep="\n")
