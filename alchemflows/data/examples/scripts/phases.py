"""Compare the Gibbs energies of the α and δ phases of CsPbI3.

A Frenkel–Ladd run and a sweep of the temperature for each phase; 1 atm, 40 atoms, 300 to 500 K.
"""

# %% [markdown]
# You will learn to
#
# - compare absolute Gibbs energies of two phases over a range of temperatures,
# - see whether the difference is larger than its error,
# - read the temperature of a transition, its latent heat and its pressure dependence.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import FrenkelLaddMaker, PhaseStabilityMaker, read_structure
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The crystals and the method
#
# Both cells have 40 atoms, so that errors by the size of the cell cancel in part. For each phase, a
# [Frenkel–Ladd run](frenkel-ladd.md) gives the absolute G at 400 K, and a
# [sweep of the temperature](temperature-sweep.md) continues it to the whole range.

# %%
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
maker = PhaseStabilityMaker(
    frenkel_ladd_maker=frenkel_ladd_maker,
    runs="curves",
    n_sweep_repeats=2 if short else 4,
    n_sweep_equilibration_steps=10 if short else 500,
    n_sweep_steps=20 if short else 2000,
)
flow = maker.make(phases, [300.0, 400.0, 500.0])

# %% Run the flow
# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[flow.output.uuid][1].output

# %% G of each phase, or the reason for its failure
for point in document.points:
    result = point.failure or f"G = {point.gibbs_eV_per_atom:.5f} ± {point.error_eV_per_atom:.5f} eV/atom"
    print(f"{point.phase} at {point.temperature_K:g} K: {result}")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% The stable phase and the transitions
for stable in document.stable:
    margin = "" if stable.margin_eV_per_atom is None else f" by {stable.margin_eV_per_atom:.5f} eV/atom"
    print(f"{stable.temperature_K:g} K: {stable.phase}{margin}")
for transition in document.transitions:
    ends = f"{transition.low_temperature_phase} → {transition.high_temperature_phase}"
    if transition.temperature_K is None:
        print(f"{ends}: not between 300 and 500 K (probability {transition.probability:.2f})")
        continue
    print(f"{ends}: {transition.temperature_K:.0f} ± {transition.error_K:.0f} K")
    heat, error = transition.latent_heat_eV_per_atom, transition.latent_heat_error_eV_per_atom
    print(f"  latent heat {1e3 * heat:.2f} ± {1e3 * error:.2f} meV/atom")
    print(f"  dT/dp = {transition.boundary_K_per_GPa:.0f} ± {transition.boundary_error_K_per_GPa:.0f} K/GPa")

# %% Gibbs energies of both phases
plot(document, "phases.png")

# %% [markdown]
# The phase with the lower G is stable. Compare the margin with the errors of G of both phases: if it is smaller than
# twice the error of the difference, the runs do not decide. A phase that is mechanically unstable at 400 K has no
# curve; its failure is printed instead. A phase that is lost on the way has a curve up to there.
#
# ## Next
#
# - [Phase stability](../phases.md): compositions as a second axis, transition temperatures and their errors
# - [Absolute free energies](../frenkel-ladd.md)
