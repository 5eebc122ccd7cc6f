"""Tables of corrections to another potential."""

from __future__ import annotations

from ase import units
from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.correction import CorrectionDocument, EndCorrection
from alchemflows.schemas.free_energy import Estimate


def correction_tables(document: CorrectionDocument) -> Group:
    """Reweighting of both ends, in each stage, and the corrected free energy."""
    stages = [_ends(document, stage.target, stage.initial, stage.final) for stage in document.stages]
    last = _ends(document, document.target, document.initial, document.final)
    return Group(*stages, last, *_runs(document), _totals(document))


def _ends(document: CorrectionDocument, target: str, initial: EndCorrection, final: EndCorrection) -> ResultTable:
    table = empty_table(
        f"correction to {target}: {document.initial_formula} → {document.final_formula}, "
        f"{document.counts.title}, {document.temperature_K:g} K",
        (
            *("end", "frames", "failed", "independent", "effective", "⟨ΔU⟩ (eV)", "scatter (k_B T)"),
            *("exponential (eV)", "cumulant (eV)", "used"),
        ),
        left=(0, 9),
        n_keys=1,
    )
    for end in (initial, final):
        table.add_row(
            f"{end.formula} (λ = {end.lambda_value:g})",
            str(end.n_frames),
            str(len(end.failed)),
            f"{end.n_frames / end.inefficiency:.1f}",
            f"{end.n_effective:.1f}",
            f"{end.mean_eV:.4f}",
            f"{end.spread_eV / (units.kB * document.temperature_K):.2f}",
            _with_error(end.exponential),
            _with_error(end.cumulant),
            end.estimator,
        )
    spacing = "" if initial.spacing_fs is None else f"frames every {initial.spacing_fs:g} fs; "
    times = " and ".join(f"{end.correlation_time_fs:.0f}" for end in (initial, final))
    table.caption = f"{spacing}correlation time of the sampled energy: {times} fs"
    return table


def _runs(document: CorrectionDocument) -> list[ResultTable]:
    """Return the table of runs with the target, if there are any."""
    runs = [(end, end.target_run) for end in (document.initial, document.final) if end.target_run is not None]
    if not runs:
        return []
    table = empty_table(
        f"runs with {document.target}",
        ("end", "runs", "frames", "independent", "⟨ΔU⟩ (eV)", "scatter (k_B T)", "overlap", "BAR (eV)"),
        n_keys=1,
    )
    for end, run in runs:
        table.add_row(
            f"{end.formula} (λ = {end.lambda_value:g})",
            str(run.n_runs),
            str(run.n_frames),
            f"{run.n_frames / run.inefficiency:.1f}",
            f"{run.mean_eV:.4f}",
            f"{run.spread_eV / (units.kB * document.temperature_K):.2f}",
            f"{run.overlap:.3f}",
            "none" if run.bar is None else _with_error(run.bar),
        )
    return [table]


def _totals(document: CorrectionDocument) -> ResultTable:
    symbol = "ΔF" if document.ensemble == "NVT" else "ΔG"
    table = empty_table("", ("", "eV", "±", "eV/atom", "±"))
    stages = {f"Δ{symbol} to {stage.target}": stage.correction for stage in document.stages}
    rows = {
        f"{symbol} of the ladder": document.uncorrected,
        **stages,
        f"correction Δ{symbol}{' of all stages' * bool(stages)}": document.correction,
        f"corrected {symbol}": document.total,
    }
    for name, estimate in rows.items():
        table.add_row(
            name,
            f"{estimate.delta_f_eV:.5f}",
            _number(estimate.error_eV),
            f"{estimate.delta_f_eV_per_atom:.6f}",
            _number(estimate.error_eV_per_atom, 6),
        )
    return table


def _with_error(estimate: Estimate) -> str:
    return f"{estimate.delta_f_eV:.4f} ± {_number(estimate.error_eV, 4)}"


def _number(value: float | None, digits: int = 5) -> str:
    return "?" if value is None else f"{value:.{digits}f}"
