"""Programs of the host for an image: their scripts, what they need, who runs Slurm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.manifests import manifest
from wrapper.cli.report import sif_lines
from wrapper.console import Console
from wrapper.models import HostPrograms
from wrapper.prefix.host_programs import changed, gone, put
from wrapper.prefix.shims import shim
from wrapper.requests import Result
from wrapper.runtime.host_program import HOST_ROOT

PASSWD = "root:x:0:0:root:/root:/bin/sh\n"
LINE = "slurm:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n"
UID = 640300  # nobody's here


class Host:
    """A PATH with programs of a host, whose Slurm is ``config``."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin = root / "bin"
        self.bin.mkdir()
        self.generation = root / "generation"
        self.generation.mkdir()
        self.plugins = root / "plugins"
        self.plugins.mkdir()
        monkeypatch.setenv("PATH", f"{self.bin}:/usr/bin:/bin")
        self.slurm(f"SlurmUser  = slurm({UID})", f"PluginDir = {self.plugins}")

    def slurm(self, *config: str, status: int = 0) -> None:
        lines = "".join(f"echo '{line}'\n" for line in config)
        self.script("scontrol", f"{lines}exit {status}")

    def script(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def put(self, *wanted: str, passwd: str = PASSWD) -> HostPrograms:
        return put(self.generation, wanted, lambda: passwd, Console(-1))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path, monkeypatch)
    (host.bin / "srun").symlink_to("/usr/bin/env")
    return host


def test_a_script_starts_the_hosts_own_by_the_hosts_loader(host: Host, tmp_path: Path) -> None:
    """Seen here with the host's root at another place than inside."""
    assert host.put("srun").names == ("srun",)
    script = host.generation / "host/srun"
    assert script.stat().st_mode & 0o777 == 0o755
    moved = tmp_path / "moved"
    moved.write_text(script.read_text().replace(HOST_ROOT, ""))
    out = subprocess.check_output(["sh", moved, "-i", "A=a b", "/bin/sh", "-c", 'echo "$A"'])
    assert out == b"a b\n"


def test_a_program_that_has_moved_since_is_told(host: Host) -> None:
    """An update makes another generation then, and doctor says so."""
    assert gone(host.generation) == []
    shutil.copy("/usr/bin/env", host.bin / "squeue")
    host.put("srun", "squeue")
    assert gone(host.generation) == []
    (host.bin / "squeue").unlink()
    assert gone(host.generation) == ["squeue"]


@pytest.mark.parametrize("text", ["", "#!/bin/sh\nexec '\n", "exec ls -l", "\udcff"])
def test_a_damaged_script_counts_as_gone(host: Host, text: str) -> None:
    host.put("srun")
    (host.generation / "host/srun").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert gone(host.generation) == ["srun"]


def test_other_names_are_a_change_as_far_as_the_host_has_them(host: Host) -> None:
    (host.bin / "ssh").unlink(missing_ok=True)
    (host.bin / "ssh").symlink_to("/usr/bin/env")
    host.script("sbatch", "exec ssh login sbatch")
    host.put("srun", "sbatch", "no-such-thing")
    assert not changed(host.generation, ["srun", "sbatch", "no-such-thing"])
    assert changed(host.generation, ["srun", "ssh"])
    assert changed(host.generation, [])
    (host.bin / "salloc").symlink_to("/usr/bin/env")
    assert changed(host.generation, ["srun", "salloc"])
    host.slurm(status=1)
    assert not changed(host.generation, ["srun", "salloc"])


@pytest.mark.parametrize("end", ["\n", "", "\n\n"])
def test_who_runs_slurm_is_added_to_those_of_the_image(host: Host, end: str) -> None:
    passwd = PASSWD.rstrip("\n") + end
    assert host.put("srun", passwd=passwd).users == PASSWD + LINE.format(uid=UID)


def test_an_image_without_users_gets_none(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert host.put("srun", passwd="").users == ""
    assert "no users in /etc/passwd: slurm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("user", "passwd"),
    [(f"slurm({UID})", PASSWD + LINE.format(uid=UID)), ("root(0)", PASSWD), ("(null)", PASSWD)],
)
def test_where_the_image_has_them_it_stays_as_it_is(host: Host, user: str, passwd: str) -> None:
    host.slurm(f"SlurmUser = {user}")
    assert host.put("srun", passwd=passwd).users == ""


def test_what_slurm_reads_is_bound_where_an_image_has_others(host: Host) -> None:
    host.slurm(
        *("SLURM_CONF = /etc/default/slurm.conf", "PluginDir = /usr/lib:/nowhere:/tmp"),
        "AuthInfo = ttl=9,socket=/var/lib/socket.2",
    )
    binds = host.put("srun").binds
    assert binds[:4] == (f"/:{HOST_ROOT}", "/etc/default", "/usr/lib", "/var/lib")
    assert set(binds[4:]) <= {"/run/munge", "/run/slurm"}


def test_where_slurm_does_not_answer_its_programs_are_left_out(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.slurm("slurm_load_ctl_conf error", status=1)
    (host.bin / "ssh").unlink(missing_ok=True)
    (host.bin / "ssh").symlink_to("/usr/bin/env")
    assert host.put("srun", "ssh") == HostPrograms(names=("ssh",), binds=(f"/:{HOST_ROOT}",))
    told = capsys.readouterr().err
    assert "Slurm does not answer" in told and "these of this machine: srun" in told


def test_shims_and_scripts_are_no_programs_of_the_host(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shim would start a container in one; a script wants the host's shell."""
    host.script("squeue", "exec ssh login squeue")
    (host.bin / "ssh").write_text(shim(Path("/p"), Path("/usr/bin/apptainer")))
    (host.bin / "ssh").chmod(0o755)
    assert host.put("squeue", "ssh", "no-such-thing") == HostPrograms()
    assert "squeue, ssh, no-such-thing" in capsys.readouterr().err
    assert not (host.generation / "host").exists()


def test_how_programs_in_a_sif_call_them_is_told(tmp_path: Path) -> None:
    (image := tmp_path / "my image.sif").touch()
    result = Result(prefix=image, manifest=manifest(install_path="/containerize"), seconds=1.0)
    (told,) = [line for line in sif_lines(result, ("srun", "ssh")) if "srun, ssh" in line]
    assert told.endswith(f": wrap-container -w /containerize/bin --prefix DIR '{image}'")
    assert len(sif_lines(result)) == 1
