"""Tables of phase stability."""

from __future__ import annotations

from itertools import compress

from ase import units
from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.phases import PhaseBoundary, PhaseStabilityDocument


def phase_tables(document: PhaseStabilityDocument) -> Group:
    """G of every point, the transitions, and their boundaries over the pressure."""
    tables = [phase_table(document)]
    if document.transitions:
        tables.append(transition_table(document))
    return Group(*tables, *(boundary_table(each) for each in document.boundaries or []))


def phase_table(document: PhaseStabilityDocument) -> ResultTable:
    """G of every point, the stable phase marked."""
    headings = ("phase", "formula", "T (K)", "G (eV/atom)", "±", "of which ideal mixing", "")
    table = empty_table("G of the phases (* stable)", headings)
    best = {(s.composition, s.temperature_K): s.phase for s in document.stable}
    for p in document.points:
        gibbs, error = p.gibbs_eV_per_atom, p.error_eV_per_atom
        cells: tuple[str, ...] = ("failed", "", "", "")
        if gibbs is not None and error is not None:
            star = "*" if best.get((p.composition, p.temperature_K)) == p.phase else ""
            cells = (f"{gibbs:.6f}", f"{error:.6f}", f"{p.ideal_mixing_eV_per_atom:.6f}", star)
        table.add_row(p.phase, p.formula, f"{p.temperature_K:g}", *cells)
    anchors = {f"{curve.anchor_K:g} K" for curve in document.curves}
    if anchors:
        table.caption = f"from curves with the anchor at {', '.join(sorted(anchors))}"
    return table


def transition_table(document: PhaseStabilityDocument) -> ResultTable:
    """Temperature of each transition and what changes there, for one atom."""
    headings = (
        "transition",
        "T (K)",
        "ΔH (meV/atom)",
        "ΔS (k_B/atom)",
        "ΔV (Å³/atom)",
        "dT/dp (K/GPa)",
        "shift by quantum nuclei (K)",
        "probability",
    )
    rows = []
    for t in document.transitions:
        at = "" if t.composition is None else f", x = {t.composition:g}"
        numbers = (
            (t.temperature_K, t.error_K, 1.0, 1),
            (t.latent_heat_eV_per_atom, t.latent_heat_error_eV_per_atom, 1e3, 3),
            (t.entropy_eV_per_K_per_atom, t.entropy_error_eV_per_K_per_atom, 1 / units.kB, 4),
            (t.volume_change_A3_per_atom, t.volume_change_error_A3_per_atom, 1.0, 4),
            (t.boundary_K_per_GPa, t.boundary_error_K_per_GPa, 1.0, 1),
            (t.quantum_shift_K, t.quantum_shift_error_K, 1.0, 1),
        )
        cells = ["none" if k == 0 and each[0] is None else _measured(*each) for k, each in enumerate(numbers)]
        rows.append((f"{t.low_temperature_phase} → {t.high_temperature_phase}{at}", *cells, f"{t.probability:.2f}"))
    known = [any(cells) for cells in zip(*rows, strict=True)]
    table = empty_table("transitions between these temperatures", tuple(compress(headings, known)), n_keys=1)
    for row in rows:
        table.add_row(*compress(row, known))
    return table


def boundary_table(boundary: PhaseBoundary) -> ResultTable:
    """Temperature of a transition at each pressure, and how it agrees with dT/dp."""
    at = "" if boundary.composition is None else f", x = {boundary.composition:g}"
    headings = ("p (GPa)", "T (K)", "ΔH (meV/atom)", "dT/dp (K/GPa)", "deviation from dT/dp (K)")
    table = empty_table(f"boundary between {' and '.join(boundary.phases)}{at}", headings, n_keys=1)
    deviations = [(None, None), *zip(boundary.deviations_K, boundary.deviation_errors_K, strict=True)]
    for p, t, deviation in zip(boundary.pressures_GPa, boundary.transitions, deviations, strict=True):
        table.add_row(
            f"{p:g}",
            _measured(t.temperature_K, t.error_K, 1.0, 1) or "none",
            _measured(t.latent_heat_eV_per_atom, t.latent_heat_error_eV_per_atom, 1e3, 3),
            _measured(t.boundary_K_per_GPa, t.boundary_error_K_per_GPa, 1.0, 1),
            _measured(*deviation, 1.0, 1),
        )
    return table


def _measured(value: float | None, error: float | None, factor: float, digits: int) -> str:
    if value is None:
        return ""
    return f"{value * factor:.{digits}f} ± {'?' if error is None else f'{error * factor:.{digits}f}'}"
