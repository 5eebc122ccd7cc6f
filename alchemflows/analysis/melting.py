"""Analysis of a melting point: the document of the crossing of G(T) of a solid and of its liquid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.isolines import Series
from alchemflows.free_energy.melting import PerAtomCurve, common_range_K, gibbs_difference, melting_point
from alchemflows.free_energy.size import logarithmic_term_eV_per_atom
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.isolines import CurveValues, TemperatureSweepDocument
from alchemflows.schemas.melting import MeltingDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.verdict import Verdict

#: Number of points of the difference of the free energies.
N_POINTS = 41
#: Largest error of a melting point, relative to the range of temperatures.
MAX_ERROR_SHARE = 0.1


def melting_document(
    solid: TemperatureSweepDocument, liquid: TemperatureSweepDocument, reasons: list[str]
) -> MeltingDocument:
    """Return the document of a melting point.

    Parameters
    ----------
    solid, liquid
        G(T) of both phases, of the same composition at the same pressure.
    reasons
        Reasons against these results, which the verdict contains.

    Raises
    ------
    InvalidInputError
        If the volume is constant, or the curves have no temperature in common.
    """
    if solid.pressure_GPa is None:
        raise InvalidInputError("a melting point needs a constant pressure; both curves are at constant volume")
    crystal, melt = _without_size_term(_curve(solid), solid.counts.atoms), _curve(liquid)
    low, high = common_range_K(crystal, melt)
    if not low < high:
        raise InvalidInputError(
            f"the curves have no temperatures in common: the solid is known up to "
            f"{crystal.temperatures_K[-1]:.4g} K, the liquid from {melt.temperatures_K[0]:.4g} K"
        )
    temperatures = np.linspace(low, high, N_POINTS)
    difference = gibbs_difference(crystal, melt, temperatures)
    found = melting_point(crystal, melt)
    reasons = list(reasons)
    if found is None:
        phase = "solid" if difference.values.mean() > 0 else "liquid"
        reasons.append(Reason.NO_MELTING.because(low=low, high=high, phase=phase))
    elif found.temperature_K[1] > MAX_ERROR_SHARE * (high - low):
        most = MAX_ERROR_SHARE * (high - low)
        reasons.append(Reason.MELTING_ERROR.because(error=found.temperature_K[1], most=most))
    point = (None, None) if found is None else found.temperature_K
    heat = (None, None) if found is None else found.latent_heat_eV
    volume = (None, None) if found is None else found.volume_change_A3
    return MeltingDocument(
        formula=solid.formula,
        counts=solid.counts,
        pressure_GPa=solid.pressure_GPa,
        range_K=(low, high),
        melting_K=point[0],
        melting_error_K=point[1],
        latent_heat_eV_per_atom=heat[0],
        latent_heat_error_eV_per_atom=heat[1],
        volume_change_A3_per_atom=volume[0],
        volume_change_error_A3_per_atom=volume[1],
        temperatures_K=temperatures.tolist(),
        difference_eV_per_atom=CurveValues(values=difference.values.tolist(), errors=difference.errors.tolist()),
        solid=solid,
        liquid=liquid,
        verdict=Verdict.of(reasons),
        provenance=Provenance(potential=solid.provenance.potential, seed=solid.provenance.seed),
    )


def _curve(document: TemperatureSweepDocument) -> PerAtomCurve:
    counts: Counts = document.counts

    def per_atom(series: CurveValues) -> Series:
        return Series(counts.per_atom(np.array(series.values)), counts.per_atom(np.array(series.errors)))

    return PerAtomCurve(
        np.array(document.temperatures_K),
        per_atom(document.gibbs_eV),
        per_atom(document.enthalpy_eV),
        per_atom(document.volumes_A3),
    )


def _without_size_term(curve: PerAtomCurve, n_atoms: float) -> PerAtomCurve:
    """Return the curve of a periodic crystal without the known finite-size term of G; that of a liquid has none."""
    terms = [float(logarithmic_term_eV_per_atom(n_atoms, each)) for each in curve.temperatures_K]
    return replace(curve, gibbs_eV=Series(curve.gibbs_eV.values - np.array(terms), curve.gibbs_eV.errors))
