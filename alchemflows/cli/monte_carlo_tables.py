"""Documents of Monte Carlo on arrangements as tables."""

from __future__ import annotations

from ase import units
from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.monte_carlo_result import Average, MonteCarloDocument


def monte_carlo_tables(document: MonteCarloDocument) -> Group:
    """Return the averages at each point, the composition if it fluctuates, short-range order and waves."""
    table = empty_table(
        f"{document.formula}, {document.counts.title}, {document.ensemble}",
        (
            "point", "eV/atom", "±", "C\n(k_B/atom)", "±", "Å³/atom", "±", "accepted\n(%)", "replicas",
            "independent",
        ),
        n_keys=1,
    )  # fmt: skip
    for point in document.points:
        atoms = point.counts.atoms
        independent = point.energy_eV.n_independent
        table.add_row(
            point.label,
            *_shown(point.energy_eV, 1 / atoms, 6),
            *_shown(point.heat_capacity_eV_per_K, 1 / (atoms * units.kB), 4),
            *_shown(point.volume_A3, 1 / atoms, 3),
            f"{100 * point.acceptance.value:.2g}",
            str(point.n_replicas),
            "?" if independent is None else f"{independent:.0f}",
        )
    table.caption = _caption(document)
    parts = [table, _order_table(document)]
    if document.ensemble != "canonical":
        parts.insert(1, _composition_table(document))
    return Group(*parts)


def _caption(document: MonteCarloDocument) -> str:
    lines = ["C: heat capacity from the fluctuations of the energy, without the kinetic part"]
    if document.exchange is not None:
        accepted = ", ".join(f"{100 * share:.0f}" for share in document.exchange.acceptance)
        n_trips = sum(document.exchange.round_trips)
        lines.append(f"exchanges between neighbouring points accepted (%): {accepted}; round trips: {n_trips}")
    if document.rounding:
        lines.append(document.rounding)
    return "\n".join(lines)


def _composition_table(document: MonteCarloDocument) -> ResultTable:
    constrained = document.ensemble == "variance-constrained"
    columns = ("point", "sublattice", "species", "share", "±", *(("μ (eV)", "±") if constrained else ()))
    table = empty_table("composition", columns, left=(0, 2))
    if constrained:
        table.caption = "μ: chemical potential relative to the first species, from the mean shares and the targets"
    for point in document.points:
        for index, shares in enumerate(point.composition):
            known = point.constrained_mu_eV[index] if point.constrained_mu_eV else {}
            for symbol, share in shares.items():
                mu = _shown(known[symbol], 1, 4) if symbol in known else ("", "") if constrained else ()
                table.add_row(point.label, str(index), symbol, *_shown(share, 1, 4), *mu)
    return table


def _order_table(document: MonteCarloDocument) -> ResultTable:
    table = empty_table(
        "order: Warren–Cowley α of pairs, |η|² of waves",
        ("point", "sublattice", "parameter", "Å", "neighbours", "value", "±", "random"),
        left=(0, 2),
    )
    for point in document.points:
        for pair in point.warren_cowley:
            table.add_row(
                point.label,
                str(pair.sublattice),
                f"α {pair.pair[0]}–{pair.pair[1]}, shell {pair.shell}",
                f"{pair.distance_A:.3f}",
                f"{pair.n_neighbours:g}",
                *_shown(pair.alpha, 1, 4),
                f"{pair.random:.4f}",
            )
        for wave in point.waves:
            vector = " ".join(f"{q:.4g}" for q in wave.wave_vector)
            name = f"wave {vector}, {wave.species}"
            table.add_row(
                point.label, str(wave.sublattice), name, "", "", *_shown(wave.order, 1, 4), f"{wave.random:.4f}"
            )
    return table


def _shown(average: Average, scale: float, digits: int) -> tuple[str, str]:
    """Return an average and its standard error, both times a factor."""
    error = "?" if average.error is None else f"{scale * average.error:.{digits}f}"
    return f"{scale * average.value:.{digits}f}", error
