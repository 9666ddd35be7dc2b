"""Studies on a real Slurm: both nodes, two users on shared nodes, preemption, a time limit. No number may change.

    python -m tests.system.slurm --figures build/slurm.json

Needs root and Debian's packages slurmctld, slurmd, slurm-client and munge. A controller and two node daemons of its own
run on this machine, on ports and in a folder of their own, and end with it.
"""

import argparse
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from math import ceil
from pathlib import Path

from tests.support.disturbed import difference, numbers
from tests.support.water_study import make_water, water_study

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "infra" / "slurm"
DAEMONS = ("slurmctld", "slurmd", "munged", "sbatch")
OTHER_USER = "nobody"
USUAL = 60.0
"""Seconds of the undisturbed run on two quiet cores; limits of time grow with what it takes."""
CONFIGURATION = """
ClusterName=tesseral
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=30
InactiveLimit=0
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=2 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=2 State=UNKNOWN
PartitionName=usual Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE State=UP
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP
"""


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens at now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Slurm:
    """A controller and two node daemons, n1 and n2 with two CPUs each.

    :param folder: of its own files.
    :param python: environment of the jobs.
    :param patience: factor of all time limits: a machine may be slow, or busy.
    """

    def __init__(self, folder: Path, python: Path, patience: float) -> None:
        self.folder, self.python, self.patience = folder, python, patience
        for name in ("state", "munge", "spool-n1", "spool-n2"):
            (folder / name).mkdir()
        port, first, second = free_ports(3)
        self.conf = folder / "slurm.conf"
        self.conf.write_text(
            CONFIGURATION.format(host=socket.gethostname(), folder=folder, port=port, first=first, second=second)
        )
        self.environment = os.environ | {"SLURM_CONF": str(self.conf)}

    @contextmanager
    def running(self) -> Iterator["Slurm"]:
        """Start the daemons, and end them at last."""
        munge = self.folder / "munge"
        (munge / "key").write_bytes(secrets.token_bytes(128))
        (munge / "key").chmod(0o400)
        names = {"key": "key", "socket": "socket", "pid": "pid", "log": "log", "seed": "seed"}
        places = [f"--{what}-file={munge / name}" for what, name in names.items() if what != "socket"]
        with ExitStack() as stack:
            self._start(stack, ["munged", "--foreground", "--force", f"--socket={munge / 'socket'}", *places])
            self._until(lambda: (munge / "socket").exists(), "munge does not start")
            self._start(stack, ["slurmctld", "-D", "-f", str(self.conf)])
            for node in ("n1", "n2"):
                self._start(stack, ["slurmd", "-D", "-N", node, "-f", str(self.conf)])
            self._until(lambda: self.ask("sinfo", "-h", "-o", "%D %t") == "2 idle", "the nodes are not idle")
            yield self
            self.ask("scancel", "--state=PENDING,RUNNING", "--user=root")

    def _start(self, stack: ExitStack, command: list[str]) -> None:
        log = stack.enter_context((self.folder / f"{command[0]}-{len(os.listdir(self.folder))}.out").open("w"))
        process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log, env=self.environment))
        stack.callback(process.terminate)

    def _until(self, condition: Callable[[], bool], why: str, seconds: float = 60.0) -> None:
        seconds *= self.patience
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = "\n".join(path.read_text()[-1500:] for path in self.folder.glob("*.log"))
                raise AssertionError(f"{why} after {seconds:g} s\n{logs}")
            time.sleep(0.2)

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def state(self, job: str) -> str:
        """State of a job, such as RUNNING; COMPLETED:0 with its exit code once it has ended."""
        shown = self.ask("scontrol", "-o", "show", "job", job)
        state = re.search(r"JobState=(\w+)", shown)
        code = re.search(r"ExitCode=(\d+)", shown)
        if state is None:
            return "UNKNOWN"
        ended = state[1] in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "PREEMPTED")
        return f"{state[1]}:{code[1] if code else ''}" if ended else state[1]

    def submit(self, script: str, folder: Path, study: str, *options: str, user: str = "") -> str:
        """Submit a study, and return its job's number."""
        command = ["sbatch", "--parsable", *([f"--uid={user}"] if user else []), f"--chdir={folder}", *options]
        command += [str(SCRIPTS / script), f"{study}.toml"]
        environment = self.environment | {"TESSERAL_ENV": str(self.python), "TESSERAL_STORAGE": str(folder)}
        if user:
            environment["HOME"] = str(folder)
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().split(";")[0]

    def wait(self, job: str, expected: str, seconds: float = 400.0) -> None:
        """Wait until a job has a state."""
        self._until(lambda: self.state(job).startswith(expected), f"job {job} is not {expected}", seconds)


def environment_for_all(folder: Path) -> Path:
    """A Python environment that every user of this machine can run, as this one's interpreter may lie in a home."""
    home = Path(sys.base_prefix)
    library = Path("lib") / f"python{sys.version_info.major}.{sys.version_info.minor}"
    left_out = shutil.ignore_patterns("site-packages", "test", "tests", "__pycache__", "config-*")
    shutil.copytree(home / library, folder / library, ignore=left_out)
    for shared in (home / "lib").glob("libpython*.so*"):
        shutil.copy2(shared, folder / "lib")
    (folder / "bin").mkdir()
    shutil.copy2(Path(sys.executable).resolve(), folder / "bin" / "python")
    paths = os.pathsep.join([str(ROOT / "infra" / "namespace"), sysconfig.get_path("purelib")])
    variables = f'PATH="{folder}/bin:$PATH" PYTHONPATH="{paths}" LD_LIBRARY_PATH="{folder}/lib"'
    (folder / "bin" / "activate").write_text(f"export {variables}\n")
    command = folder / "bin" / "tesseral"
    command.write_text('#!/bin/sh\nexec python -m tesseral.cluster.commands.cli "$@"\n')
    command.chmod(0o755)
    return folder


class Studies:
    """Folders, each with a study file and the same reference data; and the numbers of an undisturbed run."""

    def __init__(self, folder: Path, blocks: int, epochs: int) -> None:
        self.folder, self.blocks, self.epochs = folder, blocks, epochs
        make_water(folder)
        self.undisturbed = folder / "undisturbed"
        self.undisturbed.mkdir()
        self._prepare(self.undisturbed)
        command = [sys.executable, "-m", "tesseral.cluster.commands.cli", "run", "study.toml", "--executor", "inline"]
        began = time.monotonic()
        subprocess.run([*command, "--storage", "."], cwd=self.undisturbed, check=True, stdout=subprocess.DEVNULL)
        self.seconds = time.monotonic() - began
        self.expected = numbers(self.undisturbed, "study")

    def _prepare(self, folder: Path) -> None:
        shutil.copytree(self.folder / "reference", folder / "reference")
        text = water_study("study", blocks=self.blocks, hidden="{ mul = [8, 4] }", epochs=self.epochs)
        (folder / "study.toml").write_text(text)

    def make(self, name: str, user: str = "") -> Path:
        """The folder of another run of the same study."""
        folder = self.folder / name
        folder.mkdir()
        self._prepare(folder)
        if user:
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, user)
        return folder

    def differences(self, folder: Path) -> int:
        """1 and a sentence if the records differ from those of the undisturbed run."""
        if why := difference(folder, "study", self.expected):
            print(f"{folder.name}: {why}", flush=True)
            for log in folder.glob("*.log"):
                print(log.read_text()[-3000:], flush=True)
        return int(bool(why))


def begun(folder: Path) -> list[dict]:
    """The attempts of a study."""
    attempts = []
    for path in folder.glob("study/trials/*/attempts/*.json"):
        with suppress(ValueError, OSError):
            attempts.append(json.loads(path.read_text()))
    return attempts


def ended(folder: Path) -> int:
    """Number of trials with an outcome."""
    return len(list(folder.glob("study/trials/*/outcome.json")))


def tokens() -> set[str]:
    """The tokens that processes of this machine hold now."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            found |= {item[15:].decode() for item in path.read_bytes().split(b"\0") if item[:15] == b"RAY_AUTH_TOKEN="}
    return found - {""}


def shown(found: set[str], folder: Path) -> int:
    """Places beside environments where a token can be read: lists of processes, and files of the study's folder."""
    places = [path for path in folder.rglob("*") if path.is_file()]
    texts = [path.read_bytes() for path in places]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            texts.append(path.read_bytes())
    return sum(token.encode() in text for token in found for text in texts)


NODES = ("--nodes=2", "--cpus-per-task=1", "--time=60")


def over_both_nodes(slurm: Slurm, studies: Studies) -> dict[str, int]:
    """A study over both nodes."""
    folder = studies.make("both")
    job = slurm.submit("nodes.sbatch", folder, "study", *NODES)
    slurm._until(lambda: len(begun(folder)) > 1, "no trial begins", 240)
    found = tokens()
    leaks = shown(found, folder)
    slurm.wait(job, "COMPLETED:0")
    workers = {attempt["pid"] for attempt in begun(folder)}
    return {
        "over both nodes: records differ": studies.differences(folder),
        "over both nodes: fewer than two workers": int(len(workers) < 2),
        "over both nodes: no token": int(not found),
        "over both nodes: tokens that others can read": leaks + shown(found, folder),
    }


def two_at_once(slurm: Slurm, studies: Studies) -> dict[str, int]:
    """Two studies of two users at once, both on both nodes; one ends while the other goes on."""
    folders = [studies.make("mine"), studies.make("theirs", OTHER_USER)]
    jobs = [slurm.submit("nodes.sbatch", folders[0], "study", *NODES)]
    jobs.append(slurm.submit("nodes.sbatch", folders[1], "study", *NODES, user=OTHER_USER))
    together = False
    end = time.monotonic() + 600 * slurm.patience
    while not all(slurm.state(job).startswith("COMPLETED") for job in jobs):
        states = [slurm.state(job) for job in jobs]
        going = [states[i] == "RUNNING" and len(begun(folders[i])) > ended(folders[i]) for i in (0, 1)]
        together = together or all(going)
        failed = [job for job, state in zip(jobs, states, strict=True) if ":" in state and state != "COMPLETED:0"]
        if failed or time.monotonic() > end:
            break
        time.sleep(0.5)
    return {
        "two at once: records differ": sum(studies.differences(folder) for folder in folders),
        "two at once: a job failed": sum(slurm.state(job) != "COMPLETED:0" for job in jobs),
        "two at once: their trials never ran at the same time": int(not together),
    }


def preempted(slurm: Slurm, studies: Studies) -> dict[str, int]:
    """A study that an urgent job preempts, and that Slurm starts again."""
    folder = studies.make("preempted")
    job = slurm.submit("nodes.sbatch", folder, "study", *NODES)
    slurm._until(lambda: ended(folder) > 0, "no trial ends", 240)
    urgent = ["sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null"]
    slurm.ask(*urgent, "--wrap", "sleep 3")
    slurm._until(lambda: slurm.state(job) != "RUNNING", "the job is not preempted", 120)
    before = ended(folder)
    slurm.wait(job, "COMPLETED:0", 900)  # a requeued job begins two minutes later
    restarts = re.search(r"Restarts=(\d+)", slurm.ask("scontrol", "-o", "show", "job", job))
    return {
        "preempted: records differ": studies.differences(folder),
        "preempted: not started again": int(restarts is None or restarts[1] == "0"),
        "preempted: was over before": int(before == len(studies.expected)),
    }


def out_of_time(slurm: Slurm, studies: Studies) -> dict[str, int]:
    """A study that meets its time limit and is submitted again, on a part of one node."""
    folder = studies.make("late")
    # Slurm sends the signal a minute before the end, or up to a minute earlier: in the middle of the study.
    minutes = ceil((90 + studies.seconds / 2) / 60)
    limits = ("--cpus-per-task=1", f"--time={minutes}", "--signal=B:TERM@60")
    job = slurm.submit("one_node.sbatch", folder, "study", *limits)
    slurm.wait(job, "FAILED:143", 200)
    before, log = ended(folder), (folder / f"tesseral-{job}.log").read_text()
    kept = [a for a in folder.glob("study/trials/*/checkpoint/*") if not (a.parents[1] / "outcome.json").exists()]
    again = slurm.submit("one_node.sbatch", folder, "study", "--cpus-per-task=2", "--time=60")
    slurm.wait(again, "COMPLETED:0", 600)
    return {
        "out of time: records differ": studies.differences(folder),
        "out of time: was over before": int(before == len(studies.expected)),
        "out of time: no checkpoint of the interrupted trial": int(not kept),
        "out of time: no sentence": int("terminated; the same command continues from here" not in log),
    }


def left() -> list[str]:
    """Folders of Ray that are left on this machine."""
    return [path.name for path in Path(tempfile.gettempdir()).glob("tess-*")]


PARTS = {
    "both": over_both_nodes,
    "two": two_at_once,
    "preempted": preempted,
    "late": out_of_time,
}


def main() -> None:
    """Every part, one after another; the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=240)
    parser.add_argument("--figures", type=Path, default=Path("build/slurm.json"))
    options = parser.parse_args()
    if missing := [name for name in DAEMONS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]:
        sys.exit(f"{', '.join(missing)}: not found; apt-get install slurmctld slurmd slurm-client munge")
    if os.geteuid():
        sys.exit("root is needed, for jobs of two users")
    os.environ["PATH"] += ":/usr/sbin"
    total: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "slurm").mkdir()
        studies = Studies(folder, options.blocks, options.epochs)
        print(f"undisturbed: {len(studies.expected)} trials, {studies.seconds:.0f} s", flush=True)
        patience = max(1.0, studies.seconds / USUAL)
        with Slurm(folder / "slurm", environment_for_all(folder / "python"), patience).running() as slurm:
            for part in options.parts:
                began = time.monotonic()
                figures = PARTS[part](slurm, studies)
                slurm.ask("scancel", "--state=PENDING,RUNNING", "--user", f"root,{OTHER_USER}")
                print(f"{part}: {time.monotonic() - began:.0f} s, {figures}", flush=True)
                total |= figures
    rows = [
        {"what": what, "value": value, "unit": "", "threshold": 0, "holds": value == 0} for what, value in total.items()
    ]
    options.figures.parent.mkdir(parents=True, exist_ok=True)
    options.figures.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(not all(row["holds"] for row in rows))


if __name__ == "__main__":
    main()
