"""Compute the energy of ordering of Na0.5K0.5Cl.

All ordered arrangements of the cubic cell are compared with random and with alchemical ones.
"""

# %% [markdown]
# You will learn to
#
# - compare ordered, random and alchemical descriptions of the same composition,
# - see which of them a disordered crystal prefers, and how well alchemical atoms represent disorder.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import OrderDisorderMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The disordered crystal and the method
#
# The file has sites with 50 % Na and 50 % K. `"distinct"` enumerates all ordered arrangements of the cubic cell that
# differ by symmetry. Random arrangements need a larger cell to be representative; here they show the procedure.

# %%
structure = read_structure("Na0.5K0.5Cl.cif").structure
maker = OrderDisorderMaker(potential="mace-demo", n_random=1 if short else 5, quasirandom=False)
flow = maker.make(structure, (1, 1, 1), "distinct")

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% The energy of ordering relative to each description of disorder
for kind, energy in document.ordering_energies_eV_per_atom.items():
    print(f"{kind}: {1000 * energy:.2f} meV/atom")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% Energies of all arrangements
plot(document, "order-disorder.png")

# %% [markdown]
# A negative energy of ordering means that the best ordered arrangement is lower than the disordered crystal. Disorder
# gains entropy, so the crystal becomes disordered above a transition temperature. The alchemical energies show how far
# atoms that are means of two elements deviate from the mean of random arrangements.
#
# ## Next
#
# - [The ordered arrangement of lowest energy](ordering.md) in larger cells, which cannot be enumerated
# - [Order and disorder](../ordering.md)
