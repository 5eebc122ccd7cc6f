"""Fig. 3: composition of (Al,Sc)N that matches the in-plane lattice of GaN, by gradient descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jobflow import Flow, Maker, job
from pymatgen.core import Structure
from scipy.interpolate import PchipInterpolator

from alchemflows.alchemy.backends import resolve
from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.potential import check_supported
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.flows.composition_sweep import tight_relaxation
from alchemflows.jobs.inputs import started_from
from alchemflows.jobs.optimize import OptimizeMaker
from alchemflows.optimize.crystal import RelaxedCrystal
from alchemflows.optimize.simplex import Domain
from alchemflows.reproduce.figure import FigureMaker, TableMaker
from alchemflows.reproduce.settings import FIG3, Effort
from alchemflows.schemas.optimization import OptimizationDocument, OptimizationStep, Target
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reproduction import Check, ReproductionDocument, Version
from alchemflows.structures.prototypes import wurtzite_nitride

_QUANTITY = "x(Sc) of (Al,Sc)N on GaN"
_STRESS = "stress_in_plane_GPa"
#: Value published in the paper (MACE-MP-0 medium); the experimental value is about 0.18.
PUBLISHED = {_QUANTITY: {0.0: 0.198}}
#: Largest allowed difference in x between descent and grid.
AGREEMENT = 0.005
#: Upper bound of x(Sc).
LARGEST_SHARE = 0.5


@dataclass
class Fig3Maker(FigureMaker[Effort]):
    """Flow that reproduces Fig. 3. See :class:`FigureMaker` for the parameters."""

    name: str = "Fig. 3"

    @property
    def efforts(self) -> Mapping[Version, Effort]:
        """Settings of each version."""
        return FIG3

    def make(self) -> Flow:
        """Return the flow: relax GaN, then optimise (Al,Sc)N in the cell of GaN with relaxed c."""
        potential, backend = resolve(self.effort.potential)
        substrate = AlchemicalSystem(wurtzite_nitride("Ga"))
        film = AlchemicalSystem(wurtzite_nitride("Al"), (uniform_group([0, 1], ["Al", "Sc"]),))
        for system in (substrate, film):
            check_supported(system, backend)
        gallium = tight_relaxation().make(substrate, [], potential)
        gallium.name = "relax GaN"
        domain = Domain((0, 0), (0.0, 0.0), (1.0, LARGEST_SHARE), (1.0,))
        descent = OptimizeMaker(name="descent on the in-plane stress", potential=potential, relaxation="c").make(
            film, [Target(quantity=_STRESS, value=0.0)], [[0.75, 0.25]], domain, gallium.output.structure
        )
        grid = StressGridMaker(potential=potential).make(film, gallium.output.structure)
        table = Fig3ComparisonMaker().make(descent.output, grid.output, self.version)
        return Flow([gallium, descent, grid, table], output=table.output, name=self.name)


@dataclass
class StressGridMaker(Maker):
    """Job that computes the in-plane stress on a grid of compositions, with relaxed c, and finds its zero.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential spec; the potential is evaluated in float64.
    n_points
        Number of points between x(Sc) = 0 and :data:`LARGEST_SHARE`.
    """

    name: str = "grid of compositions"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    n_points: int = 11

    @job
    def make(self, film: AlchemicalSystem, structure: Structure) -> float:
        """Return x(Sc) at zero stress, by monotone interpolation; NaN if there is none.

        Parameters
        ----------
        film
            Alchemical system of (Al,Sc)N with the weights of Al and Sc.
        structure
            Substrate, whose cell is used for the film.
        """
        crystal = RelaxedCrystal(started_from(film, structure), self.potential, "c")
        shares = np.linspace(0, LARGEST_SHARE, self.n_points)
        stress = [crystal.at(np.array([1 - x, x]))[_STRESS].value for x in shares]
        zeros = PchipInterpolator(shares, stress).roots(extrapolate=False)
        return float(zeros[0]) if len(zeros) else float("nan")


@dataclass
class Fig3ComparisonMaker(TableMaker):
    """Job that makes the table of Fig. 3. See :class:`TableMaker` for the parameters."""

    figure = "Fig. 3"
    unit = ""
    published = PUBLISHED

    name: str = "table of Fig. 3"

    @job(output_schema=ReproductionDocument)
    def make(self, descent: OptimizationDocument, on_the_grid: float, version: Version) -> ReproductionDocument:
        """Compare the descent with the grid.

        Parameters
        ----------
        descent
            Result of the optimization.
        on_the_grid
            x(Sc) from the grid.
        version
            Version of the settings.
        """
        (run,) = descent.runs
        last = run.steps[-1]
        x = last.weights[1]
        # The error of x is the remaining stress divided by its slope in x.
        stress, slope = _remaining_stress(run.steps)
        rows = [self.row(version, _QUANTITY, 0.0, x, abs(stress / slope))]
        rows.append(self.row(version, f"{_QUANTITY}, from a grid", 0.0, on_the_grid, AGREEMENT))
        checks = [
            Check(name="descent − grid", value=x - on_the_grid, bound=AGREEMENT, unit="in x"),
            Check(name="remaining in-plane stress", value=stress, bound=1e-3, unit="GPa"),
        ]
        return self.document(version, rows, checks, {"descent": descent})


def _remaining_stress(steps: Sequence[OptimizationStep]) -> tuple[float, float]:
    """Return the stress of the last step (GPa) and its mean slope in x between the first and the last step."""
    first, last = steps[0], steps[-1]
    stress = last.quantities[_STRESS]
    return stress, (stress - first.quantities[_STRESS]) / (last.weights[1] - first.weights[1])
