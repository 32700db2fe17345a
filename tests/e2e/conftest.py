"""Installations that end-to-end tests share, built with the installed commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.account import Account

BIN = Path(sys.executable).parent
CONDA = BIN / "conda-containerize"
UMBRELLA = BIN / "containerize"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A prefix and the account that made it."""

    prefix: Path
    account: Account

    def program(self, name: str) -> Path:
        return self.prefix / "bin" / name

    def python(self, code: str, *args: str, **options: Any) -> str:
        """Standard output of ``bin/python3 -c CODE ARGS``, which must succeed."""
        return self.account.ok(self.program("python3"), "-c", code, *args, **options)

    @property
    def manifest(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.prefix / "current/manifest.json").read_text())
        return data


def environment_text(channel: Path, *specs: str, more: str = "") -> str:
    """An env.yml that takes ``specs`` from the local channel."""
    lines = "\n".join(f"  - {spec}" for spec in specs)
    return f"channels:\n  - {channel.as_uri()}\ndependencies:\n{lines}\n{more}"


Builder = Callable[..., Installation]


@pytest.fixture(scope="session")
def build(channel: Path, runtime: Path) -> Builder:
    """Build an environment: ``build(account, name, *specs, options=(), more="")``."""

    def builder(
        account: Account, name: str, *specs: str, options: tuple[str, ...] = (), more: str = ""
    ) -> Installation:
        file = account.file(f"{name}.yml", environment_text(channel, *specs, more=more))
        prefix = account.work / name
        account.ok(CONDA, "new", "--prefix", prefix, file, *options)
        return Installation(prefix=prefix, account=account)

    return builder


@pytest.fixture(scope="session")
def scientific(account: Account, build: Builder) -> Installation:
    """numpy and scipy, and packages that activate, link and hook in every way."""
    return build(
        account,
        "scientific",
        *("python", "numpy", "scipy", "pip", "demo-activate", "demo-postlink", "demo-noarch"),
        *("demo-pathlike", "demo-hostile-env", "demo-tool", "demo-textprefix", "demo-binprefix"),
        more='variables:\n  MY_VARIABLE: "it\'s $HOME"\n',
    )


@pytest.fixture(scope="session")
def small(account: Account, build: Builder) -> Installation:
    """A second installation, to be used with the first."""
    return build(account, "small", "python", "demo-noarch")


def entries(directory: Path) -> set[str]:
    """Names in a directory, to see that nothing was left there."""
    return {path.name for path in directory.iterdir()}
