"""Tables of switching, absolute free energies, vacancies, phases and reproduced figures."""

from __future__ import annotations

from rich.table import Table

from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument, SizeExtrapolation
from alchemflows.schemas.phases import PhaseStabilityDocument
from alchemflows.schemas.reproduction import ReproductionDocument
from alchemflows.schemas.switching import SwitchingDocument
from alchemflows.schemas.vacancy import VacancyDocument


def switching_table(document: SwitchingDocument) -> Table:
    """ΔF or ΔG by each estimate, the mass term apart."""
    kind = "ΔF, NVT" if document.pressure_GPa is None else f"ΔG at {document.pressure_GPa:g} GPa"
    table = _table(
        f"{document.initial_formula} → {document.final_formula}, {document.temperature_K:g} K, "
        f"{document.n_atoms} atoms: {kind}",
        ("", "eV", "±", "eV/atom", "±"),
    )

    def row(name: str, estimate: Estimate | None) -> None:
        if estimate is None:
            table.add_row(name, "no solution", "", "", "")
            return
        table.add_row(
            name,
            f"{estimate.delta_f_eV:.5f}",
            _number(estimate.error_eV, 5),
            f"{estimate.delta_f_eV_per_atom:.6f}",
            _number(estimate.error_eV_per_atom, 6),
        )

    row("mean work", document.work.mean)
    row("BAR", document.work.bar)
    table.add_row(
        "dissipation", f"{document.work.dissipation_eV:.5f}", "", f"{document.work.dissipation_eV_per_atom:.6f}", ""
    )
    table.add_row("mass term", f"{document.mass_term_eV:.5f}", "", f"{document.mass_term_eV_per_atom:.6f}", "")
    table.add_section()
    row("total", document.total)
    table.caption = (
        f"{len(document.work.forward_work_eV)} switches each way of {document.work.switching_time_fs * 1e-3:g} ps; "
        f"their work overlaps by {document.work.overlap:.2f}"
    )
    return table


def absolute_table(document: FrenkelLaddDocument | SizeExtrapolation) -> Table:
    """All terms of an absolute free energy, or the extrapolation of several cells."""
    if isinstance(document, SizeExtrapolation):
        table = _table(f"{document.formula}, {document.temperature_K:g} K", ("atoms", "G (eV/atom)", "±"))
        for n, g, error in zip(document.n_atoms, document.gibbs_eV_per_atom, document.errors_eV_per_atom, strict=True):
            table.add_row(str(n), f"{g:.6f}", f"{error:.6f}")
        table.add_section()
        table.add_row("∞", f"{document.gibbs_limit_eV_per_atom:.6f}", f"{document.limit_error_eV_per_atom:.6f}")
        return table
    n = document.n_atoms
    springs = ", ".join(f"{s.element} {s.stiffness_eV_per_A2:.3g}" for s in document.springs[:6])
    table = _table(
        f"{document.formula}, {document.temperature_K:g} K, {document.pressure_GPa:g} GPa, {n} atoms, "
        f"{document.volume_A3:.2f} Å³",
        ("", "eV", "±", "eV/atom", "±"),
    )

    def row(name: str, value: float, error: float | None = None) -> None:
        table.add_row(name, f"{value:.5f}", _error(error, 5), f"{value / n:.6f}", _error(error and error / n, 6))

    row("Einstein crystal", document.einstein_eV)
    row("switching", document.switching_eV, document.switching_error_eV)
    row("centre of mass", document.centre_of_mass_eV)
    table.add_section()
    row("F", document.helmholtz.value_eV, document.helmholtz.error_eV)
    row("pV", document.pv_eV)
    row("G", document.gibbs.value_eV, document.gibbs.error_eV)
    if document.quantum_correction_eV is not None:
        row("quantum correction, not in G", document.quantum_correction_eV)
    table.caption = (
        f"springs (eV/Å²): {springs}{', ...' if len(document.springs) > 6 else ''}; dissipation "
        f"{document.work.dissipation_eV:.4f} eV, overlap {document.work.overlap:.2f}"
    )
    return table


def vacancy_table(document: VacancyDocument) -> Table:
    """Both routes and their difference."""
    table = _table(
        f"vacancy of {document.element}, {document.n_atoms} atoms, {document.temperature_K:g} K", ("G_v", "eV", "±")
    )
    table.add_row("two Frenkel–Ladd runs", f"{document.frenkel_ladd_eV:.4f}", f"{document.frenkel_ladd_error_eV:.4f}")
    table.add_row("removal of an atom", f"{document.alchemical_eV:.4f}", f"{document.alchemical_error_eV:.4f}")
    table.add_section()
    table.add_row("difference", f"{document.difference_eV:.4f}", f"{document.difference_error_eV:.4f}")
    table.caption = "the routes agree within 2σ" if document.agree else "the routes do NOT agree within 2σ"
    return table


def phase_table(document: PhaseStabilityDocument) -> Table:
    """G of every point, the stable phase marked, and the transitions."""
    table = _table("G of the phases (* stable)", ("phase", "formula", "T (K)", "G (eV/atom)", "±", ""))
    best = {(s.composition, s.temperature_K): s.phase for s in document.stable}
    for p in document.points:
        if p.gibbs_eV_per_atom is None or p.error_eV_per_atom is None:
            table.add_row(p.phase, p.formula, f"{p.temperature_K:g}", "failed", "", "")
            continue
        star = "*" if best.get((p.composition, p.temperature_K)) == p.phase else ""
        table.add_row(
            p.phase, p.formula, f"{p.temperature_K:g}", f"{p.gibbs_eV_per_atom:.6f}", f"{p.error_eV_per_atom:.6f}", star
        )
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


def reproduction_table(document: ReproductionDocument) -> Table:
    """One row for each number of the figure, beside the published one."""
    kind = ", small version: other potential, small cells" if document.small else ""
    table = _table(f"{document.figure}{kind}", ("", "T (K)", "here", "±", "published", ""))
    for row in document.rows:
        published = "" if row.published is None else f"{row.published:.4f}"
        table.add_row(
            row.quantity, f"{row.temperature_K:g}", f"{row.value:.5f}", f"{row.error:.5f}", published, row.unit
        )
    return table


def checks_table(document: ReproductionDocument) -> Table:
    """One row for each cross-check."""
    table = _table("cross-checks", ("", "value", "bound", "unit", "holds"))
    for check in document.checks:
        table.add_row(check.name, f"{check.value:.5f}", f"{check.bound:g}", check.unit, "yes" if check.holds else "NO")
    return table


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title)
    for k, heading in enumerate(headings):
        table.add_column(heading, justify="left" if k == 0 else "right")
    return table


def _number(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:.{digits}f}"


def _error(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
