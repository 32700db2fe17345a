"""The steps of building one generation, in order, as far as all kinds of build share them.

Only composers (this module, :mod:`wrapper.start`, the kinds of build) import the steps, which know
nothing of each other. Those that need rattler or conda-lock are imported where they are used: an
error in an input file is told without them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from wrapper import changes, installed, tree
from wrapper.activation.model import Activation, ActivationScript
from wrapper.compression import EVERYWHERE, Compression
from wrapper.console import Advance
from wrapper.container import OWN_CACHE, BuildContainer
from wrapper.credentials import public_url
from wrapper.models import Base, Change, LockedPackage
from wrapper.packed import LENT, PackedError
from wrapper.reuse.taken import start_reuse
from wrapper.runtime import Runtime, home_of, host_binds, image_binds, with_more
from wrapper.skeleton import write_skeleton
from wrapper.spec.files import InputFile
from wrapper.spec.left_out import describe_left_out, require_left_out
from wrapper.squash import IMAGE_TIME
from wrapper.start import Start


class Place(Protocol):
    """Where the parts of a build are written before it appears."""

    prefix: Path
    generation: int

    @property
    def root(self) -> Path: ...
    @property
    def directory(self) -> Path: ...
    @property
    def image(self) -> Path: ...


@dataclass(kw_only=True)
class Build(Start):
    """The steps of one build and what they share; a kind of build fills in the hooks.

    :ivar variables: to be set at run time.
    """

    variables: Mapping[str, str]
    base: Base
    runtime: Runtime
    staging: Place
    _told: str = field(default="", init=False)

    def run(self) -> dict[str, Any]:
        """All steps up to a complete staging directory; returns the manifest."""
        container = self.container()
        self.look_at_base(container)
        self.get_ready()
        before = self.packages_before()
        links = self.mount_points()
        self._user_scripts(container, self.inputs.pre_install, "pre-install")
        try:
            self.populate(container)
        except PackedError:
            self.start_over()
            self.populate(container)
        self._user_scripts(container, self.inputs.post_install, "post-install")
        if self.reuse:
            self.reuse.clean(self.tree)
            self.console.info(changes.describe_reused(list(self.reuse.taken.values())))
        tree.wrapped(self.tree, self.install_path, self.wrapper_paths)  # mistakes are told early
        with self.whole(container) as whole:
            self.make_home(whole)
            packages = self._packages(whole)
            visible = installed.without_replaced(packages, self.tree)
            if before is not None:
                self.tell_changes(before, visible)
            self._compile_and_lock(whole, packages)
            activation = self._activation(whole)
        return self.deliver(visible, activation, links)

    def tell_changes(
        self, old: Sequence[LockedPackage], new: Sequence[LockedPackage]
    ) -> Sequence[Change]:
        """Say what an update changes: as soon as it is known, and again where it came otherwise."""
        found = changes.compare(old, new, self.sizes())
        text = changes.describe(found)
        if text != self._told:
            self.console.info(f"changes:\n{text}" if "\n" in text else text)
        self._told = text
        return found

    # -- what a kind of build is about -----------------------------------------------------------
    kind: ClassVar[str]
    has_lock: ClassVar[bool] = True
    offers_bin: ClassVar[bool] = True
    has_shims: ClassVar[bool] = True

    def populate(self, container: BuildContainer) -> None:
        """Put it into the tree."""

    def sizes(self) -> Mapping[str, int]:
        """Bytes of conda packages' archives by name, as far as known."""
        return {}

    def known_pip(self) -> list[LockedPackage]:
        """Lock entries of pip packages that are known already."""
        return self.old_pip()

    def channels(self) -> Sequence[str]:
        """Where conda packages come from, for the lock and for conda in scripts."""
        return list(self.old("channels", ()))

    def make_home(self, container: BuildContainer) -> None:
        """Let the environment's Python know the place where it is used."""

    def own_variables(self) -> dict[str, str]:
        """What activating the environment sets, besides the user's variables."""
        return {}

    def deliver(
        self, packages: Sequence[LockedPackage], activation: Activation, links: Sequence[str]
    ) -> dict[str, Any]:
        """Make of the finished tree what is used in the end; returns the manifest.

        :param links: what :meth:`mount_points` returned.
        """
        raise NotImplementedError

    def own_facts(self) -> dict[str, Any]:
        """More keys for the manifest."""
        return {}

    def can_be_locked(self, package: LockedPackage) -> bool:
        """Whether the lock can hold it: conda-lock wants these hashes."""
        return bool(package.md5 if package.manager == "conda" else package.sha256)

    def write_lock(self, packages: Sequence[LockedPackage], left: Sequence[LockedPackage]) -> None:
        """Write the lock into the staging directory. :param left: what it cannot hold."""

    # -- the base --------------------------------------------------------------------------------
    def look_at_base(self, container: BuildContainer) -> None:
        """Ask for what the base's Python has, where that is to be reused."""
        self.reuse = start_reuse(
            container,
            self.base,
            self.request,
            self.previous,
            unsquashfs=self.squasher.unsquashfs,
            conda=self.kind == "conda",
        )

    def container(self) -> BuildContainer:
        """The container that the steps run programs in: the base, the tree writable at its path."""
        needed = self._needed()
        image = self.base.image or self._skeleton()
        binds = image_binds(needed) if self.base.image else host_binds()
        binds = with_more(binds, self.request.site.binds, os.environ, needed)
        return BuildContainer(
            runtime=self.runtime,
            image=image,
            binds=binds,
            own_system=bool(self.base.image),
            has_bash=self.base.has_bash,
            tree=self.tree,
            install_path=self.install_path,
            scratch=self.space.scratch,
            console=self.console,
            cache=self.space.cache,
        )

    def _skeleton(self) -> Path:
        skeleton = self.space.root / "skeleton"
        skeleton.mkdir()
        write_skeleton(skeleton)
        for place in (self.install_path, LENT, OWN_CACHE):
            (skeleton / place.lstrip("/")).mkdir(parents=True)
        image = skeleton.with_suffix(".sqfs")
        self.squash(skeleton, image, "Preparing the container", EVERYWHERE)
        return image

    def _needed(self) -> list[Path]:
        """What the steps of a build use of the host (paths outside, the same inside)."""
        from wrapper.conda.channels import local_directories
        from wrapper.pip.installer import local_places

        own = [Path(__file__).parent, self.space.root, self.space.cache]
        files = [path.absolute().parent for path in self.request.files]
        directory = self.inputs.directory
        places = local_places(os.environ, self.inputs.requirements, directory)
        places += local_directories(self.channels(), directory)
        users = [directory, Path.cwd(), Path(home_of(os.environ))]
        return [*own, *files, *places, *(path for path in users if path != Path("/"))]

    # -- packages --------------------------------------------------------------------------------
    def install_pip(self, container: BuildContainer, locked: Sequence[LockedPackage] = ()) -> None:
        """Install pip packages: ``locked`` ones exactly, and those that requirements ask for.

        An update says before what that changes.
        """
        if self.reuse:
            locked = self.reuse.missing(locked)
        requirements = self.inputs.requirements
        if not (requirements or locked):
            return
        with self.whole(container) as whole:
            pip = self.pip_installer(whole)
            if self.previous:
                self._tell_pip(pip, locked)
            with self.console.step("Installing pip packages"):
                if locked:
                    pip.install_locked(locked)
                if requirements:
                    pip.install(requirements)

    def _tell_pip(self, pip: Any, locked: Sequence[LockedPackage]) -> None:
        """:raises PackedError: something that is packed would be replaced."""
        before = self.packages_before() or []
        with self.console.step("Resolving pip packages"):
            after = self.with_pip(pip, before, locked)
        told = self.tell_changes(before, after)
        if self.packed and any(change.old for change in told):
            raise PackedError("pip packages are replaced")

    def with_pip(
        self, pip: Any, before: Sequence[LockedPackage], locked: Sequence[LockedPackage]
    ) -> list[LockedPackage]:
        """The packages ``before``, as they will be when pip packages are installed."""
        added, removed = list(locked), set[str]()
        if self.inputs.requirements:
            planned, removed = pip.plan(self.inputs.requirements)
            added += planned
        gone = removed | {package.canonical for package in added}
        return [*(p for p in before if p.canonical not in gone), *added]

    def pip_installer(self, container: BuildContainer) -> Any:
        """uv at work in the container (a :class:`~wrapper.pip.installer.PipInstaller`)."""
        from wrapper.pip.installer import PipInstaller

        return PipInstaller(
            container=container,
            directory=self.inputs.directory,
            reuse=self.reuse,
        )

    def _user_scripts(
        self, container: BuildContainer, scripts: Sequence[InputFile], kind: str
    ) -> None:
        from wrapper.scripts import run_user_script

        for script in scripts:
            with self.console.step(f"Running the {kind} script {script.name}"):
                run_user_script(
                    container,
                    script,
                    kind=kind,
                    variables={**self.variables, **(self.reuse.variables() if self.reuse else {})},
                    cache=self.space.cache,
                    channels=self.channels(),
                )

    def _packages(self, container: BuildContainer) -> list[LockedPackage]:
        """What is there in the end, whoever installed it; pip packages with hashes if possible."""
        present = installed.pip_distributions(self.tree)
        # What came by URL or path may be another package than the one of that version before.
        came = {name for name, found in present.items() if found.read_text("direct_url.json")}
        known = installed.still_installed(self.known_pip(), present)
        pip = [package for package in known if package.canonical not in came]
        for package in pip:
            present.pop(package.canonical, None)
        if present and self.has_lock:
            with self.console.step("Locking pip packages"):
                pip += self.pip_installer(container).lock(present, self.inputs.requirements)
        elif present:
            pip += map(installed.of_no_index, present.values())
        public = [replace(package, url=public_url(package.url)) for package in pip]
        packages = [*installed.conda_packages(self.tree), *public]
        require_left_out(self.inputs.left_out, {package.canonical for package in packages})
        return packages

    # -- finishing -------------------------------------------------------------------------------
    def _compile_and_lock(
        self, container: BuildContainer, packages: Sequence[LockedPackage]
    ) -> None:
        """At once: compiling is other processes."""
        locked = [package for package in packages if self.can_be_locked(package)]
        left = [package for package in packages if package not in locked]
        if left and self.has_lock:
            self.console.warning(describe_left_out(left))
        with ThreadPoolExecutor(1) as pool, self.console.step("Byte-compiling") as advance:
            writing = pool.submit(self.write_lock, locked, left)
            self.compile(container, advance)
            writing.result()

    def compile(self, container: BuildContainer, advance: Advance) -> None:
        """Byte-compile the tree's Python modules. :raises ScriptError: its Python fails."""
        from wrapper.bytecode import compile_modules

        compile_modules(container, advance, image_time=IMAGE_TIME, lent=LENT if self.packed else "")

    def _activation(self, container: BuildContainer) -> Activation:
        from wrapper.activation.record import record_activation, tell

        with self.console.step("Recording the activated environment"):
            fixed = {**self.own_variables(), **self.user_variables()}
            activation = record_activation(
                container, fixed, self._constant_places(), outside=self.has_shims
            )
        if not self.base.has_bash:
            return self._without_bash(activation)
        tell(activation, self.console)
        return activation

    def _constant_places(self) -> list[str]:
        """Directories inside, besides the environment's own, that are the same at every start."""
        places = [LENT] if self.packed else []  # what leads there is the environment's in the end
        if self.reuse and self.reuse.python.conda:
            places.append(self.reuse.python.conda.root)
        return places

    def _without_bash(self, activation: Activation) -> Activation:
        """Where no script can be sourced, what is recorded of them counts always."""
        if lost := [script.path for script in activation.scripts if script.why]:
            self.console.warning(
                "the base image has no bash, these are not sourced when a program starts: "
                + ", ".join(lost)
            )
        kept = [ActivationScript(path=s.path, changes=s.changes) for s in activation.scripts]
        return replace(activation, scripts=tuple(kept))

    def user_variables(self) -> dict[str, str]:
        """What is set in any case: the site's variables and, over them, the user's."""
        return {**self.request.site.variables, **self.variables}

    def environ(self) -> dict[str, str]:
        """The variables that came from ``--environ`` files, of earlier builds too."""
        return {**self.old("environ", {}), **self.inputs.environ}

    def programs(self) -> dict[str, str]:
        """Programs to get shims: name -> path below the tree."""
        found, warnings = tree.wrapped(
            self.tree, self.install_path, self.wrapper_paths, own=self.offers_bin
        )
        for warning in warnings:
            self.console.warning(warning)
        return found

    @property
    def keeps_modes(self) -> bool:
        """Whether modes in the image stay as they are, and with them the owners they are for: the
        kernel, which mounts the image of a set-uid runtime, enforces them.
        """
        return not self.request.site.fix_permissions

    def squash(
        self, root: Path, image: Path, title: str, compression: Compression | None = None
    ) -> None:
        """A tree into an image, told as the step ``title``.

        :param compression: another than that of the result.
        """
        with self.console.step(title) as advance:
            self.squasher.squash(
                root,
                image,
                compression=compression or self.compression,
                console=self.console,
                advance=advance,
                owners=self.keeps_modes,
            )
