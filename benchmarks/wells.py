"""Write ladders of harmonic wells to a database in the form of job outputs, and time their analysis."""

from __future__ import annotations

import base64
import io
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from uuid import uuid4

import alchemlyb.estimators
import gridfs
import numpy as np
import pymbar
from ase import units

from alchemflows.analysis.collect import collect
from alchemflows.analysis.ladder import Numbers, document, refined
from alchemflows.analysis.terms import TransformationTerms
from alchemflows.free_energy import convergence, estimators
from alchemflows.results.builder import FreeEnergyBuilder
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.refinement import RefinementSettings
from alchemflows.schemas.samples import PackedSeries, WindowSeries
from alchemflows.schemas.windows import WindowDocument, WindowsDocument
from alchemflows.storage.database import Database

T = 300.0
#: Name of the campaign to which the results belong; the benchmark of status uses it too.
NAME = "many"


def window(lambdas: list[float], index: int, n_samples: int, rng: np.random.Generator) -> WindowDocument:
    """Return a window of 30 harmonic wells whose stiffness increases from 1 to 2 eV/Å²."""
    stiffness = 1.0 + np.array(lambdas)
    squares = (rng.normal(size=(n_samples, 30)) ** 2).sum(axis=1) * units.kB * T / stiffness[index]
    energies = 0.5 * squares[:, None] * stiffness
    series = WindowSeries(
        time_fs=20.0 * np.arange(1, n_samples + 1),
        energy_eV=energies[:, index],
        dudl_eV=0.5 * squares,
        temperature_K=np.full(n_samples, T),
        energies_eV=energies,
        volume_A3=np.full(n_samples, 1000.0),
    )
    return WindowDocument(
        index=index,
        lambda_value=lambdas[index],
        weights=[1 - lambdas[index], lambdas[index]],
        seed=index,
        n_samples=n_samples,
        mean_dudl_eV=series.dudl_eV.mean(),
        mean_energy_eV=series.energy_eV.mean(),
        mean_temperature_K=T,
        mean_volume_A3=1000.0,
        series=PackedSeries.pack(series, {"positions_A": np.zeros((30, 3))}),
    )


def _window_documents(n_windows: int, n_samples: int, rng: np.random.Generator) -> list[WindowsDocument]:
    lambdas = np.linspace(0, 1, n_windows).tolist()
    record = PotentialRecord(name="wells", backend="none", sha256="0" * 64, dtype="float64", device="cpu")
    return [
        WindowsDocument(
            windows=[window(lambdas, index, n_samples, rng)],
            lambdas=lambdas,
            temperature_K=T,
            counts=Counts(atoms=30, sites=30, formula_units=30),
            volume_A3=1000.0,
            initial_formula="A",
            final_formula="B",
            coupling="paired",
            weight_labels=["A", "B"],
            initial_weights=[1.0, 0.0],
            final_weights=[0.0, 1.0],
            dynamics=DynamicsSettings(temperature_K=T),
            job_uuid=str(uuid4()),
            provenance=Provenance(potential=record, wall_time_s=100.0),
        )
        for index in range(n_windows)
    ]


@cache
def _analysis(n_windows: int) -> FreeEnergyDocument:
    """Return the first analysis of all ladders; its values, from few samples, are not used."""
    documents = _window_documents(n_windows, 50, np.random.default_rng(0))
    ladder = collect(None, documents)
    numbers = Numbers.of(ladder)
    refinement = refined(RefinementSettings(), [], numbers.result, ladder.first.counts)
    return document(ladder, numbers, refinement, TransformationTerms(0.0, 0.0, 0.0))


def write_ladder(database: Database, n_windows: int, n_samples: int, seed: int) -> None:
    """Write the outputs of the window jobs of a ladder and of its analysis."""
    documents = _window_documents(n_windows, n_samples, np.random.default_rng(seed))
    jobs = [str(each.job_uuid) for each in documents]
    analysed = _analysis(n_windows).model_copy(update={"window_jobs": jobs})
    save = {"data": ["series"]}
    for uuid, output in [*((str(each.job_uuid), each) for each in documents), (str(uuid4()), analysed)]:
        metadata = {"campaign": {"name": NAME, "task": str(seed), "repeat": seed}}
        row = {"uuid": uuid, "index": 1, "output": output, "completed_at": f"2026-01-01T{seed:09d}"}
        database.job_store.update({**row, "metadata": metadata, "hosts": [], "name": ""}, save=save)


def read_plainly(database: Database) -> float:
    """Return the time (s) that plain pymongo needs to read the samples of all windows."""
    started = time.perf_counter()
    outputs = database.outputs()
    files = gridfs.GridFS(outputs.database, "samples")
    for row in outputs.find({"output.@class": "WindowsDocument"}):
        for each in row["output"]["windows"]:
            blob = files.find_one({"metadata.blob_uuid": each["series"]["blob_uuid"]})
            packed = json.loads(blob.read())["data"]["npz_base64"]
            dict(np.load(io.BytesIO(base64.b64decode(packed))))
    return time.perf_counter() - started


class Clock:
    """Clock for the total time in functions; nested calls are counted once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0

    def watch(self, owner: object, name: str) -> None:
        """Add the time in a function of a module or a class."""
        function = getattr(owner, name)

        def timed(*arguments: object, **options: object) -> object:
            self._depth += 1
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - started

        setattr(owner, name, timed)


@contextmanager
def pymbar_clock() -> Iterator[Clock]:
    """Measure the time in pymbar within the context, for all functions through which the analysis calls it."""
    clock = Clock()
    places = [(alchemlyb.estimators.MBAR, "fit"), (pymbar.MBAR, "__init__")]
    names = ("bar", "statistical_inefficiency", "subsample_correlated_data", "detect_equilibration")
    places += [(module, name) for module in (estimators, convergence) for name in names if hasattr(module, name)]
    before = [getattr(owner, name) for owner, name in places]
    for owner, name in places:
        clock.watch(owner, name)
    try:
        yield clock
    finally:
        for (owner, name), function in zip(places, before, strict=True):
            setattr(owner, name, function)


def reaggregate(database: Database) -> tuple[float, float]:
    """Analyse all ladders again; return the total time and the time in pymbar (s)."""
    with pymbar_clock() as clock:
        started = time.perf_counter()
        builder = FreeEnergyBuilder.of(database, NAME, rebuild=True)
        builder.run(log_level=logging.ERROR)
        return time.perf_counter() - started, clock.seconds
