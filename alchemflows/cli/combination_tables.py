"""Tables of ladders that are combined over temperature and pressure."""

from __future__ import annotations

from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.combination import CombinedLadders


def combination_tables(document: CombinedLadders) -> Group:
    """Differences at each temperature and pressure, and the ladders from which they follow."""
    return Group(_points(document), _ladders(document))


def _points(document: CombinedLadders) -> ResultTable:
    from ase import units

    pressure = document.ensemble == "NPT"
    symbols = (document.title, "ΔH", "ΔS", "ΔC_p") if pressure else (document.title, "ΔU", "ΔS", "ΔC_V")
    headings = (
        "T (K)",
        *(["p (GPa)"] if pressure else []),
        *(f"{symbol} (meV/atom)" for symbol in symbols[:2]),
        *(f"{symbol} (k_B/atom)" for symbol in symbols[2:]),
        *(["ΔV (Å³/atom)"] if pressure else []),
        "coverage",
        "independent\nsamples",
    )
    title = f"{document.initial_formula} → {document.final_formula}, {document.counts.title}"
    ensemble = "constant pressure" if pressure else "constant volume"
    table = empty_table(f"{title}, {ensemble}", headings, n_keys=2 if pressure else 1)
    per_atom = document.counts.per_atom
    for point in document.points:
        total = point.total
        value, error = (None, None) if total is None else (total.delta_f_eV, total.error_eV)
        numbers = [
            (value, error, 1e3, 3),
            (point.delta_h_eV, point.delta_h_error_eV, 1e3, 3),
            (point.delta_s_eV_per_K, point.delta_s_error_eV_per_K, 1 / units.kB, 4),
            (point.delta_c_eV_per_K, point.delta_c_error_eV_per_K, 1 / units.kB, 4),
            *([(point.delta_v_A3, point.delta_v_error_A3, 1.0, 4)] if pressure else []),
        ]
        table.add_row(
            f"{point.temperature_K:g}",
            *([f"{point.pressure_GPa:g}"] if pressure else []),
            *(
                _with_error(v and per_atom(v) * unit, e and per_atom(e) * unit, digits)
                for v, e, unit, digits in numbers
            ),
            f"{min(point.coverage):.2g}",
            "" if total is None else f"{point.n_effective:.0f}",
        )
    table.caption = (
        f"{document.title} and ΔS contain the mass term, {per_atom(document.mass_term_eV_per_K) / units.kB:.5f} k_B T "
        "per atom. Coverage: effective number of samples, relative to the nearest window; points below 0.1 have no "
        "numbers.\n"
    )
    return table


def _ladders(document: CombinedLadders) -> ResultTable:
    symbol = document.title
    table = empty_table(
        "ladders",
        ("ID", "conditions", "windows", "samples used", f"{symbol} alone (meV/atom)", "together", "deviation (σ)"),
        left=(0, 1),
        n_keys=2,
    )
    for each in document.ladders:
        pressure = "" if each.pressure_GPa is None else f", {each.pressure_GPa:g} GPa"
        pairs = [(part.delta_f_eV_per_atom, part.error_eV_per_atom) for part in (each.alone, each.together)]
        table.add_row(
            each.uuid[:8],
            f"{each.temperature_K:g} K{pressure}",
            str(each.n_windows),
            str(each.n_samples),
            *(_with_error(1e3 * value, error and 1e3 * error, 3) for value, error in pairs),
            "" if each.deviation_sigma is None else f"{each.deviation_sigma:.1f}",
        )
    return table


def _with_error(value: float | None, error: float | None, digits: int) -> str:
    return "not sampled" if value is None else f"{value:.{digits}f} ± {'?' if error is None else f'{error:.{digits}f}'}"
