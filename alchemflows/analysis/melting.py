"""Analysis of a melting point: the document of the crossing of G(T) of a solid and of its liquid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alchemflows.analysis.isolines import phase_isobar, quantum_shift_K
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.phases import N_TEMPERATURES, transition_of_curves
from alchemflows.free_energy.size import logarithmic_term_eV_per_atom
from alchemflows.schemas.coexistence import CoexistenceDocument
from alchemflows.schemas.isolines import CurveValues, TemperatureSweepDocument
from alchemflows.schemas.melting import MeltingDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.verdict import Verdict

#: Largest error of a melting point, relative to the range of temperatures.
MAX_ERROR_SHARE = 0.1


def melting_document(
    solid: TemperatureSweepDocument,
    liquid: TemperatureSweepDocument,
    reasons: list[str],
    coexistence: CoexistenceDocument | None = None,
) -> MeltingDocument:
    """Return the document of a melting point.

    The curves cross as those of two phases do (:func:`~alchemflows.free_energy.phases.transition_of_curves`). The known
    finite-size term of a periodic crystal is removed from G of the solid; a liquid has none.

    Parameters
    ----------
    solid, liquid
        G(T) of both phases, of the same composition at the same pressure.
    reasons
        Reasons against these results, which the verdict contains.
    coexistence
        Growth of both phases in contact.

    Raises
    ------
    InvalidInputError
        If the volume is constant, or the curves have no temperature in common.
    """
    if solid.pressure_GPa is None:
        raise InvalidInputError("a melting point needs a constant pressure; both curves are at constant volume")
    low = max(curve.temperatures_K[0] for curve in (solid, liquid))
    high = min(curve.temperatures_K[-1] for curve in (solid, liquid))
    if not low < high:
        raise InvalidInputError(
            f"the curves have no temperatures in common: the solid is known up to {solid.temperatures_K[-1]:.4g} K, "
            f"the liquid from {liquid.temperatures_K[0]:.4g} K"
        )
    t = np.linspace(low, high, N_TEMPERATURES)
    crystal, melt = (phase_isobar(each, t).per(each.counts.atoms) for each in (solid, liquid))
    size_eV_per_K = float(logarithmic_term_eV_per_atom(solid.counts.atoms, 1.0))
    of_size = np.stack([size_eV_per_K * t, np.full(len(t), -size_eV_per_K), np.zeros(len(t))])
    crystal = replace(crystal, values=crystal.values - of_size)
    found = transition_of_curves(crystal, melt)
    difference = melt.values[0] - crystal.values[0]
    melts = found.temperature_K is not None and found.second_above
    most = MAX_ERROR_SHARE * (high - low)
    if not melts:
        phase = "solid" if difference.mean() > 0 else "liquid"
        reasons = [*reasons, Reason.NO_MELTING.because(low=low, high=high, phase=phase)]
    elif found.error_K is not None and found.error_K > most:
        reasons = [*reasons, Reason.MELTING_ERROR.because(error=found.error_K, most=most)]
    heat, volume, slope = (
        pair if melts and pair is not None else (None, None)
        for pair in (found.latent_heat_eV, found.volume_A3, found.boundary_K_per_GPa)
    )
    shift = quantum_shift_K(solid, liquid, found.temperature_K if melts else None, (size_eV_per_K, 0.0))
    return MeltingDocument(
        formula=solid.formula,
        counts=solid.counts,
        pressure_GPa=solid.pressure_GPa,
        range_K=(low, high),
        melting_K=found.temperature_K if melts else None,
        melting_error_K=found.error_K if melts else None,
        latent_heat_eV_per_atom=heat[0],
        latent_heat_error_eV_per_atom=heat[1],
        volume_change_A3_per_atom=volume[0],
        volume_change_error_A3_per_atom=volume[1],
        boundary_K_per_GPa=slope[0],
        boundary_error_K_per_GPa=slope[1],
        quantum_shift_K=shift[0],
        quantum_shift_error_K=shift[1],
        coexistence_K=None if coexistence is None else coexistence.melting_K,
        coexistence_error_K=None if coexistence is None else coexistence.melting_error_K,
        coexistence=coexistence,
        temperatures_K=t.tolist(),
        difference_eV_per_atom=CurveValues(
            values=difference.tolist(), errors=np.hypot(crystal.errors[0], melt.errors[0]).tolist()
        ),
        solid=solid,
        liquid=liquid,
        verdict=Verdict.of(reasons),
        provenance=Provenance(potential=solid.provenance.potential, seed=solid.provenance.seed),
    )
