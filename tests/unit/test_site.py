"""Site configuration: which of many sources has the last word, and who is told so."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from wrapper import settings as module
from wrapper.errors import InputError
from wrapper.models import Site
from wrapper.settings import describe, load
from wrapper.settings_keys import KEYS


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("option", "variable", "site", "tykky", "tmpdir", "forced"):
        (tmp_path / name).mkdir()
    return tmp_path


def site_file(place: Path, text: str) -> dict[str, str]:
    """An environment that names a site's file with this text."""
    (place / "site.yml").write_text(text)
    return {"CONTAINERIZE_SITE": str(place / "site.yml")}


def tykky_file(place: Path, text: str) -> dict[str, str]:
    (place / "tykky.yaml").write_text(text)
    return {"CONTAINERIZE_SITE": "", "CW_GLOBAL_YAML": str(place / "tykky.yaml")}


# -- the order -----------------------------------------------------------------------------------
def test_every_key_is_a_field_and_is_explained() -> None:
    assert set(KEYS) <= {field.name for field in fields(Site)}
    assert all(key.help for key in KEYS.values())


def test_later_sources_win_and_are_known(place: Path) -> None:
    """TMPDIR < site's file < Tykky's file < variable < option < what a file forces."""
    everything = {
        **site_file(place, f"tmpdir: {place}/site\n"),
        "CW_GLOBAL_YAML": str(place / "tykky.yaml"),
        "CW_BUILD_TMPDIR": f"{place}/variable",
        "TMPDIR": f"{place}/tmpdir",
    }
    (place / "tykky.yaml").write_text(f"defaults:\n  build_tmpdir_base: {place}/tykky\n")
    options = {"tmpdir": place / "option"}
    found = load(everything, options)
    assert (found.tmpdir, found.origins["tmpdir"]) == (place / "option", "--tmpdir")
    assert found.chosen == {"tmpdir"}
    for variable, name, origin in (
        ("", "variable", "CW_BUILD_TMPDIR"),
        ("CW_BUILD_TMPDIR", "tykky", f"{place}/tykky.yaml"),
        ("CW_GLOBAL_YAML", "site", f"{place}/site.yml"),
        ("CONTAINERIZE_SITE", "tmpdir", "TMPDIR"),
    ):
        everything.pop(variable, None)
        if variable == "CONTAINERIZE_SITE":
            everything["CONTAINERIZE_SITE"] = ""
        found = load(everything)
        assert (found.tmpdir, found.origins["tmpdir"]) == (place / name, origin)
    assert load({"CONTAINERIZE_SITE": ""}).tmpdir == Path("/tmp")


def test_what_a_site_forces_nobody_changes(place: Path) -> None:
    environ = site_file(place, f"compression: fast\nforce:\n  tmpdir: {place}/forced\n")
    environ |= {"CW_GLOBAL_YAML": str(place / "t"), "CW_BUILD_TMPDIR": f"{place}/variable"}
    (place / "t").write_text(f"force:\n  build_tmpdir_base: {place}/tykky\n")
    found = load(environ, {"tmpdir": place / "option"})
    assert found.tmpdir == place / "forced"
    assert found.origins["tmpdir"] == f"{place}/site.yml (forced)"
    assert any("--tmpdir has no effect" in warning for warning in found.warnings)
    assert (found.compression, "compression" in found.chosen) == ("fast", False)


def test_a_forced_path_whose_variable_is_not_set_forces_nothing(place: Path) -> None:
    environ = site_file(place, "force:\n  tmpdir: $NOT_SET_HERE\n")
    found = load(environ, {"tmpdir": place / "option"})
    assert (found.tmpdir, found.warnings) == (place / "option", ())
    assert found.origins["tmpdir"] == "--tmpdir"


def test_empty_variables_are_none_and_tykkys_count_by_being_set() -> None:
    environ = {"CONTAINERIZE_SITE": "", "CW_BUILD_TMPDIR": "", "CONTAINERIZE_CACHE_DIR": ""}
    found = load({**environ, "CW_DEBUG_KEEP_FILES": "", "CW_NO_FIX_PERM": "0"})
    assert (found.tmpdir, found.cache) == (Path("/tmp"), None)
    assert (found.keep_files, found.fix_permissions) == (True, False)
    plain = load(environ)
    assert (plain.keep_files, plain.fix_permissions) == (False, True)


# -- our own format ------------------------------------------------------------------------------
def test_everything_that_a_site_can_set(place: Path) -> None:
    text = f"""
tmpdir: [{place}/missing, $NO_SUCH_VARIABLE, '{place}/$WHERE', /tmp]
cache: $NO_SUCH_VARIABLE
runtime: /opt/apptainer
prefix: {place}/here
install_path: /LUMI
channels: [a, b]
mirrors:
  conda-forge: https://mirror/conda-forge
  defaults: [https://mirror/main, https://mirror/r]
compression: small
squashfs_options: -comp gzip -noappend -mem 1G
processors: 4
base_images: [/appl/images, $NO_SUCH_VARIABLE, beside.toml]
binds: ['/data:/mnt:ro']
exclude_binds: [/tmp]
variables:
  A: "$(touch /tmp/evil)"
message: Read the manual.
"""
    environ = site_file(place, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHERE", "site")
        patch.delenv("NO_SUCH_VARIABLE", raising=False)
        found = load(environ)
    assert found == Site(
        tmpdir=place / "site",
        runtime="/opt/apptainer",
        prefix=place / "here",
        install_path="/LUMI",
        channels=("a", "b"),
        mirrors={
            "conda-forge": ("https://mirror/conda-forge",),
            "defaults": ("https://mirror/main", "https://mirror/r"),
        },
        compression="small",
        squashfs_options=("-comp", "gzip", "-mem", "1G"),
        processors=4,
        base_images=(Path("/appl/images"), place / "beside.toml"),
        binds=("/data:/mnt:ro",),
        exclude_binds=("/tmp",),
        variables={"A": "$(touch /tmp/evil)"},
        message="Read the manual.",
        origins=found.origins,
        file=place / "site.yml",
    )
    assert set(found.origins.values()) == {f"{place}/site.yml"}
    rows = {name: (value, origin) for name, value, origin in describe(found)}
    assert rows["mirrors"][0].startswith("conda-forge=https://mirror/conda-forge defaults=")
    assert rows["keep_files"] == ("no", "default")


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("colour: [", "not valid YAML", 1),
        ("- a\n", "not a mapping", 1),
        ("compression: best\n", "must be fast, default, small, or zstd", 1),
        ("compression: zstd:99\n", "which may have a level", 1),
        ("squashfs_options: -comp brotli\n", "-comp brotli; there are gzip, lz4", 1),
        ("x: 1\nprocessors: many\n", "must be a number", 2),
        ("fix_permissions: perhaps\n", "must be yes or no", 1),
        ("install_path: /opt/env\n", "must be a directory of the root", 1),
        ("binds: ['/a\"b']\n", "must be a list of absolute paths", 1),
        ("binds: ['/a,/b']\n", "must be a list of absolute paths", 1),
        ("variables: {IFS: x}\n", "cannot be a variable's", 1),
        ("squashfs_options: -root-mode 777\n", "'-root-mode'", 1),
        ("force:\n  log_level: loud\n", "must be a number", 2),
        ("partitions:\n  small:\n    nodes: 4\n    time: 3:00:00\n", "quotes", 4),
        ("partitions:\n  small: {nodes: 4,\n    core: 128}\n", "did you mean cores?", 3),
        ("force:\n  partitions:\n    small:\n      memory: much\n", "such as 480G", 4),
        ("partitions: [small]\n", "must have lines 'KEY: value'", 1),
        ("gpus:\n  per_node: eight\n", "must be a number", 2),
        ("gpus:\n  cpu_masks: [0x1, here]\n", "a mask of processors", 2),
        ("gpus:\n  cpu_masks: [0x1, 0x0]\n", "a mask of processors", 2),
        ("gpus:\n  cpu_masks: ['-0xfe']\n", "a mask of processors", 2),
        ("mounts: [/pfs/lustrep1]\n", "must be a directory of the root", 1),
        ("image_binds:\n  '*': [pfs]\n", "must be a list of absolute paths", 2),
        ("x: 1\nhost_programs: [srun, /opt/bin/srun]\n", "programs' names.*'/opt/bin/srun'", 2),
        ("host_programs: ['srun,/etc:/mnt']\n", "must be a list of programs' names", 1),
        ("host_programs: [srun, .., ssh]\n", "must be a list of programs' names", 1),
        ("detect:\n  files: [/pfs/lustrep1/x]\n", "must be a file of the node's own", 2),
        ("detect:\n  cluster: x\n", "did you mean clusters?", 2),
        ("sources:\n  mounts: the manual\n", "of which day", 2),
    ],
)
def test_mistakes_have_a_place(place: Path, text: str, what: str, line: int) -> None:
    with pytest.raises(InputError, match=what) as caught:
        load(site_file(place, text))
    assert f"site.yml, line {line}" in str(caught.value.where)


@pytest.mark.parametrize("text", ["", "# tmpdir: /there\n"])
def test_a_file_may_be_commented_out(place: Path, text: str) -> None:
    (place / "condarc").write_text(text)
    more = {"CW_ENABLE_CONDARC": "1", "CONDARC": str(place / "condarc")}
    found = load({**site_file(place, text), **more})
    assert (found.warnings, found.more_channels) == ((), ())
    assert load(tykky_file(place, text)).warnings == ()


def test_unknown_settings_are_named(place: Path) -> None:
    found = load(site_file(place, "colour: blue\nforce:\n  shape: round\nimage_bind: {}\n"))
    assert [w.rsplit(": ", 1)[1] for w in found.warnings] == [
        "unknown setting 'colour' is ignored",
        "unknown setting 'shape' is ignored",
        "unknown setting 'image_bind' is ignored; did you mean image_binds?",
    ]


def test_sites_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load({"CONTAINERIZE_SITE": "lumi"})
    assert found.origins["processors"].endswith("lumi.yml") and found.processors == 8
    assert found.warnings == ()
    with pytest.raises(InputError, match="no site is called 'moon'") as caught:
        load({"CONTAINERIZE_SITE": "moon"})
    assert "there are: frontier, generic-slurm, local, lumi, roihu" in caught.value.hint
    with pytest.raises(InputError, match="no site is called 'lummi'") as caught:
        load({"CONTAINERIZE_SITE": "lummi"})
    assert caught.value.hint.startswith("did you mean lumi?")


def test_an_installed_file_is_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "etc/containerize").mkdir(parents=True)
    (place / "etc/containerize/site.yml").write_text("compression: fast\n")
    monkeypatch.setattr(module.sys, "prefix", str(place))  # type: ignore[attr-defined]
    assert load({}).compression == "fast"
    assert load({"CONTAINERIZE_SITE": ""}).compression == "default"


# -- Tykky's format ------------------------------------------------------------------------------
def test_tykkys_keys_have_their_meaning(place: Path) -> None:
    found = load(
        tykky_file(
            place,
            f"""
defaults:
    log_level: 3
    env_name: env1
    conda_version: latest
    installation_prefix: {place}
    installation_path: "/SITE_TYKKY"
    composable: true
    container_src: auto
    container_image: container.sif
    sqfs_image: img.sqfs
    source_mount_point: /TMP_MP
    mount_points: [/scratch]
    excluded_mount_points: [/local]
    isolate: no
    create_wrappers: yes
    wrap_all: no
    num_cpus: 8
    sqfs_options: "-noappend -mem 10000M"
    add_ld: yes
    extra_envs:
      - {{name: SITE, value: yes, type: set}}
force:
    build_tmpdir_base: {place}/forced
    max_num_cpus: 3
    workdir: $PWD
    singularity_executable_path: "/usr/bin/singularity"
appends:
    excluded_mount_points: [/after]
prepends:
    excluded_mount_points: [/before]
""",
        )
    )
    assert found.warnings == ()
    assert (found.log_level, found.prefix, found.install_path) == (3, place, "/SITE_TYKKY")
    assert (found.tmpdir, found.runtime) == (place / "forced", "/usr/bin/singularity")
    assert (found.processors, found.squashfs_options) == (3, ("-mem", "10000M"))
    assert found.exclude_binds == ("/before", "/local", "/after")
    assert found.variables == {"SITE": "yes"}
    assert found.origins["exclude_binds"].count("tykky.yaml") == 3


def test_what_has_no_meaning_is_named_in_one_warning_and_never_run(place: Path) -> None:
    evil = place / "evil"
    text = f"""
defaults:
    container_src: docker://opensuse/leap
    isolate: yes
    tykky_abuse: "\\" ; touch {evil} \\"NOTHING"
    installation_path: /a/b
    sqfs_options: -root-mode 777
    build_tmpdir_base: $(touch {evil})
    conda_arch: "`touch {evil}`"
strange: {{}}
"""
    found = load(tykky_file(place, text))
    (warning,) = found.warnings
    assert warning.startswith(f"{place}/tykky.yaml: without effect: strange")
    for name in ("isolate (", "tykky_abuse (unknown here)"):
        assert name in warning
    assert "container_src" not in warning, "'isolate' says it"
    assert "installation_path (it must be" in warning and "sqfs_options -root-mode" in warning
    assert not evil.exists()


def test_a_place_to_build_that_tykkys_site_forces_gives_way(place: Path) -> None:
    """All of Tykky's own sites force one, and its users set CW_BUILD_TMPDIR all the same."""
    environ = tykky_file(place, f"force:\n  build_tmpdir_base: {place}/forced\n")
    assert load(environ).tmpdir == place / "forced"
    assert load({**environ, "CW_BUILD_TMPDIR": str(place)}).tmpdir == place
    found = load(environ, {"tmpdir": place / "option"})
    assert found.tmpdir == place / "option" and found.warnings == ()


def test_options_of_mksquashfs_may_be_a_list(place: Path) -> None:
    environ = tykky_file(place, "defaults:\n  sqfs_options: [-noappend, -b, 1M]\n")
    assert load(environ).squashfs_options == ("-b", "1M")


@pytest.mark.parametrize("section", ["defaults", "force"])
def test_a_mistake_is_told_with_its_own_line(place: Path, section: str) -> None:
    text = f"{section}:\n  add_ld: yes\n  env_name: env1\n  log_level: loud\n"
    with pytest.raises(InputError) as caught:
        load(tykky_file(place, text))
    assert f"{place}/tykky.yaml, line 4, column 3: log_level" == str(caught.value.where)


@pytest.mark.parametrize("text", ["defaults:\n\nforce:\n", "defaults:\n"])
def test_empty_sections_are_nothing(place: Path, text: str) -> None:
    found = load(tykky_file(place, text))
    assert found == Site(tmpdir=found.tmpdir, origins=found.origins)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("defaults: [a]\n", "must be a mapping"),
        ("defaults:\n  log_level: loud\n", "must be a number"),
        ("defaults:\n  extra_envs: [{value: x}]\n", "neither 'file:' nor 'name:'"),
        ("defaults:\n  extra_envs: [{name: A, value: x, type: append}]\n", "has the type 'append'"),
        ("defaults:\n  extra_envs: [{name: A, value: [x]}]\n", "'A' must have one value"),
        ("defaults:\n  sqfs_options: -comp 'zstd\n", "No closing quotation"),
        ("defaults:\n  sqfs_options: -b 1M -comp\n", "has -comp without a value"),
        ("defaults:\n  sqfs_options: -comp -b 1M\n", "has -comp without a value"),
        ("prepends:\n  log_level: 3\n", "nothing can be added"),
        ("appends:\n  build_tmpdir_base: $NOT_SET_HERE\n", "nothing can be added"),
    ],
)
def test_mistakes_in_tykkys_files_have_a_place(place: Path, text: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        load(tykky_file(place, text))
    assert "tykky.yaml, line" in str(caught.value.where)


# -- .condarc ------------------------------------------------------------------------------------
CONDARC = """
channels: [bioconda, conda-forge]
channel_alias: https://alias/
custom_channels: {mine: https://custom}
default_channels: [https://d/main]
ssl_verify: false
auto_activate_base: false
"""


def test_condarc_counts_only_where_it_is_wanted(place: Path) -> None:
    (place / ".condarc").write_text(CONDARC)
    environ: dict[str, Any] = {"HOME": str(place), "CONTAINERIZE_SITE": ""}
    assert load(environ).more_channels == ()
    found = load({**environ, "CW_ENABLE_CONDARC": ""})
    assert found.more_channels == ("bioconda", "conda-forge")
    assert found.mirrors == {
        "mine": ("https://custom/mine",),
        "*": ("https://alias",),
        "defaults": ("https://d/main",),
    }
    assert found.warnings == (f"{place}/.condarc: without effect: ssl_verify (set SSL_CERT_FILE)",)


def test_a_condarc_that_is_not_there(place: Path) -> None:
    found = load({"HOME": str(place), "CONTAINERIZE_SITE": "", "CW_ENABLE_CONDARC": "1"})
    assert found.warnings == (f"CW_ENABLE_CONDARC is set, but there is no {place}/.condarc",)
