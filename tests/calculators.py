"""Targets that tests import by their path: springs as a calculator of ASE and as a maker, which fail on some frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from jobflow import Flow, Job, Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.targets import PotentialTarget
from alchemflows.schemas.potential import PotentialSpec


class Springs(Calculator):
    """U = offset + ½ k Σ d², with the distances d of all pairs without periodic images; it fails on some calls.

    Parameters
    ----------
    stiffness_eV_per_A2, offset_eV
        Force constant and constant energy.
    fails
        Numbers of the calls that raise an error, from 0.
    infinite
        Numbers of the calls that return an infinite energy.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, stiffness_eV_per_A2=0.001, offset_eV=0.0, fails=(), infinite=()):
        super().__init__()
        self.stiffness, self.offset_eV = stiffness_eV_per_A2, offset_eV
        self.fails, self.infinite = set(fails), set(infinite)
        self.calls = -1

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if self.calls in self.fails:
            raise ValueError("the cycle did not converge")
        distances = self.atoms.get_all_distances()
        energy = self.offset_eV + 0.25 * self.stiffness * float((distances**2).sum())
        positions = self.atoms.positions
        forces = self.stiffness * (positions.sum(axis=0) - len(positions) * positions)
        self.results = {"energy": np.inf if self.calls in self.infinite else energy, "forces": forces}


class Shifted(Calculator):
    """U = U of `mace-demo` + N times a constant energy + springs as those of :class:`Springs`."""

    implemented_properties: ClassVar[list[str]] = ["energy"]

    def __init__(self, offset_eV=0.0, stiffness_eV_per_A2=0.0):
        super().__init__()
        self.offset_eV, self.stiffness = offset_eV, stiffness_eV_per_A2
        self.target = PotentialTarget(PotentialSpec(name="mace-demo", dtype="float64", device="cpu"))

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        (energy,) = self.target.energies([self.atoms])
        distances = self.atoms.get_all_distances()
        springs = 0.25 * self.stiffness * float((distances**2).sum())
        self.results = {"energy": energy + len(self.atoms) * self.offset_eV + springs}


class SquareLattice(Calculator):
    """U = offset + J Σ s_i s_j over nearest neighbours, with s = 1 for Na and −1 for K.

    It fails on arrangements with more than a number of unlike neighbours, if `most_unlike` is given.
    """

    implemented_properties: ClassVar[list[str]] = ["energy"]

    def __init__(self, coupling_eV=0.01, offset_eV=0.0, most_unlike=None):
        super().__init__()
        self.coupling_eV, self.offset_eV, self.most_unlike = coupling_eV, offset_eV, most_unlike

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        first, second = neighbor_list("ij", self.atoms, 3.5)
        spins = np.where(self.atoms.numbers == 11, 1, -1)
        products = spins[first] * spins[second]
        if self.most_unlike is not None and (products < 0).sum() / 2 > self.most_unlike:
            raise ValueError("too many unlike neighbours")
        self.results = {"energy": self.offset_eV + self.coupling_eV * products.sum() / 2}


class WithoutForces(Springs):
    """Springs that have no forces."""

    implemented_properties: ClassVar[list[str]] = ["energy"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        del self.results["forces"]


@dataclass
class SpringsMaker(Maker):
    """Maker of jobs that give the energy of springs; some of its jobs fail, by their number in the order of making.

    Parameters
    ----------
    raises, unconverged, other_cells, empty, other_crystals
        Numbers of the jobs that raise an error, end in an unsuccessful state, are of a cell with more atoms, return
        no energy, or are of a crystal with another element.
    as_flow, with_output
        Whether a flow of one job is made, and whether it has an output.
    category
        FireWorks category of its own.
    """

    name: str = "springs"
    raises: list[int] = field(default_factory=list)
    unconverged: list[int] = field(default_factory=list)
    other_cells: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    other_crystals: list[int] = field(default_factory=list)
    as_flow: bool = False
    with_output: bool = True
    category: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.raises, list):
            raise TypeError(f"{self.raises} is not a list")
        self._n_made = -1

    @classmethod
    def failing(cls, n: int) -> Self:
        """Return a maker whose first jobs fail."""
        return cls(raises=list(range(n)))

    def make(self, structure: Structure) -> Job | Flow:
        """Return a job."""
        self._n_made += 1
        kinds = {
            "raises": self.raises,
            "unconverged": self.unconverged,
            "cell": self.other_cells,
            "empty": self.empty,
            "crystal": self.other_crystals,
        }
        made = energy_of_springs(structure, [kind for kind, rows in kinds.items() if self._n_made in rows])
        if self.category is not None:
            made.update_config({"manager_config": {"_category": self.category}})
        if not self.as_flow:
            return made
        return Flow([made], output=made.output if self.with_output else None, name=self.name)


def static_springs(raises: list[int]) -> SpringsMaker:
    """Return a maker."""
    return SpringsMaker(raises=raises)


@job
def energy_of_springs(structure: Structure, failures: list[str]) -> dict[str, Any]:
    """Return a task document like those of atomate2."""
    if "raises" in failures:
        raise ValueError("the cycle did not converge")
    atoms = structure.to_ase_atoms()
    atoms.calc = Springs()
    energy = None if "empty" in failures else atoms.get_potential_energy()
    state = "failed" if "unconverged" in failures else "successful"
    calculated = structure.copy()
    if "crystal" in failures:
        calculated.replace(0, "Rb")
    return {
        "state": state,
        "nsites": len(structure) * (1 + ("cell" in failures)),
        "composition": calculated.composition,
        "output": {"energy": energy},
    }
