"""Tables of free energies of mixing."""

from __future__ import annotations

import numpy as np
from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.mixing import CompositionPair, MixingDocument


def mixing_tables(document: MixingDocument) -> Group:
    """Free energy of mixing at each composition and temperature, the phase diagram, and the fit."""
    return Group(_curves(document), _phases(document), *([] if document.fit is None else [_fit(document)]))


def _curves(document: MixingDocument) -> ResultTable:
    second = document.species[1]
    headings = (f"x({second})", *(f"{isotherm.temperature_K:g} K" for isotherm in document.isotherms))
    title = f"free energy of mixing (meV/atom): {document.formula}, {document.counts.title}"
    table = empty_table(title, headings, n_keys=1)
    columns = [(each.mixing_eV_per_atom, each.mixing_errors_eV_per_atom) for each in document.isotherms]
    for n, x in enumerate(document.isotherms[0].fractions):
        table.add_row(f"{x:.3f}", *(_milli(values[n], errors[n]) for values, errors in columns))
    per_atom = document.n_mixing_sites / document.counts.atoms
    table.caption = f"per mixing site: divide by {per_atom:.4g}, the mixing sites per atom"
    return table


def _phases(document: MixingDocument) -> ResultTable:
    table = empty_table(
        f"phases: x({document.species[1]}) on both sides of the gap",
        ("T (K)", "gap", "phases in the cell", "barrier (k_B T)", "binodal of the fit", "spinodal of the fit"),
        left=(1,),
        n_keys=1,
    )
    for each in document.isotherms:
        found = each.coexistence
        table.add_row(
            f"{each.temperature_K:g}",
            each.gap,
            _pair(None if found is None else found.compositions),
            "" if found is None or found.barrier_kT is None else f"{found.barrier_kT:.1f}",
            _pair(each.binodal),
            _pair(each.spinodal),
        )
    point = document.consolute
    if point is not None:
        temperature = _with_error(point.temperature_K, point.temperature_error_K, 0)
        fraction = _with_error(point.fraction, point.fraction_error, 3)
        table.caption = f"consolute point of the fit: {temperature} K at x = {fraction}"
        table.caption += " (extrapolated)" if point.extrapolated else ""
    return table


def _fit(document: MixingDocument) -> ResultTable:
    fit = document.fit
    assert fit is not None
    table = empty_table(
        "Redlich–Kister fit of the excess, per mixing site", ("term", "h (meV)", "±", "s (k_B/1000)", "±")
    )
    rows = zip(
        fit.enthalpies_eV_per_mixing_site,
        fit.enthalpy_errors_eV_per_mixing_site,
        fit.entropies_eV_per_K_per_mixing_site,
        fit.entropy_errors_eV_per_K_per_mixing_site,
        strict=True,
    )
    for k, (h, dh, s, ds) in enumerate(rows):
        table.add_row(str(k), *(f"{1e3 * each:.3f}" for each in (h, dh)), *(f"{_kB(each):.2f}" for each in (s, ds)))
    table.caption = f"mean squared deviation from the fit: {fit.mean_squared_deviation:.2f} squared standard errors"
    return table


def _kB(entropy_eV_per_K: float) -> float:
    from ase import units

    return 1e3 * entropy_eV_per_K / units.kB


def _milli(value: float, error: float) -> str:
    return "?" if np.isnan(value) else f"{1e3 * value:.2f} ± {1e3 * error:.2f}"


def _with_error(value: float, error: float | None, digits: int) -> str:
    return f"{value:.{digits}f} ± {'?' if error is None else f'{error:.{digits}f}'}"


def _pair(pair: CompositionPair | None) -> str:
    if pair is None:
        return ""
    return f"{_with_error(pair.left, pair.left_error, 3)}, {_with_error(pair.right, pair.right_error, 3)}"
