"""The flow of the calculations of some frames, such as DFT for training: one job for each of them."""

from __future__ import annotations

from collections.abc import Sequence

from jobflow import Flow, Maker
from pymatgen.core import Structure

from alchemflows.flows.common import GPU_CATEGORY
from alchemflows.jobs.frame_jobs import FrameLabels, check_target, frame_job, output_of
from alchemflows.jobs.refine import assign_category


def frame_calculations(
    maker: Maker, frames: Sequence[tuple[Structure, FrameLabels]], *, category: str | None = GPU_CATEGORY
) -> Flow:
    """Return a flow with one job for each frame; its output is the list of the outputs of these jobs.

    The metadata of each job has the labels of its frame, as `frame`.

    Parameters
    ----------
    maker
        Maker whose `make` takes a structure, such as a static maker of atomate2.
    frames
        Configurations, each with its result, its state and its index there.
    category
        FireWorks category of the jobs; None for none.

    Raises
    ------
    InvalidInputError
        If the maker needs more than a structure, or makes flows without the output of one job.

    Examples
    --------
    >>> from atomate2.forcefields.jobs import ForceFieldStaticMaker
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> labels = FrameLabels(result="a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10", state="λ = 1", index=7)
    >>> flow = frame_calculations(ForceFieldStaticMaker(name="static"), [(salt, labels)], category="dft")
    >>> [job.name for job in flow.jobs]
    ['static λ = 1, frame 7']
    """
    check_target(maker)
    jobs = [frame_job(maker, structure, labels) for structure, labels in frames]
    assign_category(jobs, category)
    return Flow(jobs, output=[output_of(job) for job in jobs], name=f"{len(jobs)} frames, {maker.name}")
