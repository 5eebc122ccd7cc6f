"""Chemical potentials of the elements of a crystal: from its own G, given values and elemental reference crystals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alchemflows.alchemy.defects import formula_unit
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.defects import ln_site_fraction
from alchemflows.schemas.chemical_potentials import ChemicalPotential, SiteFraction
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument

#: Å³ in a cm³.
_A3_PER_CM3 = 1e24


@dataclass(frozen=True)
class Known:
    """A chemical potential that is independent of the crystal (eV/atom), and its ∂μ/∂p (Å³/atom), with standard errors.

    The volume ∂μ/∂p is None for a given value.
    """

    element: str
    source: Literal["given", "reference"]
    value_eV: float
    error_eV: float
    volume_A3: float | None = None
    volume_error_A3: float | None = None

    @property
    def name(self) -> str:
        """Description of how the chemical potential is fixed."""
        return f"μ({self.element}) as given" if self.source == "given" else f"{self.element}-rich (elemental crystal)"


def known_potentials(
    given: Mapping[str, tuple[float, float]],
    references: Mapping[str, FrenkelLaddDocument],
    volume_errors_A3: Mapping[str, float],
) -> dict[str, Known]:
    """Return the chemical potentials that are given as values or follow from elemental crystals, as G/N and V/N.

    Parameters
    ----------
    given
        Values and standard errors by element, eV per atom.
    references
        Elemental crystals by element.
    volume_errors_A3
        Standard errors of their mean volumes.
    """
    known = {e: Known(e, "given", float(value), float(error)) for e, (value, error) in given.items()}
    for element, document in references.items():
        n = len(document.structure)
        known[element] = Known(
            element,
            "reference",
            document.gibbs.value_eV / n,
            document.gibbs.error_eV / n,
            document.volume_A3 / n,
            float(volume_errors_A3[element]) / n,
        )
    return known


def limits_of(element: str, perfect: FrenkelLaddDocument, known: Mapping[str, Known]) -> list[ChemicalPotential]:
    """Return the chemical potential of an element of a crystal in each limit that known chemical potentials define.

    In an elemental crystal it is G/N. In a compound there are up to two limits: the known value of the element, and the
    value that follows from Σ_i ν_i μ_i = G of a formula unit if those of all other elements are known.

    Parameters
    ----------
    element
        Symbol.
    perfect
        The perfect crystal.
    known
        Known chemical potentials by element; see :func:`known_potentials`.

    Raises
    ------
    InvalidInputError
        If they define no limit.
    """
    nu, n_units = formula_unit(perfect.structure)
    gibbs, error, volume = perfect.gibbs.value_eV, perfect.gibbs.error_eV, perfect.volume_A3
    if len(nu) == 1:
        n = len(perfect.structure)
        return [
            ChemicalPotential(
                element=element,
                limit=f"G/N of {element}",
                source="crystal",
                value_eV=gibbs / n,
                error_eV=error / n,
                crystal_share=1 / n,
                independent_error_eV=0.0,
                volume_A3=volume / n,
                volume_independent_error_A3=0.0,
            )
        ]
    limits = []
    if (own := known.get(element)) is not None:
        limits.append(
            ChemicalPotential(
                element=element,
                limit=own.name,
                source=own.source,
                value_eV=own.value_eV,
                error_eV=own.error_eV,
                crystal_share=0.0,
                independent_error_eV=own.error_eV,
                volume_A3=own.volume_A3,
                volume_independent_error_A3=own.volume_error_A3,
            )
        )
    others = sorted(set(nu) - {element})
    if all(other in known for other in others):
        share = 1 / (n_units * nu[element])
        ratios = {other: nu[other] / nu[element] for other in others}
        value = share * gibbs - sum(ratios[o] * known[o].value_eV for o in others)
        independent = float(np.sqrt(sum((ratios[o] * known[o].error_eV) ** 2 for o in others)))
        volumes = [(known[o].volume_A3, known[o].volume_error_A3) for o in others]
        at_pressure = volume_error = None
        if all(v is not None and e is not None for v, e in volumes):
            at_pressure = share * volume - sum(
                ratios[o] * v for o, (v, _) in zip(others, volumes, strict=True) if v is not None
            )
            volume_error = float(
                np.sqrt(sum((ratios[o] * e) ** 2 for o, (_, e) in zip(others, volumes, strict=True) if e is not None))
            )
        limits.append(
            ChemicalPotential(
                element=element,
                limit=", ".join(known[other].name for other in others),
                source="compound",
                value_eV=value,
                error_eV=float(np.hypot(share * error, independent)),
                crystal_share=share,
                independent_error_eV=independent,
                volume_A3=at_pressure,
                volume_independent_error_A3=volume_error,
            )
        )
    if not limits:
        raise InvalidInputError(
            f"the chemical potential of {element} cannot be determined: chemical potentials are known for "
            f"{', '.join(sorted(known)) or 'no element'}; give that of {element}, or those of all other elements"
        )
    return limits


def stability_eV(perfect: FrenkelLaddDocument, known: Mapping[str, Known]) -> tuple[float, float] | None:
    """Return G of a formula unit − Σ_i ν_i μ_i and its standard error; None unless all μ of a compound are known."""
    nu, n_units = formula_unit(perfect.structure)
    if len(nu) == 1 or any(element not in known for element in nu):
        return None
    value = perfect.gibbs.value_eV / n_units - sum(n * known[e].value_eV for e, n in nu.items())
    independent = sum((n * known[e].error_eV) ** 2 for e, n in nu.items())
    return float(value), float(np.sqrt((perfect.gibbs.error_eV / n_units) ** 2 + independent))


def concentration(
    perfect: FrenkelLaddDocument, formation_eV: float, error_eV: float, n_sites: int, degeneracy: float
) -> SiteFraction:
    """Return the equilibrium concentration of a defect with a formation free energy.

    Parameters
    ----------
    perfect
        The perfect crystal.
    formation_eV, error_eV
        G_f and its standard error, eV.
    n_sites
        Number of sites in the cell on which the defect can be.
    degeneracy
        Number of states of the defect on one site.
    """
    ln_c, error = ln_site_fraction(formation_eV, error_eV, perfect.temperature_K, degeneracy)
    return site_fraction(perfect, ln_c, error, n_sites, degeneracy)


def site_fraction(
    perfect: FrenkelLaddDocument, ln_c: float, ln_error: float, n_sites: int, degeneracy: float
) -> SiteFraction:
    """Return a concentration from the logarithm of the site fraction and its standard error."""
    c = float(np.exp(ln_c))
    return SiteFraction(
        degeneracy=degeneracy,
        n_sites=n_sites,
        sites_per_formula_unit=n_sites / formula_unit(perfect.structure)[1],
        ln_site_fraction=ln_c,
        ln_error=ln_error,
        site_fraction=c,
        low=float(np.exp(ln_c - ln_error)),
        high=float(np.exp(min(ln_c + ln_error, 0.0))),
        per_cm3=c * n_sites / perfect.volume_A3 * _A3_PER_CM3,
    )
