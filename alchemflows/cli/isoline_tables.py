"""Tables of free energies along an isobar or an isotherm."""

from __future__ import annotations

import numpy as np
from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.coexistence import CoexistenceDocument
from alchemflows.schemas.isolines import (
    CurveValues,
    Isoline,
    PressureQuantumCorrections,
    PressureSweepDocument,
    QuantumCorrections,
    TemperatureSweepDocument,
)
from alchemflows.schemas.melting import MeltingDocument


def temperature_tables(document: TemperatureSweepDocument) -> Group:
    """Thermodynamics at each temperature, and the corrections for quantum nuclei."""
    tables = [temperature_table(document)]
    if document.quantum is not None:
        tables.append(quantum_table(document, document.quantum))
    return Group(*tables)


def quantum_table(document: TemperatureSweepDocument, quantum: QuantumCorrections) -> ResultTable:
    """Corrections of the free energy for quantum nuclei at each temperature, for one atom."""
    free = "F" if document.pressure_GPa is None else "G"
    headings, columns = _corrections(quantum, document)
    table = empty_table(f"corrections for quantum nuclei, not in {free}", ("T (K)", *headings), n_keys=1)
    for temperature, *cells in zip(document.temperatures_K, *columns, strict=True):
        table.add_row(f"{temperature:g}", *cells)
    if quantum.holds_from_K != document.temperatures_K[0]:
        below = "at all temperatures" if quantum.holds_from_K is None else f"below {quantum.holds_from_K:g} K"
        table.caption = _not_converged(below)
    return table


def pressure_quantum_table(document: PressureSweepDocument, quantum: PressureQuantumCorrections) -> ResultTable:
    """Corrections of the free energy for quantum nuclei at each pressure, for one atom."""
    headings, columns = _corrections(quantum, document)
    table = empty_table("corrections for quantum nuclei, not in G", ("p (GPa)", *headings), n_keys=1)
    for pressure, *cells in zip(document.pressures_GPa, *columns, strict=True):
        table.add_row(f"{pressure:g}", *cells)
    if quantum.holds_to_GPa != document.pressures_GPa[-1]:
        above = "at all pressures" if quantum.holds_to_GPa is None else f"above {quantum.holds_to_GPa:g} GPa"
        table.caption = _not_converged(above)
    return table


def _corrections(
    quantum: QuantumCorrections | PressureQuantumCorrections, document: Isoline
) -> tuple[list[str], list[list[str]]]:
    """Return the headings and columns of the Wigner–Kirkwood term, and of the harmonic correction if there is one."""
    headings = ["Wigner–Kirkwood (meV/atom)", "next term (%)"]
    columns = [
        _column(quantum.wigner_kirkwood_eV, 1e3 / document.counts.atoms, 4),
        [f"{100 * share:.2g}" for share in quantum.next_terms],
    ]
    if quantum.harmonic_eV is not None:
        headings.append("harmonic (meV/atom)")
        columns.append([f"{1e3 * document.counts.per_atom(value):.4f}" for value in quantum.harmonic_eV])
    return headings, columns


def _not_converged(where: str) -> str:
    """Return the warning that the expansion in ħ does not hold."""
    return (
        f"warning: {where} the next term is more than a tenth of the Wigner–Kirkwood term, and the expansion does not "
        "hold"
    )


def temperature_table(document: TemperatureSweepDocument) -> ResultTable:
    """Thermodynamics at each temperature, for one atom."""
    from ase import units

    free, enthalpy, capacity = ("F", "U", "C_V") if document.pressure_GPa is None else ("G", "H", "C_p")
    where = "constant volume" if document.pressure_GPa is None else f"{document.pressure_GPa:g} GPa"
    headings = (
        "T (K)",
        f"{free} (eV/atom)",
        f"{enthalpy} (eV/atom)",
        "S (k_B/atom)",
        f"{capacity} (k_B/atom)",
        "V (Å³/atom)",
        "α (10⁻⁶/K)",
    )
    table = empty_table(f"{document.formula}, {where}, {document.counts.title}", headings, n_keys=1)
    atoms = document.counts.atoms
    columns = (
        _column(document.gibbs_eV, 1 / atoms, 5),
        _column(document.enthalpy_eV, 1 / atoms, 4),
        _column(document.entropy_eV_per_K, 1 / (atoms * units.kB), 3),
        _column(document.heat_capacity_eV_per_K, 1 / (atoms * units.kB), 2),
        _column(document.volumes_A3, 1 / atoms, 3),
        _column(document.expansion_per_K, 1e6, 0),
    )
    for temperature, *cells in zip(document.temperatures_K, *columns, strict=True):
        table.add_row(f"{temperature:g}", *cells)
    table.caption = _caption(document, f"{document.anchor.temperature_K:g} K")
    return table


def pressure_tables(document: PressureSweepDocument) -> Group:
    """Thermodynamics at each pressure, and the corrections for quantum nuclei."""
    tables = [pressure_table(document)]
    if document.quantum is not None:
        tables.append(pressure_quantum_table(document, document.quantum))
    return Group(*tables)


def pressure_table(document: PressureSweepDocument) -> ResultTable:
    """Thermodynamics at each pressure, for one atom."""
    headings = ("p (GPa)", "G (eV/atom)", "V (Å³/atom)", "bulk modulus (GPa)")
    title = f"{document.formula}, {document.temperature_K:g} K, {document.counts.title}"
    table = empty_table(title, headings, n_keys=1)
    atoms = document.counts.atoms
    columns = (
        _column(document.gibbs_eV, 1 / atoms, 5),
        _column(document.volumes_A3, 1 / atoms, 3),
        _column(document.bulk_modulus_GPa, 1.0, 1),
    )
    for pressure, *cells in zip(document.pressures_GPa, *columns, strict=True):
        table.add_row(f"{pressure:g}", *cells)
    table.caption = _caption(document, f"{document.anchor.pressure_GPa:g} GPa")
    return table


def melting_tables(document: MeltingDocument) -> Group:
    """Melting point, and the growth of solid and liquid in contact."""
    tables = [melting_table(document)]
    if document.coexistence is not None:
        tables.append(coexistence_table(document.coexistence))
    return Group(*tables)


def melting_table(document: MeltingDocument) -> ResultTable:
    """Melting point, and the changes there for one atom."""
    from ase import units

    table = empty_table(
        f"{document.formula}, {document.pressure_GPa:g} GPa, {document.counts.title}", ("", "value", "±")
    )
    point, error = document.melting_K, document.melting_error_K
    heat, volume = document.latent_heat_eV_per_atom, document.volume_change_A3_per_atom
    heat_error, volume_error = document.latent_heat_error_eV_per_atom, document.volume_change_error_A3_per_atom
    low, high = document.range_K
    if point is None or error is None or heat is None or heat_error is None or volume is None or volume_error is None:
        table.add_row(f"melting point (K), {low:g} to {high:g} K", "none", "")
    else:
        table.add_row("melting point (K)", f"{point:.1f}", f"{error:.1f}")
        table.add_row("latent heat (eV/atom)", f"{heat:.5f}", f"{heat_error:.5f}")
        per_kB = 1 / (units.kB * point)
        table.add_row("entropy of melting (k_B/atom)", f"{heat * per_kB:.3f}", f"{heat_error * per_kB:.3f}")
        table.add_row("volume change (Å³/atom)", f"{volume:.3f}", f"{volume_error:.3f}")
        slope, slope_error = document.boundary_K_per_GPa, document.boundary_error_K_per_GPa
        if slope is not None and slope_error is not None:
            table.add_row("slope dT/dp (K/GPa)", f"{slope:.1f}", f"{slope_error:.1f}")
        shift, shift_error = document.quantum_shift_K, document.quantum_shift_error_K
        if shift is not None and shift_error is not None:
            table.add_row("shift by quantum nuclei, not included (K)", f"{shift:.2f}", f"{shift_error:.2f}")
    contact, contact_error = document.coexistence_K, document.coexistence_error_K
    if contact is not None and contact_error is not None:
        table.add_row("melting point by coexistence (K)", f"{contact:.1f}", f"{contact_error:.1f}")
    for end in (0, -1):
        value, width = document.difference_eV_per_atom.values[end], document.difference_eV_per_atom.errors[end]
        label = f"G(liquid) − G(solid) at {document.temperatures_K[end]:g} K (eV/atom)"
        table.add_row(label, f"{value:.5f}", f"{width:.5f}")
    return table


def coexistence_table(document: CoexistenceDocument) -> ResultTable:
    """Growth of the solid at each temperature, in cells that contain both phases."""
    headings = ("T (K)", "grows", "rate (1/ns)", "±", "share of the solid, first", "last")
    table = empty_table(f"solid and liquid in contact, {document.counts.title}", headings, n_keys=1)
    for point in document.points:
        rates = (point.rate_per_ps, point.rate_error_per_ps)
        ends = [np.mean([row[k] for row in point.solid_fractions]) for k in (0, -1)]
        table.add_row(
            f"{point.temperature_K:.4g}",
            point.grows,
            *("" if value is None else f"{1e3 * value:.1f}" for value in rates),
            *(f"{value:.2f}" for value in ends),
        )
    bounds = [document.solid_grows_to_K, document.liquid_grows_from_K]
    texts = ["none" if value is None else f"{value:.4g} K" for value in bounds]
    caption = f"the solid grows up to {texts[0]}, the liquid from {texts[1]} on"
    if document.deviation_sigma is not None:
        caption += f"; the rate is zero {abs(document.deviation_sigma):.1f} σ from the crossing of the free energies"
    table.caption = caption
    return table


def _column(series: CurveValues, factor: float, digits: int) -> list[str]:
    return [
        f"{value * factor:.{digits}f} ± {error * factor:.{digits}f}"
        for value, error in zip(series.values, series.errors, strict=True)
    ]


def _caption(document: Isoline, place: str) -> str:
    work = document.work
    largest = 1e3 * float(document.counts.per_atom(np.abs(document.dissipation_eV).max()))
    return (
        f"anchor at {place}; {len(work.forward_work_eV)} switches of {work.switching_time_fs * 1e-3:g} ps in each "
        f"direction; largest dissipation {largest:.3f} meV/atom, overlap of the works {work.overlap:.2f}"
    )
