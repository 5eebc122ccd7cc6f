"""Commands for order and disorder."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from alchemflows.cli.inputs import exchanges_of, supercell_of, values_of, wave_vectors_of, waves_of
from alchemflows.cli.maker_options import MakerOptions, grouped
from alchemflows.cli.once import App, given, refuse_given
from alchemflows.cli.options import (
    Plot,
    PotentialOptions,
    ReadingOptions,
    RunOptions,
    StructureFile,
    Supercell,
    Temperatures,
    temperature_option,
)
from alchemflows.cli.running import run_and_show
from alchemflows.errors import InvalidInputError

app = App()

ORDER = MakerOptions(
    "alchemflows.flows.order_disorder:OrderDisorderMaker",
    ("random", "quasirandom", "sample_at", "samples", "sweeps", "round_composition", "seed"),
    renamed={
        "random": "n_random",
        "sample_at": "sampled_temperature_K",
        "samples": "n_sampled",
        "sweeps": "n_sampling_sweeps",
    },
)
MONTE_CARLO = MakerOptions(
    "alchemflows.flows.monte_carlo:MonteCarloMaker",
    (
        *("replicas", "equilibration", "production", "attempts", "replica_exchange", "proposal", "balancing", "tries"),
        *("stiffness", "md_steps", "switching", "schedule", "pressure", "cell", "timestep", "friction"),
        *("frames", "relax", "coupling", "round_composition", "seed"),
    ),
    renamed={
        "replicas": "n_replicas",
        "equilibration": "n_equilibration_sweeps",
        "production": "n_production_sweeps",
        "attempts": "attempts_per_sweep",
        "md_steps": "n_md_steps",
        "stiffness": "stiffness_eV",
        "tries": "n_tries",
    },
)
TRANSITION = MakerOptions(
    "alchemflows.flows.transition:OrderDisorderTransitionMaker",
    (
        *("replicas", "equilibration", "production", "attempts", "replica_exchange", "proposal", "balancing", "tries"),
        *("md_steps", "pressure", "cell", "timestep", "friction", "frames", "relax", "coupling", "round_composition"),
        "seed",
    ),
    renamed={name: field for name, field in MONTE_CARLO.renamed.items() if name != "stiffness"},
)
SEARCH = MakerOptions("alchemflows.jobs.ordering:SearchMaker", ("starts",))


@app.command(example="alchemflows order Na0.5K0.5Cl.cif --supercell 1 1 2 --distinct --plot ordering.png")
@grouped
def order(
    structure: StructureFile,
    maker: Annotated[Any, ORDER],
    search: Annotated[Any, SEARCH],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    supercell: Supercell = (2, 2, 2),
    waves: Annotated[
        list[str] | None,
        typer.Option(
            "--wave",
            help="Ordered arrangement: name and wave vector in reciprocal lattice units of the cell of the file, such "
            "as rocksalt=0.5,0.5,0.5; repeatable.",
        ),
    ] = None,
    perovskite: Annotated[
        bool,
        typer.Option(
            "--perovskite", help="Use the rocksalt, layered and columnar orders of the B sites of a cubic perovskite."
        ),
    ] = False,
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Use all ordered arrangements that are not equivalent by symmetry.")
    ] = False,
    plot: Plot = None,
) -> None:
    """Compare the energies of order and disorder.

    The energies are those of ordered and disordered arrangements of a structure, which must have partial occupancies.
    By default, ordered arrangements are found by a search; --wave, --perovskite and --distinct define them instead.
    """
    from alchemflows.flows.order_disorder import PEROVSKITE_ORDERS

    named: dict[str, tuple[float, ...]] = dict(waves_of(waves or []))
    for name, wave in PEROVSKITE_ORDERS.items() if perovskite else ():
        if name in named:
            raise InvalidInputError(f"the order {name} is given twice: by --wave and by --perovskite")
        named[name] = wave
    if named and distinct:
        raise InvalidInputError("orders are either named (--wave, --perovskite) or all of them (--distinct)")
    if named or distinct:
        refuse_given({"starts": "--starts"}, "without the search for order")
    if maker.sampled_temperature_K is None:
        refuse_given({"samples": "--samples", "sweeps": "--sweeps"}, "without --sample-at")
    read = reading.read(structure)
    spec = potential.spec({structure.name: read})
    if maker.quasirandom and find_spec("sqsgenerator") is None:
        from alchemflows.alchemy.arrangements import NEEDS_SQSGENERATOR

        if given("quasirandom"):
            raise InvalidInputError(NEEDS_SQSGENERATOR)
        print(f"note: without a quasirandom cell; {NEEDS_SQSGENERATOR}", file=sys.stderr)
        maker.quasirandom = False
    maker = replace(maker, potential=spec, search_maker=replace(search, seed=maker.seed))
    run_and_show(
        partial(maker.make, read.structure, supercell, named or ("distinct" if distinct else "search")),
        run,
        device=potential.device,
        figures={"arrangements": plot},
        read={structure.name: read},
    )


@app.command(example="alchemflows mc Na0.5K0.5Cl.cif --supercell 2 2 1 -T 300 -T 600 --plot order.png")
@grouped
def mc(
    structure: StructureFile,
    temperatures: Temperatures,
    maker: Annotated[Any, MONTE_CARLO],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    supercell: Supercell = (2, 2, 2),
    potentials: Annotated[
        list[str] | None,
        typer.Option(
            "--mu",
            help="Chemical potential of a species relative to the reference (eV), such as K=0.1; repeatable. The "
            "reference is the species without a value. By default the composition is constant.",
        ),
    ] = None,
    target_shares: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help="Target share of a species, such as K=0.3; repeatable. The composition stays near it, also inside a "
            "miscibility gap. The species without a value has the rest.",
        ),
    ] = None,
    exchanges: Annotated[
        list[str] | None,
        typer.Option(
            "--exchange",
            help="Exchange of species that keeps the charge, such as '2 Ca -> Na + La', or with its chemical potential "
            "(eV), '2 Ca -> Na + La=0.1'; repeatable.",
        ),
    ] = None,
    states: Annotated[
        list[str] | None,
        typer.Option(
            "--oxidation-state",
            help="Oxidation state of a species of an exchange, such as Ce=4; repeatable. Needed for elements with "
            "several common ones.",
        ),
    ] = None,
    waves: Annotated[
        list[str] | None,
        typer.Option(
            "--wave",
            help="Wave vector of an order parameter in reciprocal lattice units of the cell of the file, such as "
            "0.5,0.5,0.5; repeatable.",
        ),
    ] = None,
    plot: Plot = None,
) -> None:
    """Sample arrangements by Monte Carlo.

    The result is the order as a function of temperature. The structure must have partial occupancies. Several
    temperatures exchange their replicas.
    """
    if not maker.n_md_steps:
        refuse_given({"pressure": "--pressure", "cell": "--cell"}, "since the cell is constant; give --md-steps")
        if not maker.n_switching_steps:
            refuse_given({"timestep": "--timestep", "friction": "--friction"}, "without --md-steps or --switching")
    if not maker.n_switching_steps:
        refuse_given({"schedule": "--schedule"}, "without --switching")
    if not target_shares:
        refuse_given({"stiffness": "--stiffness"}, "without --target")
    maker.mu_eV = values_of("--mu K=0.1", potentials or [])
    maker.targets = values_of("--target K=0.3", target_shares or [])
    maker.exchange_mu_eV = exchanges_of(exchanges or [])
    maker.oxidation_states = values_of("--oxidation-state Ce=4", states or [])
    vectors = wave_vectors_of(waves or [])
    read = reading.read(structure)
    maker.potential = potential.spec({structure.name: read})
    run_and_show(
        partial(maker.make, read.structure, supercell, temperatures, waves=vectors),
        run,
        device=potential.device,
        figures={"monte-carlo": plot},
        read={structure.name: read},
    )


@app.command(
    example="alchemflows transition Na0.5K0.5Cl.cif --supercell 2x1x1 --supercell 2x2x1 -T 150 -T 250 -T 400 "
    "--plot transition.png"
)
@grouped
def transition(
    structure: StructureFile,
    temperatures: Annotated[
        list[float], temperature_option("Temperature (K); repeatable, at least three around the transition.")
    ],
    maker: Annotated[Any, TRANSITION],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    supercells: Annotated[
        list[str] | None,
        typer.Option(
            "--supercell",
            help="Supercell, such as 2x2x2; repeatable: with several sizes, the transition is at the crossing of their "
            "cumulants.",
        ),
    ] = None,
    waves: Annotated[
        list[str] | None,
        typer.Option(
            "--wave",
            help="Wave vector of the order parameter in reciprocal lattice units of the cell of the file, such as "
            "0.5,0.5,0.5; repeatable. By default the strongest order at the lowest temperature is found.",
        ),
    ] = None,
    plot: Plot = None,
) -> None:
    """Find the temperature of an order-disorder transition.

    Arrangements are sampled by Monte Carlo at several temperatures; neighbouring temperatures exchange their replicas.
    The structure must have partial occupancies.
    """
    if not maker.n_md_steps:
        of_dynamics = ("pressure", "cell", "timestep", "friction")
        refuse_given({name: f"--{name}" for name in of_dynamics}, "at constant positions, without --md-steps")
    sizes = [supercell_of(text) for text in supercells or ["2x2x2"]]
    vectors = wave_vectors_of(waves or [])
    read = reading.read(structure)
    maker.potential = potential.spec({structure.name: read})
    run_and_show(
        partial(maker.make, read.structure, sizes, temperatures, waves=vectors),
        run,
        device=potential.device,
        figures={"transition": plot},
        read={structure.name: read},
    )
