"""How long `gdbext attach` stops a process, beside `gdb -p PID -batch`.

bench/attach.py [--libraries N] [--rounds N] [--memory MB] [--json FILE]

The process tells it itself: its thread looks at the clock all the time, and the longest time that
it missed is how long it was stopped. Both are run in turn; medians. The budget: at most twice
what GDB needs that does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUDGET = 2.0
HOST = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
int main(int argc, char **argv)
{
    int libraries = atoi(argv[1]), megabytes = atoi(argv[2]);
    char name[64];
    if (argc != 3)
        return 2;
    for (int i = 0; i < libraries; i++) {
        snprintf(name, sizeof name, "./lib%d.so", i);
        if (!dlopen(name, RTLD_NOW | RTLD_GLOBAL))
            return 1;
    }
    memset(malloc((size_t)megabytes << 20), 1, (size_t)megabytes << 20);
    long long longest = 0, before = now();
    puts("ready");
    fflush(stdout);
    for (;;) {
        long long time = now();
        if (time - before > longest)
            longest = time - before;
        before = time;
        if (longest > 0 && time % 1024 == 0) {
            FILE *file = fopen("longest", "r+");
            if (file) { /* asked for: told, and begun anew */
                fprintf(file, "%lld\n", longest);
                fclose(file);
                rename("longest", "told");
                longest = 0;
                before = now();
            }
        }
    }
}
"""


def build(folder: Path, libraries: int) -> None:
    """The host, and libraries with 200 symbols and debug info each."""
    (folder / "host.c").write_text(HOST)
    subprocess.run(["gcc", "-O1", "-g", "-o", "host", "host.c", "-ldl"], cwd=folder, check=True)
    functions = "".join(f"int f{n}(int a) {{ return a + {n}; }}\n" for n in range(200))
    (folder / "one.c").write_text(functions)
    command = ["gcc", "-g", "-shared", "-fPIC", "-o", "one.so", "one.c"]
    subprocess.run(command, cwd=folder, check=True)
    for number in range(libraries):
        shutil.copy(folder / "one.so", folder / f"lib{number}.so")


def longest(folder: Path) -> float:
    """Seconds: the longest time since the last call in which the host did not run."""
    told = folder / "told"
    told.unlink(missing_ok=True)
    (folder / "longest").touch()
    while not told.exists():
        pass
    return int(told.read_text()) / 1e9


def commands(pid: int) -> dict[str, list[str]]:
    """What is compared."""
    call = "import sys; from gdbext.cli import main; sys.exit(main(sys.argv[1:]))"
    return {
        "gdb -p PID -batch": ["gdb", "-nx", "-iex", "set debuginfod enabled off", "-batch", "-p",
                              str(pid)],
        "gdbext attach PID": [sys.executable, "-c", call, "attach", str(pid)],
    }  # fmt: skip


def main() -> int:
    """Measure, print a table, and say whether the budget is kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--libraries", type=int, default=288)
    parser.add_argument("--memory", type=int, default=150, help="MB that the process has in use")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    stopped: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder, args.libraries)
        host = subprocess.Popen(
            ["./host", str(args.libraries), str(args.memory)], cwd=folder, stdout=subprocess.PIPE
        )
        try:
            assert host.stdout
            host.stdout.readline()
            for _ in range(args.rounds):
                for what, command in commands(host.pid).items():
                    longest(folder)
                    done = subprocess.run(
                        command, capture_output=True, env=environment, check=False
                    )
                    if done.returncode:
                        sys.exit(f"{what} failed:\n{done.stderr.decode()}")
                    stopped.setdefault(what, []).append(longest(folder))
        finally:
            host.kill()
            host.wait()
    plain = statistics.median(stopped["gdb -p PID -batch"])
    rows = [
        {"what": what, "seconds": statistics.median(times), "ratio_to_gdb":
         statistics.median(times) / plain}
        for what, times in stopped.items()
    ]  # fmt: skip
    print(f"{args.libraries} libraries, {args.memory} MB; stopped for, median of {args.rounds}:")
    for row in rows:
        print(f"{row['seconds']:>8.3f} s  {row['ratio_to_gdb']:>5.2f} times GDB  {row['what']}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    kept = float(str(rows[-1]["ratio_to_gdb"])) <= BUDGET
    print(f"budget {BUDGET:g} times GDB's own time: {'kept' if kept else 'NOT kept'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
