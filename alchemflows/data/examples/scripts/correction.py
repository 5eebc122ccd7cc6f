"""Correct ΔF of NaCl → KCl to another potential, without new dynamics.

A ladder with mace-demo at 300 K and constant volume, 8 atoms; the target is a calculator of ASE.
"""

# %% [markdown]
# You will learn to
#
# - use the configurations that a ladder stores of both ends,
# - correct its free energy to a target that need not be alchemical,
# - see whether the two potentials overlap.

# %%
import os
from collections.abc import Sequence

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.io.ase import AseAtomsAdaptor

from alchemflows import (
    AlchemicalCalculator,
    AlchemicalSystem,
    CorrectionMaker,
    ThermodynamicIntegrationMaker,
    read_structure,
)
from alchemflows.plotting import plot
from alchemflows.schemas.correction import CalculatorSpec

# Short lengths test the script within seconds; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ

# %% [markdown]
# ## The ladder
#
# Each ladder stores 100 configurations (frames) at λ = 0 and at λ = 1, evenly spaced over the production.

# %%
structure = read_structure("NaCl.cif").structure
ladder = ThermodynamicIntegrationMaker(
    potential="mace-demo",
    temperature=300.0,
    n_windows=3 if short else 5,
    windows_per_job=5,
    n_equilibration_steps=10 if short else 500,
    n_production_steps=120 if short else 4000,
).make(structure, {"Na": "K"})

# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
run_locally(ladder, store=store, create_folders=True, ensure_success=True, log="%(message)s")

# %% [markdown]
# ## The target
#
# Any calculator of ASE can be the target. This one is mace-demo with all energies increased by 5 %, which makes bonds
# stiffer. It could be another foundation model, or a DFT code.


# %%
class Stiffer(Calculator):
    """mace-demo with scaled energies."""

    implemented_properties = ["energy"]  # noqa: RUF012

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        crystal = AseAtomsAdaptor.get_structure(atoms)
        demo = AlchemicalCalculator(AlchemicalSystem(crystal), [], "mace-demo")
        self.results = {"energy": self.factor * demo.get_potential_energy(atoms)}


# %% The correction
# The job finds the calculator by its import path; a class of this script is in `__main__`.
target = CalculatorSpec(path="__main__:Stiffer", arguments={"factor": 1.05})
correction = CorrectionMaker(target=target).make(ladder.jobs[-1].uuid)
responses = run_locally(correction, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[correction.output.uuid][1].output
for name in ("uncorrected", "correction", "total"):
    estimate = getattr(document, name)
    print(f"{name}: {estimate.delta_f_eV:.4f} ± {estimate.error_eV:.4f} eV")
for end in (document.initial, document.final):
    print(f"{end.formula}: effective sample size {end.n_effective:.1f} of {end.n_frames} frames")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% Distributions of ΔU, and convergence in the number of frames
plot(document, "correction.png")

# %% [markdown]
# Most of the correction is ⟨ΔU⟩, here 5 % of the difference of both crystals. The fluctuations of ΔU matter for the
# error: if they are much larger than k_B T, few frames are typical of the target, the effective sample size is small,
# and the verdict says so.
#
# ## Next
#
# - [Corrections to another potential](../corrections.md): formulas, errors and the command `alchemflows correct`
# - [Frames](../frames.md): export of the configurations
