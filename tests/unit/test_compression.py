"""The words for a compression, and what they stand for."""

from __future__ import annotations

import pytest

from wrapper.images.compression import check_word, other_options, travelling, wanted


def told(word: str, *options: str) -> list[str]:
    return [str(item) for item in wanted(word, options)]


@pytest.mark.parametrize(
    ("word", "candidates"),
    [
        ("fast", ["zstd:1", "lz4", "gzip:1"]),
        ("default", ["zstd:3", "lz4", "gzip:1"]),
        ("small", ["zstd:15", "gzip:9"]),
        ("zstd", ["zstd:3"]),
        ("zstd:19", ["zstd:19"]),
        ("lz4", ["lz4"]),
        ("gzip:1", ["gzip:1"]),
    ],
)
def test_a_word_is_a_list_best_first(word: str, candidates: list[str]) -> None:
    assert check_word(word) == word
    assert told(word) == candidates
    assert {item.asked for item in wanted(word)} == {word}


@pytest.mark.parametrize(
    "word",
    ["", "best", "ZSTD", "zstd:", "zstd:0", "zstd:23", "gzip:10", "lz4:1", "xz", "zstd:3 ", 3],
)
def test_what_is_none_is_told(word: object) -> None:
    with pytest.raises(ValueError, match=r"must be fast, default, small, or zstd.*found"):
        check_word(word)


def test_a_sites_options_count_instead() -> None:
    assert told("small", "-comp", "xz", "-b", "1M") == ["xz"]
    assert told("fast", "-comp", "gzip", "-Xcompression-level", "7") == ["gzip:7"]


def test_a_level_alone_is_for_compressors_that_have_it() -> None:
    assert told("default", "-Xcompression-level", "12") == ["zstd:12", "lz4", "gzip:1"]


def test_other_options_stay() -> None:
    options = ("-comp", "xz", "-b", "1M", "-Xcompression-level", "3", "-mem", "1G")
    assert other_options(options) == ("-b", "1M", "-mem", "1G")


@pytest.mark.parametrize(
    ("asked", "usual", "taken"),
    [
        (None, "default", "gzip:1"),
        (None, "small", "gzip:9"),
        (None, "zstd", "gzip:1"),
        (None, "gzip:2", "gzip:2"),
        ("fast", "zstd", "gzip:1"),
        ("zstd:5", "default", "zstd:5"),
        ("lz4", "default", "lz4"),
    ],
)
def test_what_travels_is_gzip_unless_another_is_named_for_it(
    asked: str | None, usual: str, taken: str
) -> None:
    assert str(travelling(asked, usual)) == taken
