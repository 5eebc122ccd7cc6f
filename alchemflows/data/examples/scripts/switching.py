"""Compute ΔG of CsPbI3 → CsSnI3 by nonequilibrium switching.

Four switches in each direction at 1 atm and 400 K, α phase, 40 atoms.
"""

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import SwitchingMaker, read_structure

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% The crystal and the method
structure = read_structure("CsPbI3.cif").structure * (2, 2, 2)
maker = SwitchingMaker(
    potential="mace-demo",
    temperature=400.0,
    n_repeats=2 if short else 4,
    n_equilibration_steps=10 if short else 500,
    n_switching_steps=20 if short else 2000,
)
flow = maker.make(structure, {"Pb": "Sn"})

# %% Run all jobs here, without a database: the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True)
document = responses[flow.output.uuid][1].output

# %% The result
total = document.total
print(f"ΔG = {total.delta_f_eV_per_atom:.5f} ± {total.error_eV_per_atom:.5f} eV/atom")
print(document.verdict.status, *document.verdict.reasons, sep="\n")
