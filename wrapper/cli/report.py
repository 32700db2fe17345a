"""Results as text for a person and as JSON for a program."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict

from wrapper.console import counted, human_size
from wrapper.manifest import as_json
from wrapper.packages import describe_changes
from wrapper.requests import HistoryEntry, Plan, Repacked, Result
from wrapper.runtime.host_program import HOST_BIND


def result_json(result: Result | Repacked) -> str:
    """For ``--json``: the manifest, where the installation is and how long it took (seconds)."""
    data = {"prefix": str(result.prefix), "seconds": round(result.seconds, 1)}
    if isinstance(result, Repacked):
        data["image"] = asdict(result.image)
    data |= as_json(result.manifest) if result.manifest else {}
    return json.dumps(data, indent=1)


def describe(result: Result) -> str:
    """The result in one line for a person."""
    programs = f"{counted(result.manifest.programs, 'program')} in {result.prefix / 'bin'}"
    if result.manifest.kind == "container":
        return f"{programs}, in {result.seconds:.1f} s"
    tree, image = result.manifest.tree, result.manifest.image
    return (
        f"{tree.files} files, {human_size(tree.size)} -> one image of "
        f"{human_size(image.size)}, {programs}, in {result.seconds:.1f} s"
    )


def describe_unchanged(result: Result) -> str:
    """The line for an update that asks for what is there."""
    return (
        f"nothing changes: {result.prefix} has all of it already and stays as it is, "
        f"in {result.seconds:.1f} s"
    )


def describe_variables(result: Result) -> str:
    """Which variables the user gave to the environment; empty where none."""
    names = ", ".join(sorted(result.manifest.variables))
    what = "programs get these variables, whatever the caller has (CONTAINERIZE_KEEP keeps theirs)"
    return f"{what}: {names}" if names else ""


def describe_mpi(result: Result) -> str:
    """Whose MPI programs get, and how Slurm starts them; empty where nobody asked for one."""
    mpi = result.manifest.mpi
    if mpi is None:
        return ""
    whose = "the container's own"
    if mpi.kind == "host":
        whose = f"this machine's, {mpi.abi} {mpi.version}".rstrip() + f" ({mpi.library})"
        if mpi.beside:
            whose += f" for programs that are built for it; those for {mpi.beside} keep the image's"
    words = [f"srun --mpi={mpi.srun}"] if mpi.srun else []
    if result.manifest.form and mpi.directory:
        whose += (
            ", where its root is bound, which modules and scripts of 'containerize modulefile' "
        )
        whose += "and 'jobscript' do; else the container's own"
        words.append(f"singularity exec -B {HOST_BIND} {shlex.quote(str(result.prefix))}")
    start = f"; start programs with: {' '.join(words)} …" if words else ""
    return f"MPI: {whose}{start}"


def lines(result: Result) -> list[str]:
    """What there is to say of an installation, a line each."""
    if not result.changed:
        return [describe_unchanged(result)]
    told = (describe_variables(result), describe_mpi(result), describe(result))
    return [line for line in told if line]


def sif_lines(result: Result, host_programs: Sequence[str] = ()) -> list[str]:
    """What there is to say of a SIF, a line each. :param host_programs: the site's."""
    if not result.changed:
        return [describe_unchanged(result)]
    told = (describe_mpi(result), _describe_calls(result, host_programs), _describe_sif(result))
    return [line for line in told if line]


def _describe_calls(result: Result, names: Sequence[str]) -> str:
    """How programs call those of the host: what they need of it no file can hold."""
    wrap = f"wrap-container -w {result.manifest.install_path}/bin --prefix DIR"
    what = f"programs in it cannot call {', '.join(names)} of this machine; by shims they can"
    return f"{what}: {wrap} {shlex.quote(str(result.prefix))}" if names else ""


def _describe_sif(result: Result) -> str:
    tree, image = result.manifest.tree, result.manifest.image
    form = "flattened with the base" if result.manifest.flatten else "in a layer over the base"
    return (
        f"{tree.files} files, {human_size(tree.size)} -> {human_size(image.size)} {form}, "
        f"{result.prefix} of {human_size(result.prefix.stat().st_size)}, in {result.seconds:.1f} s"
    )


def describe_repack(result: Repacked) -> str:
    """A repacked installation or SIF in one line for a person."""
    image = result.image
    size, seconds = human_size(image.size), f"{result.seconds:.1f} s"
    return f"{result.prefix}: an image of {size}, compressed with {image.compression}, in {seconds}"


def describe_profile(result: Repacked) -> str:
    """An installation whose image was put in order, in one line for a person."""
    assert result.manifest
    files, seconds = counted(result.manifest.read_first, "file"), f"{result.seconds:.1f} s"
    return f"{result.prefix}: {files} in the order in which they are opened, in {seconds}"


def plan_json(plan: Plan) -> str:
    """The plan for ``--dry-run --json``."""
    packages = [
        {
            "manager": p.manager,
            "name": p.name,
            "version": p.version,
            "build": p.build,
            "url": p.url,
            "sha256": p.sha256,
            "size": plan.sizes.get(p.name, 0) if p.manager == "conda" else p.size or None,
        }
        for p in plan.packages
    ]
    changed = [
        {"name": c.name, "manager": c.manager, "kind": c.kind, "size": c.size}
        for c in plan.changes or ()
    ]
    sizes = {"download_size": plan.download_size, "installed_size_estimate": plan.installed_size}
    what = {"packages": packages, "changes": changed, "pip": list(plan.pip_lines)}
    return json.dumps({**what, **sizes}, indent=1)


def plan_table(plan: Plan) -> str:
    """The plan for ``--dry-run``, a line a package."""
    if plan.changes is not None:
        pip = [f"pip: {line}" for line in plan.pip_lines]  # only installing tells what they change
        none = bool(pip) and not plan.changes
        conda = "no changes of conda packages" if none else describe_changes(plan.changes)
        return "\n".join([*pip, conda])
    lines = []
    for package in plan.packages:
        size = plan.sizes.get(package.name, 0) if package.manager == "conda" else package.size
        shown = human_size(size) if size else ""
        lines.append(f"{package.name:<28} {package.version:<14} {package.build:<22} {shown:>10}")
    lines += [f"pip: {line}" for line in plan.pip_lines]
    number = counted(len(plan.packages), "package")
    lines.append(
        f"{number}, {human_size(plan.download_size)} to download, about "
        f"{human_size(plan.installed_size)} unpacked"
        if plan.download_size
        else number
    )
    return "\n".join(lines)


def history_table(entries: Sequence[HistoryEntry]) -> str:
    """Generations for a person, a line each."""
    lines = []
    for entry in entries:
        mark = "*" if entry.current else " "
        used = ", programs run" if entry.in_use else ""
        size, weight = human_size(entry.size), human_size(entry.weight)
        lines.append(
            f"{mark} {entry.number:>3}  {entry.created}  {size:>9}  {weight:>9} on disk"
            f"  {entry.what}{used}"
        )
    return "\n".join(lines)


def history_json(entries: Sequence[HistoryEntry]) -> str:
    """The same for a program."""
    return json.dumps([asdict(entry) for entry in entries], indent=1)
