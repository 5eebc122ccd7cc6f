"""Compute the free energies of a Schottky defect in KCl and of a Frenkel pair in CeO2.

64 atoms at 600 K and 96 atoms at 1000 K, 1 atm.
"""

# %% [markdown]
# You will learn to
#
# - compute the formation free energy of neutral pairs of defects, which needs no chemical potential,
# - read the concentrations of the defects.

# %%
import os
from dataclasses import replace
from typing import Any

from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import FrenkelLaddMaker, FrenkelPairMaker, SchottkyMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})


def run(flow: Flow) -> Any:
    """Run all jobs of a flow here, without a database, and return its result."""
    responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
    return responses[flow.output.uuid][1].output


# %% [markdown]
# ## A Schottky defect
#
# A Schottky defect of KCl consists of a vacancy of potassium and one of chlorine. Each is in a cell of its own, so they
# do not interact. Their chemical potentials cancel: the atoms of both vacancies form one more unit of the crystal. As
# for [a single vacancy](vacancy.md) there are two routes: Frenkel–Ladd runs with and without an atom, and the removal
# of an atom.

# %%
salt = read_structure("KCl.cif").structure * ((1, 1, 1) if short else (2, 2, 2))
absolute = FrenkelLaddMaker(
    potential="mace-demo",
    temperature=600.0,
    n_repeats=2 if short else 4,
    n_cell_steps=60 if short else 2000,
    n_equilibration_steps=10 if short else 500,
    n_sampling_steps=40 if short else 1000,
    n_switching_steps=20 if short else 2000,
)
schottky = run(SchottkyMaker(frenkel_ladd_maker=absolute).make(salt))
print(f"removal of atoms: G_S = {schottky.alchemical_eV:.3f} ± {schottky.alchemical_error_eV:.3f} eV")
print(f"Frenkel–Ladd:     G_S = {schottky.frenkel_ladd_eV:.3f} ± {schottky.frenkel_ladd_error_eV:.3f} eV")
print(f"ln(defects per formula unit) = {schottky.ln_defects_per_formula_unit:.1f} ± {schottky.ln_error:.1f}")
print(schottky.verdict.status, *schottky.verdict.reasons, sep="\n")
plot(schottky, "schottky.png")

# %% [markdown]
# ## A Frenkel pair
#
# A Frenkel pair of CeO2 is a vacancy of oxygen and an oxygen atom on an empty site, here the centre of a cube of eight
# oxygen atoms without cerium. `site` is the index of the atom to remove, `interstitial` the position of the new one.

# %%
ceria = read_structure("CeO2.cif").structure * ((1, 1, 1) if short else (2, 2, 2))
oxygen = next(k for k, site in enumerate(ceria) if site.specie.symbol == "O")
place = [0.5, 0.5, 0.5] if short else [0.25, 0.25, 0.25]
hotter = replace(absolute, temperature=1000.0)
pair = run(FrenkelPairMaker(frenkel_ladd_maker=hotter).make(ceria, oxygen, place))
print(f"removal of an atom: G_F = {pair.alchemical_eV:.3f} ± {pair.alchemical_error_eV:.3f} eV")
print(f"Frenkel–Ladd:       G_F = {pair.frenkel_ladd_eV:.3f} ± {pair.frenkel_ladd_error_eV:.3f} eV")
print(f"the interstitial moved by {pair.interstitial_shift_A:.2f} Å")
print(pair.verdict.status, *pair.verdict.reasons, sep="\n")

# %% The work of the removal of oxygen
plot(pair, "frenkel-pair.png")

# %% [markdown]
# The concentrations hold if the crystal has no other defects: `SchottkyDocument.vacancies` and
# `FrenkelPairDocument.vacancies` have the fraction of vacant sites. Impurities of another charge change it. `mace-demo`
# was not made for interstitials.
#
# ## Next
#
# - [Defects](../vacancies.md#schottky-defects-and-frenkel-pairs): formulas and limits
# - [A single vacancy](vacancy.md), with a chemical potential
