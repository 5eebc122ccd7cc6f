"""Tables of committees of potentials on free energies of mixing."""

from __future__ import annotations

from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.mixing_committee import MixingCommitteeDocument, MixingMember, QuantitySpread


def mixing_committee_tables(document: MixingCommitteeDocument) -> Group:
    """Gap and overlap of each member, consolute points, the spread over the members, and the worst frames."""
    return Group(_members(document), _spreads(document), *([_frames(document)] if document.frames else []))


def _members(document: MixingCommitteeDocument) -> ResultTable:
    second = document.species[1]
    table = empty_table(
        f"committee on the free energy of mixing: {document.formula}, {document.counts.title}",
        (
            *("member", "T (K)", f"gap from x({second})", f"to x({second})", "least effective", "of independent"),
            "overlaps",
        ),
        left=(0, 6),
        n_keys=2,
    )
    for member in document.members:
        for k, isotherm in enumerate(member.isotherms):
            pair, least = isotherm.binodal, _least(member, k)
            table.add_row(
                member.name + (" (sampled)" if member.sampled else ""),
                f"{isotherm.temperature_K:g}",
                "no gap" if pair is None else _pair(pair.left, pair.left_error, 4),
                "" if pair is None else _pair(pair.right, pair.right_error, 4),
                "" if least is None else f"{least[0]:.1f}",
                "" if least is None else f"{least[1]:.1f}",
                "" if member.sampled else "yes" if member.overlaps else "NO",
            )
    for failed in document.failed:
        table.add_row(failed.name, "failed", *[""] * 5)
    table.caption = "effective, independent: frames at the composition with the smallest effective sample size"
    points = [
        f"{member.name} {_pair(member.consolute_K, member.consolute_error_K, 0)} K"
        for member in document.members
        if member.consolute_K is not None
    ]
    if points:
        table.caption += f"\nconsolute temperatures: {', '.join(points)}"
    return table


def _spreads(document: MixingCommitteeDocument) -> ResultTable:
    table = empty_table(
        "spread over the members",
        ("quantity", "T (K)", "members", "mean", "σ_model", "±", "of which noise", "σ_stat"),
        left=(0,),
        n_keys=2,
    )
    largest = [document.largest(temperature_K) for temperature_K in document.temperatures_K]
    shown = [each for each in largest if each is not None]
    shown += [each for each in document.spreads if each.quantity != "mixing"]
    for each in shown:
        name, scale, digits = _named(document, each)
        numbers = (each.mean, each.sigma_model, each.sigma_model_error, each.sigma_noise, each.sigma_stat)
        table.add_row(
            name,
            "" if each.temperature_K is None else f"{each.temperature_K:g}",
            str(each.n_members),
            *("?" if number is None else f"{scale * number:.{digits}f}" for number in numbers),
        )
    table.caption = "σ_model: sample standard deviation over the members; σ_stat: statistical error of their mean"
    table.caption += "\nG_mix: at the composition at which σ_model is largest"
    return table


def _frames(document: MixingCommitteeDocument) -> ResultTable:
    table = empty_table(
        "frames at which the members disagree most",
        ("state", "T (K)", f"x({document.species[1]})", "frame", "spread (meV)", "member", "its deviation (meV)"),
        left=(5,),
        n_keys=4,
    )
    for frame in document.frames:
        table.add_row(
            str(frame.state),
            f"{frame.temperature_K:g}",
            f"{frame.fraction:.3g}",
            str(frame.index),
            f"{1e3 * frame.spread_eV:.1f}",
            frame.member,
            f"{1e3 * frame.deviation_eV:+.1f}",
        )
    table.caption = "deviation: ΔU minus its fit that is linear in the composition, of all frames at this temperature"
    return table


def _named(document: MixingCommitteeDocument, each: QuantitySpread) -> tuple[str, float, int]:
    """Return the name of a quantity with its unit, the factor to this unit, and the number of digits."""
    second = document.species[1]
    if each.quantity == "mixing":
        return f"G_mix at x({second}) = {each.fraction:.3g} (meV/atom)", 1e3 / document.counts.atoms, 3
    if each.quantity == "consolute":
        return "consolute temperature (K)", 1.0, 0
    return f"gap {'from' if each.quantity == 'binodal-left' else 'to'} x({second})", 1.0, 4


def _least(member: MixingMember, k: int) -> tuple[float, float] | None:
    """Return the smallest effective sample size of a temperature, and the number of independent frames there."""
    isotherm = member.isotherms[k]
    pairs = zip(isotherm.n_effective, isotherm.n_independent, strict=True)
    return min(((n, of) for n, of in pairs if n is not None and of is not None), default=None)


def _pair(value: float | None, error: float | None, digits: int) -> str:
    return f"{value:.{digits}f} ± {'?' if error is None else f'{error:.{digits}f}'}"
