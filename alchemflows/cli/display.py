"""What the command line shows: tables, and the progress of jobs."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from alchemflows.campaign.local import JobStatus
from alchemflows.schemas.free_energy import Estimate, FreeEnergyDocument
from alchemflows.schemas.refinement import Refinement
from alchemflows.schemas.verdict import Verdict

if TYPE_CHECKING:
    from alchemflows.alchemy.verify import Deviation

_STATES = {"WAITING": "waiting", "READY": "waiting", "RESERVED": "queued", "RUNNING": "starting", "COMPLETED": "done"}


class JobProgress:
    """One bar for each job; where the output is no terminal, one line whenever a job has got further."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[int, TaskID] = {}
        self._said: dict[int, tuple[str, int]] = {}

    def __enter__(self) -> JobProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, jobs: list[JobStatus]) -> None:
        """Show the jobs as they are now."""
        for job in jobs:
            state = _STATES.get(job.state, job.state.lower())
            share = 1.0 if job.state == "COMPLETED" else 0.0
            if job.state == "RUNNING" and job.progress is not None:
                temperatures = ", ".join(f"{t:.0f}" for t in job.progress.temperatures_K)
                state = f"{job.progress.phase}, {temperatures} K"
                share = job.progress.step / job.progress.n_steps
            if self._bars.disable:
                self._say(job, state, share)
            else:
                if job.fw_id not in self._tasks:
                    self._tasks[job.fw_id] = self._bars.add_task(job.name, total=1.0, state=state, start=False)
                if share > 0 or job.state == "RUNNING":
                    self._bars.start_task(self._tasks[job.fw_id])
                self._bars.update(self._tasks[job.fw_id], completed=share, state=state)

    def _say(self, job: JobStatus, state: str, share: float) -> None:
        quarter = (state.split(",")[0], int(4 * share))
        if state != "waiting" and self._said.get(job.fw_id) != quarter:
            self._said[job.fw_id] = quarter
            self._console.print(f"{job.name:<18} {100 * share:3.0f} %  {state}", highlight=False)


def ladder_table(document: FreeEnergyDocument) -> Table:
    """One row for each window."""
    held = "" if document.pressure_GPa is None else f" at {document.pressure_GPa:g} GPa, mean volume"
    table = Table(
        title=f"{document.initial_formula} → {document.final_formula}, {document.temperature_K:g} K, "
        f"{document.n_atoms} atoms, {document.ensemble}{held or ' at'} {document.volume_A3:.1f} Å³"
    )
    for heading in ("λ", "⟨∂U/∂λ⟩ (eV)", "standard error", "samples", "independent", "overlap with next"):
        table.add_column(heading, justify="right")
    for window in document.windows:
        overlap = window.overlap_with_next
        table.add_row(
            f"{window.lambda_value:.4g}",
            f"{window.mean_dudl_eV:.5f}",
            f"{window.error_dudl_eV:.5f}",
            str(window.n_samples),
            f"{window.n_independent:.1f}",
            "" if overlap is None else f"{overlap:.3f}",
        )
    return table


def estimate_table(document: FreeEnergyDocument) -> Table:
    """ΔF or ΔG by each estimator, the mass term apart, and the total."""
    letter = "F" if document.ensemble == "NVT" else "G"
    table = Table(title=f"Δ{letter} = {letter}(λ=1) − {letter}(λ=0), one standard error")
    for heading in ("", "eV", "±", "eV/atom", "±"):
        table.add_column(heading, justify="left" if not heading else "right")

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

    row("TI (configurational)", document.ti)
    row("BAR (configurational)", document.bar)
    row("MBAR (configurational)", document.mbar)
    table.add_row("mass term", f"{document.mass_term_eV:.5f}", "", f"{document.mass_term_eV_per_atom:.6f}", "")
    table.add_section()
    row("total: MBAR + mass term", document.total)
    return table


def refinement_table(refinement: Refinement) -> Table:
    """One row for each round of refinement."""
    target = refinement.target_error_eV_per_atom
    met = {True: "met", False: "not met", None: ""}[refinement.target_met]
    wanted = "" if target is None else f", target {target:g} eV/atom {met}"
    table = Table(title=f"refinement: {refinement.n_runs_added} of {refinement.budget} window-runs added{wanted}")
    for heading in ("round", "new windows, λ", "continued windows, λ (runs)", "error (eV/atom)", "smallest overlap"):
        table.add_column(heading, justify="left" if "λ" in heading else "right")
    for k, each in enumerate(refinement.rounds):
        table.add_row(
            str(k) if k else "planned",
            ", ".join(f"{value:.4g}" for value in each.inserted),
            ", ".join(f"{added.lambda_value:.4g} (+{added.n_runs})" for added in each.extended),
            _number(each.error_eV_per_atom, 6),
            _number(each.smallest_overlap, 3),
        )
    return table


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return the verdict of the convergence checks, and each reason against the result."""
    if verdict.converged:
        return ["[green]converged[/]: all checks have passed"]
    return ["[yellow]not converged[/]:", *(f"  - {escape(reason)}" for reason in verdict.reasons)]


def results_table(rows: list[dict[str, Any]]) -> Table:
    """One row for each finished free energy."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("path", "T (K)", "ΔF (eV)", "ΔF (eV/atom)", "model"):
        table.add_column(
            heading,
            justify="left" if heading in ("path", "model") else "right",
            no_wrap=heading not in ("path", "model"),
        )
    for row in rows:
        table.add_row(
            f"{row['initial']} → {row['final']}" + ("" if row.get("verdict") == "converged" else " (!)"),
            f"{row['temperature_K']:g}",
            f"{row['delta_f_eV']:.4f} ± {_number(row['error_eV'], 4)}",
            f"{row['delta_f_eV_per_atom']:.5f} ± {_number(row['error_eV_per_atom'], 5)}",
            row["potential"].rpartition("/")[2],
        )
    if any(row.get("verdict") != "converged" for row in rows):
        table.caption = "(!): not converged; see `verdict` of the document"
    return table


def _number(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:.{digits}f}"


def deviation_table(deviations: list[Deviation], tolerance: float) -> Table:
    """Largest deviations of each case; those beyond the tolerance are marked."""
    table = Table(title=f"largest absolute deviations (tolerance {tolerance:g})")
    for heading in ("case", "energy (eV)", "forces (eV/Å)", "stress (eV/Å³)", "dE/dweights (eV)", ""):
        table.add_column(heading, justify="left" if heading in ("case", "") else "right")
    for d in deviations:
        values = (d.energy_eV, d.forces_eV_per_A, d.stress_eV_per_A3, d.dE_dweights_eV)
        table.add_row(d.case, *(f"{value:.1e}" for value in values), "ok" if d.largest <= tolerance else "TOO LARGE")
    return table
