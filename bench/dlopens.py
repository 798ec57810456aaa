"""What plug-trace costs: dlopen/dlclose cycles of one host, natively, under GDB, and traced.

bench/dlopens.py [--cycles N] [--libraries 1,500] [--rounds N] [--json FILE]

All are run in turn, so that a busy machine is busy for all of them. The budget: plug-trace at most
doubles GDB's own time for the whole run, the median of the rounds. The host times its cycles in
blocks of 20 as well, and the quietest block of all rounds is told beside the mean cycle. GDB
itself stops four times in a cycle, plug-trace three times more.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
BUDGET = 2.0
HOST = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(int argc, char **argv)
{
    int cycles = atoi(argv[1]), others = atoi(argv[2]), blocks = (cycles + 19) / 20;
    char name[64];
    double least = 1e9, total = 0;
    for (int i = 0; i < others; i++) {
        snprintf(name, sizeof name, "./lib%d.so", i);
        if (!dlopen(name, RTLD_NOW))
            return 1;
    }
    for (int block = 0; block < blocks; block++) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (int i = 0; i < 20; i++)
            dlclose(dlopen("./one.so", RTLD_NOW));
        clock_gettime(CLOCK_MONOTONIC, &b);
        double ms = ((b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6) / 20;
        least = ms < least ? ms : least;
        total += ms;
    }
    printf("cycle %.6f %.6f ms\n", least, total / blocks);
    return argc > 3;
}
"""


def build(folder: Path, libraries: int) -> None:
    """The host and its libraries, copies of one file."""
    (folder / "host.c").write_text(HOST)
    (folder / "one.c").write_text("int one(void) { return 1; }\n")
    subprocess.run(["gcc", "-O1", "-g", "-o", "host", "host.c", "-ldl"], cwd=folder, check=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "one.so", "one.c"], cwd=folder, check=True)
    for number in range(libraries):
        shutil.copy(folder / "one.so", folder / f"lib{number}.so")


def commands(trace: Path) -> dict[str, list[str]]:
    """What is put in front of the host."""
    plain = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off"]
    packages = sysconfig.get_paths()["purelib"]
    path = f"python import sys; sys.path.append({packages!r})"
    load = ["-ex", path, "-ex", f"directory {ROOT / 'gdbext'}", "-ex", "source gdbext"]
    traced = [*plain, *load, "-ex", "plug-trace on"]
    streamed = [*plain, *load, "-ex", f"plug-trace on -out {trace}"]
    found = {
        "native": [],
        "gdb": [*plain, "-ex", "run", "--args"],
        "gdb, plug-trace on": [*traced, "-ex", "run", "--args"],
        "gdb, plug-trace on -out": [*streamed, "-ex", "run", "--args"],
    }
    for tool in ("strace", "ltrace"):
        if shutil.which(tool):
            found[tool] = [tool, "-o", "/dev/null"]
    return found


def measure(command: list[str], folder: Path, cycles: int, others: int) -> tuple[float, float]:
    """Milliseconds a cycle: in the quietest block, and in the mean."""
    words = [*command, str(folder / "host"), str(cycles), str(others)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("cycle "):
            least, mean = map(float, line.split()[1:3])
            return least, mean
    sys.exit(f"{words} did not get through:\n{done.stdout}{done.stderr}")


def main() -> int:
    """Measure, print a table, and say whether the budget is kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cycles", type=int, default=200, help="2000 is the real thing")
    parser.add_argument("--libraries", default="1,500", help="how many are loaded beside it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    counts = [int(word) for word in args.libraries.split(",")]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder, max(counts))
        for count in counts:
            cycles = args.cycles if count < 100 else max(args.cycles // 5, 20)
            found: dict[str, list[tuple[float, float]]] = {}
            for _ in range(args.rounds):
                for what, command in commands(folder / "trace.jsonl").items():
                    if what == "ltrace" and count > 100:
                        continue  # minutes
                    found.setdefault(what, []).append(measure(command, folder, cycles, count))
            plain = [mean for _, mean in found["gdb"]]
            rows += [
                {
                    "libraries": count,
                    "what": what,
                    "ms": median(mean for _, mean in each),
                    "ratio_to_gdb": median(mean / p for (_, mean), p in zip(each, plain)),
                    "quietest_ms": min(least for least, _ in each),
                }
                for what, each in found.items()
            ]
    print(f"{'libraries':>9}  {'ms a cycle':>10}  {'to gdb':>6}  {'quietest':>8}  what")
    for row in rows:
        print(
            f"{row['libraries']:>9}  {row['ms']:>10.3f}  {row['ratio_to_gdb']:>6.2f}"
            f"  {row['quietest_ms']:>8.3f}  {row['what']}"
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    ratios = [float(str(r["ratio_to_gdb"])) for r in rows if r["what"] == "gdb, plug-trace on"]
    kept = max(ratios) <= BUDGET
    print(f"budget {BUDGET:g} times GDB's own time: {'kept' if kept else 'NOT kept'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
