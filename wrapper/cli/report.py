"""Results as text for a person and as JSON for a program."""

from __future__ import annotations

import json

from wrapper.console import human_size
from wrapper.models import Plan, Result


def result_json(result: Result) -> str:
    """For ``--json``: the manifest, where the installation is and how long it took (seconds)."""
    data = {"prefix": str(result.prefix), "seconds": round(result.seconds, 1), **result.manifest}
    return json.dumps(data, indent=1)


def describe(result: Result) -> str:
    """The result in one line for a person."""
    tree, image = result.manifest["tree"], result.manifest["image"]
    return (
        f"{tree['files']} files, {human_size(tree['size'])} -> one image of "
        f"{human_size(image['size'])}, {result.manifest['programs']} programs in "
        f"{result.prefix / 'bin'}, in {result.seconds:.1f} s"
    )


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
            "size": plan.sizes.get(p.name, 0) if p.manager == "conda" else None,
        }
        for p in plan.packages
    ]
    sizes = {"download_size": plan.download_size, "installed_size_estimate": plan.installed_size}
    return json.dumps({"packages": packages, "pip": list(plan.pip_lines), **sizes}, indent=1)


def plan_table(plan: Plan) -> str:
    """The plan for ``--dry-run``, a line a package."""
    lines = []
    for package in plan.packages:
        size = human_size(plan.sizes.get(package.name, 0)) if package.manager == "conda" else ""
        lines.append(f"{package.name:<28} {package.version:<14} {package.build:<22} {size:>10}")
    lines += [f"pip: {line}" for line in plan.pip_lines]
    lines.append(
        f"{len(plan.packages)} packages, {human_size(plan.download_size)} to download, about "
        f"{human_size(plan.installed_size)} unpacked"
    )
    return "\n".join(lines)
