"""What an environment brings into an image besides itself: activation, runscript, labels.

Text and data only. The files lie in ``/.singularity.d``, where both runtimes look for them; the
variables of ``env/*.sh`` are set for ``exec``, ``run`` and ``shell`` alike, in the order of the
files' names: the base's are 01 to 91, those of apps 94 and 95, the runtime's own 99.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from wrapper.models import Activation

ACTIVATE = ".singularity.d/env/96-containerize.sh"
RUNSCRIPT = ".singularity.d/runscript"
LABELS = ".singularity.d/labels.json"
DYNAMIC = ".containerize/dynamic.sh"
# Job scripts for images of LUMI's and cotainr's making call "$WITH_CONDA" before a program.
_NO_OPS = ("WITH_CONDA", "WITH_CONDA_VENV", "WITH_VENV")
# What the base image may have set for a Python of its own; it would reach into ours.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def activation_script(
    activation: Activation, install_path: str, inherited: Mapping[str, str]
) -> str:
    """The text of :data:`ACTIVATE`.

    :param install_path: the environment, inside. :param inherited: variables of :data:`FOREIGN` as
        the base image sets them; a user's own values stay.
    """
    lines = [_template("sif-activate.sh")]
    lines += [
        f'if [ "${{{name}-}}" = {shlex.quote(value)} ]; then export {name}=; fi'
        for name, value in inherited.items()
    ]
    lines += [f"export {name}=true" for name in _NO_OPS]
    lines += [_assignment(name, value) for name, value in activation.assign.items()]
    prepends = [*activation.prepend.items(), ("PATH", f"{install_path}/bin")]
    lines += [_prepend(name, value) for name, value in prepends]
    for group in activation.default:
        present = "".join(f"${{{name}-}}" for name in group.guards)
        body = "; ".join(_assignment(*pair) for pair in group.assign.items())
        lines.append(f'if [ -z "{present}" ]; then {body}; fi')
    # A user's ~/.local must not change what the image imports, unless they say so.
    lines.append('if [ -z "${PYTHONNOUSERSITE+x}" ]; then export PYTHONNOUSERSITE=1; fi')
    lines += [_assignment(name, "") for name in activation.unset]
    if activation.scripts:
        lines.append(f'eval "$({shlex.join(["/bin/bash", f"/{DYNAMIC}", *activation.scripts])})"')
    return "\n".join(lines) + "\n"


def _assignment(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value) if value else ''}"


def _prepend(name: str, value: str) -> str:
    return f'export {name}={shlex.quote(value)}"${{{name}:+:${name}}}"'


def runscript() -> str:
    """The text of :data:`RUNSCRIPT`."""
    return _template("sif-runscript.sh")


def dynamic_script() -> str:
    """The text of :data:`DYNAMIC`."""
    return _template("sif-dynamic.sh")


def _template(name: str) -> str:
    return (files("wrapper") / "templates" / name).read_text()


def labels(base: Mapping[str, str], own: Mapping[str, str]) -> str:
    """The text of :data:`LABELS`: the base image's, and ours."""
    return json.dumps({**base, **own}, indent=1) + "\n"


def inspect_metadata(base: str, texts: Mapping[str, str]) -> str:
    """The JSON object from which ``inspect`` takes what it shows, without starting the image.

    :param base: text of the base's own, or empty. :param texts: our files by path.
    """
    data = _object(base)
    inner = _part(data, "data")
    attributes = _part(inner, "attributes")
    attributes["environment"] = {
        **_part(attributes, "environment"),
        f"/{ACTIVATE}": texts[ACTIVATE],
    }
    attributes |= {"labels": _object(texts[LABELS]), "runscript": texts[RUNSCRIPT]}
    return json.dumps({**data, "data": {**inner, "attributes": attributes}, "type": "container"})


def _part(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return dict(value) if isinstance(value, dict) else {}


def _object(text: str) -> dict[str, Any]:
    """A JSON object; a damaged one counts as empty."""
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
