"""Compute the melting point of NaCl from the free energies of the solid and of the liquid.

64 atoms at 1 atm, between 900 and 1300 K.
"""

# %% [markdown]
# You will learn to
#
# - compute the absolute free energy of a liquid,
# - find the temperature at which solid and liquid have the same free energy,
# - read the latent heat and the change of the volume.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import FrenkelLaddMaker, MeltingPointMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## Two curves
#
# A Frenkel–Ladd run gives G of the solid at the lowest temperature. The liquid is made from the crystal: it is heated
# to 1.5 times the highest temperature, cooled, and switched to a reference liquid whose free energy is known. Both free
# energies are then continued over the range of temperatures by reversible scaling. The numbers of repeats and steps of
# `frenkel_ladd_maker` are also those of the liquid.

# %%
structure = read_structure("NaCl.cif").structure * ((1, 1, 1) if short else (2, 2, 2))
absolute = FrenkelLaddMaker(
    potential="mace-demo",
    n_repeats=2 if short else 4,
    n_cell_steps=60 if short else 3000,
    n_equilibration_steps=10 if short else 500,
    n_sampling_steps=40 if short else 1000,
    n_switching_steps=20 if short else 2000,
)
maker = MeltingPointMaker(
    frenkel_ladd_maker=absolute,
    n_repeats=2 if short else 4,
    n_heating_steps=20 if short else 5000,
    n_equilibration_steps=10 if short else 500,
    n_switching_steps=20 if short else 3000,
    n_points=5,
)
flow = maker.make(structure, [900.0, 1300.0])

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% [markdown]
# ## The liquid
#
# The second part of the flow is that of `LiquidFreeEnergyMaker`, and can also be run alone (`alchemflows liquid`). Its
# document has the terms of the free energy at the highest temperature.

# %%
liquid = responses[flow.jobs[1].output.uuid][1].output
print(f"ideal gas               {liquid.ideal_gas_eV:10.4f} eV")
print(f"excess of the reference {liquid.excess_eV:10.4f} eV")
print(f"liquid − reference      {liquid.switching_eV:10.4f} ± {liquid.switching_error_eV:.4f} eV")
print(f"G = {liquid.gibbs.value_eV_per_atom:.5f} ± {liquid.gibbs.error_eV_per_atom:.5f} eV/atom")
plot(liquid, "liquid.png")

# %% The difference of the free energies
difference = document.difference_eV_per_atom
for k in (0, -1):
    value, error = 1e3 * difference.values[k], 1e3 * difference.errors[k]
    print(f"{document.temperatures_K[k]:5g} K  G(liquid) − G(solid) = {value:.2f} ± {error:.2f} meV/atom")
if document.melting_K is None:
    print("the curves do not cross")
else:
    print(f"melting point {document.melting_K:.0f} ± {document.melting_error_K:.0f} K")
    print(f"latent heat   {1e3 * document.latent_heat_eV_per_atom:.1f} meV/atom")
    print(f"change of V   {document.volume_change_A3_per_atom:.2f} Å³/atom")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% Both curves
plot(document, "melting.png")

# %% [markdown]
# The slopes of both curves are similar, so a small error of G is a large error of the melting point: it is the error of
# the difference, divided by the difference of the entropies. If the curves do not cross, choose another range. If the
# solid melts or the liquid freezes within the range, its curve ends there, and the verdict says so.
#
# ## Next
#
# - [Melting points](../melting.md) and [liquids](../liquids.md): formulas, checks, limits
# - [A curve over temperature](temperature-sweep.md) of the solid alone
