"""Time functions side by side and report the results: statistics, machine, tables, JSON."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from alchemflows.schemas.provenance import installed_versions

_TUNING = ("MALLOC_", "GLIBC_TUNABLES", "OMP_", "KMP_", "MKL_", "THP_MEM_ALLOC_ENABLE", "PYTORCH_", "CUDA_LAUNCH_")

#: A function that runs one round and returns its time (s).
Contender = Callable[[], float]


def synchronize(device: torch.device | str = "cpu") -> None:
    """Wait until the device has finished all its work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], Any], device: torch.device | str = "cpu") -> float:
    """Time one call, including its work on the device."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def interleave(contenders: Mapping[str, Contender], rounds: int, warmup: int) -> dict[str, np.ndarray]:
    """Run contenders alternately, A B A B ..., so that a slow period of the machine affects all of them.

    Parameters
    ----------
    contenders
        Functions to time.
    rounds
        Number of timed rounds.
    warmup
        Number of earlier rounds that are not timed, because TorchScript compiles during the first calls.

    Returns
    -------
    times
        Seconds of each round, shape (rounds,), for each contender.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(warmup + rounds):
        for name, contender in contenders.items():
            times[name].append(contender())
    return {name: np.array(values[warmup:]) for name, values in times.items()}


def loglog_slope(sizes: np.ndarray, values: np.ndarray) -> float:
    """Return the exponent of a power law, by a least-squares fit of log(value) against log(size)."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def reason(error: Exception) -> str:
    """Return in one short line why a quantity cannot be measured."""
    return f"not available: {str(error).splitlines()[0].split(' (')[0]}"


@dataclass
class Target:
    """One number with its bound. If it could not be measured, `value` is None and `note` gives the reason.

    `bound` is None if the number is shown for information only. `unit` is `ratio`, `share` (a fraction, shown in
    per cent) or `exponent`.
    """

    number: int
    name: str
    value: float | None
    minimum: float | None
    maximum: float | None
    bound: float | None
    sense: Literal["at most", "at least"] = "at most"
    unit: str = "ratio"
    note: str = ""
    holds: bool | None = field(init=False)

    def __post_init__(self) -> None:
        if self.value is None or self.bound is None:
            self.holds = None
        else:
            self.holds = self.value <= self.bound if self.sense == "at most" else self.value >= self.bound


@dataclass
class Measurement:
    """A measured quantity: median, minimum and maximum of `n` rounds, in `unit`."""

    name: str
    unit: str
    median: float
    minimum: float
    maximum: float
    n: int


class Report:
    """Collection of targets, measurements and notes, which it prints and writes.

    Parameters
    ----------
    title
        Heading of the tables.
    script
        Path of the script from the repository's root, for the command that the report records.
    settings
        Options that affect the numbers: quick or not, threads, rounds.
    device
        Device of the models.
    """

    def __init__(self, title: str, script: str, settings: dict[str, Any], device: str = "cpu") -> None:
        self.title = title
        self.command = shlex.join(["python", script, *_without_output(sys.argv[1:])])
        self.settings = settings
        self.machine = machine(device)
        self.targets: list[Target] = []
        self.measurements: list[Measurement] = []
        self.notes: list[str] = []
        self.console = Console(width=None if sys.stdout.isatty() else 140)

    def measure(self, name: str, values: np.ndarray | float, unit: str = "ms") -> None:
        """Record a measurement: one value for each round."""
        values = np.atleast_1d(values)
        self.measurements.append(
            Measurement(
                name,
                unit,
                float(np.median(values)),
                float(values.min()),
                float(values.max()),
                len(values),
            )
        )
        self.console.print(f"[dim]{name}: {_number(float(np.median(values)))} {unit}[/dim]")

    def times(self, name: str, values_s: np.ndarray) -> None:
        """Record times (s), shown in ms."""
        self.measure(name, 1e3 * values_s, "ms")

    def target(
        self,
        number: int,
        name: str,
        values: np.ndarray,
        bound: float | None,
        *,
        value: float | None = None,
        **details: Any,
    ) -> None:
        """Record a target with one value for each round; the target's value is their median unless `value` is given."""
        value = float(np.median(values)) if value is None else value
        # A value from all rounds together (a total, a fit) may be outside the range of single rounds.
        low, high = min(value, float(np.min(values))), max(value, float(np.max(values)))
        self.targets.append(Target(number, name, value, low, high, bound, **details))

    def missing(self, number: int, name: str, bound: float | None, reason: str, **details: Any) -> None:
        """Record that a target could not be measured, with the reason."""
        self.targets.append(Target(number, name, None, None, None, bound, note=reason, **details))

    def note(self, text: str) -> None:
        """Record a remark for readers of the report."""
        self.notes.append(text)
        self.console.print(f"[dim]{text}[/dim]")

    def document(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return {
            "title": self.title,
            "command": self.command,
            "settings": self.settings,
            "machine": self.machine,
            "targets": [asdict(t) for t in self.targets],
            "measurements": [asdict(m) for m in self.measurements],
            "notes": self.notes,
        }

    def finish(self, json_file: Path | None) -> None:
        """Print the tables, and write the JSON file if one is given."""
        document = self.document()
        for heading, rows in tables(document):
            table = Table(*rows[0], title=heading, title_justify="left", box=box.SIMPLE)
            for row in rows[1:]:
                table.add_row(*row)
            self.console.print(table)
        self.console.print(describe(document))
        if json_file is not None:
            json_file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def machine(device: str = "cpu") -> dict[str, Any]:
    """Return the properties of the machine that affect timings."""
    info: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": installed_versions(),
        "device": device,
        "environment": _environment(),
    }
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        info |= {
            "gpu": properties.name,
            "gpu_memory_GiB": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
        }
    return info | _commit()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _environment() -> dict[str, str]:
    """Return the environment variables that affect speed: threads and memory allocation."""
    found = {k: v for k, v in sorted(os.environ.items()) if k.startswith(_TUNING)}
    if preloaded := os.environ.get("LD_PRELOAD"):
        found["LD_PRELOAD"] = " ".join(Path(library).name for library in re.split("[ :]+", preloaded))
    return found


def _commit() -> dict[str, Any]:
    """Return the commit of the working tree of these scripts, if there is one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/alchemflows", ":/benchmarks")
        return {"commit": git("rev-parse", "--short=12", "HEAD"), "uncommitted_changes": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return {}


def _without_output(arguments: list[str]) -> list[str]:
    """Remove `--json FILE`, because the path of the report does not affect its content."""
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument != "--json" and not argument.startswith("--json="):
            kept.append(argument)
        skip = argument == "--json"
    return kept


def tables(document: Mapping[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Return the tables of a report: heading and rows of text; the first row has the column names."""
    targets = [["target", "quantity", "value", "min – max", "bound", "holds"]]
    for t in document["targets"]:
        value, low, high, bound = (_shown(t[key], t["unit"]) for key in ("value", "minimum", "maximum", "bound"))
        held = {True: "yes", False: "no", None: "–"}[t["holds"]]
        targets.append(
            [
                str(t["number"]),
                t["name"],
                t["note"] if t["value"] is None else value,
                "–" if t["minimum"] == t["maximum"] else f"{low} – {high}",
                "information" if t["bound"] is None else f"{t['sense']} {bound}",
                held,
            ]
        )
    measured = [["measured", "median", "min – max", "unit", "n"]]
    measured += [
        [m["name"], _number(m["median"]), f"{_number(m['minimum'])} – {_number(m['maximum'])}", m["unit"], str(m["n"])]
        for m in document["measurements"]
    ]
    return [(document["title"], targets), ("Measurements", measured)]


def describe(document: Mapping[str, Any]) -> str:
    """Return the origin of the numbers: machine, command, environment and notes, one line each."""
    m = document["machine"]
    versions = ", ".join(
        f"{p} {m['versions'][p]}"
        for p in ("torch", "mace-torch", "sevenn", "chgnet", "alchemflows")
        if p in m["versions"]
    )
    commit = f" ({m['commit']}{' with changes' if m['uncommitted_changes'] else ''})" if "commit" in m else ""
    gpu = f"; {m['gpu']}, {m['gpu_memory_GiB']} GiB, CUDA {m['cuda']}" if "gpu" in m else ""
    lines = [
        f"{m['date'][:10]}; {m['cpu']}, {m['cores']} cores, torch threads: {m['threads']}, load at the start: "
        f"{m['load_average']}{gpu}; Python {m['python']}, {versions}{commit}.",
        f"Command: {document['command']}",
    ]
    if m["environment"]:
        lines.append(f"Environment: {', '.join(f'{k}={v}' for k, v in m['environment'].items())}")
    lines += [f"{t['name']}: {t['note']}." for t in document["targets"] if t["note"] and t["value"] is not None]
    if document["settings"].get("quick"):
        lines.append("Quick: a small model, small cells and few rounds. The bounds do not apply.")
    return "\n".join(lines + list(document["notes"]))


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{100 * value:.2f} %" if unit == "share" else f"{value:.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
