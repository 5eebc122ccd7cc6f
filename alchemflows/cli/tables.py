"""Documents as tables, and their verdicts as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape

from alchemflows.cli.layout import ResultTable
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.free_energy import MIXING, Estimate, FreeEnergyDocument, MixedEnds
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument, SizeExtrapolation
from alchemflows.schemas.liquid import LiquidFreeEnergyDocument
from alchemflows.schemas.optimization import OptimizationDocument
from alchemflows.schemas.ordering import OrderDisorderDocument, OrderingSearchDocument, SampledDisorderDocument
from alchemflows.schemas.refinement import Refinement
from alchemflows.schemas.relax import RelaxDocument
from alchemflows.schemas.reproduction import Check, ReproductionDocument, Row
from alchemflows.schemas.sweep import CompositionSweepDocument
from alchemflows.schemas.switching import SwitchingDocument
from alchemflows.schemas.verdict import Verdict

if TYPE_CHECKING:
    from alchemflows.alchemy.verify import Deviation
    from alchemflows.sampling.verify import SampledEnsemble

#: Headings of the rows that :func:`_estimate` and :func:`_term` write.
_ENERGIES = ("", "eV", "±", "eV/atom", "±")


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return the verdict of the checks, each reason against the result, and notes."""
    notes = [f"note: {escape(note)}" for note in verdict.notes]
    if verdict.converged:
        return ["[green]converged[/]: all checks have passed", *notes]
    return ["[yellow]not converged[/]:", *(f"  - {escape(reason)}" for reason in verdict.reasons), *notes]


def free_energy_tables(document: FreeEnergyDocument) -> Group:
    """Windows, estimates, and what a refinement has added."""
    tables = [_ladder_table(document), _estimate_table(document)]
    if document.refinement.budget:
        tables.append(_refinement_table(document.refinement))
    return Group(*tables)


def sweep_table(document: CompositionSweepDocument) -> ResultTable:
    """One row for each composition."""
    table = empty_table(
        f"{document.points[0].formula} to {document.points[-1].formula}, {document.n_sites} sites, {document.coupling}",
        ("", "eV/atom", "mixing (meV/atom)", "Å³/atom", "from Vegard (%)", "a (Å)", "b (Å)", "c (Å)"),
        n_keys=1,
    )
    for point in document.points:
        mixing, deviation = point.mixing_energy_eV_per_atom, point.volume_deviation
        table.add_row(
            point.formula,
            _number(point.energy_eV_per_atom, 5),
            "" if mixing is None else f"{1e3 * mixing:.2f}",
            _number(point.volume_A3_per_atom, 3),
            "" if deviation is None else f"{100 * deviation:.2f}",
            *(f"{length:.4f}" for length in (point.cell_parameters or [])[:3]),
        )
    if document.n_known:
        table.caption = f"{document.n_known} points are of earlier relaxations"
    return table


def order_tables(document: OrderDisorderDocument) -> Group:
    """Every arrangement, and the energy of ordering by each picture of disorder."""
    title = f"{document.formula}, {document.counts.title}"
    table = empty_table(
        title, ("arrangement", "kind", "eV/atom", "above best order\n(meV/atom)", "Å³/atom"), left=(0, 1)
    )
    best = min(each.energy_eV_per_atom for each in document.arrangements if each.kind == "ordered")
    for each in document.arrangements:
        count = "" if each.multiplicity is None else f" ({each.multiplicity} alike)"
        table.add_row(
            f"{each.name}{count}",
            each.kind,
            f"{each.energy_eV_per_atom:.5f}",
            f"{1e3 * (each.energy_eV_per_atom - best):.2f}",
            f"{each.volume_A3_per_atom:.3f}",
        )
    if document.rounding:
        table.caption = document.rounding
    pictures = empty_table(
        f"ordering energy: E({document.best_ordered}) − E(disorder)",
        ("disorder", "meV/atom", "±", "T of transition, ideal\nentropy (K)", "alchemical − random\n(meV/atom)"),
    )
    errors = document.errors_eV_per_atom_of_disorder
    for kind, energy in document.ordering_energies_eV_per_atom.items():
        temperature = document.transition_temperatures_K[kind]
        deviation = document.coupling_deviations_eV_per_atom.get(kind)
        pictures.add_row(
            f"sampled at {document.sampled_temperature_K:g} K" if kind == "sampled" else kind,
            f"{1e3 * energy:.2f}",
            _number(1e3 * errors[kind], 2) if kind in errors else "?" if kind in ("random", "sampled") else "",
            "" if temperature is None else f"{temperature:.0f}",
            "" if deviation is None else f"{1e3 * deviation:.2f}",
        )
    return Group(table, pictures)


def sampled_table(document: SampledDisorderDocument) -> ResultTable:
    """Return a table with one row for each relaxed arrangement that was sampled."""
    title = f"sampled at {document.temperature_K:g} K and relaxed: {document.formula}, {document.counts.title}"
    table = empty_table(title, ("arrangement", "eV/atom", "Å³/atom"))
    for each in document.arrangements:
        table.add_row(each.name, f"{each.energy_eV_per_atom:.5f}", f"{each.volume_A3_per_atom:.3f}")
    return table


def search_table(document: OrderingSearchDocument) -> ResultTable:
    """Return a table with one row for each ordered arrangement that was found, lowest energy first."""
    table = empty_table(
        f"search for order: {document.formula}, {document.counts.title}",
        ("arrangement", "eV/atom", "above the lowest\n(meV/atom)", "Å³/atom", "found from starts"),
    )
    best = document.arrangements[0].energy_eV_per_atom
    for each in document.arrangements:
        table.add_row(
            each.name,
            f"{each.energy_eV_per_atom:.5f}",
            f"{1e3 * (each.energy_eV_per_atom - best):.2f}",
            f"{each.volume_A3_per_atom:.3f}",
            "" if each.n_starts is None else str(each.n_starts),
        )
    start = document.counts.per_atom(document.disordered_energy_eV)
    table.caption = (
        f"{document.n_starts} starts from the alchemical cell ({start:.5f} eV/atom) gave "
        f"{document.n_distinct} distinct arrangements of {document.n_arrangements} possible ones"
    )
    if document.rounding:
        table.caption += f"\n{document.rounding}"
    return table


def relaxation_table(document: RelaxDocument) -> ResultTable:
    """Return the energy and the cell of a relaxed crystal."""
    table = empty_table(
        f"relaxation: {document.formula}, {document.counts.title}, {document.coupling}",
        ("eV/atom", "Å³/atom", "a (Å)", "b (Å)", "c (Å)", "largest force (eV/Å)", "steps", "forces converged"),
        left=(),
    )
    counts = document.counts
    table.add_row(
        f"{counts.per_atom(document.energy_eV):.5f}",
        f"{counts.per_atom(document.volume_A3):.3f}",
        *(f"{length:.4f}" for length in document.cell_parameters[:3]),
        f"{document.max_force_eV_per_A:.4f}",
        str(document.n_steps),
        "yes" if document.converged else "NO",
    )
    return table


def optimization_table(document: OptimizationDocument) -> ResultTable:
    """One row for each start, and one for the composition in whole atoms."""
    wanted = list(dict.fromkeys(target.quantity for target in document.targets))
    table = empty_table(
        f"descent on the composition, {document.n_sites} sites, {document.coupling}, relaxed: {document.relaxation}",
        ("start", "end (* best)", "objective", *wanted, "evaluations", "second derivatives", "reached"),
        left=(0, 1),
        n_keys=2,
    )
    for k, run in enumerate(document.runs):
        last = run.steps[-1]
        table.add_row(
            run.start_formula,
            run.formula + (" *" if k == document.best else ""),
            f"{last.objective:.3g}",
            *(f"{last.quantities[name]:.5g}" for name in wanted),
            str(run.n_evaluations),
            str(run.n_second_derivatives),
            "yes" if run.reached else "NO",
        )
    if (rounded := document.rounded) is not None:
        table.add_section()
        values = (f"{rounded.quantities[name]:.5g}" for name in wanted)
        reached = "" if rounded.verdict is None else "yes" if rounded.verdict.converged else "NO"
        table.add_row("whole atoms", rounded.formula, f"{rounded.objective:.3g}", *values, "", "", reached)
    return table


def _ladder_table(document: FreeEnergyDocument) -> ResultTable:
    """One row for each window."""
    exchange = document.windows[0].exchange
    exchanged = []
    if exchange is not None:
        temperatures = ", ".join(f"{each:g}" for each in exchange.temperatures_K)
        exchanged = [f"exchanges between {temperatures} K (%)", "round trips"]
    held = "" if document.pressure_GPa is None else f" at {document.pressure_GPa:g} GPa, mean volume"
    table = empty_table(
        f"{document.initial_formula} → {document.final_formula}, {document.temperature_K:g} K, "
        f"{document.counts.title}, {document.ensemble}{held or ' at'} {document.volume_A3:.1f} Å³",
        ("λ", "⟨∂U/∂λ⟩ (eV)", "standard error", "samples", "independent", "overlap with next", *exchanged),
        left=(),
        n_keys=1,
    )
    for window in document.windows:
        overlap = window.overlap_with_next
        table.add_row(
            f"{window.lambda_value:.4g}",
            f"{window.mean_dudl_eV:.5f}",
            f"{window.error_dudl_eV:.5f}",
            str(window.n_samples),
            f"{window.n_independent:.1f}",
            "" if overlap is None else f"{overlap:.3f}",
            *([] if (found := window.exchange) is None else [_percentages(found.acceptance), str(found.round_trips)]),
        )
    return table


def _percentages(shares: Sequence[float]) -> str:
    return ", ".join(f"{100 * share:.0f}" for share in shares)


def _estimate_table(document: FreeEnergyDocument) -> ResultTable:
    """ΔF or ΔG by each estimator, the mass term apart, and the total."""
    letter = "F" if document.ensemble == "NVT" else "G"
    table = empty_table(f"Δ{letter} = {letter}(λ=1) − {letter}(λ=0), one standard error", _ENERGIES, n_keys=1)
    table.add_row(*_estimate("TI (configurational)", document.ti))
    table.add_row(*_estimate("BAR (configurational)", document.bar))
    table.add_row(*_estimate("MBAR (configurational)", document.mbar))
    table.add_row(*_term("mass term", document.mass_term_eV, document.counts))
    table.add_section()
    table.add_row(*_estimate("total: MBAR + mass term", document.total))
    _add_left_out(table, document, document.counts)
    return table


def _refinement_table(refinement: Refinement) -> ResultTable:
    """One row for each round of refinement."""
    target = refinement.target_error_eV_per_atom
    met = {True: "met", False: "not met", None: ""}[refinement.target_met]
    wanted = "" if target is None else f", target {target:g} eV/atom {met}"
    table = empty_table(
        f"refinement: {refinement.n_runs_added} of {refinement.budget} window runs added{wanted}",
        ("round", "new windows, λ", "continued windows, λ (runs)", "error (eV/atom)", "smallest overlap"),
        left=(1, 2),
        n_keys=1,
    )
    for k, each in enumerate(refinement.rounds):
        table.add_row(
            str(k) if k else "planned",
            ", ".join(f"{value:.4g}" for value in each.inserted),
            ", ".join(f"{added.lambda_value:.4g} (+{added.n_runs})" for added in each.extended),
            _number(each.error_eV_per_atom, 6),
            _number(each.smallest_overlap, 3),
        )
    return table


def switching_table(document: SwitchingDocument) -> ResultTable:
    """ΔF or ΔG by each estimate, the mass term apart."""
    kind = "ΔF, NVT" if document.pressure_GPa is None else f"ΔG at {document.pressure_GPa:g} GPa"
    work, counts = document.work, document.counts
    table = empty_table(
        f"{document.initial_formula} → {document.final_formula}, {document.temperature_K:g} K, {counts.title}: {kind}",
        _ENERGIES,
        n_keys=1,
    )
    table.add_row(*_estimate("mean work", work.mean))
    table.add_row(*_estimate("BAR", work.bar))
    table.add_row(*_term("dissipation", work.dissipation_eV, counts))
    table.add_row(*_term("mass term", document.mass_term_eV, counts))
    table.add_section()
    table.add_row(*_estimate("total", document.total))
    _add_left_out(table, document, counts)
    table.caption = (
        f"{len(work.forward_work_eV)} switches of {work.switching_time_fs * 1e-3:g} ps in each direction; "
        f"their work overlaps by {work.overlap:.2f}"
    )
    return table


def absolute_table(document: FrenkelLaddDocument) -> ResultTable:
    """All terms of an absolute free energy."""
    counts = document.counts
    table = empty_table(
        f"{document.formula}, {document.temperature_K:g} K, {document.pressure_GPa:g} GPa, {counts.title}, "
        f"{document.volume_A3:.2f} Å³",
        _ENERGIES,
        n_keys=1,
    )
    switching = Estimate.of(document.switching_eV, document.switching_error_eV, counts)
    table.add_row(*_term("Einstein crystal", document.einstein_eV, counts))
    table.add_row(*_estimate("switching", switching))
    table.add_row(*_term("centre of mass", document.centre_of_mass_eV, counts))
    table.add_section()
    table.add_row(*_estimate("F", Estimate.of(document.helmholtz.value_eV, document.helmholtz.error_eV, counts)))
    table.add_row(*_term("pV", document.pv_eV, counts))
    if document.cell_bias_eV:
        noise = Estimate.of(-document.cell_bias_eV, document.cell_bias_error_eV, counts)
        table.add_row(*_estimate("noise of the mean cell", noise))
    table.add_row(*_estimate("G", Estimate.of(document.gibbs.value_eV, document.gibbs.error_eV, counts)))
    if document.is_mixed:
        table.add_row(*_term(f"{MIXING}, not in F and G", document.mixing_term_eV, counts))
    if document.quantum_correction_eV is not None:
        table.add_row(*_term("quantum correction, not in G", document.quantum_correction_eV, counts))
    springs = [f"{spring.element} {spring.stiffness_eV_per_A2:.3g}" for spring in document.springs]
    shown = springs if len(springs) <= 6 else [*springs[:6], "..."]
    table.caption = (
        f"springs (eV/Å²): {', '.join(shown)}; dissipation {document.work.dissipation_eV:.4f} eV, "
        f"overlap {document.work.overlap:.2f}"
    )
    return table


def liquid_table(document: LiquidFreeEnergyDocument) -> ResultTable:
    """All terms of the absolute free energy of a liquid."""
    counts, liquid = document.counts, document.liquid
    table = empty_table(
        f"liquid {document.formula}, {document.temperature_K:g} K, {document.pressure_GPa:g} GPa, {counts.title}, "
        f"{document.volume_A3:.2f} Å³",
        _ENERGIES,
        n_keys=1,
    )
    table.add_row(*_term("ideal gas", document.ideal_gas_eV, counts))
    table.add_row(*_term("excess of the reference liquid", document.excess_eV, counts))
    table.add_row(*_estimate("switching", Estimate.of(document.switching_eV, document.switching_error_eV, counts)))
    table.add_section()
    table.add_row(*_estimate("F", Estimate.of(document.helmholtz.value_eV, document.helmholtz.error_eV, counts)))
    table.add_row(*_term("pV", document.pv_eV, counts))
    if document.cell_bias_eV:
        noise = Estimate.of(-document.cell_bias_eV, document.cell_bias_error_eV, counts)
        table.add_row(*_estimate("noise of the mean volume", noise))
    table.add_row(*_estimate("G", Estimate.of(document.gibbs.value_eV, document.gibbs.error_eV, counts)))
    table.caption = (
        f"diffusion of {liquid.element} {liquid.diffusion_A2_per_ps:.3g} Å²/ps, order {liquid.order:.2f}; dissipation "
        f"{document.work.dissipation_eV:.4f} eV, overlap {document.work.overlap:.2f}"
    )
    return table


def sizes_table(document: SizeExtrapolation) -> ResultTable:
    """G of each cell, and of a large crystal."""
    table = empty_table(f"{document.formula}, {document.temperature_K:g} K", ("atoms", "G (eV/atom)", "±"))
    for n, g, error in zip(document.n_atoms, document.gibbs_eV_per_atom, document.errors_eV_per_atom, strict=True):
        table.add_row(f"{n:.6g}", f"{g:.6f}", f"{error:.6f}")
    table.add_section()
    table.add_row("∞", f"{document.gibbs_limit_eV_per_atom:.6f}", f"{document.limit_error_eV_per_atom:.6f}")
    captions = [f"G does not contain {MIXING}"] if document.cells[0].is_mixed else []
    if document.quantum_correction_limit_eV_per_atom is not None:
        change = document.quantum_correction_change_eV_per_atom
        known = "" if change is None else f", {change:.6f} from the next smaller cell's"
        captions.append(
            f"quantum correction of the largest cell, not in G: {document.quantum_correction_limit_eV_per_atom:.6f}"
            f" eV/atom{known}"
        )
    table.caption = "\n".join(captions)
    return table


def reproduction_tables(document: ReproductionDocument) -> Group:
    """Numbers of the figure beside the published ones, and the cross-checks."""
    kind = "" if document.version == "paper" else f", {document.version} version, not with the paper's settings"
    return Group(_rows_table(f"{document.figure}{kind}", document.rows), _checks_table(document.checks))


def _rows_table(title: str, rows: list[Row]) -> ResultTable:
    table = empty_table(title, ("", "T (K)", "here", "±", "published", ""))
    for row in rows:
        published = "" if row.published is None else f"{row.published:.4f}"
        table.add_row(
            row.quantity, f"{row.temperature_K:g}", f"{row.value:.5f}", _number(row.error, 5), published, row.unit
        )
    return table


def _checks_table(checks: list[Check]) -> ResultTable:
    table = empty_table("cross-checks", ("", "value", "bound", "unit", "holds"))
    for check in checks:
        table.add_row(check.name, f"{check.value:.5f}", f"{check.bound:g}", check.unit, "yes" if check.holds else "NO")
    return table


def results_table(rows: list[dict[str, Any]]) -> ResultTable:
    """Return a table with one row for each result."""
    table = empty_table(
        "", ("ID", "kind", "system", "T (K)", "result", "potential", "completed"), left=(0, 1, 2, 4, 5, 6), n_keys=1
    )
    for row in rows:
        temperature = row["temperature_K"]
        table.add_row(
            row["uuid"][:8],
            row["kind"],
            row["system"],
            "" if temperature is None else f"{temperature:g}",
            _main_number(row) + ("" if row["verdict"] in ("converged", None) else " (!)"),
            (row["potential"] or "").rpartition("/")[2],
            str(row["completed_at"])[:16].replace("T", " "),
        )
    notes = []
    if any(row["verdict"] not in ("converged", None) for row in rows):
        notes.append("(!): not converged; `alchemflows show ID` prints the reasons")
    if any(row.get("mixing_term_eV") or row.get("arrangement_term_eV") for row in rows):
        notes.append("ΔF does not contain the entropy of mixing; see `mixing_term_eV` and `arrangement_term_eV`")
    table.caption = "\n".join(notes) or None
    return table


#: Decimals of numbers by their unit.
_DECIMALS = {"eV": 4, "eV/atom": 5, "meV/atom": 2, "K": 0}


def _main_number(row: dict[str, Any]) -> str:
    """Return the main number of a result with its symbol, standard error and unit."""
    value, error, decimals = row["value"], row["error"], _DECIMALS.get(row["unit"])
    if value is None:
        return f"{row['quantity']} = ?" if row["quantity"] else ""
    if decimals is None:
        return f"{row['quantity']} = {value:.4g}"
    spread = "" if error is None else f" ± {error:.{decimals}f}"
    return f"{row['quantity']} = {value:.{decimals}f}{spread} {row['unit']}"


def deviation_table(deviations: list[Deviation], tolerance: float) -> ResultTable:
    """Largest deviations of each case; those beyond the tolerance are marked."""
    table = empty_table(
        f"largest absolute deviations (tolerance {tolerance:g})",
        ("case", "energy (eV)", "forces (eV/Å)", "stress (eV/Å³)", "dE/dweights (eV)", ""),
        left=(0, 5),
    )
    for d in deviations:
        values = (d.energy_eV, d.forces_eV_per_A, d.stress_eV_per_A3, d.dE_dweights_eV)
        table.add_row(
            escape(d.case), *(f"{value:.1e}" for value in values), "ok" if d.largest <= tolerance else "TOO LARGE"
        )
    return table


def ensemble_table(sampled: list[SampledEnsemble]) -> ResultTable:
    """Averages of Monte Carlo beside exact ones; those that do not agree, or are not precise enough, are marked."""
    table = empty_table(
        "Monte Carlo and exact averages; deviations in standard errors (σ)",
        ("case", "ensemble", "proposal", "energy (eV)", "±", "exact", "± / sd", "largest (σ)", "accepted", ""),
        left=(0, 1, 2, 9),
    )
    for each in sampled:
        energy = each.energy_eV
        numbers = (f"{energy.mean:.5f}", f"{energy.error:.5f}", f"{energy.exact:.5f}", f"{each.relative_error:.4f}")
        verdict = "ok" if each.holds else "TOO LARGE"
        table.add_row(
            escape(each.case),
            escape(each.ensemble),
            each.proposal,
            *numbers,
            f"{each.largest:.2f}",
            f"{each.acceptance:.2f}",
            verdict,
        )
    return table


def empty_table(title: str, headings: tuple[str, ...], *, left: tuple[int, ...] = (0,), n_keys: int = 0) -> ResultTable:
    """Return an empty table; the columns `left` are aligned to the left, the first `n_keys` identify a row."""
    table = ResultTable(title, n_keys=n_keys)
    for k, heading in enumerate(headings):
        table.add_column(heading, justify="left" if k in left else "right")
    return table


def _estimate(name: str, estimate: Estimate | None) -> tuple[str, ...]:
    """Return the row of a free energy of the whole cell and per atom, with standard errors."""
    if estimate is None:
        return name, "no solution", "", "", ""
    return (
        name,
        f"{estimate.delta_f_eV:.5f}",
        _number(estimate.error_eV, 5),
        f"{estimate.delta_f_eV_per_atom:.6f}",
        _number(estimate.error_eV_per_atom, 6),
    )


def _term(name: str, value_eV: float, counts: Counts) -> tuple[str, ...]:
    """Return the row of a number that has no statistical error."""
    return name, f"{value_eV:.5f}", "", f"{counts.per_atom(value_eV):.6f}", ""


def _add_left_out(table: ResultTable, document: MixedEnds, counts: Counts) -> None:
    """Add a row for each term of configurational entropy that the total does not contain."""
    for name, value_eV in document.terms_not_in_total.items():
        table.add_row(*_term(f"{name}, not in the total", value_eV, counts))


def _number(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:.{digits}f}"
