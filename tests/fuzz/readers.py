"""The readers, each with good inputs to begin from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

from tests.account import REPOSITORY
from tests.images import sif_bytes, squashfs_bytes
from tests.unit.test_other_locks import PIXI, PYLOCK, UV
from wrapper import inputs as spec
from wrapper.base.catalogue import read_catalogue
from wrapper.base.definition import read_definition
from wrapper.base.facts import read_facts
from wrapper.console import Console
from wrapper.images.format import SANDBOX, ImageFormat, read_format
from wrapper.images.sif.file import read_sif
from wrapper.images.sif.systems import read_systems
from wrapper.images.squashfs import compressors, layout
from wrapper.images.squashfs.compressors import Compressor
from wrapper.images.squashfs.layout import Directory, File, Link, Superblock
from wrapper.images.squashfs.reader import Image, read_image
from wrapper.images.squashfs.writer import write_image
from wrapper.images.tree import ImageTree, parse_listing, read_tree
from wrapper.inputs.condarc import parse_condarc
from wrapper.inputs.kinds import refuse_condas
from wrapper.inputs.lockfile import write_lock
from wrapper.inputs.pip_lock import parse_requirements_lock, write_requirements_lock
from wrapper.inputs.project import project_lines
from wrapper.inputs.pylock import is_uv_lock, parse_pylock
from wrapper.inputs.requirements import read_requirements
from wrapper.inputs.tykky import parse_global, parse_tool
from wrapper.manifest import load_manifest
from wrapper.packages import LockedPackage
from wrapper.pip.uv_lock import projects
from wrapper.prefix.tykky_prefix import read_tykky_prefix
from wrapper.settings import load as load_site


@dataclass(frozen=True, kw_only=True)
class Reader:
    """:ivar seeds: makes good inputs. :ivar file: the name under which it gets them."""

    read: Callable[[Path], object]
    seeds: Callable[[], Sequence[bytes]]
    file: str = "input"


def _texts(*texts: str) -> Callable[[], Sequence[bytes]]:
    return lambda: [text.encode() for text in texts]


def _file(name: str) -> Callable[[], Sequence[bytes]]:
    return lambda: [(REPOSITORY / name).read_bytes()]


_PACKAGE = LockedPackage(
    manager="conda",
    name="python",
    version="3.11.2",
    build="h_0",
    url="https://conda.anaconda.org/conda-forge/linux-64/python-3.11.2-h_0.conda",
    sha256="0" * 64,
    md5="0" * 32,
    depends=("libc >=2",),
)
_WHEEL = LockedPackage(
    manager="pip",
    name="tabulate",
    version="0.9.0",
    url="https://index.example/tabulate-0.9.0-py3-none-any.whl",
    sha256="1" * 64,
)


def _written(write: Callable[[Path], object]) -> Callable[[], Sequence[bytes]]:
    def seeds() -> Sequence[bytes]:
        path = Path("seed")
        write(path)
        return [path.read_bytes()]

    return seeds


def _manifest() -> dict[str, object]:
    return {
        "format": 1,
        "tool": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
        "kind": "conda",
        "generation": 1,
        "prefix": "/x",
        "install_path": "/containerize-0123456789",
        "base": {"kind": "host", "name": "host"},
        "runtime": {"name": "apptainer", "version": "1.4.5", "path": "/usr/bin/apptainer"},
        "options": {"compression": "default", "wrapper_paths": []},
        "packages": [asdict(_PACKAGE), asdict(_WHEEL)],
        "variables": {"A": "b"},
        "image": {"sha256": "0" * 64, "size": 1},
        "tree": {"files": 1, "size": 1},
        "programs": 3,
    }


def _tykky(path: Path) -> object:
    prefix = path.parent
    (prefix / "bin").mkdir(exist_ok=True)
    (prefix / "_bin").mkdir(exist_ok=True)
    for name in ("img.sqfs", "container.sif"):
        (prefix / name).touch()
    if not (prefix / "_bin/python").is_symlink():
        (prefix / "_bin/python").symlink_to("/LUMI_TYKKY_x/miniforge/envs/env1/bin/python")
    return read_tykky_prefix(prefix).environment


_SYSTEM = {
    "etc/os-release": 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13"\n',
    ".singularity.d/labels.json": '{"a": "b", "org.label-schema.x": "1"}',
    ".singularity.d/env/10-docker.sh": 'export PATH="/usr/bin:/bin"\nexport A="${A:-"x"}"\n',
    "var/lib/dpkg/status": "Package: libmpich12\nVersion: 1:4.0.2-3\n\nPackage: x\nVersion: 2\n",
    "lib/apk/db/installed": "P:musl\nV:1.2.5-r1\n\n",
    "opt/rocm/.info/version": "6.2.4-134\n",
    "usr/lib/pkgconfig/mpich.pc": "Name: mpich\nVersion: 4.0.2\n",
    "lib/libc.so.6": "\x7fELF\0\0\0GNU C Library (Debian) stable release version 2.41.\n\0",
    "usr/bin/python3.11": "\x7fELF\0\x003.11.2\0",
    "usr/lib/libmpich.so.12": "\0MPICH Version:\t4.0.2\0",
}


def _facts(path: Path) -> object:
    """The bytes stand for every file of an image at once."""
    root = path.parent / "image"
    for name in _SYSTEM:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(path.read_bytes())
        (root / name).chmod(0o755)
    tree = read_tree(
        root,
        format=ImageFormat(kind=SANDBOX),
        unsquashfs=Path("/none"),
        scratch=path.parent,
        console=Console(-1),
    )
    return read_facts(tree)


_LISTING = """\
drwxr-xr-x root/root   84 2024-01-01 00:00 /etc
-rw-r--r-- root/root  267 2024-01-01 00:00 /etc/os-release
lrwxrwxrwx root/root    7 2024-01-01 00:00 /bin -> usr/bin
lrwxrwxrwx root/root    7 2024-01-01 00:00 /usr/bin/python3 -> python3.11
-rwxr-xr-x root/root 6839 2024-01-01 00:00 /usr/bin/python3.11
crw-rw-rw- root/root 1, 3 2024-01-01 00:00 /dev/null
"""


def _listing(path: Path) -> object:
    modes: dict[str, str] = {}
    links: dict[str, str] = {}
    parse_listing(path.read_bytes().decode("utf-8", "surrogateescape"), modes, links)
    tree = ImageTree(
        path=path.parent / "image",
        format=ImageFormat(kind=SANDBOX),
        unsquashfs=Path("/none"),
        scratch=path.parent,
        console=Console(-1),
        modes=modes,
        links=links,
    )
    return read_facts(tree)


def _sif(path: Path) -> object:
    found = read_sif(path)
    return read_format(path), [found.read(item) for item in found.objects], found.primary


def _squashfs_image() -> Sequence[bytes]:
    """An image whose tables are not compressed, so that a broken byte is a broken table."""
    block = 4096
    Path("data").write_bytes(bytes(range(256)) * 20)
    source = Image(
        path=Path("data"),
        superblock=Superblock(
            **{name.name: 0 for name in fields(Superblock)}
            | {"block_size": block, "compression": 1}
        ),
        root=Directory(mode=0o755, time=1),
        fragments=[(block, 700 | layout.RAW)],
        options=b"",
    )
    file = partial(File, image=source.path, mode=0o644, time=2, sparse=0, start=0)
    whole = file(size=block + 9, blocks=(block | layout.RAW,), fragment=0, offset=3)
    source.root.entries = {
        "whole": whole,
        "again": whole,
        "small": file(size=5, blocks=(), fragment=0, offset=100),
        "hole": file(size=2 * block, blocks=(0, 0), fragment=layout.NONE, offset=0),
        "link": Link(mode=0o777, time=3, target="d/e"),
        "d": Directory(mode=0o755, time=4, entries={"e": Directory(mode=0o700, time=5)}),
    }
    as_it_is = Compressor(number=compressors.GZIP, options=b"", compress=lambda data: data)
    Path("seed.sqfs").unlink(missing_ok=True)
    write_image(Path("seed.sqfs"), source.root, [source], compressor=as_it_is)
    return [Path("seed.sqfs").read_bytes()]


def _squashfs(path: Path) -> object:
    image = read_image(path)
    files = [node for _, node in image.root.walk() if isinstance(node, File)]
    return [sum(map(len, image.contents(file))) for file in files if file.size < 1 << 24]


_ENVIRONMENT = """\
name: x
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.11
  - conda-forge::numpy >=1.26,<3
  - pip
  - pip:
      - tabulate>=0.9 # a comment
      - -r requirements.txt
variables:
  A: "1"
  B: &b two words
"""
_REQUIREMENTS = """\
--extra-index-url https://user:${TOKEN}@index.example/simple
-c constraints.txt
numpy[x,y] >= 1.26, <3 ; python_version > "3.8"  # why
torch @ https://index.example/torch-2.0-cp311-cp311-linux_x86_64.whl
-e ./package[extra]
git+https://host.example/p@v1#egg=p
pyyaml==6.0 --hash=sha256:DIGEST \\
    --hash=sha256:DIGEST
./a/b.tar.gz
""".replace("DIGEST", "a" * 64)


def _with_surroundings() -> Sequence[bytes]:
    """Requirements, and what they name beside them."""
    Path("constraints.txt").write_text("numpy<3\n")
    Path("a").mkdir()
    Path("a/b.tar.gz").touch()
    Path("package").mkdir()
    Path("package/setup.py").touch()
    return [_REQUIREMENTS.encode()]


def _pylock() -> Sequence[bytes]:
    Path("common").mkdir()
    Path("common/setup.py").touch()
    return [PYLOCK.encode()]


READERS: dict[str, Reader] = {
    "environment": Reader(read=spec.read_spec, seeds=_texts(_ENVIRONMENT), file="env.yml"),
    "explicit": Reader(
        read=spec.read_spec,
        seeds=_texts(f"# platform: linux-64\n@EXPLICIT\n{_PACKAGE.url}#{'0' * 32}\n"),
    ),
    "conda-list": Reader(
        read=spec.read_spec,
        seeds=_texts("# platform: linux-64\npython=3.11.4=h1_0\nx::b >=1,<2\nc=1=pypi_0\n"),
    ),
    "conda-lock": Reader(
        read=spec.read_spec,
        seeds=_written(lambda path: write_lock([_PACKAGE, _WHEEL], ["c"], path)),
    ),
    "pixi-lock": Reader(read=spec.read_spec, seeds=_texts(PIXI), file="pixi.lock"),
    "pylock": Reader(
        read=lambda path: parse_pylock(spec.read_text(path), path, ["x"]).text(),
        seeds=_pylock,
        file="pylock.toml",
    ),
    "uv-lock": Reader(  # as far as it is read here: uv reads the rest, in a time of its own
        read=lambda path: (is_uv_lock(text := spec.read_text(path)), projects(text, path.parent)),
        seeds=_texts(UV),
        file="uv.lock",
    ),
    "requirements": Reader(
        read=lambda path: read_requirements([f"-r {path}"], path.parent, "here"),
        seeds=_with_surroundings,
    ),
    "requirements-lock": Reader(
        read=lambda path: parse_requirements_lock(spec.read_text(path), path),
        seeds=_written(lambda path: write_requirements_lock([_WHEEL], path)),
    ),
    "misplaced": Reader(
        read=lambda path: refuse_condas(spec.read_text(path), path),
        seeds=_texts(_REQUIREMENTS, _ENVIRONMENT),
    ),
    "pyproject": Reader(
        read=lambda path: project_lines(path, ["x"], ["dev"]),
        seeds=_texts(
            '[project]\nname = "p"\ndependencies = ["a>=1"]\n[project.optional-dependencies]\n'
            'x = ["b"]\n[dependency-groups]\ndev = ["c", {include-group = "e"}]\ne = ["d"]\n'
        ),
    ),
    "variables": Reader(
        read=spec.read_variables, seeds=_texts("A=1\nexport B='x y' C=\"z\"\n# no\nD=\n")
    ),
    "condarc": Reader(
        read=lambda path: parse_condarc(spec.read_text(path), path),
        seeds=_texts(
            "channels: [a, b]\ncustom_channels:\n  c: https://h.example\nchannel_alias: https://h\n"
            "default_channels: &d [x]\ncustom_multichannels:\n  m: *d\n"
        ),
    ),
    "site": Reader(
        read=lambda path: load_site({"CONTAINERIZE_SITE": str(path.absolute())}),
        seeds=_file("sites/lumi.yml"),
        file="site.yml",
    ),
    "tykky-site": Reader(
        read=lambda path: parse_global(spec.read_text(path), path),
        seeds=_texts(
            "defaults: &d\n  cont_path: x\n  sqfs_options: -comp 'gzip'\n"
            "  build_tmpdir: $TMPDIR/x\n"
            "force:\n  excluded_mount_points: [/tmp, /etc]\nappends:\n  <<: *d\n"
        ),
    ),
    "tykky-tool": Reader(
        read=lambda path: parse_tool(spec.read_text(path), path),
        seeds=_texts(
            "mode: conda\nenv_file: env.yml\npre_install: [a, {file: b.sh}]\nwrapper_paths: bin,x\n"
            "extra_envs:\n  - {name: A, value: b, type: set}\nrequirements_file: r.txt\n"
        ),
    ),
    "tykky-prefix": Reader(
        read=_tykky,
        seeds=_texts(
            "export INSTALLATION_PATH=/LUMI_TYKKY_x\nSQFS_IMAGE=img.sqfs\n"
            "CONTAINER_IMAGE=container.sif\nexport A='b c'\nexport D=$(id)\n_CW_IS_ISOLATED=yes\n"
        ),
        file="common.sh",
    ),
    "manifest": Reader(
        read=lambda path: load_manifest(path, path.parent),
        seeds=lambda: [json.dumps(_manifest(), indent=1).encode()],
        file="manifest.json",
    ),
    "catalogue": Reader(
        read=read_catalogue, seeds=_file("base_images/catalogue.toml"), file="catalogue.toml"
    ),
    "definition": Reader(
        read=read_definition, seeds=_file("base_images/rocm.def"), file="image.def"
    ),
    "definition-lock": Reader(
        read=lambda path: (
            path.with_name("image.def").write_text("Bootstrap: debootstrap\n%help\nx\n"),
            read_definition(path.with_name("image.def")),
        ),
        seeds=_file("base_images/minimal.lock"),
        file="image.lock",
    ),
    "image-facts": Reader(
        read=_facts, seeds=lambda: [text.encode("latin-1") for text in _SYSTEM.values()]
    ),
    "image-listing": Reader(read=_listing, seeds=_texts(_LISTING)),
    "sif": Reader(
        read=_sif,
        seeds=lambda: [sif_bytes([(2, 1, squashfs_bytes(500)), (4, 1, squashfs_bytes(300))])],
        file="image.sif",
    ),
    "squashfs-header": Reader(read=read_format, seeds=lambda: [squashfs_bytes(400)]),
    "squashfs": Reader(read=_squashfs, seeds=_squashfs_image, file="image.sqfs"),
    "systems": Reader(
        read=read_systems,
        seeds=_texts('{"lumi-g": {"base-image": "/a.sif"}, "x": {"base-image": "b"}}'),
    ),
}
