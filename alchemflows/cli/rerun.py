"""The command that runs a ladder again with another potential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from alchemflows.cli.configured import connected
from alchemflows.cli.corrections import ladder_of
from alchemflows.cli.inputs import potential_of
from alchemflows.cli.maker_options import grouped
from alchemflows.cli.once import App
from alchemflows.cli.options import Device, Dtype, Plot, Potential, RunOptions
from alchemflows.cli.results import LadderID
from alchemflows.cli.running import run_and_show

if TYPE_CHECKING:
    from jobflow import Flow

app = App()


@app.command(example="alchemflows rerun 1a2b3c4d --potential fine-tuned.model")
@grouped
def rerun(
    result: LadderID,
    potential: Potential,
    run: RunOptions,
    dtype: Dtype = "float32",
    device: Device = "auto",
    head: Annotated[
        str | None, typer.Option(help="Head of a MACE potential, or modality of a SevenNet potential.")
    ] = None,
    windows_per_job: Annotated[
        int | None,
        typer.Option(min=1, help="Number of windows in each job [default: 1, or all windows with replica exchange]."),
    ] = None,
    plot: Plot = None,
) -> None:
    """Run a stored ladder again with another potential.

    Path, windows, conditions and lengths of the runs are those of the ladder. The crystal starts from the mean of its
    frames at λ = 0 and is relaxed; at constant volume the cell is kept.
    """
    spec = potential_of(potential, dtype, device, head)
    uuid, ladder, (initial, final) = ladder_of(result)

    def make() -> Flow:
        from alchemflows.alchemy.backends import resolve
        from alchemflows.campaign.corrections import add_to_campaign
        from alchemflows.flows.rerun import ladder_again

        resolved, _ = resolve(spec)
        flow = ladder_again(ladder, initial.frames, final.frames, resolved, windows_per_job=windows_per_job)
        add_to_campaign(connected(), flow, {uuid: flow}, rerun_with=resolved)
        return flow

    run_and_show(make, run, device=device, figures={"gradient": plot})
