"""Search for the ordered arrangement of lowest energy of Na0.5K0.5Cl.

Site-resolved descent in a cell of 16 atoms.
"""

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import OrderingSearchMaker, SearchMaker, read_structure

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% The disordered crystal and the search
structure = read_structure("Na0.5K0.5Cl.cif").structure
search_maker = SearchMaker(n_starts=2 if short else 16, n_steps=10 if short else 60, n_relaxed=1 if short else 5)
flow = OrderingSearchMaker(potential="mace-demo", search_maker=search_maker).make(structure, (2, 1, 1))

# %% Run all jobs here, without a database: the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True)
document = responses[flow.output.uuid][1].output

# %% The arrangements that were found
for arrangement in document.arrangements:
    print(f"{arrangement.name}: {arrangement.energy_eV_per_atom:.5f} eV/atom")
print(document.verdict.status, *document.verdict.reasons, sep="\n")
