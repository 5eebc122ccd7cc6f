"""Tables of committees of potentials."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.committee import CommitteeDocument, CommitteeMember


def committee_tables(document: CommitteeDocument) -> Group:
    """Members of a committee, their mean and spread, and the frames at which they disagree most."""
    tables = [_members(document), _spread(document), _frames(document)]
    if document.force_frames:
        tables.append(_force_frames(document))
    lines = [f"run the ladder with {member.name}: {member.rerun}" for member in document.members if member.rerun]
    return Group(*tables, *map(Text, lines))


def _symbol(document: CommitteeDocument) -> str:
    return "ΔF" if document.ensemble == "NVT" else "ΔG"


def _members(document: CommitteeDocument) -> ResultTable:
    symbol = _symbol(document)
    table = empty_table(
        f"committee: {document.initial_formula} → {document.final_formula}, {document.counts.title}, "
        f"{document.temperature_K:g} K",
        ("member", f"{symbol} (eV)", "±", f"Δ{symbol} (eV)", "±", "effective frames", "overlaps"),
        left=(0, 6),
        n_keys=1,
    )
    for member in document.members:
        changed = not member.sampled
        table.add_row(
            member.name + (" (sampled)" if member.sampled else ""),
            f"{member.total.delta_f_eV:.5f}",
            _number(member.total.error_eV),
            f"{member.correction.delta_f_eV:.5f}" if changed else "",
            _number(member.correction.error_eV) if changed else "",
            _effective(member),
            "" if member.sampled else "run" if member.ladder else "yes" if member.overlaps else "NO",
        )
    for failed in document.failed:
        table.add_row(failed.name, "failed", *[""] * 5)
    if document.failed or any(member.n_effective for member in document.members):
        table.caption = "effective frames: effective sample size of independent frames at λ = 0, and at λ = 1"
        if any(member.ladder for member in document.members):
            table.caption += "; run: the value is that of a ladder with this member"
    return table


def _spread(document: CommitteeDocument) -> ResultTable:
    table = empty_table("", ("", "eV", "±", "meV/atom"))
    counts, symbol = document.counts, _symbol(document)
    rows = {
        f"mean {symbol}": (document.mean.delta_f_eV, document.mean.error_eV),
        "σ_model, spread of the members": (document.sigma_model_eV, document.sigma_model_error_eV),
        "of which expected from statistical errors": (document.sigma_noise_eV, None),
        "σ_stat, statistical error of the mean": (document.sigma_stat_eV, None),
    }
    for name, (value, error) in rows.items():
        per_atom = "" if value is None else f"{1e3 * counts.per_atom(value):.3f}"
        table.add_row(name, _number(value), "" if error is None else _number(error), per_atom)
    n = len(document.members)
    included = "with" if document.includes_sampled else "without"
    table.caption = f"σ_model: sample standard deviation over {n} members, {included} the sampled potential"
    return table


def _frames(document: CommitteeDocument) -> ResultTable:
    table = empty_table(
        "frames with the largest deviations of ΔU from its mean",
        ("end", "frame", "time (fs)", "spread (eV)", "member", "its deviation (eV)"),
        left=(0, 4),
        n_keys=2,
    )
    for frame in document.frames:
        table.add_row(
            f"{frame.formula} (λ = {frame.lambda_value:g})",
            str(frame.index),
            f"{frame.time_fs:g}",
            f"{frame.spread_eV:.4f}",
            frame.member,
            f"{frame.deviation_eV:+.4f}",
        )
    return table


def _force_frames(document: CommitteeDocument) -> ResultTable:
    table = empty_table(
        "frames with the largest spread of the forces over the members",
        ("end", "frame", "time (fs)", "atom", "spread (eV/Å)"),
        n_keys=2,
    )
    for frame in document.force_frames:
        table.add_row(
            f"{frame.formula} (λ = {frame.lambda_value:g})",
            str(frame.index),
            f"{frame.time_fs:g}",
            str(frame.atom),
            _number(frame.force_spread_eV_per_A, 4),
        )
    table.caption = f"forces of {len(document.force_members)} members; largest over the atoms of the standard deviation"
    return table


def _effective(member: CommitteeMember) -> str:
    if member.n_effective is None or member.n_independent is None:
        return ""
    pairs = zip(member.n_effective, member.n_independent, strict=True)
    return ", ".join(f"{effective:.1f} of {independent:.1f}" for effective, independent in pairs)


def _number(value: float | None, digits: int = 5) -> str:
    return "?" if value is None else f"{value:.{digits}f}"
