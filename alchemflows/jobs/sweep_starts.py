"""Where a sweep of the temperature or the pressure starts: its free energy and its crystal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase import units
from jobflow import OutputReference

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.analysis.isolines import isotherm_of
from alchemflows.errors import AlchemflowsError, UnstableCrystalError
from alchemflows.jobs.potential import potential_of_job
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue, FrenkelLaddDocument
from alchemflows.schemas.isolines import PressureSweepDocument, SweepAnchor
from alchemflows.schemas.liquid import LiquidFreeEnergyDocument
from alchemflows.schemas.potential import PotentialSpec

if TYPE_CHECKING:
    from alchemflows.alchemy.potential import AlchemicalPotential

#: Difference up to which pressures count as equal (GPa).
SAME_GPA = 1e-9


def start_of_sweep(
    anchor: FrenkelLaddDocument | LiquidFreeEnergyDocument,
    isotherm: PressureSweepDocument | None,
    pressure_GPa: float | None,
) -> SweepAnchor:
    """Return the absolute free energy from which a curve starts: that of the anchor, or of a sweep of the pressure.

    Raises
    ------
    UnstableCrystalError
        If the sweep ended before it reached the pressure.
    AlchemflowsError
        If an earlier job failed.
    """
    if isinstance(anchor, OutputReference) or isinstance(isotherm, OutputReference):
        raise AlchemflowsError(
            "there is no start of the curve, because an earlier job failed; see the error of that job"
        )
    if isotherm is None or pressure_GPa is None:
        return SweepAnchor(
            temperature_K=anchor.temperature_K,
            pressure_GPa=anchor.pressure_GPa,
            volume_A3=anchor.volume_A3,
            gibbs=anchor.gibbs,
            helmholtz=anchor.helmholtz,
            mode_energies_eV=anchor.mode_energies_eV if isinstance(anchor, FrenkelLaddDocument) else None,
            mean_cell_job=anchor.mean_cell_job,
        )
    low, high = isotherm.pressures_GPa[0], isotherm.pressures_GPa[-1]
    if not low - SAME_GPA <= pressure_GPa <= high + SAME_GPA:
        raise UnstableCrystalError(
            f"the crystal melted or became another structure in the sweep of the pressure, which ends before "
            f"{pressure_GPa:g} GPa (from {low:.4g} to {high:.4g} GPa)"
        )
    found = isotherm_of(isotherm, [min(max(pressure_GPa, low), high)])
    volume, gibbs, error = (float(v[0]) for v in (found.volume_A3.values, found.gibbs_eV.values, found.gibbs_eV.errors))
    return SweepAnchor(
        temperature_K=anchor.temperature_K,
        pressure_GPa=pressure_GPa,
        volume_A3=volume,
        gibbs=FreeEnergyValue.of(gibbs, error, anchor.counts),
        helmholtz=FreeEnergyValue.of(gibbs - pressure_GPa * units.GPa * volume, error, anchor.counts),
    )


def crystal_of_sweep(
    potential: PotentialSpec,
    system: AlchemicalSystem,
    anchor: FrenkelLaddDocument | LiquidFreeEnergyDocument,
    volume_A3: float,
) -> tuple[AlchemicalPotential, AlchemicalSystem]:
    """Return the potential, and the crystal with a volume and with the cell and the mean positions of the anchor."""
    structure = anchor.structure
    if volume_A3 != anchor.volume_A3:
        structure = structure.copy()
        structure.scale_lattice(volume_A3)
    system = system.with_structure(structure)
    return potential_of_job(potential, system), system
