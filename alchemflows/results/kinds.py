"""Kinds of results, and the main number of each, for lists of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from alchemflows.results.query import KINDS as FREE_ENERGIES
from alchemflows.results.stored import Column
from alchemflows.schemas.counts import Counts

Row = Mapping[str, Any]


class Summary(NamedTuple):
    """The main number of a result.

    Attributes
    ----------
    system
        What was computed: formulas, or the names of phases.
    quantity
        Symbol or name of the number.
    value, error
        The number and its standard error; None if there is none.
    unit
        Unit of both; empty for a count.
    temperature_K
        Temperature at which the number holds, if the result has several; None for the temperature of the result.
    """

    system: str
    quantity: str
    value: float | None
    error: float | None
    unit: str
    temperature_K: float | None = None


class Kind(NamedTuple):
    """A kind of result.

    Attributes
    ----------
    name
        Name in lists and options.
    summary
        Makes the summary from a row with the columns :data:`COLUMNS`.
    is_step
        Whether results of this kind are steps of larger calculations, which are listed on request only.
    """

    name: str
    summary: Callable[[Row], Summary]
    is_step: bool = False


#: Small parts of documents, from which the summaries are made.
COLUMNS: dict[str, Column] = {
    "class": Column("$output.@class"),
    "temperatures_K": Column("$output.temperatures_K"),
    "counts": Column("$output.counts"),
    "phases": Column("$output.phases"),
    "transitions": Column("$output.transitions"),
    "formulas": Column("$output.points.formula"),
    "run_formulas": Column("$output.runs.formula"),
    "objective": Column({"$last": {"$arrayElemAt": ["$output.runs.steps.objective", "$output.best"]}}),
    "best": Column("$output.best"),
    "energies_eV": Column("$output.arrangements.energy_eV"),
    "disordered_energy_eV": Column("$output.disordered_energy_eV"),
    "ordering_energies_eV": Column("$output.ordering_energies_eV"),
    "random_error_eV": Column("$output.random_error_eV"),
    "formation_series_eV": Column("$output.formation_eV"),
    "formation_series_errors_eV": Column("$output.errors_eV"),
    "formation_limit_eV": Column("$output.formation_limit_eV"),
    "limit_error_eV": Column("$output.limit_error_eV"),
    "gibbs_limit_eV_per_atom": Column("$output.gibbs_limit_eV_per_atom"),
    "limit_error_eV_per_atom": Column("$output.limit_error_eV_per_atom"),
    "removal_eV": Column("$output.removal_eV"),
    "removal_error_eV": Column("$output.removal_error_eV"),
    "energy_eV": Column("$output.energy_eV"),
    "point_counts": Column("$output.points.counts"),
    "point_temperatures_K": Column("$output.points.temperature_K"),
    "point_energies": Column("$output.points.energy_eV"),
    "consolute": Column("$output.consolute"),
    "transition": Column("$output.transition"),
    "estimate_K": Column("$output.estimate_K"),
    "estimate_error_K": Column("$output.estimate_error_K"),
    "mixing_eV": Column({"$first": "$output.isotherms.mixing_eV"}),
    "point_totals": Column("$output.points.total"),
    "target": Column("$output.target"),
    "correction_eV": Column("$output.correction.delta_f_eV"),
    "correction_error_eV": Column("$output.correction.error_eV"),
    "state_names": Column("$output.states.name"),
    "state_corrections_eV": Column("$output.states.reweighting.best.delta_f_eV_per_atom"),
    "state_errors_eV": Column("$output.states.reweighting.best.error_eV_per_atom"),
    "mean_eV": Column("$output.mean.delta_f_eV"),
    "sigma_model_eV": Column("$output.sigma_model_eV"),
    "ladder_overlaps": Column("$output.ladders.overlaps"),
    "spreads": Column("$output.spreads"),
    "state_spreads": Column("$output.state_spreads"),
    "transition_quantity": Column("$output.quantity"),
    "members": Column("$output.members.name"),
    "curve_values": Column("$output.gibbs_eV.values"),
    "curve_errors": Column("$output.gibbs_eV.errors"),
    "pressures_GPa": Column("$output.pressures_GPa"),
    "phase_difference": Column("$output.difference_eV_per_atom"),
    "melting_K": Column("$output.melting_K"),
    "melting_error_K": Column("$output.melting_error_K"),
    "figure": Column("$output.figure"),
    "version": Column("$output.version"),
    "checks": Column("$output.checks"),
}


def _difference(row: Row) -> Summary:
    symbol = "ΔF" if row["pressure_GPa"] is None else "ΔG"
    return Summary(f"{row['initial']} → {row['final']}", symbol, row["delta_f_eV"], row["error_eV"], "eV")


def _combined(row: Row) -> Summary:
    """Difference at the lowest temperature that was sampled."""
    symbol, system = "ΔF" if row["ensemble"] == "NVT" else "ΔG", f"{row['initial']} → {row['final']}"
    for temperature, total in zip(row["point_temperatures_K"], row["point_totals"], strict=True):
        if total is not None:
            name = f"{symbol} ({temperature:g} K)"
            return Summary(system, name, total["delta_f_eV"], total["error_eV"], "eV", temperature)
    return Summary(system, symbol, None, None, "eV")


def _correction(row: Row) -> Summary:
    symbol = "ΔΔF" if row["pressure_GPa"] is None else "ΔΔG"
    system = f"{row['initial']} → {row['final']}, to {row['target']}"
    return Summary(system, symbol, row["correction_eV"], row["correction_error_eV"], "eV")


def _state_correction(row: Row) -> Summary:
    """Corrected temperature of the first transition, or else ΔΔG of the first state."""
    for each in row["transitions"]:
        name = f"T({each['low_temperature_phase']} → {each['high_temperature_phase']})"
        system = f"{row['formula']}, to {row['target']}"
        return Summary(system, name, each["corrected_K"], each["corrected_error_K"], "K")
    system = f"{row['state_names'][0]}, to {row['target']}"
    return Summary(system, "ΔΔG", row["state_corrections_eV"][0], row["state_errors_eV"][0], "eV/atom")


def _committee(row: Row) -> Summary:
    """Mean over the members; the error is σ_model."""
    symbol = "ΔF" if row["pressure_GPa"] is None else "ΔG"
    system = f"{row['initial']} → {row['final']}, {len(row['members'])} potentials"
    return Summary(system, f"{symbol} ± σ_model", row["mean_eV"], row["sigma_model_eV"], "eV")


def _mixing_committee(row: Row) -> Summary:
    """Mean over the members of the consolute temperature, or else of one side of the gap; the error is σ_model."""
    system = f"{row['formula']}, {len(row['members'])} potentials"
    for quantity, name, unit in (("consolute", "consolute temperature", "K"), ("binodal-left", "gap from x", "")):
        for each in row["spreads"]:
            if each["quantity"] == quantity:
                return Summary(
                    system, f"{name} ± σ_model", each["mean"], each["sigma_model"], unit, each["temperature_K"]
                )
    return Summary(system, "gaps", 0, None, "")


def _transition_committee(row: Row) -> Summary:
    """Mean over the members of the transition temperature; the error is σ_model."""
    system = f"{row['formula']}, {len(row['members'])} potentials"
    found = [each for each in row["spreads"] if each["quantity"] == row["transition_quantity"]]
    if not found:
        return Summary(system, "transitions that are compared", 0, None, "")
    return Summary(system, "T(order → disorder) ± σ_model", found[-1]["mean_K"], found[-1]["sigma_model_K"], "K")


def _state_committee(row: Row) -> Summary:
    """Mean over the members of the first transition temperature, or else of G of the first state; error: σ_model."""
    n_members = len(row["members"])
    for each in row["spreads"]:
        name = f"T({each['low_temperature_phase']} → {each['high_temperature_phase']}) ± σ_model"
        return Summary(f"{row['formula']}, {n_members} potentials", name, each["mean_K"], each["sigma_model_K"], "K")
    state = row["state_spreads"][0]
    value, error = state["mean"]["value_eV_per_atom"], state["sigma_model_eV_per_atom"]
    return Summary(f"{state['name']}, {n_members} potentials", "G ± σ_model", value, error, "eV/atom")


def _reanalysis(row: Row) -> Summary:
    """Count the ladders that need not be run again."""
    overlaps = row["ladder_overlaps"]
    quantity = f"corrected ladders, of {len(overlaps)}"
    return Summary(f"to {row['target']}", quantity, sum(overlaps), None, "")


def _absolute(row: Row) -> Summary:
    counts = Counts.model_validate(row["counts"])
    value, error = row["gibbs_eV"], row["gibbs_error_eV"]
    return Summary(row["formula"], "G", counts.per_atom(value), counts.per_atom(error), "eV/atom")


def _sizes(row: Row) -> Summary:
    value, error = row["gibbs_limit_eV_per_atom"], row["limit_error_eV_per_atom"]
    return Summary(row["formula"], "G (∞)", value, error, "eV/atom")


def _vacancy(row: Row) -> Summary:
    system = f"{row['formula']}, vacancy of {row['element']}"
    return Summary(system, "G_f", row["formation_eV"], row["formation_error_eV"], "eV")


def _vacancy_sizes(row: Row) -> Summary:
    system = f"{row['formula']}, vacancy of {row['element']}"
    return Summary(system, "G_f (∞)", row["formation_limit_eV"], row["limit_error_eV"], "eV")


def _vacancy_temperatures(row: Row) -> Summary:
    system = f"{row['formula']}, vacancy of {row['element']}"
    temperatures, values, errors = (
        row[name] for name in ("temperatures_K", "formation_series_eV", "formation_series_errors_eV")
    )
    return Summary(system, f"G_f ({temperatures[0]:g} K)", values[0], errors[0], "eV", temperatures[0])


def _schottky(row: Row) -> Summary:
    return Summary(row["formula"], "G_S", row["formation_eV"], row["formation_error_eV"], "eV")


def _frenkel_pair(row: Row) -> Summary:
    system = f"{row['formula']}, Frenkel pair of {row['element']}"
    return Summary(system, "G_F", row["formation_eV"], row["formation_error_eV"], "eV")


def _removal(row: Row) -> Summary:
    return Summary(f"one {row['element']} atom", "G(N−1) − G(N)", row["removal_eV"], row["removal_error_eV"], "eV")


def _phases(row: Row) -> Summary:
    for each in row["transitions"]:
        if each["temperature_K"] is not None:
            name = f"T({each['low_temperature_phase']} → {each['high_temperature_phase']})"
            return Summary(", ".join(row["phases"]), name, each["temperature_K"], each["error_K"], "K")
    return Summary(", ".join(row["phases"]), "transitions", 0, None, "")


def _sweep(row: Row) -> Summary:
    formulas = row["formulas"]
    return Summary(f"{formulas[0]} to {formulas[-1]}", "compositions", len(formulas), None, "")


def _optimization(row: Row) -> Summary:
    return Summary(row["run_formulas"][row["best"]], "objective", row["objective"], None, "")


def _search(row: Row) -> Summary:
    counts = Counts.model_validate(row["counts"])
    above = counts.per_atom(row["energies_eV"][0] - row["disordered_energy_eV"])
    return Summary(row["formula"], "E(ordered) − E(alchemical)", 1e3 * above, None, "meV/atom")


def _order(row: Row) -> Summary:
    counts, error = Counts.model_validate(row["counts"]), row["random_error_eV"]
    energy = counts.per_atom(row["ordering_energies_eV"]["random"])
    spread = None if error is None else 1e3 * counts.per_atom(error)
    return Summary(row["formula"], "ordering energy", 1e3 * energy, spread, "meV/atom")


def _sampled_disorder(row: Row) -> Summary:
    counts, energies = Counts.model_validate(row["counts"]), row["energies_eV"]
    return Summary(row["formula"], "mean energy", counts.per_atom(sum(energies) / len(energies)), None, "eV/atom")


def _monte_carlo(row: Row) -> Summary:
    counts, energy = Counts.model_validate(row["point_counts"][0]), row["point_energies"][0]
    error = None if energy["error"] is None else counts.per_atom(energy["error"])
    temperature = row["point_temperatures_K"][0]
    return Summary(
        row["formula"], f"E ({temperature:g} K)", counts.per_atom(energy["value"]), error, "eV/atom", temperature
    )


def _mixing(row: Row) -> Summary:
    """Consolute temperature, or else the lowest free energy of mixing at the lowest temperature."""
    point = row["consolute"]
    if point is not None:
        return Summary(
            row["formula"], "consolute temperature", point["temperature_K"], point["temperature_error_K"], "K"
        )
    known = [value for value in row["mixing_eV"] if value is not None]
    lowest = 1e3 * Counts.model_validate(row["counts"]).per_atom(min(known)) if known else None
    temperature = row["temperatures_K"][0]
    return Summary(row["formula"], f"lowest G_mix ({temperature:g} K)", lowest, None, "meV/atom", temperature)


def _temperature_sweep(row: Row) -> Summary:
    """G, or F at constant volume, at the highest temperature."""
    symbol = "F" if row["pressure_GPa"] is None else "G"
    temperature = row["temperatures_K"][-1]
    return _end_of_curve(row, f"{symbol} ({temperature:g} K)", temperature)


def _pressure_sweep(row: Row) -> Summary:
    """G at the highest pressure."""
    return _end_of_curve(row, f"G ({row['pressures_GPa'][-1]:g} GPa)")


def _end_of_curve(row: Row, quantity: str, temperature_K: float | None = None) -> Summary:
    counts = Counts.model_validate(row["counts"])
    value, error = (counts.per_atom(row[name][-1]) for name in ("curve_values", "curve_errors"))
    return Summary(row["formula"], quantity, value, error, "eV/atom", temperature_K)


def _melting(row: Row) -> Summary:
    """Melting point, or else G(liquid) − G(solid) at the highest temperature."""
    if row["melting_K"] is not None:
        return Summary(row["formula"], "melting point", row["melting_K"], row["melting_error_K"], "K")
    value, error = (1e3 * row["phase_difference"][name][-1] for name in ("values", "errors"))
    temperature = row["temperatures_K"][-1]
    name = f"G(liquid) − G(solid) ({temperature:g} K)"
    return Summary(row["formula"], name, value, error, "meV/atom", temperature)


def _transition(row: Row) -> Summary:
    """Transition temperature, or else its estimate from energies."""
    point = row["transition"]
    if point["temperature_K"] is None:
        return Summary(row["formula"], "estimate −ΔE / S", row["estimate_K"], row["estimate_error_K"], "K")
    return Summary(row["formula"], "T(order → disorder)", point["temperature_K"], point["temperature_error_K"], "K")


def _relaxation(row: Row) -> Summary:
    counts = Counts.model_validate(row["counts"])
    return Summary(row["formula"], "E", counts.per_atom(row["energy_eV"]), None, "eV/atom")


def _reproduction(row: Row) -> Summary:
    n_holding = sum(abs(check["value"]) <= check["bound"] for check in row["checks"])
    return Summary(
        f"{row['figure']}, {row['version']}", f"checks that hold, of {len(row['checks'])}", n_holding, None, ""
    )


_SUMMARIES: dict[str, Callable[[Row], Summary]] = {
    "FreeEnergyDocument": _difference,
    "SwitchingDocument": _difference,
    "FrenkelLaddDocument": _absolute,
    "VacancyDocument": _vacancy,
}

#: Kinds by the class of their documents.
KINDS: dict[str, Kind] = {
    **{document: Kind(name, _SUMMARIES[document]) for document, name in FREE_ENERGIES.items()},
    "CombinedLadders": Kind("combined-ladders", _combined),
    "CorrectionDocument": Kind("correction", _correction),
    "StateCorrectionDocument": Kind("state-correction", _state_correction),
    "CommitteeDocument": Kind("committee", _committee),
    "MixingCommitteeDocument": Kind("mixing-committee", _mixing_committee),
    "TransitionCommitteeDocument": Kind("transition-committee", _transition_committee),
    "StateCommitteeDocument": Kind("state-committee", _state_committee),
    "ReanalysisDocument": Kind("reanalysis", _reanalysis),
    "LiquidFreeEnergyDocument": Kind("liquid", _absolute),
    "SizeExtrapolation": Kind("size-extrapolation", _sizes),
    "VacancySizes": Kind("vacancy-sizes", _vacancy_sizes),
    "VacancyTemperatures": Kind("vacancy-temperatures", _vacancy_temperatures),
    "SchottkyDocument": Kind("schottky", _schottky),
    "FrenkelPairDocument": Kind("frenkel-pair", _frenkel_pair),
    "PhaseStabilityDocument": Kind("phases", _phases),
    "TemperatureSweepDocument": Kind("temperature-sweep", _temperature_sweep),
    "PressureSweepDocument": Kind("pressure-sweep", _pressure_sweep),
    "MeltingDocument": Kind("melting", _melting),
    "CompositionSweepDocument": Kind("sweep", _sweep),
    "OptimizationDocument": Kind("optimization", _optimization),
    "OrderingSearchDocument": Kind("ordering-search", _search),
    "OrderDisorderDocument": Kind("order-disorder", _order),
    "MonteCarloDocument": Kind("monte-carlo", _monte_carlo),
    "MixingDocument": Kind("mixing", _mixing),
    "TransitionDocument": Kind("transition", _transition),
    "SampledDisorderDocument": Kind("sampled-disorder", _sampled_disorder, is_step=True),
    "ReproductionDocument": Kind("reproduction", _reproduction),
    "RelaxDocument": Kind("relaxation", _relaxation, is_step=True),
    "RemovalDocument": Kind("removal", _removal, is_step=True),
}
