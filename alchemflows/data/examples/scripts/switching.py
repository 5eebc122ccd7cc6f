"""Compute ΔG of CsPbI3 → CsSnI3 by nonequilibrium switching.

Four switches in each direction at 1 atm and 400 K, α phase, 40 atoms.
"""

# %% [markdown]
# You will learn to
#
# - compute ΔG from runs in which λ changes continuously, instead of windows,
# - read the distributions of the work.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import SwitchingMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The crystal and the method
#
# Each repeat equilibrates the crystal at one end and then changes λ from there to the other end within
# `n_switching_steps`. The work W of the forward and of the backward switches gives ΔG by Crooks' theorem.

# %%
structure = read_structure("CsPbI3.cif").structure * (2, 2, 2)
maker = SwitchingMaker(
    potential="mace-demo",
    temperature=400.0,
    n_repeats=2 if short else 4,
    n_equilibration_steps=10 if short else 500,
    n_switching_steps=20 if short else 2000,
)
flow = maker.make(structure, {"Pb": "Sn"})

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% The result
total = document.total
print(f"ΔG = {total.delta_f_eV_per_atom:.5f} ± {total.error_eV_per_atom:.5f} eV/atom")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% The work of each switch
plot(document, "switching.png")

# %% [markdown]
# Left: ∂U/∂λ along each switch. If the forward and the backward curves lie on one another, the crystal follows λ
# without lag. Right: the distributions of W forward and −W backward cross at ΔG. The further apart they are, the more
# work is dissipated, and the larger is the error: use more `n_switching_steps`. Three or more `n_repeats` are needed
# for an error.
#
# ## Next
#
# - [Switching](../switching.md): formulas, and when to prefer it to windows
# - [The cost of an error bar](../costs.md) compares both methods
