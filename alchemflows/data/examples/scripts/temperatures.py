"""Combined ladders: a curve over temperature for NaCl → KCl.

ΔF between 300 and 400 K, with ΔU, ΔS and their errors, from windows at both temperatures; 8 atoms, constant volume.
"""

# %% [markdown]
# You will learn to
#
# - combine ladders of several temperatures into one curve,
# - see where the samples allow a result, and where they do not.

# %%
import os

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows import ThermodynamicIntegrationMaker, read_structure
from alchemflows.analysis.combination import combined
from alchemflows.analysis.stored_ladders import StoredLadder
from alchemflows.plotting import plot

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## Two ladders
#
# Both have the same crystal, potential and path, and differ only in their temperature. Their windows may differ.

# %%
structure = read_structure("NaCl.cif").structure
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
ladders = []
for temperature in (300.0, 400.0):
    maker = ThermodynamicIntegrationMaker(
        potential="mace-demo",
        temperature=temperature,
        timestep_fs=4.0,
        n_windows=3 if short else 5,
        windows_per_job=5,
        n_equilibration_steps=50 if short else 250,
        n_production_steps=200 if short else 2000,
        sample_interval_steps=5,
    )
    flow = maker.make(structure, {"Na": "K"})
    responses = run_locally(flow, store=store, create_folders=True, ensure_success=True, log=False)
    document = responses[flow.output.uuid][1].output
    windows = [responses[job][1].output for job in document.window_jobs]
    ladders.append(StoredLadder(flow.output.uuid, document, windows))
    print(f"{temperature:g} K: ΔF = {document.total.delta_f_eV:.4f} ± {document.total.error_eV:.4f} eV")

# %% [markdown]
# Ladders in a database are combined by `alchemflows combine ID ID`, or in Python by
# `alchemflows.results.combination.combine_ladders`; no dynamics are run.
#
# ## The curve
#
# Each sample has the energies at all λ. Reweighting to another temperature is possible if the energies that occur there
# are among the samples. At 2000 K they are not, so that there is no result.

# %%
curve = combined(ladders, [300.0, 325.0, 350.0, 375.0, 400.0, 2000.0])
for point in curve.points:
    if point.total is None:
        print(f"{point.temperature_K:g} K: not sampled (coverage {min(point.coverage):.3f})")
    else:
        print(
            f"{point.temperature_K:g} K: ΔF = {point.total.delta_f_eV:.4f} ± {point.total.error_eV:.4f} eV, "
            f"ΔU = {point.delta_h_eV:.3f} ± {point.delta_h_error_eV:.3f} eV"
        )
print(curve.verdict.status, *curve.verdict.reasons, sep="\n")

# %% ΔF with the sampled temperatures, and its parts
plot(curve, "temperatures.png")

# %% [markdown]
# Bands are one and two standard errors, circles the ladders alone. Between their temperatures, both ladders contribute.
# ΔU and ΔS are the exact derivatives of the curve, with errors of their own.
#
# ## Next
#
# - [Temperature and pressure](../combine.md), with the formulas
# - [How to read a verdict](verdict.md)
