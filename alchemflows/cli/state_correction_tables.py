"""Tables of absolute free energies that are corrected to another potential, and of shifted transitions."""

from __future__ import annotations

from ase import units
from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.state_correction import ShiftedTransition, StateCorrectionDocument, UncorrectedTransition


def state_correction_tables(document: StateCorrectionDocument) -> Group:
    """Reweighting and corrected free energy of each state, and shifted transitions."""
    tables = [_reweighting(document), _free_energies(document)]
    if document.transitions or document.uncorrected:
        tables.append(_transitions(document))
    return Group(*tables)


def _reweighting(document: StateCorrectionDocument) -> ResultTable:
    table = empty_table(
        f"correction to {document.target}",
        (
            *("state", "frames", "failed", "independent", "effective", "⟨ΔU⟩ (eV)", "scatter (k_B T)"),
            *("exponential (eV)", "cumulant (eV)", "used"),
        ),
        left=(0, 9),
        n_keys=1,
    )
    for state in document.states:
        found = state.reweighting
        table.add_row(
            state.name,
            str(found.n_frames),
            str(len(found.failed)),
            f"{found.n_frames / found.inefficiency:.1f}",
            f"{found.n_effective:.1f}",
            f"{found.mean_eV:.4f}",
            f"{found.spread_eV / (units.kB * state.temperature_K):.2f}",
            _pair(found.exponential.delta_f_eV, found.exponential.error_eV, 4),
            _pair(found.cumulant.delta_f_eV, found.cumulant.error_eV, 4),
            found.estimator,
        )
    if document.left_out:
        table.caption = f"not corrected: {'; '.join(document.left_out)}"
    return table


def _free_energies(document: StateCorrectionDocument) -> ResultTable:
    table = empty_table(
        "free energies per atom",
        ("state", "G (eV)", "ΔΔG (eV)", "corrected G (eV)", "ΔΔS (meV/K)"),
        n_keys=1,
    )
    for state in document.states:
        correction, per_atom = state.reweighting.best, state.counts.per_atom
        table.add_row(
            state.name,
            _pair(state.uncorrected.value_eV_per_atom, state.uncorrected.error_eV_per_atom, 6),
            _pair(correction.delta_f_eV_per_atom, correction.error_eV_per_atom, 6),
            _pair(state.total.value_eV_per_atom, state.total.error_eV_per_atom, 6),
            _pair(1e3 * per_atom(state.entropy_eV_per_K), 1e3 * per_atom(state.entropy_error_eV_per_K), 4),
        )
    return table


def _transitions(document: StateCorrectionDocument) -> ResultTable:
    table = empty_table(
        f"transition temperatures with {document.target}",
        ("transition", "T (K)", "shift (K)", "corrected T (K)", "next approximation (K)", "ΔΔG (meV/atom)"),
        n_keys=1,
    )
    for each in document.transitions:
        further = "none" if each.next_shift_K is None else f"{each.temperature_K + each.next_shift_K:.1f}"
        table.add_row(
            _name(each),
            _pair(each.temperature_K, each.error_K, 1),
            _pair(each.shift_K, each.shift_error_K, 1),
            _pair(each.corrected_K, each.corrected_error_K, 1),
            further,
            _pair(1e3 * each.difference_eV_per_atom, 1e3 * each.difference_error_eV_per_atom, 3),
        )
    for left in document.uncorrected:
        reason = f"no frames of {' and '.join(left.without_frames)}"
        table.add_row(_name(left), _pair(left.temperature_K, left.error_K, 1), "", reason, "", "")
    table.caption = "next approximation: with the changed entropy of the transition"
    return table


def _name(transition: ShiftedTransition | UncorrectedTransition) -> str:
    at = "" if transition.composition is None else f", x = {transition.composition:g}"
    return f"{transition.low_temperature_phase} → {transition.high_temperature_phase}{at}"


def _pair(value: float, error: float | None, digits: int) -> str:
    return f"{value:.{digits}f} ± {'?' if error is None else f'{error:.{digits}f}'}"
