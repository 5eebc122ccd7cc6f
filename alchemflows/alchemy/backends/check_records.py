"""Remember on disk which fast forms of models were compared with the originals, and found equal.

A record is one small file in the folder ``checks`` of :class:`~alchemflows.settings.Settings`. Its name is the digest
of everything that the comparison depends on. Another release of a library and another device are compared again.
If the folder cannot be written or read, each process compares again; this is no error.
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

#: Packages whose versions a comparison depends on.
PACKAGES = ("alchemflows", "torch", "e3nn", "mace-torch", "sevenn", "cuequivariance-torch")


@dataclass(frozen=True)
class Facts:
    """What a comparison depends on, as text."""

    text: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def describe(backend: Backend, numbers: frozenset[int]) -> Facts:
    """Return what the comparison of a model for some elements depends on."""
    known = backend.record.model_dump(include={"backend", "sha256", "dtype", "head", "kernels"})
    device = _device_name(backend.device)
    return Facts(json.dumps(known | {"device": device, "elements": sorted(numbers), "versions": installed()}))


def is_recorded(facts: Facts) -> bool:
    """Whether an earlier process has found no difference."""
    with contextlib.suppress(OSError, ValueError):
        return (Settings().checks / facts.digest).read_text() == facts.text
    return False


def record(facts: Facts) -> None:
    """Write down that there is no difference, if it can be written."""
    with contextlib.suppress(OSError, ValueError):
        folder = Settings().checks
        folder.mkdir(parents=True, exist_ok=True)
        (folder / facts.digest).write_text(facts.text)


def installed() -> dict[str, str]:
    """Versions of the :data:`PACKAGES`, as far as they are installed."""
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
