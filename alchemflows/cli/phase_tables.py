"""Tables of phase stability."""

from __future__ import annotations

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.phases import PhaseStabilityDocument


def phase_table(document: PhaseStabilityDocument) -> ResultTable:
    """G of every point, the stable phase marked, and the transitions."""
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
    lines = []
    for t in document.transitions:
        at = "" if t.composition is None else f", x = {t.composition:g}"
        where = (
            "none between these temperatures"
            if t.temperature_K is None
            else f"{t.temperature_K:.0f} ± {t.error_K:.0f} K"
        )
        lines.append(f"{t.low_temperature_phase} → {t.high_temperature_phase}{at}: {where}")
    table.caption = "\n".join(lines)
    return table
