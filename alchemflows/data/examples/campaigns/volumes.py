"""The flow maker of a user: the volume at which the energy of a crystal is lowest, from a parabola."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jobflow import Flow, Maker, job
from pymatgen.core import Structure

from alchemflows import AlchemicalRelaxMaker, PotentialSpec, RelaxationMaker


@dataclass
class VolumesMaker(Maker):
    """Compute the volume of lowest energy.

    Parameters
    ----------
    name
        Name of the flow.
    potential
        Potential; the campaign sets it.
    scales
        Volumes, as fractions of the given one.
    """

    name: str = "volumes"
    potential: PotentialSpec | str = "mace-demo"
    scales: Sequence[float] = (0.97, 1.0, 1.03)

    def make(self, structure: Structure) -> Flow:
        """Return the flow; its output is the volume (Å³)."""
        fixed = AlchemicalRelaxMaker()
        fixed.maker.relax_cell = False
        relaxation = RelaxationMaker(potential=self.potential, relax_maker=fixed)
        flows = []
        for scale in self.scales:
            cell = structure.copy()
            cell.scale_lattice(scale * structure.volume)
            flows.append(relaxation.make(cell))
        volume = lowest([f.output.volume_A3 for f in flows], [f.output.energy_eV for f in flows])
        return Flow([*flows, volume], output=volume.output, name=self.name)


@job
def lowest(volumes: Sequence[float], energies: Sequence[float]) -> float:
    """Return the volume at the minimum of a parabola through the points."""
    curvature, slope, _ = np.polyfit(volumes, energies, 2)
    return float(-slope / (2 * curvature))
