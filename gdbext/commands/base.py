"""What the commands share: options, help, completion, -json, -out, and how a failure ends."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import gdb

from gdbext.commands.completion import matches, module_names, symbol_names
from gdbext.commands.output import write
from gdbext.render.fit import wrapped

if TYPE_CHECKING:
    import argparse

    from gdbext.inferior import Inferior


class Argument(NamedTuple):
    """One argument of a command: parser, help and completion all come from it.

    `name` starts with `-` for an option. `metavar` is the option's value, None for a switch.
    `complete` is `module`, `symbol`, `expression`, `file`, or the words themselves, separated by
    spaces. An expression or a symbol is one argument, spaces and all.
    """

    name: str
    help: str
    metavar: str | None = None
    complete: str = ""
    required: bool = False


JSON = Argument("-json", "Print one JSON document and nothing else.")
OUT = Argument("-out", "Write to FILE instead, whole or not at all, mode 0600.", "FILE", "file")
_COMPLETERS = {
    "expression": gdb.COMPLETE_EXPRESSION,
    "file": gdb.COMPLETE_FILENAME,
}
_WHOLE = ("expression", "symbol")
_VALUE = r"\s+(?:'[^']*'|\"[^\"]*\"|\S+)"
_HELP = 80  # columns of the help, as of GDB's own
_KEPT = "\xa0"  # a space at which no line ends
_COMPLETE_NONE = gdb.COMPLETE_NONE


class Command(gdb.Command, ABC):
    """A `plug-` command. Subclasses set `name`, `schema` and `arguments`."""

    name: ClassVar[str]
    schema: ClassVar[str]
    arguments: ClassVar[tuple[Argument, ...]] = ()

    def __init__(self) -> None:
        type(self).__doc__ = self._help()
        super().__init__(self.name, gdb.COMMAND_DATA)

    @abstractmethod
    def facts(self, inferior: Inferior, args: argparse.Namespace) -> Any:  # noqa: ANN401
        """What there is to say, as plain data. Nothing is printed here."""

    @abstractmethod
    def document(self, facts: Any, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ANN401
        """`facts` as JSON has them, without the schema key."""

    @abstractmethod
    def text(self, facts: Any, args: argparse.Namespace) -> Iterator[str]:  # noqa: ANN401
        """`facts` as lines."""

    def also(self, facts: Any, args: argparse.Namespace) -> None:  # noqa: ANN401
        """Write the files that options of this command ask for besides its answer."""

    def invoke(self, argument: str, from_tty: bool) -> None:  # noqa: ARG002
        """Run the command; an expected failure becomes GDB's own error, one line, no traceback."""
        from gdbext.elf.problem import Problem

        try:
            args = self.parse(self._words(argument))
            with collector_paused():
                self._run(args)
        except Problem as problem:
            raise gdb.GdbError(f"{self.name}: {_one_line(str(problem))}") from problem

    def open(self) -> Any:  # noqa: ANN401
        """What facts() is handed: the inferior, which must have a process."""
        from gdbext.inferior import Inferior

        return Inferior()

    def _run(self, args: argparse.Namespace) -> None:
        """A call of its own, so that all facts are gone when the collector runs again."""
        inferior = self.open()
        try:
            facts = self.facts(inferior, args)
            self.also(facts, args)
            write(self._output(facts, args), args.out)
        finally:
            inferior.release()

    def _output(self, facts: Any, args: argparse.Namespace) -> Iterator[str]:  # noqa: ANN401
        if args.json:
            yield self.json(facts, args)
        else:
            yield from (line + "\n" for line in self.text(facts, args))

    def json(self, facts: Any, args: argparse.Namespace) -> str:  # noqa: ANN401
        """One line: the document with its schema."""
        from json import dumps

        return dumps({"schema": f"gdbext/{self.schema}/1", **self.document(facts, args)}) + "\n"

    def _words(self, argument: str) -> list[str]:
        """The arguments as GDB splits them; an expression is one argument, spaces and all."""
        if not any(a.complete in _WHOLE and a.name[0] != "-" for a in self.arguments):
            return gdb.string_to_argv(argument)
        # Options stand before or after an expression, which may itself hold quotes and dashes.
        names = "|".join(
            a.name[1:] + (_VALUE if a.metavar else "") for a in self._all() if a.name[0] == "-"
        )
        leading = re.compile(rf"--?(?:{names})(?=\s|$)")
        trailing = re.compile(rf"(?<=\s)--?(?:{names})\s*$")
        rest, options = argument.strip(), []
        while match := leading.match(rest) or trailing.search(rest):
            rest = (rest[: match.start()] + rest[match.end() :]).strip()
            options += gdb.string_to_argv(match.group())
        # `--` keeps an expression that starts with a minus from being taken for an option.
        return [*options, "--", rest.strip()] if rest.strip() else options

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments; raises gdb.GdbError with the usage when they do not fit."""
        import argparse

        name = self.name

        class Parser(argparse.ArgumentParser):
            def error(self, message: str) -> Any:  # noqa: ANN401
                raise gdb.GdbError(f"{name}: {message}; see: help {name}")

        parser = Parser(prog=name, add_help=False)
        for a in self._all():
            if not a.name.startswith("-"):
                nargs = None if a.required else "?"
                parser.add_argument(a.name.lower(), nargs=nargs, default=None, metavar=a.name)
            elif a.metavar:
                parser.add_argument(a.name, "-" + a.name, metavar=a.metavar)
            else:
                parser.add_argument(a.name, "-" + a.name, action="store_true")
        return parser.parse_args(list(words))

    def complete(self, text: str, word: str | None) -> Any:  # noqa: ANN401
        """Options, option values and module names, as the arguments were declared."""
        words = text.split()
        here = (
            text[len(text.rstrip()) - len(words[-1]) :] if words and not text[-1:].isspace() else ""
        )
        before = words[: -1 if here else None]
        current = words[-1] if here else ""
        previous = before[-1] if before else ""
        option = next((a for a in self._all() if a.metavar and _same(a.name, previous)), None)
        if option is None and current.startswith("-"):
            names = [a.name for a in self._all() if a.name.startswith("-")]
            dashes = "-" if current.startswith("--") else ""
            return matches([dashes + n for n in names], current, word)
        target = option or next((a for a in self._all() if not a.name.startswith("-")), None)
        if target is None:
            return _COMPLETE_NONE
        if target.complete in _COMPLETERS:
            return _COMPLETERS[target.complete]
        return matches(self.choices(target, before, current), current, word)

    def choices(self, argument: Argument, before: Sequence[str], current: str) -> Sequence[str]:  # noqa: ARG002
        """What may complete `current`, a value of `argument`; `before` are the words in front."""
        if argument.complete == "symbol":
            return symbol_names(current)
        return module_names() if argument.complete == "module" else argument.complete.split()

    def _all(self) -> tuple[Argument, ...]:
        return (*self.arguments, JSON, OUT)

    def _help(self) -> str:
        """The class's docstring and one line for each argument, without indentation.

        GDB before 12 shows a docstring's indentation as it is.
        """
        lines = (type(self).__doc__ or "").strip().split("\n")
        text = "\n".join(line[4:] if line.startswith("    ") else line for line in lines)
        if "\nUsage:" in text:
            return text  # made already: the module was loaded before
        usage = " ".join([self.name, *(_usage(a).replace(" ", _KEPT) for a in self._all())])
        heads = [f"{a.name} {a.metavar or ''}".strip() for a in self._all()]
        size = max(map(len, heads))
        title, _, prose = text.partition("\n")
        return "\n".join(
            [
                title,  # GDB shows the first line alone in its lists
                "",
                *(line.replace(_KEPT, " ") for line in wrapped("Usage: ", usage, _HELP)),
                prose,
                "",
                "Arguments:",
                *chain.from_iterable(
                    wrapped(f"  {head:<{size}}  ", a.help, _HELP)
                    for head, a in zip(heads, self._all())
                ),
            ]
        )


class Part(NamedTuple):
    """What another command has to say: facts, or why it has none."""

    command: Command
    args: argparse.Namespace
    facts: Any
    problem: str | None

    @classmethod
    def of(cls, kind: type[Command], inferior: Inferior, *words: str) -> Part:
        """The facts that `kind` finds with these arguments."""
        from gdbext.elf.problem import Problem

        command = kind.__new__(kind)  # GDB knows the command already
        args = command.parse(words)
        try:
            return cls(command, args, command.facts(inferior, args), None)
        except Problem as problem:
            return cls(command, args, None, str(problem))

    def document(self) -> dict[str, Any] | None:
        """As the command's own -json has it; None where there are no facts."""
        if self.facts is None:
            return None
        schema = f"gdbext/{self.command.schema}/1"
        return {"schema": schema, **self.command.document(self.facts, self.args)}

    def text(self) -> Iterator[str]:
        """As the command itself says it."""
        if self.facts is None:
            return iter([f"  not known: {_one_line(self.problem or '')}"])
        return self.command.text(self.facts, self.args)


def _usage(argument: Argument) -> str:
    text = f"{argument.name} {argument.metavar}" if argument.metavar else argument.name
    return text if argument.required else f"[{text}]"


def _same(name: str, word: str) -> bool:
    return word in (name, "-" + name)


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection for a while: a quarter of the time goes into it with 29,000 slots."""
    import gc

    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def terminal_width() -> int:
    """GDB's `set width`; a very large number when it is unlimited."""
    return int(gdb.parameter("width") or 0) or 1 << 20


def _one_line(text: str) -> str:
    from gdbext.render.printable import printable

    return printable(text)
