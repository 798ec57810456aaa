"""Generate and build the benchmark's program: a host and N plugins.

Each plugin is a shared library with 50 imports and 200 exports. The imports are functions and data
of four base libraries, functions of libc and functions of plugins that were opened before it. Some
of the exports have names that other plugins define too, and the plugin calls a few of these itself,
so that another plugin's definition wins. The host opens all N with RTLD_GLOBAL, then calls into the
last one, which dereferences a null pointer.

A plugin depends on the seed and on its own number alone. So one folder of plugins serves every N,
and a larger N only adds to it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFAULT_CACHE = HERE / "build"
BINDINGS = ("now", "lazy", "mix")

BASE_LIBRARIES = 4
BASE_FUNCTIONS = 60  # exported by each base library
BASE_VARIABLES = 10
SHARED_NAMES = 40  # names that many plugins define ...
SHARED_EXPORTS = 20  # ... each plugin this many of them ...
SHARED_CALLS = 4  # ... and calls this many of its own through its PLT

# Functions that every libc has; some of them are IFUNCs in glibc (memcpy, strlen, strchr).
LIBC_FUNCTIONS = [
    "abs",
    "atoi",
    "atol",
    "calloc",
    "clearerr",
    "close",
    "exit",
    "fclose",
    "feof",
    "ferror",
    "fflush",
    "fgetc",
    "fopen",
    "fputs",
    "fread",
    "free",
    "fseek",
    "ftell",
    "fwrite",
    "getenv",
    "getpid",
    "getppid",
    "isatty",
    "labs",
    "lseek",
    "malloc",
    "memchr",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "open",
    "puts",
    "qsort",
    "rand",
    "read",
    "realloc",
    "rewind",
    "setenv",
    "sleep",
    "srand",
    "strchr",
    "strcmp",
    "strcpy",
    "strlen",
    "strncmp",
    "strrchr",
    "strstr",
    "strtol",
    "strtoul",
    "tolower",
    "toupper",
    "ungetc",
    "unlink",
    "write",
]

HOST_SOURCE = """\
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* host FOLDER COUNT now|lazy|mix: open all plugins, then crash in the last one. */
int main(int argc, char **argv)
{
    char text[4096];
    void *handle = NULL;
    void (*crash)(void);
    int count, i;

    if (argc != 4)
        return 2;
    count = atoi(argv[2]);
    for (i = 0; i < count; i++) {
        int lazy = strcmp(argv[3], "lazy") == 0 || (strcmp(argv[3], "mix") == 0 && i % 2 == 1);
        snprintf(text, sizeof text, "%s/p%04d.so", argv[1], i);
        handle = dlopen(text, RTLD_GLOBAL | (lazy ? RTLD_LAZY : RTLD_NOW));
        if (handle == NULL) {
            fprintf(stderr, "%s\\n", dlerror());
            return 1;
        }
    }
    snprintf(text, sizeof text, "p%04d_crash", count - 1);
    crash = (void (*)(void))dlsym(handle, text);
    if (crash == NULL)
        return 1;
    crash();
    return 0;
}
"""


class BuildError(Exception):
    """The workload could not be built or did not behave; the message says why."""


@dataclass(frozen=True)
class Recipe:
    """What decides the content of the plugins."""

    seed: int = 1
    imports: int = 50
    exports: int = 200
    compiler: str = "gcc"

    def key(self) -> str:
        """A folder name that changes with the recipe and with this generator."""
        generator = Path(__file__).read_bytes()
        text = f"{self.seed} {self.imports} {self.exports} {self.compiler} ".encode()
        return hashlib.sha256(text + generator).hexdigest()[:12]


@dataclass(frozen=True)
class Workload:
    """A program that is ready to run."""

    folder: Path
    count: int
    binding: str

    @property
    def command(self) -> list[str]:
        """The host's command line."""
        plugins = self.folder / "plugins"
        return [str(self.folder / "host"), str(plugins), str(self.count), self.binding]

    @property
    def core(self) -> Path:
        """Where the kernel's core of this workload is kept."""
        return self.folder / "cores" / f"{self.count}-{self.binding}.core"


def base_source(library: int) -> str:
    """C source of one base library."""
    lines = [f"int base{library}_f{n:02d}(void) {{ return {n}; }}" for n in range(BASE_FUNCTIONS)]
    lines += [f"int base{library}_v{n:02d} = {n};" for n in range(BASE_VARIABLES)]
    return "\n".join(lines) + "\n"


def choose_imports(recipe: Recipe, index: int, rng: random.Random) -> tuple[list[str], list[str]]:
    """The functions and the variables that one plugin imports, `recipe.imports` together."""
    variable_count = recipe.imports * 8 // 100
    libc_count = recipe.imports * 24 // 100
    plugin_count = recipe.imports * 40 // 100 if index else 0
    base_count = recipe.imports - variable_count - libc_count - plugin_count
    libraries = range(BASE_LIBRARIES)
    variables = [f"base{b}_v{n:02d}" for b in libraries for n in range(BASE_VARIABLES)]
    base = [f"base{b}_f{n:02d}" for b in libraries for n in range(BASE_FUNCTIONS)]
    own = own_exports(recipe)
    chosen = rng.sample(range(index * own), plugin_count)
    functions = rng.sample(base, base_count) + rng.sample(LIBC_FUNCTIONS, libc_count)
    functions += [f"p{n // own:04d}_f{n % own:03d}" for n in chosen]
    return functions, rng.sample(variables, variable_count)


def own_exports(recipe: Recipe) -> int:
    """How many exports of a plugin are named after it, its crash function not counted."""
    return recipe.exports - SHARED_EXPORTS - 1


def plugin_source(recipe: Recipe, index: int) -> str:
    """C source of plugin number `index`."""
    rng = random.Random(f"{recipe.seed}/{index}")
    functions, variables = choose_imports(recipe, index, rng)
    shared = rng.sample(range(SHARED_NAMES), SHARED_EXPORTS)
    by_address = functions[:SHARED_CALLS]  # these get a GLOB_DAT slot, the others a JUMP_SLOT
    called = functions[SHARED_CALLS:] + [f"shared_{n:02d}" for n in shared[:SHARED_CALLS]]
    lines = [f"extern int {name}();" for name in functions]
    lines += [f"extern int {name};" for name in variables]
    lines += [f"int shared_{n:02d}(void) {{ return {index}; }}" for n in shared]
    lines.append(f"long p{index:04d}_f000(void)\n{{\n    long sum = 0;")
    lines += [f"    sum += {name}();" for name in called]
    lines += [f"    sum += (long)&{name};" for name in by_address + variables]
    lines.append("    return sum;\n}")
    exports = range(1, own_exports(recipe))
    lines += [f"int p{index:04d}_f{n:03d}(void) {{ return {n}; }}" for n in exports]
    lines.append(f"void p{index:04d}_crash(void) {{ *(volatile int *)0 = {index}; }}")
    return "\n".join(lines) + "\n"


def compile_c(recipe: Recipe, source: str, target: Path, flags: list[str]) -> None:
    """Compile C `source` to `target`, whole or not at all."""
    part = target.with_name(target.name + ".part")
    # -z lazy: some distributions' compilers link with -z now, which would hide the host's choice.
    command = [recipe.compiler, "-O0", "-std=gnu11", "-fno-builtin", "-w", "-x", "c", "-"]
    command += ["-x", "none", "-Wl,-z,lazy", "-o", str(part), *flags]
    done = subprocess.run(command, input=source, text=True, capture_output=True, check=False)
    if done.returncode:
        raise BuildError(f"{target.name}: {recipe.compiler} failed: {done.stderr.strip()[:400]}")
    os.replace(part, target)


def build_plugin(recipe: Recipe, folder: Path, index: int) -> None:
    """Build plugin number `index`, unless it is there."""
    target = folder / f"p{index:04d}.so"
    if target.exists():
        return
    flags = ["-shared", "-fPIC", f"-Wl,-soname,{target.name},-rpath,$ORIGIN", f"-L{folder}"]
    flags += [f"-lbase{b}" for b in range(BASE_LIBRARIES)]
    compile_c(recipe, plugin_source(recipe, index), target, flags)


def build(
    count: int,
    binding: str = "now",
    recipe: Recipe | None = None,
    cache: Path = DEFAULT_CACHE,
    jobs: int = 0,
) -> Workload:
    """Build what is missing for `count` plugins and return the workload."""
    recipe = recipe or Recipe()
    folder = cache.resolve() / recipe.key()
    plugins = folder / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    (folder / "cores").mkdir(exist_ok=True)
    for library in range(BASE_LIBRARIES):
        target = plugins / f"libbase{library}.so"
        if not target.exists():
            flags = ["-shared", "-fPIC", f"-Wl,-soname,{target.name}"]
            compile_c(recipe, base_source(library), target, flags)
    if not (folder / "host").exists():
        compile_c(recipe, HOST_SOURCE, folder / "host", ["-ldl"])
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        for _ in pool.map(lambda index: build_plugin(recipe, plugins, index), range(count)):
            pass
    return Workload(folder, count, binding)


def run_native(workload: Workload, bind_now: bool = False) -> float:
    """Seconds from the host's start to its SIGSEGV, without a debugger and without a core."""
    environment = dict(os.environ)
    environment.pop("LD_BIND_NOW", None)
    if bind_now:
        environment["LD_BIND_NOW"] = "1"
    start = time.perf_counter()
    status = run_limited(workload.command, 0, workload.folder, environment)
    seconds = time.perf_counter() - start
    if status != -signal.SIGSEGV:
        raise BuildError(f"the host ended with status {status}, not with SIGSEGV")
    return seconds


def build_linked(workload: Workload) -> Path:
    """A program that needs all the plugins, so that ld.so relocates them in one scope."""
    target = workload.folder / f"linked-{workload.count}"
    if not target.exists():
        plugins = workload.folder / "plugins"
        names = [f"-l:p{index:04d}.so" for index in range(workload.count)]
        flags = [f"-L{plugins}", f"-Wl,-rpath,{plugins},--no-as-needed,--allow-shlib-undefined"]
        compile_c(Recipe(), "int main(void) { return 0; }", target, [*flags, *names])
    return target


def run_linked(workload: Workload) -> float:
    """Seconds that a program with all plugins needs with LD_BIND_NOW=1: ld.so's own lookups."""
    program = build_linked(workload)
    start = time.perf_counter()
    environment = {**os.environ, "LD_BIND_NOW": "1"}
    status = run_limited([str(program)], 0, workload.folder, environment)
    seconds = time.perf_counter() - start
    if status != 0:
        raise BuildError(f"{program.name} ended with status {status}")
    return seconds


def run_limited(command: list[str], core_limit: int, cwd: Path, environment: dict[str, str]) -> int:
    """Run `command` with RLIMIT_CORE at `core_limit`; return its status (minus the signal)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (core_limit, hard))  # the child inherits it
    try:
        return subprocess.run(command, cwd=cwd, env=environment, check=False).returncode
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def make_core(workload: Workload) -> Path:
    """Have the kernel write a core of the workload, once; return its path."""
    if workload.core.exists():
        return workload.core
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    scratch = workload.folder / "cores" / f"scratch-{os.getpid()}"
    scratch.mkdir()
    try:
        status = run_limited(workload.command, hard, scratch, dict(os.environ))
        found = [path for path in scratch.iterdir() if path.name.startswith("core")]
        if status != -signal.SIGSEGV or len(found) != 1:
            pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
            raise BuildError(f"no core (status {status}, core_pattern {pattern!r}, limit {hard})")
        os.replace(found[0], workload.core)
    finally:
        for path in scratch.iterdir():
            path.unlink()
        scratch.rmdir()
    return workload.core


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Build the benchmark's host and plugins.")
    parser.add_argument("count", type=int, help="number of plugins")
    parser.add_argument("--binding", choices=BINDINGS, default="now", help="how the host binds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--imports", type=int, default=50, help="of each plugin (default 50)")
    parser.add_argument("--exports", type=int, default=200, help="of each plugin (default 200)")
    parser.add_argument("--cc", default="gcc", help="compiler (default gcc)")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where to build")
    parser.add_argument("--jobs", type=int, default=0, help="compilers at a time (default: CPUs)")
    parser.add_argument("--core", action="store_true", help="have the kernel write a core too")
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error("count must be 1 or more")
    if not SHARED_CALLS < options.imports <= 200 or options.exports < SHARED_EXPORTS + 52:
        parser.error(f"5 to 200 imports and at least {SHARED_EXPORTS + 52} exports, please")
    return options


def main() -> int:
    """Build, and print the command line of the host."""
    options = parse_arguments()
    recipe = Recipe(options.seed, options.imports, options.exports, options.cc)
    try:
        workload = build(options.count, options.binding, recipe, options.cache, options.jobs)
        if options.core:
            print(make_core(workload), file=sys.stderr)
    except (BuildError, OSError) as problem:
        print(f"generate: {problem}", file=sys.stderr)
        return 2
    print(" ".join(workload.command))
    return 0


if __name__ == "__main__":
    sys.exit(main())
