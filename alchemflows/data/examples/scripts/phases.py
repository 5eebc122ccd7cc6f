"""Compare the Gibbs energies of the α and δ phases of CsPbI3.

A Frenkel–Ladd run for each phase and temperature; 1 atm, 40 atoms.
"""

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import FrenkelLaddMaker, PhaseStabilityMaker, read_structure

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% The crystals and the method
phases = {
    "alpha": read_structure("CsPbI3.cif").structure * (2, 2, 2),
    "delta": read_structure("CsPbI3_delta.cif").structure * (1, 2, 1),
}
frenkel_ladd_maker = FrenkelLaddMaker(
    potential="mace-demo",
    n_repeats=2 if short else 4,
    n_cell_steps=60 if short else 2000,
    n_equilibration_steps=10 if short else 500,
    n_sampling_steps=40 if short else 1000,
    n_switching_steps=20 if short else 2000,
)
flow = PhaseStabilityMaker(frenkel_ladd_maker=frenkel_ladd_maker).make(phases, [300.0] if short else [300.0, 500.0])

# %% Run all jobs here, without a database: the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True)
document = responses[flow.output.uuid][1].output

# %% G of each phase, or the reason for its failure
for point in document.points:
    result = point.failure or f"G = {point.gibbs_eV_per_atom:.5f} ± {point.error_eV_per_atom:.5f} eV/atom"
    print(f"{point.phase} at {point.temperature_K:g} K: {result}")
print(document.verdict.status, *document.verdict.reasons, sep="\n")
