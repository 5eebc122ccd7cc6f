"""Read a verdict: why a result is not converged, and what to do.

Two ladders of (Na,K)Cl, 64 atoms, 300 K: one is too short on purpose, the other is longer and has more windows.
"""

# %% [markdown]
# You will learn to
#
# - read the reasons of the verdict `not converged`,
# - see the same problem in the figures,
# - choose the setting that removes each reason.

# %%
import os
from dataclasses import replace

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import ThermodynamicIntegrationMaker, read_structure
from alchemflows.plotting import plot
from alchemflows.schemas.free_energy import FreeEnergyDocument

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ
structure = read_structure("NaCl.cif").structure * ((1, 1, 1) if short else (2, 2, 2))
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})


def run(maker: ThermodynamicIntegrationMaker) -> FreeEnergyDocument:
    """Run the ladder of a maker, and print its result with the verdict."""
    flow = maker.make(structure, {"Na": "K"})
    responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log=False)
    document = responses[flow.output.uuid][1].output
    total = document.total
    print(f"ΔF = {total.delta_f_eV_per_atom:.5f} ± {total.error_eV_per_atom:.5f} eV/atom: {document.verdict.status}")
    for reason in document.verdict.reasons:
        print("reason:", reason)
    for note in document.verdict.notes:
        print("note:", note)
    return document


# %% [markdown]
# ## A ladder that is too short
#
# Three windows of 200 steps, without equilibration. A result is `converged` only if every check passes. Each reason
# names the window or the pair of windows, the number that failed, and what to do.

# %%
maker = ThermodynamicIntegrationMaker(
    potential="mace-demo",
    temperature=300.0,
    n_windows=3,
    windows_per_job=3,
    n_equilibration_steps=0,
    n_production_steps=100 if short else 200,
)
poor = run(maker)

# %% Its overlap
plot(poor, "poor-overlap.png", "overlap")

# %% [markdown]
# The number beside the diagonal is the overlap of two neighbouring windows. Below 0.03 their samples have nothing in
# common, and the difference of their free energies is a guess: add windows.

# %% Its convergence
plot(poor, "poor-convergence.png", "convergence")

# %% [markdown]
# ## A better ladder
#
# More windows give overlap. Equilibration removes the drift at the start. Longer windows have more independent samples.

# %%
better = run(
    replace(
        maker,
        n_windows=3 if short else 7,
        windows_per_job=7,
        n_equilibration_steps=10 if short else 500,
        n_production_steps=100 if short else 4000,
    )
)

# %% Overlap of the better ladder
plot(better, "better-overlap.png", "overlap")

# %% Convergence of the better ladder
plot(better, "better-convergence.png", "convergence")

# %% [markdown]
# Compare the two results: is the better one within the error of the poor one? If a ladder has too few independent
# samples, its error bar itself is unreliable, and the verdict says so.
#
# `converged` does not prove a result. If no trajectory visits an important state of the crystal, no check can detect
# it.
#
# ## Next
#
# - [What a verdict means](../verdicts.md): all reasons, and how often each verdict is right
# - [ΔG with an error bar](own-crystal.md): a ladder that is refined automatically
