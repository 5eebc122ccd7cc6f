"""Compute the absolute Gibbs energy of NaCl by the Frenkel–Ladd method.

64 atoms at 1 atm and 300 K.
"""

# %% [markdown]
# You will learn to
#
# - compute the absolute Gibbs energy of a crystal,
# - see which terms it consists of.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import FrenkelLaddMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The crystal and the method
#
# The free energy of an Einstein crystal, in which each atom is held by a harmonic spring, is known exactly. The flow
# first finds the mean cell and the mean positions at the given pressure. It then switches between the crystal and the
# Einstein crystal in both directions.

# %%
structure = read_structure("NaCl.cif").structure * (2, 2, 2)
maker = FrenkelLaddMaker(
    potential="mace-demo",
    temperature=300.0,
    n_repeats=2 if short else 4,
    n_cell_steps=60 if short else 2000,
    n_equilibration_steps=10 if short else 500,
    n_sampling_steps=40 if short else 1000,
    n_switching_steps=20 if short else 2000,
)
flow = maker.make(structure)

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% The terms and their sum
print(f"Einstein crystal        {document.einstein_eV:10.4f} eV")
print(f"crystal − Einstein      {document.switching_eV:10.4f} ± {document.switching_error_eV:.4f} eV")
print(f"centre of mass          {document.centre_of_mass_eV:10.4f} eV")
print(f"p V                     {document.pv_eV:10.4f} eV")
gibbs = document.gibbs
print(f"G = {gibbs.value_eV_per_atom:.5f} ± {gibbs.error_eV_per_atom:.5f} eV/atom")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% The work of the switches
plot(document, "frenkel-ladd.png")

# %% [markdown]
# The forward and the backward distributions must overlap. If they do not, switch more slowly (`n_switching_steps`). If
# an atom leaves its site, the run stops with an error, since the Einstein crystal is then no reference for it.
#
# G per atom depends on the size of the cell. For a comparison of phases use cells of similar size, or extrapolate to
# large cells ([absolute free energies](../frenkel-ladd.md)).
#
# ## Next
#
# - [Which phase is stable](phases.md), from two such runs
# - [A vacancy](vacancy.md)
