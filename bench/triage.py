"""How many cores `gdbext triage` reads in a minute: alone, on two CPUs, on a Dask cluster.

bench/triage.py [--cores N] [--rounds N] [--json FILE]

The cores are those of as many runs of one program with a plugin, which crashes in five ways, so
they must come out as five groups. All ways to read them are tried in turn, so that a busy machine
is busy for all of them; of each the best round counts. The budget: two jobs at a time read 1.7
times as many cores as one, on a machine with two CPUs that has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUDGET = 1.7
KINDS = 5
PLUGIN = r"""
#include <stdlib.h>
extern void missing(void) __attribute__((weak));
static int deeper(int n) { char room[4096] = {(char)n}; return deeper(n + 1) + room[0]; }
int run(int kind)
{
    volatile int zero = 0;
    switch (kind) {
    case 0: missing(); break;
    case 1: abort();
    case 2: return 7 / zero;
    case 3: return deeper(0);
    default: *(volatile int *)8 = 1;
    }
    return 0;
}
"""
HOST = r"""
#include <dlfcn.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    int (*run)(int) = (int (*)(int))dlsym(dlopen(argv[1], RTLD_LAZY), "run");
    return run(atoi(argv[argc - 1]));
}
"""
COMMAND = "import sys; from gdbext.cli import main; sys.exit(main(sys.argv[1:]))"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def make_cores(folder: Path, number: int) -> Path:
    """A folder of so many cores, each of a run of its own."""
    (folder / "host.c").write_text(HOST)
    (folder / "plugin.c").write_text(PLUGIN)
    build = ["gcc", "-O0", "-g", "-fcf-protection=none"]
    subprocess.run([*build, "-o", "host", "host.c", "-ldl"], cwd=folder, check=True)
    shared = [*build, "-shared", "-fPIC", "-w", "-o", "plugin.so", "plugin.c"]
    subprocess.run(shared, cwd=folder, check=True)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    cores = folder / "cores"
    for count in range(number):
        place = cores / str(count)
        place.mkdir(parents=True)
        words = [str(folder / "host"), str(folder / "plugin.so"), str(count % KINDS)]
        subprocess.run(words, cwd=place, check=False)
    found = len(list(cores.glob("*/core*")))
    if found != number:
        sys.exit(f"the kernel left {found} cores of {number}: see /proc/sys/kernel/core_pattern")
    return cores


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """The address of a Dask scheduler with two workers, of one thread each."""
    told = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    home = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(told)]
    commands = [[*dask, "scheduler", *home, "--port", "0"]]
    commands += [[*dask, "worker", *home, "--no-nanny", "--nthreads", "1"]] * 2
    with ExitStack() as stack:
        for command in commands:
            started = stack.enter_context(
                subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=folder, env=ENVIRONMENT)
            )
            stack.callback(started.kill)
        while not (told.exists() and told.read_text().endswith("}")):
            time.sleep(0.1)
        address: str = json.loads(told.read_text())["address"]
        triage([str(folder / "cores" / "0"), "--dask", address])  # all is imported, nobody waits
        yield address


def triage(words: Sequence[str]) -> tuple[float, float, dict[str, object]]:
    """(seconds, seconds of CPU of what this process started, the answer)."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-c", COMMAND, "triage", "--json", "-", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=ENVIRONMENT, check=False)
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{words} did not get through")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, json.loads(done.stdout)


def measure(cores: Path, number: int, rounds: int) -> list[dict[str, object]]:
    """A row for each way."""
    best: dict[str, tuple[float, float]] = {}
    with cluster(cores.parent) as address:
        ways = {
            "-j 1": ["-j", "1"],
            "-j 2": ["-j", "2"],
            "Dask, two workers": ["--dask", address],
        }
        for _ in range(rounds):
            for way, words in ways.items():
                seconds, cpu, found = triage([str(cores), *words])
                groups = found["groups"]
                assert isinstance(groups, list)
                if sorted(group["count"] for group in groups) != [number // KINDS] * KINDS:
                    sys.exit(f"{way}: {[group['count'] for group in groups]} is wrong")
                best[way] = min((seconds, cpu), best.get(way, (seconds, cpu)))
    return [
        {
            "way": way,
            "cores_a_minute": number / seconds * 60,
            "cpu_seconds_a_core": None if way.startswith("Dask") else cpu / number,
        }
        for way, (seconds, cpu) in best.items()
    ]


def main() -> int:
    """Measure, print a table, and say whether the budget is kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cores", type=int, default=200, help=f"a multiple of {KINDS}")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.cores % KINDS or args.cores < KINDS:
        parser.error(f"--cores must be a multiple of {KINDS}")
    with tempfile.TemporaryDirectory() as name:
        rows = measure(make_cores(Path(name), args.cores), args.cores, args.rounds)
    print(f"{'cores a minute':>14}  {'CPU s a core':>12}  way")
    for row in rows:
        cpu = row["cpu_seconds_a_core"]
        shown = "-" if cpu is None else f"{cpu:.2f}"
        print(f"{row['cores_a_minute']:>14.0f}  {shown:>12}  {row['way']}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    ratio = float(str(rows[1]["cores_a_minute"])) / float(str(rows[0]["cores_a_minute"]))
    kept = ratio >= BUDGET
    print(f"two at a time: {ratio:.2f} times one; {BUDGET:g} is {'kept' if kept else 'NOT kept'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
