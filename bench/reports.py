"""What a report costs: `gdbext report CORE` beside GDB's own opening and backtrace of that core.

bench/reports.py [--plugins 10,100,500] [--core CORE PROG] [--rounds N] [--gdb PATH] [--json FILE]

Both are run in turn, so that a busy machine is busy for both; of each the best round counts, in
seconds that passed and in seconds of the processors. The budget: with 500 plugins a report takes
at most 1.5 times GDB's own time.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from generate import DEFAULT_CACHE, BuildError, Recipe, build, make_core

ROOT = Path(__file__).resolve().parents[1]
BUDGET = 1.5
BUDGET_AT = 500  # plugins
COMMAND = "import sys; from gdbext.cli import main; sys.exit(main(sys.argv[1:]))"


class Timed(NamedTuple):
    """Seconds: passed, and of the processors."""

    wall: float
    cpu: float


def measure(command: Sequence[str], expected: str) -> Timed:
    """Run a command to its end; its output must hold `expected`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or expected not in done.stdout:
        sys.exit(f"{command} did not get through:\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timed(wall, cpu)


def commands(core: Path, program: Path, gdb: str) -> dict[str, tuple[list[str], str]]:
    """What is run, and what its output must hold."""
    plain = [gdb, "-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", "bt"]
    report = [sys.executable, "-c", COMMAND, "report", str(core)]
    return {
        "gdb, bt": ([*plain, str(program), str(core)], "#1 "),
        "gdbext report": ([*report, "--gdb", gdb], "[gdbext] "),
    }


def compare(core: Path, program: Path, gdb: str, rounds: int) -> dict[str, Timed]:
    """The best of all rounds for each."""
    best: dict[str, Timed] = {}
    for _ in range(rounds):
        for name, (command, expected) in commands(core, program, gdb).items():
            now = measure(command, expected)
            old = best.get(name, now)
            best[name] = Timed(min(old.wall, now.wall), min(old.cpu, now.cpu))
    return best


def cores(args: argparse.Namespace) -> list[tuple[str, Path, Path]]:
    """(what it is, core, program) of each measurement."""
    if args.core:
        core, program = map(Path, args.core)
        return [(core.name, core, program)]
    found = []
    for word in args.plugins.split(","):
        workload = build(int(word), "now", Recipe(), DEFAULT_CACHE, 0)
        make_core(workload)
        found.append((word, workload.core, workload.folder / "host"))
    return found


def main() -> int:
    """Measure, print a table, and say whether the budget is kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--plugins", default="10,100,500", help="sizes of the workload")
    parser.add_argument("--core", nargs=2, metavar=("CORE", "PROG"), help="measure this instead")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gdb", default="gdb", metavar="PATH")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    # as pip does it at installation; GDB's own Python writes no bytecode
    compileall.compile_dir(ROOT / "gdbext", quiet=1)
    rows = []
    kept = True
    try:
        wanted = cores(args)
    except BuildError as problem:
        print(f"reports: {problem}", file=sys.stderr)
        return 2
    print(f"{'plugins':>8}  {'s':>6}  {'CPU s':>6}  {'to gdb':>6}  what")
    for size, core, program in wanted:
        best = compare(core, program, args.gdb, args.rounds)
        plain = best["gdb, bt"]
        for name, timed in best.items():
            ratio = timed.wall / plain.wall
            print(f"{size:>8}  {timed.wall:>6.2f}  {timed.cpu:>6.2f}  {ratio:>6.2f}  {name}")
            rows.append({"size": size, "what": name, **timed._asdict(), "ratio_to_gdb": ratio})
            kept = kept and (size != str(BUDGET_AT) or ratio <= BUDGET)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(
        f"budget {BUDGET:g} times GDB's own time at {BUDGET_AT}: {'kept' if kept else 'NOT kept'}"
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
