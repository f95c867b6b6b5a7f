"""Run one job on a node; this is what the scripts that are given to a scheduler call:

    cluster_task.py FOLDER SUBMISSION POSITION

See cluster_batch.py for the files of the folder. The command gets the environment of the one who submitted, but keeps what
the scheduler has set. SIGTERM, with which a scheduler ends or pre-empts a job, is passed on; so are SIGUSR1 and SIGUSR2,
to the command alone. A job near its time limit is told to stop while there is still time to say so.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from array_job import ArrayJob
from logged_task import Task

from wespk.io.atomic import write_text

SCHEDULERS_OWN = ("SLURM", "SGE_", "PMI", "PE_", "GPU_DEVICE_", "ROCR_")
SCHEDULERS_TOO = {
    "ARC", "CUDA_VISIBLE_DEVICES", "ENVIRONMENT", "HOSTNAME", "JOB_ID", "JOB_NAME", "JOB_SCRIPT", "NHOSTS", "NQUEUES",
    "NSLOTS", "PE", "QUEUE", "REQNAME", "REQUEST", "RESTARTED", "TASK_ID", "TMP", "TMPDIR", "ZE_AFFINITY_MASK",
}  # fmt: skip
GRACE_SECONDS = 10
POLL_SECONDS = 0.1


def environment(told):
    """The submitter's environment with the scheduler's variables of this node, threads, and the GPUs given to the job."""
    ours = {
        name: value for name, value in told["environment"].items()
        if not name.startswith(SCHEDULERS_OWN) and name not in SCHEDULERS_TOO
    }  # fmt: skip
    merged = {**os.environ, **ours, "OMP_NUM_THREADS": str(told["num_threads"])}
    if not told["gpus"]:
        merged["CUDA_VISIBLE_DEVICES"] = ""
    elif not merged.get("CUDA_VISIBLE_DEVICES") and merged.get("SGE_HGR_gpu"):
        merged["CUDA_VISIBLE_DEVICES"] = ",".join(merged["SGE_HGR_gpu"].split())
    return merged


def node():
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def age():
    """The seconds since this process began, as the shell that turned into it: for the scheduler the job began then."""
    try:
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, float(Path("/proc/uptime").read_text().split()[0]) - began)
    except (OSError, ValueError, IndexError):
        return 0.0


def limits(told):
    """(seconds until SIGTERM, seconds from there to SIGKILL): both before the scheduler's own end of the job."""
    if told["limit"] is None:
        return None, GRACE_SECONDS
    grace = min(int(told["grace"] or GRACE_SECONDS), told["limit"] / 2)
    return max(0.0, told["limit"] - grace - age()), grace * 0.6


def run(told, index, attempt):
    """Run the command to its end; returns the result."""
    job = ArrayJob(told["log"], tuple(told["command"]), told["name"])
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda number, _frame: asked.append(number))
    os.chdir(told["cwd"])
    limit, grace = limits(told)
    again = f" again (attempt {attempt})" if attempt > 1 else ""
    merged = environment(told)
    task = Task(index, *job.task(index), merged, limit, grace, told["limit"], again)
    if told["gpus"] and "CUDA_VISIBLE_DEVICES" not in merged:
        task.note("# the scheduler names no GPUs (CUDA_VISIBLE_DEVICES): the job sees all of the node")
    passed = 0
    while not task.ended():
        for number in asked[passed:]:
            if number in (signal.SIGTERM, signal.SIGINT):
                task.signal(number)
            elif task.process is not None:
                task.process.send_signal(number)
        passed = len(asked)
        time.sleep(POLL_SECONDS)
    told_to_end = signal.SIGTERM in asked and not task.late
    return {"status": task.status, "late": task.late, "killed": told_to_end, "host": node()}


def main():
    folder, number, position = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    told = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    submission = json.loads((folder / f"{number}.json").read_text(encoding="utf-8"))
    index = submission["indices"][int(position) - 1]
    try:
        result = run(told, index, submission["attempt"])
    except OSError as error:
        result = {"status": 1, "late": False, "killed": False, "host": node(), "error": str(error)}
    write_text(folder / f"{number}.{position}.end", json.dumps(result))
    sys.exit(result["status"])


if __name__ == "__main__":
    main()
