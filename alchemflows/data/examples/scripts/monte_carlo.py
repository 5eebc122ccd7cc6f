"""Sample the order of Ce0.5Zr0.5O2 at several temperatures by Monte Carlo.

Cations change places in a cell of 24 atoms. The cell is so small that the result can be compared with the exact average
over all arrangements.
"""

# %% [markdown]
# You will learn to
#
# - sample arrangements of a disordered crystal at several temperatures,
# - read the order of the crystal, its error and the verdict,
# - see what replicas from two different starts are good for.

# %%
import os

import numpy as np
from ase.units import kB
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import AlchemicalCalculator, AlchemicalSystem, Disorder, MonteCarloMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The disordered crystal and the method
#
# The file has cation sites with 50 % Ce and 50 % Zr. A move swaps a Ce and a Zr atom. It is proposed with a probability
# that follows from ∂E/∂w, the derivatives of the energy with respect to the weights of all elements on all sites, and
# accepted or rejected with the exact energy. At each temperature one replica starts from a random arrangement and one
# from an arrangement of low energy. All replicas are evaluated in one batch.
#
# Here the atoms stay at the positions in the file (`relax_maker=None`, and no dynamics between sweeps), and the chains
# are independent (`replica_exchange=False`). The wave with the vector (½, 0, 1) describes the ordered arrangement of
# lowest energy.

# %%
structure = read_structure("Ce0.5Zr0.5O2.cif").structure
supercell = (2, 1, 1)
maker = MonteCarloMaker(
    potential="mace-demo",
    n_replicas=2,
    n_equilibration_sweeps=2 if short else 20,
    n_production_sweeps=4 if short else 150,
    replica_exchange=False,
    relax_maker=None,
)
flow = maker.make(structure, supercell, [300, 800, 2000], waves=[[0.5, 0, 1]])

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% Order at each temperature
for point in document.points:
    nearest, wave = point.warren_cowley[0], point.waves[0]
    print(
        f"{point.temperature_K:4.0f} K: Warren-Cowley parameter of nearest neighbours {nearest.alpha.value:.3f} "
        f"(random: {nearest.random:.3f}), order of the wave {wave.order.value:.2f} (random: {wave.random:.2f}), "
        f"{100 * point.acceptance.value:.0f} % accepted"
    )
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% [markdown]
# The Warren–Cowley parameter is negative if unlike neighbours are preferred. In this small cell it is negative even for
# random arrangements, so compare with that value. The order of the wave is 1 for the arrangement of lowest energy. It
# decreases when the temperature rises, since arrangements of higher energy are more numerous.

# %% Comparison with the exact average
arrangements = Disorder(structure, supercell).distinct()
energies = np.array(
    [
        AlchemicalCalculator(AlchemicalSystem(each), [], "mace-demo").make_atoms().get_potential_energy()
        for each, _ in arrangements
    ]
)
multiplicities = np.array([multiplicity for _, multiplicity in arrangements])
for point in document.points:
    probabilities = multiplicities * np.exp(-(energies - energies.min()) / (kB * point.temperature_K))
    exact = energies @ probabilities / probabilities.sum() - energies.min()
    sampled, error = point.energy_eV.value - energies.min(), point.energy_eV.error
    print(f"{point.temperature_K:4.0f} K: energy above the lowest {sampled:.4f} ± {error:.4f} eV, exact {exact:.4f} eV")

# %% Order against temperature
plot(document, "monte-carlo.png")

# %% [markdown]
# Real crystals need larger cells, which cannot be enumerated. Two checks then take the place of the exact result: the
# replicas from both starts must agree, and the result must not change in a larger cell. In crystals whose atoms relax
# around each arrangement, use dynamics between sweeps (`n_md_steps`).
#
# ## Next
#
# - [Monte Carlo on arrangements](../monte-carlo.md)
# - [The ordered arrangement of lowest energy](ordering.md)
