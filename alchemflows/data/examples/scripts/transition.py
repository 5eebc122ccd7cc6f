"""Find the temperature at which order disappears in Ce0.5Zr0.5O2.

Monte Carlo at several temperatures, in supercells with 8 and 16 cations.
"""

# %% [markdown]
# You will learn to
#
# - sample arrangements in two supercells at several temperatures,
# - find the transition from the crossing of two cumulants, with its error,
# - read from the verdict whether the temperatures and the number of samples suffice.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import OrderDisorderTransitionMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The crystal and the method
#
# The file has cation sites with 50 % Ce and 50 % Zr. A move swaps a Ce and a Zr atom; replicas at neighbouring
# temperatures are exchanged. Half of the replicas start from random arrangements, the others from arrangements of low
# energy. Here the atoms stay at the positions in the file (`relax_maker=None`).
#
# The order is that of the wave with the vector (½, 0, 1), which describes the arrangement of lowest energy in the
# smaller supercell. The wave must fit into both. Without `waves`, the strongest order at the lowest temperature is
# found in the samples.

# %%
structure = read_structure("Ce0.5Zr0.5O2.cif").structure
maker = OrderDisorderTransitionMaker(
    potential="mace-demo",
    n_replicas=2,
    n_equilibration_sweeps=1 if short else 10,
    n_production_sweeps=4 if short else 60,
    relax_maker=None,
    attempts_per_sweep=1 if short else None,
)
temperatures = [300, 800, 2000] if short else [300, 600, 1000, 2000]
flow = maker.make(structure, [(2, 1, 1), (2, 2, 1)], temperatures, waves=[[0.5, 0, 1]])

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% The order
order = document.order_parameter
print(f"order of {order.species} with the waves {', '.join(map(str, order.wave_vectors))}")
for cell in document.cells:
    peak = cell.heat_capacity_peak
    where = "none" if peak.temperature_K is None else f"{peak.temperature_K:.0f} K"
    print(f"{cell.name}: {cell.n_samples} samples at each temperature, largest heat capacity: {where}")
    for k in (0, -1):
        print(f"  order at {cell.temperatures_K[k]:.0f} K: {cell.order[k]:.2f} ± {cell.order_errors[k]:.2f}")

# %% [markdown]
# ## The transition
#
# The cumulant of the order is larger in the larger cell below the transition, and smaller above it. The curves of two
# cells therefore cross close to the transition of a large crystal.

# %%
transition = document.transition
if transition.temperature_K is None:
    print("no transition between these temperatures")
else:
    error = transition.temperature_error_K
    plus_minus = "without error" if error is None else f"± {error:.0f} K"
    print(f"transition at {transition.temperature_K:.0f} K {plus_minus}, from {document.method}")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% Order, cumulants and heat capacity against temperature
plot(document, "transition.png")

# %% [markdown]
# If the curves do not cross, sample other temperatures. Without dynamics between the moves (`n_md_steps`) atoms cannot
# relax around each arrangement, which can change the transition by a large factor. Two cells of similar shape, the
# larger one as large as possible, give the most reliable crossing.
#
# ## Next
#
# - [Transitions between order and disorder](../transitions.md): order parameters, formulas, checks and limits
# - [Monte Carlo](monte-carlo.md): order at each temperature, compared with exact averages
