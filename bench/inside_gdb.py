"""The part of the benchmark that runs inside GDB: `gdb -batch -x inside_gdb.py --args HOST …`.

GDBEXT_BENCH_REQUEST in the environment names a JSON file (see sessions.Request). What was measured
is written as JSON to the request's "answer" path. GDB's stdout is for the commands' own output.
"""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gdb

GOT_TYPES = (
    *("JUMP_SLO", "GLOB_DAT", "IRELATIV", "TPOFF", "DTPMOD", "DTPOFF", "TLSDESC"),
    *("R_X86_64_64 ", "R_AARCH64_ABS64"),
)
MOST_MODULES = 100_000


def memory_kilobytes(field: str) -> int:
    """One field of this GDB's /proc/self/status, such as VmHWM, in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise KeyError(field)


def timed(command: str) -> float:
    """Seconds that one command needs, its output to GDB's stdout included."""
    start = time.perf_counter()
    gdb.execute(command, to_string=False)
    gdb.flush()
    return time.perf_counter() - start


def repeated(command: str, runs: int, seconds_at_most: float) -> list[float]:
    """Times of up to `runs` runs; no further run is started once `seconds_at_most` are used up."""
    times: list[float] = []
    while len(times) < runs and sum(times) < seconds_at_most:
        times.append(timed(command))
    return times


def measure_command(command: str, runs: int, seconds_at_most: float) -> dict[str, Any]:
    """Times of one command and what it printed (bytes for each run), or why it failed."""
    written = os.fstat(1).st_size  # GDB's stdout is a file here
    try:
        seconds = repeated(command, runs, seconds_at_most)
    except gdb.error as problem:  # gdb.execute turns a command's gdb.GdbError into this
        return {"error": str(problem).strip()}
    return {
        "seconds": seconds,
        "output_bytes": (os.fstat(1).st_size - written) // len(seconds),
        "peak_kilobytes": memory_kilobytes("VmHWM"),
    }


def slots_of_gdbext() -> list[int] | None:
    """The value of every slot by `plug-got -all -json`, None if there is no such command."""
    try:
        document = json.loads(gdb.execute("plug-got -all -json", to_string=True))
    except (gdb.error, ValueError):
        return None
    values = [slot["value"] for module in document["modules"] for slot in module["slots"]]
    return [int(value, 16) for value in values if value is not None]


def words(address: int, count: int) -> tuple[int, ...]:
    """`count` 64-bit words of the program's memory."""
    data = gdb.selected_inferior().read_memory(address, 8 * count)
    return struct.unpack(f"<{count}Q", bytes(data))


def c_string(address: int) -> str:
    """A path in the program's memory."""
    pointer = gdb.Value(address).cast(gdb.lookup_type("char").pointer())
    return pointer.string("utf-8", "surrogateescape")


def linked_files() -> dict[str, int]:
    """Path to base of each loaded file, from ld.so's list (found by its symbol _r_debug)."""
    debug = int(gdb.parse_and_eval("(long)&_r_debug"))
    link = words(debug, 2)[1]
    files: dict[str, int] = {}
    while link and len(files) < MOST_MODULES:
        base, name, _, following = words(link, 4)
        path = c_string(name) if files else gdb.objfiles()[0].filename
        if path and os.path.exists(path):
            files[path] = base
        link = following
    return files


def slots_of_readelf() -> list[int]:
    """The value of every slot that `readelf -rW` lists: an own count, and a list without gdbext."""
    files = linked_files()
    command = ["readelf", "-rW", *files]
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    base = 0
    addresses: list[int] = []
    for line in text.splitlines():
        if line.startswith("File: "):
            base = files[line[6:]]
        elif any(kind in line for kind in GOT_TYPES):
            addresses.append(base + int(line.split()[0], 16))
    return [words(address, 1)[0] for address in addresses]


def sample_of(values: list[int], sample: int | None) -> list[int]:
    """`sample` of the values, chosen at random but the same each time; all if it is None."""
    if sample is None or sample >= len(values):
        return values
    return random.Random(1).sample(values, sample)


def info_symbol_loop(values: list[int]) -> float:
    """Seconds that `info symbol` needs for each value, asked one by one."""
    start = time.perf_counter()
    for value in values:
        gdb.execute(f"info symbol {value:#x}", to_string=True)
    return time.perf_counter() - start


def measure_info_symbol(sample: int | None) -> dict[str, Any]:
    """The loop over all slot values, or over a sample with its time scaled to all of them."""
    readelf = slots_of_readelf()
    gdbext = slots_of_gdbext()
    values = readelf if gdbext is None else gdbext
    chosen = sample_of(values, sample)
    seconds = info_symbol_loop(chosen)
    return {
        "slots": len(values),
        "slots_from": "readelf" if gdbext is None else "plug-got",
        "slots_readelf": len(readelf),
        "asked": len(chosen),
        "loop_seconds": seconds,
        "seconds": seconds * len(values) / len(chosen),
    }


def source_gdbext(folder: str) -> str | None:
    """Source gdbext as a user does; None, or why that failed."""
    try:
        gdb.execute(f"directory {folder}", to_string=True)
        gdb.execute("source gdbext", to_string=True)
    except gdb.error as problem:
        return str(problem).strip()
    return None


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Go where the request says and measure what it asks for."""
    result: dict[str, Any] = {"gdb": gdb.VERSION, "gdb_python": list(sys.version_info[:3])}
    if not request["core"]:
        result["reach_seconds"] = timed("run")
    result["pc"] = hex(int(gdb.parse_and_eval("(long)$pc")))
    result["peak_before_kilobytes"] = memory_kilobytes("VmHWM")
    if request["gdbext"]:
        result["source_error"] = source_gdbext(request["gdbext"])
        if result["source_error"] is None:
            limits = (request["runs"], request["seconds_at_most"])
            commands = request["commands"].items()
            result["commands"] = {name: measure_command(text, *limits) for name, text in commands}
    if request["info_symbol"]:
        result["info_symbol"] = measure_info_symbol(request["sample"])
    return result


def main() -> None:
    """Read the request, measure, write the answer."""
    for setting in ("confirm off", "pagination off", "width 0", "height 0"):
        gdb.execute(f"set {setting}")
    request = json.loads(Path(os.environ["GDBEXT_BENCH_REQUEST"]).read_text())
    Path(request["answer"]).write_text(json.dumps(answer(request)))


main()
