"""Measure gdbext inside GDB, side by side with GDB's own means, and hold it against its budgets."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from generate import (
    BINDINGS,
    DEFAULT_CACHE,
    BuildError,
    Workload,
    build,
    run_linked,
    run_native,
)
from results import Measurement, Results, as_json, budgets, tables
from sessions import (
    HERE,
    PLACES,
    Request,
    SessionError,
    Setup,
    checked,
    run_gdb,
    session,
)

NAMES = ("got", "links", "symbol", "conflicts", "memory", "source", "crash", "native")
GOT_COMMANDS = {"plug-got -all": "plug-got -all", "plug-got -all -json": "plug-got -all -json"}
OTHER_COMMANDS = ("links", "symbol", "conflicts")
WHOLE_LOOP_UP_TO = 500  # plugins; above, the `info symbol` loop asks a sample
CRASH_RUNS = 3  # one takes some seconds
START_RUNS = 15


def talk(text: str) -> None:
    """Say on stderr what happens now."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def session_commands(wanted: set[str], count: int) -> dict[str, str]:
    """The commands to time in one session; plug-got is first, its peak memory is read after it."""
    commands: dict[str, str] = {}
    if "got" in wanted:
        commands.update(GOT_COMMANDS)
    elif "memory" in wanted:
        commands["plug-got -all"] = "plug-got -all"
    for name in OTHER_COMMANDS:
        if name in wanted:
            # a function that a plugin in the middle exports, and some later ones import
            what = f" p{count // 2:04d}_f003" if name == "symbol" else ""
            commands[f"plug-{name}"] = f"plug-{name}{what}"
    return commands


def loop_of(answer: dict[str, Any], place: str, count: int) -> list[Measurement]:
    """The `info symbol` loop of one session, if it was asked for."""
    loop = answer.get("info_symbol")
    if not loop:
        return []
    one = Measurement(
        "info symbol",
        place,
        count,
        seconds=(loop["seconds"],),
        slots=loop["slots"],
        slots_readelf=loop["slots_readelf"],
        asked=loop["asked"],
    )
    return [one]


def from_session(
    answer: dict[str, Any], place: str, count: int, names: list[str]
) -> list[Measurement]:
    """The measurements of one session of inside_gdb.py."""
    measured = loop_of(answer, place, count)
    loop = measured[0] if measured else Measurement("info symbol")
    for name in names:
        timed = answer.get("commands", {}).get(name, {})
        error = timed.get("error") or answer.get("source_error") or ""
        one = Measurement(
            name,
            place,
            count,
            seconds=tuple(timed.get("seconds", ())),
            slots=loop.slots if name in GOT_COMMANDS else 0,
            slots_readelf=loop.slots_readelf if name in GOT_COMMANDS else 0,
            output_bytes=timed.get("output_bytes", 0),
            peak_before=answer["peak_before_kilobytes"] / 1024,
            peak_after=timed.get("peak_kilobytes", 0) / 1024,
            error=error,
        )
        measured.append(one)
    return measured


def measure_session(
    setup: Setup, workload: Workload, place: str, wanted: set[str], options: argparse.Namespace
) -> list[Measurement]:
    """Time the commands and the `info symbol` loop in one GDB process at the crash."""
    commands = session_commands(wanted, workload.count)
    whole = options.whole_loop or workload.count <= WHOLE_LOOP_UP_TO
    request = Request(
        answer="",
        gdbext="" if setup.problem else str(setup.package),
        commands=commands,
        runs=options.runs,
        info_symbol="got" in wanted,
        sample=None if whole else options.sample,
    )
    try:
        answer = session(setup, workload, place, request)
    except SessionError as problem:
        return [Measurement(name, place, workload.count, error=str(problem)) for name in commands]
    answer.setdefault("source_error", setup.problem)
    return from_session(answer, place, workload.count, list(commands))


def measure_starts(setup: Setup, runs: int) -> list[Measurement]:
    """GDB's start without and with gdbext, taking turns so that noise meets both alike."""
    names = ("start: bare GDB", "start: source gdbext")
    variants = {names[0]: ["-ex", "quit"]}
    if not setup.problem:
        variants[names[1]] = [*setup.sourcing(), "-ex", "quit"]
    measured = as_measurements(alternate(setup, variants, runs, ""))
    if setup.problem:
        measured.append(Measurement(names[1], error=setup.problem))
    return measured


def alternate(
    setup: Setup, variants: dict[str, list[str]], runs: int, expected: str
) -> dict[str, list[float]]:
    """Wall times of GDB processes, one of each variant in turn; each must print `expected`."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(runs):
        for name, arguments in variants.items():
            seconds, out, errors = run_gdb(setup, setup.command(*arguments))
            if expected not in out + errors:
                raise SessionError(f"{name}: GDB did not print {expected!r}")
            times[name].append(seconds)
    return times


def as_measurements(
    times: dict[str, list[float]], place: str = "", plugins: int = 0
) -> list[Measurement]:
    """One measurement for each variant that took its turn."""
    return [Measurement(name, place, plugins, tuple(each)) for name, each in times.items()]


def measure_crash(setup: Setup, workload: Workload, runs: int) -> list[Measurement]:
    """Wall time of `gdb -batch -ex run`: plain GDB, and gdbext with its crash report on and off."""
    run = ["-ex", "run", "--args", *workload.command]
    variants = {"crash: plain GDB": run}
    if not setup.problem:
        off = ["-ex", "set plug stop-on-segv off"]
        variants["crash: gdbext, stop-on-segv on"] = [*setup.sourcing(), *run]
        variants["crash: gdbext, stop-on-segv off"] = [*setup.sourcing(), *off, *run]
    try:
        times = alternate(setup, variants, runs, "SIGSEGV")
    except SessionError as problem:
        return [Measurement(name, "live", workload.count, error=str(problem)) for name in variants]
    return as_measurements(times, "live", workload.count)


def measure_native(workload: Workload, runs: int) -> list[Measurement]:
    """The host without GDB, with LD_BIND_NOW=1 too; a program that is linked to all plugins."""
    names = ("native", "native, LD_BIND_NOW=1", "native, linked, LD_BIND_NOW=1")
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(runs):
        times["native, linked, LD_BIND_NOW=1"].append(run_linked(workload))
        times["native"].append(run_native(workload))
        times["native, LD_BIND_NOW=1"].append(run_native(workload, bind_now=True))
    return as_measurements(times, "", workload.count)


def measure(setup: Setup, options: argparse.Namespace) -> Results:
    """Everything that the options ask for."""
    wanted = set(options.only or NAMES)
    results = Results(machine_facts(setup))
    if "source" in wanted:
        talk(f"start of GDB, {START_RUNS} times each")
        results.measurements += measure_starts(setup, START_RUNS)
    for count in options.plugins:
        talk(f"N = {count}: building")
        workload = build(count, options.binding, cache=options.cache)
        if "native" in wanted:
            results.measurements += measure_native(workload, options.runs)
        if "crash" in wanted and count in options.crash_at:
            talk(f"N = {count}: reaching the crash, {CRASH_RUNS} times each")
            results.measurements += measure_crash(setup, workload, CRASH_RUNS)
        for place in options.place or PLACES:
            if wanted & {"got", "memory", *OTHER_COMMANDS}:
                talk(f"N = {count}: commands, {place}")
                results.measurements += measure_session(setup, workload, place, wanted, options)
    results.machine["load average, start -> end"] += f" -> {os.getloadavg()[0]:.2f}"
    return results


def machine_facts(setup: Setup) -> dict[str, str]:
    """What a reader must know to compare with other figures."""
    _, version, _ = run_gdb(setup, setup.command("-ex", "python print(gdb.VERSION)"))
    return {
        "GDB": version.strip(),
        "libc": " ".join(platform.libc_ver()),
        "CPU": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "load average, start -> end": f"{os.getloadavg()[0]:.2f}",
    }


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("plugins", type=int, nargs="*", metavar="N", help="numbers of plugins (10 100 500 1000)")
    add("--gdb", default="gdb", metavar="PATH", help="the GDB to measure in")
    add("--package", type=Path, default=HERE.parent / "gdbext", help="the folder of gdbext")
    add("--only", action="append", choices=NAMES, help="measure this alone (may be repeated)")
    add("--place", action="append", choices=PLACES, help="live or core alone (default both)")
    add("--runs", type=int, default=5, help="runs of each quick command (default 5)")
    add("--binding", choices=BINDINGS, default="now", help="how the host binds (default now)")
    add("--sample", type=int, default=4000, help="slots that `info symbol` is asked above N = 500")
    add("--whole-loop", action="store_true", help="ask `info symbol` for every slot at every N")
    add("--crash-at", type=int, nargs="*", default=[500], metavar="N", help="N of the crash runs")
    add("--cache", type=Path, default=DEFAULT_CACHE, help="where the workload is built")
    add("--timeout", type=float, default=900, help="seconds for one GDB process (default 900)")
    add("--json", type=Path, metavar="FILE", help="write all figures there too")
    add("--fail-on-budget", action="store_true", help="exit with 1 if a budget is over")
    options = parser.parse_args(arguments)
    options.plugins = options.plugins or [10, 100, 500, 1000]
    if min(options.plugins) < 1 or options.runs < 1 or options.sample < 1:
        parser.error("N, --runs and --sample must be 1 or more")
    return options


def main() -> int:
    """Measure, print the tables, write the JSON."""
    options = parse_arguments()
    try:
        setup = checked(Setup(options.gdb, options.package.resolve(), options.timeout))
        results = measure(setup, options)
    except (BuildError, SessionError, OSError) as problem:
        talk(str(problem))
        return 2
    print(tables(results), end="")
    if options.json:
        options.json.write_text(json.dumps(as_json(results), indent=1) + "\n")
    over = [one.text for one in budgets(results) if one.verdict == "over"]
    failed = [f"{one.name} {one.place}".strip() for one in results.measurements if one.error]
    if options.fail_on_budget and (over or failed):
        talk(f"over budget: {', '.join(over) or 'none'}")
        talk(f"not measured: {', '.join(failed) or 'none'}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
