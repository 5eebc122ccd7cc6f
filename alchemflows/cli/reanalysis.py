"""The command that recomputes free energies: from stored samples, or for a new potential from stored frames."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemflows.cli.configured import connected
from alchemflows.cli.corrections import target_of
from alchemflows.cli.layout import print_json
from alchemflows.cli.maker_options import MakerOptions, grouped
from alchemflows.cli.once import App, refuse_given
from alchemflows.cli.options import Device, Dtype, Plot, RunOptions
from alchemflows.cli.running import console, messages, run_and_show
from alchemflows.errors import AlchemflowsError, InvalidInputError

if TYPE_CHECKING:
    from jobflow import Flow

app = App()

REANALYSIS = MakerOptions("alchemflows.flows.reanalysis:ReanalysisMaker", ("max_failed", "category"))
#: Options that need --to, by the names of the parameters, and those that it excludes.
_WITH_TO = {
    "argument": "--argument",
    "max_failed": "--max-failed",
    "dtype": "--dtype",
    "device": "--device",
    "head": "--head",
    "category": "--category",
    "plot": "--plot",
    "submit_only": "--submit",
    "estimate": "--estimate",
    "workers": "--workers",
}
_WITHOUT_TO = {"discard": "--discard", "rebuild": "--all"}


@app.command(example="alchemflows reanalyse --campaign halides --discard 0.2")
@grouped
def reanalyse(
    ladders: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="IDs of ladders to correct, with --to [default: those of --campaign]."),
    ] = None,
    campaign: Annotated[
        str | None,
        typer.Option(
            help="Name of the campaign whose ladders are used [default: without --to, all stored ladders; with --to, "
            "those whose IDs are given]."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="<target>",
            help="Correct the ladders to this potential (name or model file), or to a calculator of ASE by its import "
            "path, without new dynamics [default: recompute free energies from stored samples].",
        ),
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(metavar="<name=value>", help="Argument of the calculator, such as use_device=cpu; repeatable."),
    ] = None,
    dtype: Dtype = "float64",
    device: Device = "auto",
    head: Annotated[
        str | None, typer.Option(help="Head of a MACE potential, or modality of a SevenNet potential.")
    ] = None,
    plot: Plot = None,
    discard: Annotated[float, typer.Option(help="Fraction of samples to discard at the start of each window.")] = 0.0,
    rebuild: Annotated[
        bool, typer.Option("--all", help="Also reanalyse ladders whose analysis is up to date.")
    ] = False,
    *,
    maker: Annotated[Any, REANALYSIS],
    run: RunOptions,
) -> None:
    """Recompute free energies from stored samples.

    A ladder is a result of `alchemflows ti`; its frames are stored configurations. With --to, ladders are corrected to
    a new potential, the target: the frames of both ends are evaluated with it and reweighted. Ladders for which the
    potentials overlap too little are listed with the command that runs them again.
    """
    if to is None:
        if ladders:  # click before 8.2 counts an argument without values as given
            raise InvalidInputError("ID has no effect without --to")
        refuse_given(_WITH_TO, "without --to")
        _from_samples(campaign, discard, rebuild, as_json=run.as_json)
        return
    refuse_given(_WITHOUT_TO, "with --to")
    maker.check()
    if bool(ladders) == (campaign is not None):
        raise InvalidInputError("--to needs either IDs of ladders or a --campaign")
    target = target_of(to, argument or [], dtype, device, head)
    from alchemflows.results.reanalysis import ladders_to_correct

    chosen = ladders_to_correct(connected(), ladders or (), campaign, target)
    say = messages(run.as_json)
    for uuid in chosen.same:
        say.print(f"note: the ladder {uuid[:8]} was sampled with this potential; it is left out", highlight=False)
    if not chosen.ladders:
        raise AlchemflowsError(
            "no ladder can be corrected" + "".join(f"; {uuid[:8]}: {reason}" for uuid, reason in chosen.refused.items())
        )
    maker = replace(maker, target=target)

    def make() -> Flow:
        from alchemflows.campaign.corrections import add_to_campaign

        flow = maker.make(chosen.ladders, elements=chosen.elements, refused=chosen.refused)
        add_to_campaign(connected(), flow, dict(zip(chosen.ladders, flow.jobs, strict=False)))
        return flow

    run_and_show(make, run, device=device, figures={"reanalysis": plot})


def _from_samples(campaign: str | None, discard: float, rebuild: bool, *, as_json: bool) -> None:
    from alchemflows.results.builder import FreeEnergyBuilder

    database = connected()
    builder = FreeEnergyBuilder.of(database, campaign, discard=discard, rebuild=rebuild)
    builder.run(log_level=logging.ERROR)
    n_done, n_failed = builder.n_ladders - len(builder.failures), len(builder.failures)
    if as_json:
        print_json({"analysed": n_done, "failures": builder.failures})
    else:
        console.print(
            f"ladders analysed: {n_done}; read them with `alchemflows results --reanalysed` ({database.place})"
        )
    if n_failed:
        uuid, reason = next(iter(builder.failures.items()))
        raise AlchemflowsError(f"ladders that could not be analysed: {n_failed}, such as {uuid}: {reason}")
