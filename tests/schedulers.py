"""Real schedulers for tests, each alone in a temporary folder with ports of its own: ``Slurm`` and ``GridEngine``.

Both run in the foreground as children of the test, need no system service, and are gone after ``stop``. ``environment``
holds what their commands need. Debian's packages: slurmctld, slurmd, slurm-client, munge (its build allows several slurmd
on one machine), and gridengine-master, gridengine-exec, gridengine-client.
"""

import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

SYSTEM_PATH = "/usr/sbin:/sbin"
CPUS = 4  # of each node, whatever the machine has
LARGEST_ARRAY = 3
PORTS = range(30000, 32768)
LIBC = ctypes.CDLL(None)


class NotHere(Exception):
    """The scheduler cannot be had on this machine; the text says why."""


def free_ports(number):
    """Ports that nothing listens at, below those that systems give to whoever connects, who might take them before us."""
    found = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):  # two test processes may start with one seed
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            found.append(port)
        if len(found) == number:
            return found
    raise RuntimeError("no free ports")


def end_with_parent():
    """Called in the child: SIGKILL when the test process is gone, however that came."""
    LIBC.prctl(1, signal.SIGKILL)


def wait_for(condition, what, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come up in {seconds} s")
        time.sleep(0.1)


class Cluster:
    """What both have in common: a folder, daemons, an environment for the commands."""

    programs = ()

    def __init__(self):
        path = os.pathsep.join([os.environ["PATH"], SYSTEM_PATH])
        missing = [name for name in self.programs if not shutil.which(name, path=path)]
        if missing:
            raise NotHere(f"{' '.join(missing)} not installed")
        self.folder = Path(tempfile.mkdtemp(prefix=f"wespk-{type(self).__name__.lower()}-", dir="/tmp"))
        self.environment = {**os.environ, "PATH": path}
        self.daemons = {}
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def daemon(self, name, *words, **more):
        with open(self.folder / f"{name}.log", "ab") as log:
            self.daemons[name] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**self.environment, **more},
                start_new_session=True, preexec_fn=end_with_parent,  # noqa: PLW1509 no threads
            )  # fmt: skip

    def kill(self, name):
        """End one daemon at once, as when its machine fails."""
        process = self.daemons.pop(name)
        process.kill()
        process.wait()

    def command(self, *words, check=True):
        """The output of one of the scheduler's commands."""
        done = subprocess.run(words, capture_output=True, text=True, env=self.environment, check=False, timeout=60)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def stop(self):
        try:
            self.cancel_all()
        finally:
            for name in list(self.daemons):
                self.kill(name)
            shutil.rmtree(self.folder, ignore_errors=True)


class Slurm(Cluster):
    """Slurm with ``nodes`` nodes n1, n2, ... of 4 CPUs and ``gpus`` make-believe GPUs each."""

    programs = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")

    def __init__(self, nodes=2, gpus=2):
        self.nodes, self.gpus = [f"n{i + 1}" for i in range(nodes)], gpus
        super().__init__()

    def start(self):
        self._munge()
        self._configure()
        self.daemon("slurmctld", "slurmctld", "-D", "-i")
        for node in self.nodes:
            self.start_node(node)
        wait_for(self.idle, f"Slurm ({self.folder})")

    def start_node(self, node):
        self.daemon(node, "slurmd", "-D", "-N", node)

    def fail_node(self, node, processes):
        """Its daemon and ``processes`` die, and Slurm is told so, as it would take its time to be sure of it by itself."""
        self.kill(node)
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=killed")

    def restore_node(self, node):
        self.start_node(node)
        self.command("scontrol", "update", f"NodeName={node}", "State=RESUME")
        wait_for(self.idle, f"node {node}")

    def idle(self):
        states = self.command("sinfo", "-h", "-N", "-t", "idle", "-o", "%N", check=False)
        return len(set(states.split())) == len(self.nodes)

    def _munge(self):
        """A munge of our own, so that none of the system's is needed or disturbed."""
        self.folder.chmod(0o755)
        private, public = self.folder / "munge", self.folder / "munge-socket"
        private.mkdir(mode=0o700)
        public.mkdir(mode=0o755)
        key = private / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        files = {"key-file": key, "socket": public / "socket", "pid-file": private / "pid", "seed-file": private / "seed"}
        words = [f"--{name}={path}" for name, path in files.items()]
        self.daemon("munged", "munged", "--foreground", "--force", *words, f"--log-file={private / 'log'}")
        wait_for((public / "socket").exists, "munge")

    def _configure(self):
        control, *ports = free_ports(1 + len(self.nodes))
        host, folder, user = socket.gethostname().partition(".")[0], self.folder, _user()
        (folder / "state").mkdir(mode=0o700)
        lines = [
            "ClusterName=test", f"SlurmctldHost={host}(127.0.0.1)", f"SlurmctldPort={control}",
            f"SlurmUser={user}", f"SlurmdUser={user}", "AuthType=auth/munge", "CredType=cred/munge",
            f"AuthInfo=socket={folder}/munge-socket/socket,cred_expire=5",
            f"StateSaveLocation={folder}/state", f"SlurmdSpoolDir={folder}/spool.%n",
            f"SlurmctldPidFile={folder}/slurmctld.pid", f"SlurmdPidFile={folder}/slurmd.%n.pid",
            "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "JobAcctGatherType=jobacct_gather/none",
            "AccountingStorageType=accounting_storage/none", "MpiDefault=none", "SwitchType=switch/none",
            "SelectType=select/cons_tres", "SelectTypeParameters=CR_Core", "ReturnToService=2",
            "SlurmdParameters=config_overrides", "SlurmctldTimeout=120", "SlurmdTimeout=120", "KillWait=3",
            f"MaxArraySize={LARGEST_ARRAY + 1}",
            "SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1,sched_min_interval=0",
        ]  # fmt: skip
        devices = f" Gres=gpu:{self.gpus}" if self.gpus else ""
        lines += ["GresTypes=gpu"] if self.gpus else []
        for node, port in zip(self.nodes, ports, strict=True):
            (folder / f"spool.{node}").mkdir()
            lines.append(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} RealMemory=1000000"
                f"{devices} State=UNKNOWN"
            )
        lines.append("PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP")
        (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        # a plugin is loaded even where nothing uses it; this one touches nothing
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        if self.gpus:
            (folder / "gres.conf").write_text(f"Name=gpu File=/dev/tty[0-{self.gpus - 1}]\n")
        self.environment["SLURM_CONF"] = str(folder / "slurm.conf")

    def cancel_all(self):
        """End all jobs and wait for it, as nothing else would end those whose daemon is killed."""
        if "slurmctld" not in self.daemons:
            return
        for _ in range(50):
            self.command("scancel", "--quiet", f"--user={_user()}", check=False)
            if not self.command("squeue", "-h", check=False).strip():
                return
            time.sleep(0.2)


class GridEngine(Cluster):
    """Grid Engine with one host of 8 slots, a parallel environment smp, and ``gpus`` make-believe GPUs."""

    programs = ("qsub", "qdel", "qstat", "qconf")
    programs_at, share = Path("/usr/lib/gridengine"), Path("/usr/share/gridengine")

    def __init__(self, gpus=2):
        self.gpus, self.host = gpus, socket.gethostname().partition(".")[0]
        if os.getuid() != 0:
            raise NotHere("a Grid Engine of one's own needs root")
        for name in ("sge_qmaster", "sge_execd"):
            if not (self.programs_at / name).exists():
                raise NotHere(f"{self.programs_at / name} not installed")
        super().__init__()

    def start(self):
        self._make_cell()
        self.daemon("sge_qmaster", "bash", "-c", f"ulimit -n 4096; exec {self.programs_at}/sge_qmaster", SGE_ND="1")
        wait_for(lambda: self.command("qconf", "-sh", check=False), f"Grid Engine ({self.folder})")
        self._configure()
        # it closes every descriptor that it might have, one by one
        self.daemon("sge_execd", "bash", "-c", f"ulimit -n 4096; exec {self.programs_at}/sge_execd", SGE_ND="1")
        wait_for(self._available, f"the queue of Grid Engine ({self.folder})")

    def _available(self):
        lines = self.command("qstat", "-f", check=False).splitlines()
        return any(line.startswith("all.q@") and len(line.split()) == 5 for line in lines)  # a sixth word is a trouble

    def _make_cell(self):
        master, execution = free_ports(2)
        machine = f"lx-{self.command('dpkg', '--print-architecture').strip()}"
        root, spool = self.folder / "root", self.folder / "spool"
        common = root / "default" / "common"
        for path in (common, spool / "qmaster" / "job_scripts", spool / "db", spool / "execd"):
            path.mkdir(parents=True)
        for name in ("bin", "lib", "utilbin"):
            (root / name).mkdir()
            (root / name / machine).symlink_to(self.programs_at)
        (root / "util").symlink_to(self.share / "util")
        self.environment |= {
            "SGE_ROOT": str(root), "SGE_CELL": "default", "SGE_ARCH": machine, "SGE_QMASTER_PORT": str(master),
            "SGE_EXECD_PORT": str(execution), "SGE_CLUSTER_NAME": "test",
        }  # fmt: skip
        # a host whose address leads back to the name localhost is refused, unless that is said to be a name of its
        (common / "host_aliases").write_text(" ".join(dict.fromkeys([self.host, *_names_of_this_machine()])) + "\n")
        (common / "act_qmaster").write_text(f"{self.host}\n")
        bootstrap = {
            "admin_user": "none", "default_domain": "none", "ignore_fqdn": "true", "spooling_method": "berkeleydb",
            "spooling_lib": "libspoolb", "spooling_params": spool / "db", "binary_path": "/usr/sbin",
            "qmaster_spool_dir": spool / "qmaster", "security_mode": "none", "listener_threads": 2,
            "worker_threads": 2, "scheduler_threads": 1,
        }  # fmt: skip
        (common / "bootstrap").write_text("".join(f"{key} {value}\n" for key, value in bootstrap.items()))
        changes = {
            "execd_spool_dir": spool / "execd", "min_uid": 0, "min_gid": 0, "load_report_time": "00:00:02",
            "mailer": "/bin/true", "max_aj_tasks": LARGEST_ARRAY,
        }  # fmt: skip
        text = (self.share / "default-configuration").read_text()
        (self.folder / "configuration").write_text(_changed(text, changes))
        util = self.share / "util" / "resources"
        self.command(str(self.programs_at / "spoolinit"), "berkeleydb", "libspoolb", str(spool / "db"), "init")
        for kind, what in (
            ("configuration", self.folder / "configuration"), ("complexes", util / "centry"),
            ("usersets", util / "usersets"), ("managers", _user()),
        ):  # fmt: skip
            self.command(str(self.programs_at / "spooldefaults"), kind, str(what))

    def _apply(self, option, text):
        path = self.folder / "told"
        path.write_text(text)
        self.command("qconf", option, str(path), check=False)

    def _configure(self):
        self.command("qconf", "-as", self.host, check=False)
        known = [line for line in self.command("qconf", "-sc").splitlines() if not line.startswith("#")]
        self._apply("-Mc", "\n".join([*known, "gpu gpu INT <= YES YES 0 0"]) + "\n")
        lists = ("load_scaling", "user_lists", "xuser_lists", "projects", "xprojects", "usage_scaling", "report_variables")
        host = {"hostname": self.host, **dict.fromkeys(lists, "NONE"), "complex_values": f"gpu={self.gpus}"}
        self._apply("-Ae", _table(host))
        self._apply("-Ahgrp", _table({"group_name": "@allhosts", "hostlist": self.host}))
        environment = {
            "pe_name": "smp", "slots": 999, "user_lists": "NONE", "xuser_lists": "NONE", "start_proc_args": "NONE",
            "stop_proc_args": "NONE", "allocation_rule": "$pe_slots", "control_slaves": "FALSE",
            "job_is_first_task": "TRUE", "urgency_slots": "min", "accounting_summary": "FALSE", "qsort_args": "NONE",
        }  # fmt: skip
        self._apply("-Ap", _table(environment))
        queue = {
            "qname": "all.q", "hostlist": "@allhosts", "slots": 2 * CPUS, "pe_list": "smp", "load_thresholds": "NONE",
            "shell": "/bin/bash", "rerun": "FALSE",
        }  # fmt: skip
        self._apply("-Aq", _changed(self.command("qconf", "-sq"), queue))
        quick = {"schedule_interval": "0:0:1", "flush_submit_sec": 1, "flush_finish_sec": 1}
        self._apply("-Msconf", _changed(self.command("qconf", "-ssconf"), quick))

    def cancel_all(self):
        if "sge_qmaster" not in self.daemons:
            return
        for _ in range(50):
            if not self.command("qstat", "-u", "*", check=False).strip():
                return
            self.command("qdel", "-f", "-u", "*", check=False)
            time.sleep(0.2)


def _user():
    return pwd.getpwuid(os.getuid()).pw_name


def _names_of_this_machine():
    names = [socket.gethostname(), socket.getfqdn(), "localhost"]
    for address in ("127.0.0.1", socket.gethostname()):
        try:
            name, others, _ = socket.gethostbyaddr(address)
            names += [name, *others]
        except OSError:
            pass
    return names


def _table(values):
    return "".join(f"{key} {value}\n" for key, value in values.items())


def _changed(text, values):
    """A table of Grid Engine's with other values for some keys."""
    lines = []
    for line in text.splitlines():
        key = line.split(None, 1)[0] if line.strip() else ""
        lines.append(f"{key} {values[key]}" if key in values else line)
    return "\n".join(lines) + "\n"
