"""Compute G, volume and bulk modulus of NaCl over a range of pressures from one run.

64 atoms at 300 K, from 0 to 1 GPa.
"""

# %% [markdown]
# You will learn to
#
# - compute a curve of the Gibbs energy over the pressure,
# - read its errors, its dissipation, and the bulk modulus,
# - take G at any pressure from the stored curve.

# %%
import os

from ase import units
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import FrenkelLaddMaker, PressureSweepMaker, read_structure
from alchemflows.analysis.isolines import isotherm_of
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## One absolute free energy and one sweep
#
# A Frenkel–Ladd run gives G at 300 K and 1 atm, the anchor of the curve. The pressure of the barostat then grows from
# 0 to 1 GPa within four picoseconds, and falls back in other replicas. The cell follows, and since dG = V dp at a
# constant temperature, the work of the barostat is the difference of G. A work that is larger on the way up than on
# the way down shows that the cell lags behind: this is the dissipation.

# %%
structure = read_structure("NaCl.cif").structure * ((1, 1, 1) if short else (2, 2, 2))
absolute = FrenkelLaddMaker(
    potential="mace-demo",
    temperature=300.0,
    timestep_fs=4.0,
    n_repeats=2 if short else 3,
    n_cell_steps=60 if short else 1000,
    n_equilibration_steps=10 if short else 125,
    n_sampling_steps=40 if short else 250,
    n_switching_steps=20 if short else 300,
)
maker = PressureSweepMaker(
    frenkel_ladd_maker=absolute,
    n_repeats=2 if short else 3,
    n_equilibration_steps=10 if short else 125,
    n_switching_steps=40 if short else 1000,
    n_points=5,
)
flow = maker.make(structure, 0.0, 1.0)

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% G, volume and bulk modulus at each pressure
atoms = document.counts.atoms
gibbs, volumes, modulus = document.gibbs_eV, document.volumes_A3, document.bulk_modulus_GPa
for k, pressure in enumerate(document.pressures_GPa):
    print(
        f"{pressure:8.4f} GPa  G = {gibbs.values[k] / atoms:.5f} ± {gibbs.errors[k] / atoms:.5f} eV/atom, "
        f"V = {volumes.values[k] / atoms:.3f} ± {volumes.errors[k] / atoms:.3f} Å³/atom, "
        f"bulk modulus {modulus.values[k]:.1f} ± {modulus.errors[k]:.1f} GPa"
    )
print(f"dissipation of the whole range: {1e3 * document.work.dissipation_eV / atoms:.3f} meV/atom")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% G, V and the bulk modulus
plot(document, "pressure-sweep.png")

# %% [markdown]
# The bands are one and two standard errors. The dot is the anchor, whose error all points of G share. The volume falls
# with the pressure. The bulk modulus −V ∂p/∂V is a second derivative of G, so its error is large in a run of this
# length, above all at the ends of the range; more sweeps make it smaller.
#
# ## Between the points
#
# The work of the switches is stored, so G and V follow at any pressure of the range without new dynamics. If the
# volume were constant, G would grow by pV. It grows less, since the crystal becomes smaller: by about p²V/2B, with
# the bulk modulus B.

# %%
curve = isotherm_of(document, [0.0, 0.9])
difference = (curve.gibbs_eV.values[1] - curve.gibbs_eV.values[0]) / atoms
volume, stiffness = curve.volume_A3.values[0] / atoms, curve.bulk_modulus_eV_per_A3.values[0]
pressure = 0.9 * units.GPa  # eV/Å³
print(f"G(0.9 GPa) − G(0): {difference:.5f} eV/atom")
print(f"pV: {pressure * volume:.5f} eV/atom, pV − p²V/2B: {pressure * volume * (1 - pressure / (2 * stiffness)):.5f}")

# %% [markdown]
# ## A crystal that does not survive
#
# Many crystals become another phase under pressure. If the atoms leave their sites during the sweep, the range is
# shortened to where the crystal is stable, and the verdict names the pressure. NaCl becomes the structure of CsCl
# near 30 GPa, and not in this short a run: a phase can survive far beyond the pressure at which another one is more
# stable. To find that pressure, compute the curves of both phases and compare their G.
#
# ## Next
#
# - [Formulas and limits](../temperature-sweep.md)
# - [Curve over temperature](temperature-sweep.md), and [which phase is stable](phases.md) at several pressures
