"""The steps of every build, in order: read it from top to bottom, and you know what one does.

A build is composed of three things: a *context* (what was asked for, and the tools), a *source*
(what is put into the tree: conda packages, pip packages, a copy) and a *target* (what becomes of
the tree: an installation, a SIF).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from wrapper import installed, microarch, process, shimmed_programs
from wrapper.activation.model import Activation, ActivationScript
from wrapper.activation.record import record_activation, tell
from wrapper.build.context import BuildContext
from wrapper.build.gpu_builds import require_amd, tell_builds
from wrapper.build.incremental import IncrementalTree
from wrapper.build.left_packed import LENT, PackedError
from wrapper.build.mpi import foreseen, libraries_in
from wrapper.build.nothing_to_do import Unchanged
from wrapper.build.scripts import run_user_script
from wrapper.build.source import Source
from wrapper.build.target import Finished, Target
from wrapper.credentials import public_url
from wrapper.errors import ContainerizeError
from wrapper.inputs.files import InputFile
from wrapper.inputs.left_out import describe_left_out, require_left_out
from wrapper.manifest import Manifest
from wrapper.packages import LockedPackage, describe_reused
from wrapper.runtime.container import BuildContainer

_COMMENT = re.compile(r"(^|\s)#.*$", re.M)  # of a shell script


def build(context: BuildContext, source: Source, target: Target) -> Manifest:
    """All steps up to a complete place; returns the manifest.

    :raises ContainerizeError: of every kind in :mod:`wrapper.errors`.
    """
    tree = IncrementalTree(context=context, image=target)
    with target.opened():
        return _Recipe(context=context, source=source, target=target, tree=tree).run()


def build_update(context: BuildContext, source: Source, target: Target) -> Manifest | None:
    """The same of an update: ``None`` where all that it asks for is there, and nothing was made."""
    try:
        return build(context, source, target)
    except Unchanged:
        return None


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    context: BuildContext
    source: Source
    target: Target
    tree: IncrementalTree

    def run(self) -> Manifest:
        context, source = self.context, self.source
        require_amd(context.inputs, context.base, context.site)
        for name, value in {**context.variables, **_of_containers(os.environ)}.items():
            self._tell_native(name, value)
        for script in (*context.inputs.pre_install, *context.inputs.post_install):
            self._tell_native(
                f"the script {script.name}", _COMMENT.sub("", os.fsdecode(script.content))
            )
        context.mpi.begin()
        container = context.container(source.places())
        context.ask_base(container, conda=source.kind == "conda")
        self._get_ready(container)
        context.mpi.settle(foreseen(context.inputs, source.solved()))
        before = self.tree.packages_before()
        links = self.target.mount_points()
        self._user_scripts(container, context.inputs.pre_install, "pre-install")
        self._populate(container)
        if context.reuse:
            context.reuse.clean(context.tree)
            context.console.info(describe_reused(list(context.reuse.taken.values())))
        # What is wrong with -w is told early.
        shimmed_programs.wrapped(context.tree, context.install_path, context.wrapper_paths)
        with self.tree.whole(container) as whole:
            self.target.make_home(whole)
            packages = self._packages(whole)
            visible = installed.without_replaced(packages, context.tree)
            context.mpi.settle(visible, libraries_in(context.tree))
            tell_builds(visible, context.base, context.site, context.console)
            if before is not None:
                self.tree.tell_changes(before, visible, source.sizes())
            self._compile_and_lock(whole, packages)
            activation = self._activation(whole)
        return self.target.deliver(
            Finished(
                tree=self.tree,
                packages=visible,
                activation=activation,
                links=links,
            )
        )

    # -- the tree --------------------------------------------------------------------------------
    def _get_ready(self, container: BuildContainer) -> None:
        """Solve, and have of the old environment in the tree what the steps need."""
        if self.source.leaves_packed() and self.tree.may_leave_packed(container):
            self.source.prepare(self.tree)
            with self.context.console.step("Unpacking what changes"):
                gone = self.source.gone(self.tree)
                packed = None if gone is None else self.tree.take(gone)
            if not packed:
                self.tree.unpack()
            return
        with ThreadPoolExecutor(1) as pool:
            # Packages are solved from a copy of the old records meanwhile.
            unpacking = pool.submit(self.tree.unpack)
            try:
                self.source.prepare(self.tree)
            except (ContainerizeError, Unchanged):
                process.end_all()  # it is told now, not when a large image is unpacked
                raise
            unpacking.result()

    def _populate(self, container: BuildContainer) -> None:
        try:
            self._fill(container)
        except PackedError:
            self.tree.start_over()
            self._fill(container)

    def _fill(self, container: BuildContainer) -> None:
        """:raises PackedError: what is packed would be changed."""
        self.source.populate(container, self.tree)
        if scripts := self.context.inputs.post_install:
            with self.tree.whole(container) as whole:
                self._user_scripts(whole, scripts, "post-install")
                self.tree.require_unseen()

    def _user_scripts(
        self, container: BuildContainer, scripts: Sequence[InputFile], kind: str
    ) -> None:
        context = self.context
        for script in scripts:
            with context.console.step(f"Running the {kind} script {script.name}"):
                run_user_script(
                    container,
                    script,
                    kind=kind,
                    variables={
                        **context.variables,
                        **(context.reuse.variables() if context.reuse else {}),
                    },
                    cache=context.space.cache,
                    channels=self.source.channels(),
                    site=str(context.request.site.file or ""),
                )

    def _tell_native(self, what: str, text: str) -> None:
        """Warn where a text has compilers make code for no other processor than this one."""
        if flag := microarch.native_flag(text):
            self.context.console.warning(
                f"{what} has {flag}: what is compiled with it is for this node's processor, and "
                "may end with 'Illegal instruction' on others. Build on a node of the kind it is "
                "for, or name the oldest that is to run it (-march=x86-64-v3)"
            )

    # -- what is there in the end ----------------------------------------------------------------
    def _packages(self, container: BuildContainer) -> list[LockedPackage]:
        """All packages, whoever installed them; those of pip with hashes if possible."""
        context = self.context
        present = installed.pip_distributions(context.tree)
        # What came by URL or path may be another package than the one of that version before.
        came = {name for name, found in present.items() if found.read_text("direct_url.json")}
        expected = [*self.tree.old_pip(), *self.source.known_pip()]
        known = installed.still_installed(expected, present)
        pip = [package for package in known if package.canonical not in came]
        for package in pip:
            present.pop(package.canonical, None)
        if present and self.source.has_lock:
            with context.console.step("Locking pip packages"):
                installer = self.source.pip(self.tree).installer(container)
                pip += installer.lock(present, context.inputs.requirements)
        elif present:
            pip += map(installed.of_no_index, present.values())
        public = [replace(package, url=public_url(package.url)) for package in pip]
        packages = [*installed.conda_packages(context.tree), *public]
        require_left_out(context.inputs.left_out, {package.canonical for package in packages})
        return packages

    def _compile_and_lock(
        self, container: BuildContainer, packages: Sequence[LockedPackage]
    ) -> None:
        """At once: compiling is other processes."""
        console = self.context.console
        locked = [package for package in packages if self.source.can_be_locked(package)]
        left = [package for package in packages if package not in locked]
        if left and self.source.has_lock:
            console.warning(describe_left_out(left))
        with ThreadPoolExecutor(1) as pool, console.step("Byte-compiling") as advance:
            writing = pool.submit(self.source.write_lock, locked, left)
            self.source.compile(container, self.tree, advance)
            writing.result()

    def _activation(self, container: BuildContainer) -> Activation:
        context = self.context
        with context.console.step("Recording the activated environment"):
            fixed = {**self.source.own_variables(), **context.user_variables()}
            constant = self._constant_places()
            activation = record_activation(container, fixed, constant, outside=self.target.outside)
        if not context.base.has_bash:
            return self._without_bash(activation)
        tell(activation, context.console)
        return activation

    def _constant_places(self) -> list[str]:
        """Directories inside, besides the environment's own, that are the same at every start."""
        reuse = self.context.reuse
        # What leads to the old image is the environment's in the end.
        places = [LENT] if self.tree.packed else []
        if reuse and reuse.python.conda:
            places.append(reuse.python.conda.root)
        return places

    def _without_bash(self, activation: Activation) -> Activation:
        """Where no script can be sourced, what is recorded of them counts always."""
        if lost := [script.path for script in activation.scripts if script.why]:
            self.context.console.warning(
                "the base image has no bash, these are not sourced when a program starts: "
                + ", ".join(lost)
            )
        kept = [ActivationScript(path=s.path, changes=s.changes) for s in activation.scripts]
        return replace(activation, scripts=tuple(kept))


def _of_containers(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables for programs in containers, which a build's see too."""
    return {
        name: it for name, it in environ.items() if re.match("(SINGULARITY|APPTAINER)ENV_", name)
    }
