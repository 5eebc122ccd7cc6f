"""Tables of committees of potentials on transitions between order and disorder."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.transition_committee import TransitionCommitteeDocument, TransitionQuantity

_NAMES: dict[TransitionQuantity, str] = {
    "crossing": "crossing of the cumulants U",
    "heat capacity": "largest heat capacity",
}


def transition_committee_tables(document: TransitionCommitteeDocument) -> Group:
    """Transition temperatures of each member, their spread over the members, and the frames at which they disagree."""
    return Group(_members(document), _spreads(document), _frames(document))


def _members(document: TransitionCommitteeDocument) -> ResultTable:
    table = empty_table(
        f"committee on the transition: {document.formula}, {document.counts.title}",
        ("member", "transition", "supercells", "T (K)", "±", "effective frames", "of independent", "overlaps"),
        left=(0, 1, 2, 7),
        n_keys=3,
    )
    for member in document.members:
        for found in member.transitions:
            effective = member.n_effective_at(found)
            independent = [
                curve.n_independent
                for curve in member.curves
                if curve.supercell in found.supercells and curve.n_independent is not None
            ]
            table.add_row(
                member.name + (" (sampled)" if member.sampled else ""),
                _NAMES[found.quantity],
                _supercells(found.supercells),
                "none" if found.temperature_K is None else f"{found.temperature_K:.0f}",
                "" if found.temperature_K is None else _number(found.temperature_error_K),
                "" if effective is None else f"{effective:.1f}",
                f"{min(independent):.1f}" if independent else "",
                "" if member.sampled else "yes" if member.overlaps else "NO",
            )
    for failed in document.failed:
        table.add_row(failed.name, "failed", *[""] * 6)
    table.caption = "effective frames: effective sample size of independent frames at this temperature"
    return table


def _spreads(document: TransitionCommitteeDocument) -> ResultTable:
    table = empty_table(
        "spread over the members (K)",
        ("transition", "supercells", "members", "mean", "σ_model", "±", "of which noise", "σ_stat"),
        left=(0, 1),
        n_keys=2,
    )
    for each in document.spreads:
        numbers = (each.mean_K, each.sigma_model_K, each.sigma_model_error_K, each.sigma_noise_K, each.sigma_stat_K)
        table.add_row(_NAMES[each.quantity], _supercells(each.supercells), str(each.n_members), *map(_number, numbers))
    table.caption = "σ_model: sample standard deviation over the members; σ_stat: statistical error of their mean"
    return table


def _frames(document: TransitionCommitteeDocument) -> ResultTable:
    table = empty_table(
        "frames at which the members disagree most",
        ("supercell", "T (K)", "frame", "sweep", "spread (meV)", "member", "its deviation (meV)"),
        left=(0, 5),
        n_keys=3,
    )
    for frame in document.frames:
        table.add_row(
            _supercells([frame.supercell]),
            f"{frame.temperature_K:g}",
            str(frame.index),
            str(frame.sweep),
            f"{1e3 * frame.spread_eV:.1f}",
            frame.member,
            f"{1e3 * frame.deviation_eV:+.1f}",
        )
    table.caption = "deviation: ΔU minus its mean over the frames at this temperature"
    return table


def _supercells(supercells: Sequence[tuple[int, int, int]]) -> str:
    return " and ".join("×".join(map(str, supercell)) for supercell in supercells)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.1f}"
