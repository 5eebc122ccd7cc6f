"""Tables of reanalyses: several ladders corrected to a new potential."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.reanalysis import CorrectedLadder, ReanalysisDocument


def reanalysis_tables(document: ReanalysisDocument) -> Group:
    """Corrected ladders, and what must be run again."""
    lines = [f"{document.n_overlapping} of {len(document.ladders)} ladders overlap enough with {document.target}"]
    again = [ladder for ladder in document.ladders if not ladder.overlaps]
    if again:
        lines.append("ladders that must be run again:")
        lines += [f"  {ladder.rerun or f'{ladder.ladder[:8]}, with a potential of this package'}" for ladder in again]
    return Group(_table(document), *map(Text, lines))


def _table(document: ReanalysisDocument) -> ResultTable:
    table = empty_table(
        f"reanalysis with {document.target}",
        (
            *("ladder", "transformation", "T (K)", "p (GPa)", "ΔF, ΔG (eV)", "correction (eV)", "corrected (eV)"),
            *("effective frames", "overlaps"),
        ),
        left=(0, 1, 8),
        n_keys=1,
    )
    for ladder in document.ladders:
        table.add_row(
            ladder.ladder[:8],
            f"{ladder.initial_formula} → {ladder.final_formula}",
            f"{ladder.temperature_K:g}",
            "" if ladder.pressure_GPa is None else f"{ladder.pressure_GPa:g}",
            _with_error(ladder.uncorrected),
            _with_error(ladder.correction),
            _with_error(ladder.total),
            "" if ladder.n_effective is None else ", ".join(f"{n:.1f}" for n in ladder.n_effective),
            _overlap(ladder),
        )
    return table


def _overlap(ladder: CorrectedLadder) -> str:
    if ladder.correction is None:
        return "not corrected"
    return "yes" if ladder.overlaps else "NO"


def _with_error(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    error = "?" if estimate.error_eV is None else f"{estimate.error_eV:.4f}"
    return f"{estimate.delta_f_eV:.4f} ± {error}"
