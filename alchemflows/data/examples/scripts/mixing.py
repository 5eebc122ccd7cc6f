"""Compute the free energy of mixing of Na and K in (Na,K)Cl.

Semi-grand Monte Carlo at three temperatures, in a cell with 4 mixing sites.
"""

# %% [markdown]
# You will learn to
#
# - compute the free energy of mixing at each composition of a cell,
# - read from it whether the elements mix, and above which temperature.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import MixingMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The crystal and the states
#
# In the semi-grand ensemble a move changes the element of a site. The difference of the chemical potentials of the two
# elements, Δμ, sets the composition. The maker chooses values of Δμ that lead from one pure crystal to the other, and
# samples all of them at each temperature.

# %%
structure = read_structure("NaCl.cif").structure
maker = MixingMaker(
    potential="mace-demo",
    n_potentials=4 if short else 8,
    n_equilibration_sweeps=2 if short else 20,
    n_production_sweeps=20 if short else 200,
)
flow = maker.make(structure, {"Na": ["Na", "K"]}, (1, 1, 1), [600, 800, 1000])

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% [markdown]
# The first job relaxes the crystal whose sites are half Na and half K. Arrangements are sampled at its positions.

# %% The free energy of mixing
second = document.species[1]
for isotherm in document.isotherms:
    values, errors = isotherm.mixing_eV_per_mixing_site, isotherm.mixing_errors_eV_per_mixing_site
    curve = ", ".join(f"{1e3 * g:.1f} ± {1e3 * e:.1f}" for g, e in zip(values[1:-1], errors[1:-1], strict=True))
    print(f"{isotherm.temperature_K:g} K, meV per mixing site between the pure crystals: {curve}")
    print(f"  {isotherm.gap} in this cell, {sum(isotherm.n_samples)} samples")

# %% Free energies and compositions
plot(document, "mixing.png")

# %% The phase diagram
point = document.consolute
if point is None:
    print("The fit has no gap at any temperature: the elements mix.")
else:
    print(f"consolute point of the fit: {point.temperature_K:.0f} K at x({second}) = {point.fraction:.2f}")
print(document.verdict.status, *document.verdict.reasons, sep="\n")
plot(document, "phases.png", "phase-diagram")

# %% [markdown]
# If the common tangent of two compositions lies below the curve between them, the crystal separates into these two.
# They are the *binodal*, whose top is the *consolute point*; above its temperature the elements mix. Positions and cell
# are frozen here: the pure crystals are strained, and atoms cannot relax around others of another size. Use dynamics
# between the moves (`n_md_steps`) for quantitative results, and compare supercells.
#
# ## Next
#
# - [Monte Carlo](monte-carlo.md): order at a constant composition
# - [Free energy of mixing](../mixing.md): formulas, errors and limits
