"""Which of a site's partitions takes a job, and what is said where none does."""

from __future__ import annotations

import pytest

from wrapper.errors import InputError
from wrapper.partitions import Shape, check, choose, fitting, mebibytes, seconds
from wrapper.site_profile import Partition

SITE = {
    "standard": Partition(nodes=512, time="2-00:00:00", cores=128, whole_nodes=True),
    "standard-g": Partition(
        nodes=1024, time="2-00:00:00", cores=56, memory="480G", gpus=8, whole_nodes=True
    ),
    "small": Partition(nodes=4, time="3-00:00:00", cores=128),
    "small-g": Partition(nodes=4, time="3-00:00:00", cores=56, memory="480G", gpus=8),
    "dev-g": Partition(nodes=32, time="03:00:00", cores=56, memory="480G", gpus=8),
}


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("30", 1800),
        ("1:30", 90),
        ("2:00:00", 7200),
        ("1-12", 36 * 3600),
        ("1-12:30", 36 * 3600 + 1800),
        ("2-00:00:01", 2 * 86400 + 1),
    ],
)
def test_times_are_read_as_slurm_does(time: str, expected: int) -> None:
    assert seconds(time) == expected


@pytest.mark.parametrize("time", ["", "x", "1-", "-1", "1:2:3:4", "1-1:1:1:1", "1.5", "٣"])
def test_what_is_no_time_is_told(time: str) -> None:
    with pytest.raises(ValueError, match="no time"):
        seconds(time)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [("480G", 491520), ("2000", 2000), ("1t", 1048576), ("2048K", 2), ("1GB", 1024)],
)
def test_memory_is_read_as_slurm_does(memory: str, expected: int) -> None:
    assert mebibytes(memory) == expected


@pytest.mark.parametrize("shape", [Shape(time="soon"), Shape(memory="a lot"), Shape(time="0")])
def test_what_slurm_would_not_read_is_told_with_its_option(shape: Shape) -> None:
    with pytest.raises(InputError) as caught:
        check(shape)
    assert str(caught.value.where).split()[0] in ("--time", "--memory") and caught.value.hint


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        (Shape(nodes=4, gpus=8, tasks=8), ["standard-g", "small-g", "dev-g"]),
        (Shape(nodes=1, gpus=1), ["small-g", "dev-g", "standard-g"]),  # parts of nodes first
        (Shape(nodes=8, gpus=8, tasks=8, time="2:00:00"), ["standard-g", "dev-g"]),
        (Shape(nodes=1, gpus=8, time="60:00:00"), ["small-g"]),
        (Shape(nodes=1), ["small", "standard"]),
        (Shape(nodes=2, tasks=128), ["standard", "small"]),
        (Shape(nodes=1, tasks=16, cpus=8), ["standard", "small"]),
        (Shape(nodes=100, tasks=128), ["standard"]),
        (Shape(nodes=1, gpus=16), []),
        (Shape(nodes=1, tasks=129), []),
        (Shape(nodes=1, tasks=64, cpus=4), []),
        (Shape(nodes=1, gpus=8, memory="481G"), []),
        (Shape(nodes=1, time="3-00:00:01"), []),
    ],
)
def test_partitions_that_fit(shape: Shape, names: list[str]) -> None:
    assert fitting(shape, SITE) == names


@pytest.mark.parametrize(
    ("shape", "partition", "what", "where", "hint"),
    [
        (Shape(), "smal", "no partition 'smal'", "--partition smal", "did you mean small"),
        (
            Shape(nodes=8),
            "small",
            "small offers at most 4, not 8",
            "--nodes 8",
            "these fit: standard)",
        ),
        (
            Shape(nodes=8, gpus=1, time="1-00"),
            "dev-g",
            "at most 03:00:00, not 1-00",
            "--time 1-00",
            "these fit: standard-g)",
        ),
        (Shape(gpus=1), "small", "at most 0, not 1", "--gpus-per-node 1", "small-g"),
        (Shape(memory="500G", gpus=8), "small-g", "at most 480G", "--memory 500G", "no other"),
        (Shape(gpus=16), "", "no partition of here", "--gpus-per-node 16", "standard-g, with"),
        (Shape(nodes=600), "", "no partition of here", "--nodes 600", "--nodes 512"),
    ],
)
def test_what_no_partition_has_is_told_with_the_nearest(
    shape: Shape, partition: str, what: str, where: str, hint: str
) -> None:
    with pytest.raises(InputError, match=what) as caught:
        choose(shape, partition, SITE, "here")
    assert where in str(caught.value.where) and hint in caught.value.hint


def test_a_site_of_gpu_nodes_alone_is_named_where_none_are_asked_for() -> None:
    with pytest.raises(InputError) as caught:
        choose(Shape(), "", {"gpu": Partition(gpus=4)}, "here")
    assert "--partition gpu" in caught.value.hint
    assert choose(Shape(), "gpu", {"gpu": Partition(gpus=4)}, "here") == "gpu"
