"""Quickstart in Python: compute ΔF of CsPbI3 → CsSnI3.

Thermodynamic integration with five windows at constant volume, 400 K, α phase, 40 atoms.
"""

# %% [markdown]
# You will learn to
#
# - make a flow for the free-energy difference of a substitution,
# - run it in the current process,
# - read the result, its error bar and its verdict.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import ThermodynamicIntegrationMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The crystal and the method
#
# A *maker* holds the settings of a method, and `make` returns a jobflow flow. Every Pb atom becomes a mixture of Pb and
# Sn with the weights 1 − λ and λ. Each *window* is a molecular dynamics run at a fixed λ. The potential `mace-demo`
# comes with the package; it is for learning, not for publications.

# %%
structure = read_structure("CsPbI3.cif").structure * (2, 2, 2)
maker = ThermodynamicIntegrationMaker(
    potential="mace-demo",
    temperature=400.0,
    n_windows=3 if short else 5,
    windows_per_job=5,
    n_equilibration_steps=10 if short else 500,
    n_production_steps=100 if short else 2000,
)
flow = maker.make(structure, {"Pb": "Sn"})

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% [markdown]
# The flow relaxes the crystal at λ = 0, ½ and 1, samples the windows in one batch, and computes the free energy.
#
# ## The result

# %%
total = document.total
print(f"ΔF = {total.delta_f_eV_per_atom:.5f} ± {total.error_eV_per_atom:.5f} eV/atom")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% [markdown]
# `total` is the estimate of MBAR plus the contribution of the masses to the kinetic part. The error is one standard
# error. A result that is `not converged` comes with the reasons and what to do about each.

# %% The mean slope of the energy in each window
plot(document, "ti.png")

# %% [markdown]
# ΔF is the area under the points. If the curve is smooth between the windows, the number of windows is sufficient; if
# the error bars are large, longer windows are needed.
#
# ## Next
#
# - [ΔG with an error bar for your own crystal](own-crystal.md)
# - [How to read a verdict](verdict.md)
# - [The method](../method.md), with all formulas
