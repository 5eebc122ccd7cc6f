"""Estimate the error of the potential in ΔF of NaCl → KCl with a committee.

A ladder with mace-demo at 300 K and constant volume, 8 atoms; the other members are calculators of ASE.
"""

# %% [markdown]
# You will learn to
#
# - evaluate the free energy of a ladder with several potentials, without new dynamics,
# - tell the error of the potential from the statistical error,
# - find the configurations at which the potentials disagree.

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
    CommitteeMaker,
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
# Each ladder stores configurations (frames) at λ = 0 and at λ = 1, evenly spaced over the production. All members
# evaluate these frames.

# %%
structure = read_structure("NaCl.cif").structure
ladder = ThermodynamicIntegrationMaker(
    potential="mace-demo",
    temperature=300.0,
    n_windows=3 if short else 5,
    windows_per_job=5,
    n_equilibration_steps=10 if short else 500,
    n_production_steps=120 if short else 4000,
    n_frames=10 if short else 50,
).make(structure, {"Na": "K"})

# All jobs run here, without a database; the results are kept in memory.
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
run_locally(ladder, store=store, create_folders=True, ensure_success=True, log="%(message)s")

# %% [markdown]
# ## The members
#
# A good committee has models that were trained with different seeds or data, the heads of one file, or several
# foundation models. To need no download, this one has mace-demo with scaled energies. The sampled potential is a member
# too.


# %%
class Scaled(Calculator):
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


# %% The committee
# The jobs find the calculator by its import path; a class of this script is in `__main__`.
members = [CalculatorSpec(path="__main__:Scaled", arguments={"factor": factor}) for factor in (0.98, 1.03)]
committee = CommitteeMaker(members=members, tolerance_meV_per_atom=5.0).make(ladder.jobs[-1].uuid)
responses = run_locally(committee, store=store, create_folders=True, ensure_success=True, log="%(message)s")
document = responses[committee.output.uuid][1].output
for member in document.members:
    print(f"{member.name}: ΔF = {member.total.delta_f_eV:.4f} ± {member.total.error_eV:.4f} eV")
mean = document.mean
print(f"mean {mean.delta_f_eV:.4f} eV, σ_stat = {mean.error_eV:.4f} eV, σ_model = {document.sigma_model_eV:.4f} eV")
print(document.verdict.status, *document.verdict.reasons, sep="\n")

# %% [markdown]
# σ_stat says how much the result would change if it were sampled again. σ_model is the standard deviation over the
# members, an estimate of the error of the potential. An error that all members share is not visible in it.

# %% Where the members disagree
for frame in document.frames[:3]:
    print(f"{frame.formula}, frame {frame.index}: spread {frame.spread_eV:.4f} eV, most of it from {frame.member}")

# %% Free energy with each member
plot(document, "committee.png")

# %% [markdown]
# Compute the frames with the largest spread by DFT, and train the next potential with them. `alchemflows frames worst`
# writes them to a file.
#
# ## Next
#
# - [Committees of potentials](../committee.md): formulas, errors, members that do not overlap
# - [A new potential for finished ladders](../reanalysis.md)
# - [Correction to another potential](correction.md)
