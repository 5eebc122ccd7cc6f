"""Tables of committees of potentials on absolute free energies and their transitions."""

from __future__ import annotations

from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.state_committee import StateCommitteeDocument


def state_committee_tables(document: StateCommitteeDocument) -> Group:
    """Transitions and free energies of each member, their spread, and the frames at which the members disagree."""
    transitions = [_transitions(document)] if document.spreads or document.uncorrected else []
    return Group(*transitions, _states(document), _spreads(document), _frames(document))


def _transitions(document: StateCommitteeDocument) -> ResultTable:
    table = empty_table(
        f"committee on the transitions: {document.formula}",
        ("member", "transition", "T (K)", "±", "shift (K)", "overlaps"),
        left=(0, 1, 5),
        n_keys=2,
    )
    for member in document.members:
        for found in member.transitions:
            table.add_row(
                member.name + (" (sampled)" if member.sampled else ""),
                found.name,
                f"{found.temperature_K:.1f}",
                _number(found.temperature_error_K),
                "" if member.sampled else f"{found.shift_K:+.1f}",
                "" if member.sampled else "yes" if member.overlaps else "NO",
            )
    without = [
        f"{each.low_temperature_phase} → {each.high_temperature_phase} ({each.temperature_K:.1f} K): no frames of "
        f"{' and '.join(each.without_frames)}"
        for each in document.uncorrected
    ]
    if without:
        table.caption = f"not compared: {'; '.join(without)}"
    return table


def _states(document: StateCommitteeDocument) -> ResultTable:
    table = empty_table(
        f"committee on the free energies: {document.formula}",
        ("member", "state", "G (eV/atom)", "±", "ΔΔG (eV/atom)", "±", "effective frames", "of independent"),
        left=(0, 1),
        n_keys=2,
    )
    for member in document.members:
        for state in member.states:
            change = state.correction
            table.add_row(
                member.name + (" (sampled)" if member.sampled else ""),
                state.name,
                f"{state.total.value_eV_per_atom:.5f}",
                _number(state.total.error_eV_per_atom, 5),
                "" if member.sampled else f"{change.delta_f_eV_per_atom:.5f}",
                "" if member.sampled else _number(change.error_eV_per_atom, 5),
                "" if state.n_effective is None else f"{state.n_effective:.1f}",
                "" if state.n_independent is None else f"{state.n_independent:.1f}",
            )
    for failed in document.failed:
        table.add_row(failed.name, "failed", *[""] * 6)
    table.caption = "effective frames: effective sample size of independent frames"
    if document.left_out:
        table.caption += f"; not compared: {'; '.join(document.left_out)}"
    return table


def _spreads(document: StateCommitteeDocument) -> ResultTable:
    table = empty_table(
        "spread over the members",
        ("quantity", "unit", "mean", "σ_model", "±", "of which noise", "σ_stat"),
        left=(0, 1),
        n_keys=2,
    )
    for each in document.spreads:
        numbers = (each.mean_K, each.sigma_model_K, each.sigma_model_error_K, each.sigma_noise_K, each.sigma_stat_K)
        table.add_row(f"T({each.name})", "K", *map(_number, numbers))
    for state in document.state_spreads:
        per_atom = state.counts.per_atom
        found = (
            state.mean.value_eV_per_atom,
            state.sigma_model_eV_per_atom,
            per_atom(state.sigma_model_error_eV),
            per_atom(state.sigma_noise_eV),
            state.mean.error_eV_per_atom,
        )
        table.add_row(f"G({state.name})", "eV/atom", *(_number(each, 5) for each in found))
    included = "with" if document.includes_sampled else "without"
    table.caption = (
        f"σ_model: sample standard deviation over {len(document.members)} members, {included} the sampled potential; "
        "σ_stat: statistical error of their mean"
    )
    return table


def _frames(document: StateCommitteeDocument) -> ResultTable:
    table = empty_table(
        "frames at which the members disagree most",
        ("state", "frame", "time (fs)", "spread (meV)", "member", "its deviation (meV)"),
        left=(0, 4),
        n_keys=2,
    )
    for frame in document.frames:
        table.add_row(
            frame.state,
            str(frame.index),
            f"{frame.time_fs:g}",
            f"{1e3 * frame.spread_eV:.1f}",
            frame.member,
            f"{1e3 * frame.deviation_eV:+.1f}",
        )
    table.caption = "deviation: ΔU minus its mean over the frames of the state"
    return table


def _number(value: float | None, digits: int = 1) -> str:
    return "?" if value is None else f"{value:.{digits}f}"
