"""Record on disk which optimized potentials were compared with the originals and found equal.

A record is one small file in the folder ``checks`` of :class:`~alchemflows.settings.Settings`. Its name is a hash of
everything that the comparison depends on, so that it is repeated for another release of a library or another device.
If the folder cannot be read or written, each process repeats the comparison; this is not an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version

import torch

from alchemflows.alchemy.potential import Backend
from alchemflows.settings import Settings

#: Packages whose versions are part of a record.
PACKAGES = ("alchemflows", "torch", "e3nn", "mace-torch", "sevenn", "chgnet", "cuequivariance-torch")


@dataclass(frozen=True)
class Facts:
    """Everything that a comparison depends on, as text."""

    text: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def describe(backend: Backend, numbers: frozenset[int]) -> Facts:
    """Return everything that the comparison of a potential for some elements depends on."""
    known = backend.record.model_dump(include={"backend", "sha256", "dtype", "head", "kernels"})
    device = _device_name(backend.device)
    return Facts(json.dumps(known | {"device": device, "elements": sorted(numbers), "versions": installed()}))


def is_recorded(facts: Facts) -> bool:
    """Return whether an earlier process found no difference."""
    with contextlib.suppress(OSError, ValueError):
        return (Settings().checks / facts.digest).read_text() == facts.text
    return False


def record(facts: Facts) -> None:
    """Record that no difference was found; do nothing if the file cannot be written."""
    with contextlib.suppress(OSError, ValueError):
        folder = Settings().checks
        folder.mkdir(parents=True, exist_ok=True)
        (folder / facts.digest).write_text(facts.text)


def installed() -> dict[str, str]:
    """Return the versions of those :data:`PACKAGES` that are installed."""
    return dict(_installed())


@lru_cache(maxsize=1)
def _installed() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
