"""Good inputs made bad, in the ways in which real ones are: cut off, joined, repeated, hostile."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Mutation = Callable[[random.Random, bytes], bytes]

# What has a meaning to one reader or another, and what has one to none.
_WORDS: Sequence[bytes] = [
    *(b"\0", b"\r", b"\n", b"\t", b" ", b"'", b'"', b"\\", b"#", b"%", b"$", b"`", b"~", b"@"),
    *(
        b"&a ",
        b"*a ",
        b"&a [*a]",
        b"<<: *a",
        b"!!python/name:os.system ",
        b"!!binary x",
        b"? ",
        b": ",
    ),
    *(
        b"- ",
        b"-",
        b"---\n",
        b"...\n",
        b"|\n",
        b">\n",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b"=",
        b"==",
        b";",
    ),
    *(b"../../../etc/passwd", b"/dev/zero", b"/proc/self/mem", b"-r self\n", b"\\\n", b"${HOME}"),
    *(
        b"file:///",
        b"https://u:p@h/",
        b"git+https://h/x@",
        b" @ ",
        b"[x]",
        b" ; ",
        b"--hash=sha256:",
    ),
    *(b"null", b"true", b"1e999", b"-1", b"99999999999999999999", b"0x", b"nan", b"2024-13-45"),
    *(b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\x1b[2J", b"\x85"),
    *(b"\\ud800", b"\\u0000", b'{"a":', b"[[", b"]]", b"%(x)s", b"\n \n", b"\nexport X=$(id)\n"),
]
_NUMBERS = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_REPEATED = (b" ", b"\t", b"a", b"[", b"{", b"(", b"- ", b'"', b",", b"\\", b"a: ", b".", b"\n")
_MANY = (50, 2_000, 60_000)


def mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds after one to six mutations; some stay good."""
    data = chance.choice(seeds)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        data = chance.choice(_MUTATIONS)(chance, data)
        if chance.random() < 0.05:
            data = _spliced(chance, data, chance.choice(seeds))
    return data


def _cut(chance: random.Random, data: bytes) -> tuple[int, int]:
    start, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return start, min(end, start + chance.choice((1, 4, 64, 4096)))


def _spliced(chance: random.Random, data: bytes, other: bytes) -> bytes:
    start, _ = _cut(chance, data)
    begin, end = _cut(chance, other)
    return data[:start] + other[begin:end] + data[start:]


def _deleted(chance: random.Random, data: bytes) -> bytes:
    start, end = _cut(chance, data)
    return data[:start] + data[end:]


def _truncated(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _repeated(chance: random.Random, data: bytes) -> bytes:
    start, end = _cut(chance, data)
    return data[:end] + data[start:end] * chance.randrange(1, 20) + data[end:]


def _flipped(chance: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _word(chance: random.Random, data: bytes) -> bytes:
    start, end = _cut(chance, data)
    return data[:start] + chance.choice(_WORDS) + data[chance.choice((start, end)) :]


def _run(chance: random.Random, data: bytes) -> bytes:
    """A character or a word very many times: blanks, brackets, indentation."""
    start, _ = _cut(chance, data)
    times = chance.choices(_MANY, (6, 3, 1))[0]
    word = chance.choice(
        (b" ", b"\t", b"a", b"[", b"{", b"(", b"- ", b'"', b",", b"\\", b"a: ", b".")
    )
    return data[:start] + word * times + data[start:]


def _number(chance: random.Random, data: bytes) -> bytes:
    """A binary number, or the digits of one."""
    at, size = chance.randrange(len(data) + 1), chance.choice((1, 2, 4, 8))
    value = chance.choice((*_NUMBERS, chance.getrandbits(64))) & (1 << 8 * size) - 1
    if chance.random() < 0.3:
        return data[:at] + str(value).encode() + data[at:]
    return data[:at] + value.to_bytes(size, "little") + data[at + size :]


def _lines(chance: random.Random, data: bytes) -> bytes:
    """Lines in another order, or one of them twice, or indented otherwise."""
    lines = data.split(b"\n")
    one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(4):
        case 0:
            lines[one], lines[two] = lines[two], lines[one]
        case 1:
            lines.insert(one, lines[two])
        case 2:
            lines[one] = b" " * chance.randrange(9) + lines[one].lstrip()
        case _:
            lines[one : one + 2] = [b" ".join(lines[one : one + 2])]
    return b"\n".join(lines)


_MUTATIONS: Sequence[Mutation] = (
    *(_deleted, _truncated, _repeated, _flipped, _word, _word, _run, _number, _number, _lines),
    _lines,
)
