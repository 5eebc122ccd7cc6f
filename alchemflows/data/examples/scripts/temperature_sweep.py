"""Compute G, entropy and heat capacity of NaCl over a range of temperatures from one run.

64 atoms at 1 atm, from 200 to 600 K.
"""

# %% [markdown]
# You will learn to
#
# - compute a curve of the Gibbs energy instead of single points,
# - read its errors and its dissipation.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import FrenkelLaddMaker, TemperatureSweepMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## One absolute free energy and one sweep
#
# A Frenkel–Ladd run gives G at 300 K, the anchor of the curve. Reversible scaling then multiplies the enthalpy by a
# factor that changes slowly. At each moment the crystal has the distribution of another temperature, and the work gives
# G at all temperatures of the range.

# %%
structure = read_structure("NaCl.cif").structure * (2, 2, 2)
absolute = FrenkelLaddMaker(
    potential="mace-demo",
    temperature=300.0,
    n_repeats=2 if short else 4,
    n_cell_steps=60 if short else 2000,
    n_equilibration_steps=10 if short else 500,
    n_sampling_steps=40 if short else 1000,
    n_switching_steps=20 if short else 1000,
)
maker = TemperatureSweepMaker(
    frenkel_ladd_maker=absolute,
    n_repeats=2 if short else 4,
    n_equilibration_steps=10 if short else 500,
    n_switching_steps=20 if short else 2000,
    n_points=5,
)
flow = maker.make(structure, 200.0, 600.0)

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% G at each temperature
atoms = document.counts.atoms
gibbs, lost = document.gibbs_eV, document.dissipation_eV
for k, temperature in enumerate(document.temperatures_K):
    value, error = gibbs.values[k] / atoms, gibbs.errors[k] / atoms
    print(
        f"{temperature:5g} K  G = {value:.5f} ± {error:.5f} eV/atom, dissipation {1e3 * lost[k] / atoms:.3f} meV/atom"
    )
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% G, entropy, heat capacity and volume
plot(document, "temperature-sweep.png")

# %% [markdown]
# The bands are one and two standard errors. G at 300 K has the error of the Frenkel–Ladd run; the errors grow with the
# distance from it. Derivatives need longer switches than G itself: increase `n_switching_steps`.
#
# ## Next
#
# - [Formulas and limits](../temperature-sweep.md)
# - [Which phase is stable](phases.md), and [when a crystal melts](melting.md)
# - [Curve over pressure](pressure-sweep.md)
