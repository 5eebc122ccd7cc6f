"""Documents of Monte Carlo on arrangements as tables."""

from __future__ import annotations

from ase import units
from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.monte_carlo_result import Average, MonteCarloDocument


def monte_carlo_tables(document: MonteCarloDocument) -> Group:
    """Return the averages at each point, the composition if it fluctuates, short-range order and waves."""
    common, names = _names(document)
    table = empty_table(
        ", ".join((document.formula, document.counts.title, document.ensemble, *common)),
        (
            "point", "eV/atom", "±", "C\n(k_B/atom)", "±", "Å³/atom", "±", "accepted\n(%)", "replicas",
            "independent",
        ),
        n_keys=1,
    )  # fmt: skip
    for point, name in zip(document.points, names, strict=True):
        atoms = point.counts.atoms
        independent = point.energy_eV.n_independent
        table.add_row(
            name,
            *_shown(point.energy_eV, 1 / atoms, 6),
            *_shown(point.heat_capacity_eV_per_K, 1 / (atoms * units.kB), 4),
            *_shown(point.volume_A3, 1 / atoms, 3),
            f"{100 * point.acceptance.value:.2g}",
            str(point.n_replicas),
            "?" if independent is None else f"{independent:.0f}",
        )
    table.caption = _caption(document)
    parts = [table, _order_table(document, names)]
    if document.ensemble != "canonical":
        parts.insert(1, _composition_table(document, names))
    return Group(*parts)


def _names(document: MonteCarloDocument) -> tuple[list[str], list[str]]:
    """Return chemical potentials or targets that all points share, and the names of the points."""
    if len({point.composition_label for point in document.points}) > 1:
        return [], [point.label for point in document.points]
    common = [label] if (label := document.points[0].composition_label) else []
    return common, [f"{point.temperature_K:g} K" for point in document.points]


def _caption(document: MonteCarloDocument) -> str:
    lines = ["C: heat capacity from the fluctuations of the energy, without the kinetic part"]
    if document.exchange is not None:
        accepted = ", ".join(f"{100 * share:.0f}" for share in document.exchange.acceptance)
        n_trips = sum(document.exchange.round_trips)
        lines.append(f"exchanges between neighbouring points accepted (%): {accepted}; round trips: {n_trips}")
    if document.rounding:
        lines.append(document.rounding)
    return "\n".join(lines)


def _composition_table(document: MonteCarloDocument, names: list[str]) -> ResultTable:
    constrained = document.ensemble == "variance-constrained"
    columns = ("point", "sublattice", "species", "share", "±", *(("μ (eV)", "±") if constrained else ()))
    table = empty_table("composition", columns, left=(0, 2), n_keys=3)
    if constrained:
        table.caption = "μ: chemical potential relative to the first species, from the mean shares and the targets"
    for point, name in zip(document.points, names, strict=True):
        for index, shares in enumerate(point.composition):
            known = point.constrained_mu_eV[index] if point.constrained_mu_eV else {}
            for symbol, share in shares.items():
                mu = _shown(known[symbol], 1, 4) if symbol in known else ("", "") if constrained else ()
                table.add_row(name, str(index), symbol, *_shown(share, 1, 4), *mu)
    return table


def _order_table(document: MonteCarloDocument, names: list[str]) -> ResultTable:
    table = empty_table(
        "order: Warren–Cowley α of pairs, |η|² of waves",
        ("point", "sublattice", "parameter", "Å", "neighbours", "value", "±", "random"),
        left=(0, 2),
        n_keys=3,
    )
    for point, name in zip(document.points, names, strict=True):
        for pair in point.warren_cowley:
            table.add_row(
                name,
                str(pair.sublattice),
                f"α {pair.pair[0]}–{pair.pair[1]}, shell {pair.shell}",
                f"{pair.distance_A:.3f}",
                f"{pair.n_neighbours:g}",
                *_shown(pair.alpha, 1, 4),
                f"{pair.random:.4f}",
            )
        for wave in point.waves:
            vector = " ".join(f"{q:.4g}" for q in wave.wave_vector)
            wave_name = f"wave {vector}, {wave.species}"
            numbers = (*_shown(wave.order, 1, 4), f"{wave.random:.4f}")
            table.add_row(name, str(wave.sublattice), wave_name, "", "", *numbers)
    return table


def _shown(average: Average, scale: float, digits: int) -> tuple[str, str]:
    """Return an average and its standard error, both times a factor."""
    error = "?" if average.error is None else f"{scale * average.error:.{digits}f}"
    return f"{scale * average.value:.{digits}f}", error
