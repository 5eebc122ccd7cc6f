"""Compute the formation free energy of a vacancy in bcc iron by two routes.

Two Frenkel–Ladd runs, with and without an atom, and the removal of an atom; 1 atm and 100 K, 54 atoms.
"""

# %% [markdown]
# You will learn to
#
# - compute the formation free energy G_f of a vacancy,
# - judge it by the agreement of two independent routes.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import FrenkelLaddMaker, VacancyFreeEnergyMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The crystal and the method
#
# The first route takes the difference of two absolute free energies, with and without an atom. The second route removes
# one atom alchemically: its weight goes from 1 to 0, while a spring holds it. The removed atom goes to a reservoir,
# here the crystal itself.

# %%
structure = read_structure("Fe.cif").structure * ((2, 2, 2) if short else (3, 3, 3))
frenkel_ladd_maker = FrenkelLaddMaker(
    potential="mace-demo",
    temperature=100.0,
    n_repeats=2 if short else 4,
    n_cell_steps=60 if short else 2000,
    n_equilibration_steps=10 if short else 500,
    n_sampling_steps=40 if short else 1000,
    n_switching_steps=20 if short else 2000,
)
flow = VacancyFreeEnergyMaker(frenkel_ladd_maker=frenkel_ladd_maker).make(structure)

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% The result of both routes
print(f"removal of an atom: G_f = {document.alchemical_eV:.3f} ± {document.alchemical_error_eV:.3f} eV")
print(f"Frenkel–Ladd:       G_f = {document.frenkel_ladd_eV:.3f} ± {document.frenkel_ladd_error_eV:.3f} eV")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% The work of the removal
plot(document, "vacancy.png")

# %% [markdown]
# The first route is the difference of two large numbers, so its error is larger. The routes share no switches. If they
# agree within their errors, both can be trusted; if not, look at the overlap of each and at the size of the cell.
#
# ## Next
#
# - [Vacancies](../vacancies.md): compounds with chemical potentials, concentration, entropy, size of the cell
# - [Pairs of defects](defect-pairs.md), which need no chemical potential
