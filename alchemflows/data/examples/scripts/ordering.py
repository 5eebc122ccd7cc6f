"""Search for the ordered arrangement of lowest energy of Na0.5K0.5Cl.

Site-resolved descent in a cell of 16 atoms.
"""

# %% [markdown]
# You will learn to
#
# - search for ordered arrangements of a disordered crystal,
# - judge how complete the search was.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import OrderingSearchMaker, SearchMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The disordered crystal and the search
#
# Each disordered site has a weight of its own. From several random starts, a descent of the energy with respect to all
# weights leads to whole atoms. The best arrangements are relaxed.

# %%
structure = read_structure("Na0.5K0.5Cl.cif").structure
search_maker = SearchMaker(n_starts=2 if short else 16, n_steps=10 if short else 60, n_relaxed=1 if short else 5)
flow = OrderingSearchMaker(potential="mace-demo", search_maker=search_maker).make(structure, (2, 1, 1))

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% The arrangements that were found
for arrangement in document.arrangements:
    print(f"{arrangement.name}: {arrangement.energy_eV_per_atom:.5f} eV/atom")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% Energies of the arrangements
plot(document, "ordering.png")

# %% [markdown]
# If many starts end in the same lowest arrangement, the search is probably complete. If each start finds another one,
# use more starts (`n_starts`).
#
# ## Next
#
# - [Order and disorder](../ordering.md)
# - [The energy of ordering](order-disorder.md)
