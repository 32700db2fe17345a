"""Scripts that run in the container during a build: packages' post-link scripts, users' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from rattler import PackageRecord, RepoDataRecord

from wrapper.container import BuildContainer


def run_post_link(container: BuildContainer, records: Sequence[RepoDataRecord]) -> str:
    """Run the packages' post-link scripts, dependencies first.

    The variables are those of conda-build's documentation ("Adding pre-link, post-link, and
    pre-unlink scripts").

    :returns: what the scripts left for the user in ``$PREFIX/.messages.txt``, which is removed.
    :raises ScriptError: one fails.
    """
    for record in PackageRecord.sort_topologically(list(records)):
        name = record.name.normalized
        script = f"bin/.{name}-post-link.sh"
        if not (container.tree / script).is_file():
            continue
        container.run(
            ["/bin/bash", f"{container.install_path}/{script}"],
            what=f"the post-link script of {name}",
            cwd=Path(f"{container.install_path}/bin"),  # as conda does
            env={
                "PREFIX": container.install_path,
                "PKG_NAME": name,
                "PKG_VERSION": str(record.version),
                "PKG_BUILDNUM": str(record.build_number),
            },
        )
    messages = container.tree / ".messages.txt"
    if not messages.is_file():
        return ""
    text = messages.read_text(encoding="utf-8", errors="backslashreplace")
    messages.unlink()
    return text.strip()


def run_user_script(
    container: BuildContainer, script: Path, *, kind: str, variables: Mapping[str, str]
) -> None:
    """Run a ``--pre-install`` or ``--post-install`` script, the environment active.

    It starts in the user's directory and ends at its first failing command. ``env_root``,
    ``install_root``, ``CW_INSTALLATION_PATH`` and ``CW_WORKDIR`` mean what Tykky's documentation
    says: the environment (the first three) and a directory for temporary files.

    :param kind: ``pre-install`` or ``post-install``. :raises ScriptError: it fails.
    """
    inside = container.install_path
    runner = str(files("wrapper") / "templates" / "run-active.sh")
    container.run(
        ["/bin/bash", runner, inside, str(script.absolute())],
        what=f"the {kind} script {script}",
        env={
            "env_root": inside,
            "install_root": inside,
            "CW_INSTALLATION_PATH": inside,
            "CW_WORKDIR": str(container.scratch),
            "CONDA_PREFIX": inside,
            "CONDA_DEFAULT_ENV": inside.strip("/"),
            **variables,
        },
        cwd=Path.cwd(),
    )
