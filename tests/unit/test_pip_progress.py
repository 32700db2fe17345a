"""What uv is at, told from its lines."""

from __future__ import annotations

import pytest

from wrapper.pip.uv_output import UvProgress


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["Downloading scipy (33.7MiB)\n"], "downloading scipy (35.3 MB)"),
        (
            ["Downloading a (1.0KiB)", "Downloading b (2.0GiB)", " Downloaded a"],
            "downloading b (2.1 GB)",
        ),
        (["   Building x @ file:///x\n"], "building x"),
        (["   Building x @ file:///x\n", "      Built x @ file:///x\n"], ""),
        (["   Building y==1.0\n"], "building y==1.0"),
        (["    Updating https://h/r.git (HEAD)\n"], "updating https://h/r.git"),
        (
            [f"Downloading p{number} (1.0MiB)" for number in range(5)],
            "downloading p0 (1.0 MB), downloading p1 (1.0 MB), downloading p2 (1.0 MB) …",
        ),
        (["Downloading a (1.0MiB)", "Resolved 3 packages in 1s"], "downloading a (1.0 MB)"),
        (["Downloading odd (1.0parsec)"], "downloading odd"),
    ],
)
def test_names_and_sizes_of_what_is_under_way(lines: list[str], told: str) -> None:
    said: list[str] = []
    follow = UvProgress(said.append)
    assert not any(follow(line) for line in lines)  # all of it is for the log too
    assert said[-1] == told


def test_other_words_of_uv_are_no_progress() -> None:
    said: list[str] = []
    follow = UvProgress(said.append)
    for line in ("Resolved 3 packages in 1s", " + numpy==2.4.6", "Prepared 1 package", ""):
        follow(line)
    assert said == []
