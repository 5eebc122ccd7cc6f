"""Commands that refuse an option that is given twice, instead of using its last value; their help has an example."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import typer
from typer.core import TyperCommand

from alchemflows.cli.inputs import with_repeats
from alchemflows.errors import InvalidInputError

#: The context of the command that runs.
_running: ContextVar[Any] = ContextVar("running", default=None)


class _Command(TyperCommand):
    """A command that refuses an option that is given twice, unless it takes several values.

    Its help ends with an example, the epilogue of the command.

    The options of a command whose function has an attribute `ungrouped` (:mod:`alchemflows.cli.maker_options`) are put
    together when they are first asked for.
    """

    _params: list[Any]

    @property
    def params(self) -> list[Any]:
        """The options and arguments."""
        if (ungrouped := getattr(self.callback, "ungrouped", None)) is not None:
            alone = typer.Typer(add_completion=False)
            alone.command()(ungrouped())
            whole: Any = typer.main.get_command(alone)
            self.callback, self._params = whole.callback, whole.params
        return self._params

    @params.setter
    def params(self, params: list[Any]) -> None:
        self._params = params

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        args = with_repeats(args, self.params)
        # The parser changes the list that it is given.
        texts, _, order = self.make_parser(ctx).parse_args(list(args))
        for parameter in order:
            if parameter.param_type_name != "option" or parameter.multiple or parameter.name == "help":
                continue
            if order.count(parameter) > 1:
                raise InvalidInputError(f"{'/'.join(parameter.opts)} is given twice; give it once")
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            _explain(error, texts)
            raise

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        # Options stay with their values, and the shell accepts the lines as they are.
        joined = re.sub(r" (?!-)", "\0", self.epilog or "")
        lines = textwrap.wrap(
            joined, formatter.width - 4, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        with formatter.section("Example"):
            formatter.write_text("\b\n" + " \\\n".join(lines).replace("\0", " "))

    def invoke(self, ctx: Any) -> Any:
        _running.set(ctx)
        return super().invoke(ctx)


def _explain(error: typer.BadParameter, texts: dict[str, Any]) -> None:
    """Name what was given instead of a number, and the unit of the option, in place of pydantic's sentence."""
    if (parameter := error.param) is None or not error.message.startswith("Input should be a valid "):
        return
    given = texts.get(parameter.name)
    kind, noun = (int, "a whole number") if "integer" in error.message else (float, "a number")
    wrong = [text for text in (given if isinstance(given, list | tuple) else [given]) if not _is(kind, text)]
    if wrong:
        # The unit is in parentheses in the help text, as in "Pressure (GPa)".
        unit = re.search(r"\((\S+)\)", getattr(parameter, "help", None) or "")
        advice = "" if unit is None else f"; give it in {unit[1]}, without the unit"
        error.message = f"{wrong[0]!r} is not {noun}{advice}"


def _is(kind: type[int] | type[float], text: Any) -> bool:
    try:
        kind(text)
    except (TypeError, ValueError):
        return False
    return True


class App(typer.Typer):
    """A group of such commands; an unexpected error is not shown with local variables, which may hold a password."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(pretty_exceptions_enable=False, **settings)

    # Typer's own signature names every setting of a command.
    def command(self, name: str | None = None, *, example: str, **settings: Any) -> Callable[[Any], Any]:  # type: ignore[override]
        """Add a command.

        Parameters
        ----------
        name
            By default, that of the function.
        example
            A call of the command on one line, which its help ends with.
        **settings
            Those of typer.
        """
        return super().command(name, cls=_Command, epilog=example, **settings)


def given(name: str) -> bool:
    """Tell whether a parameter of the running command was given, rather than left at its default.

    Parameters
    ----------
    name
        Of the function's parameter.
    """
    context = _running.get()
    source = None if context is None else context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_given(names: dict[str, str], reason: str) -> None:
    """Raise an error if an option is given that has no effect.

    Parameters
    ----------
    names
        Options, by the names of the function's parameters.
    reason
        Why they have no effect, as the end of the message.

    Raises
    ------
    InvalidInputError
        If one is given.
    """
    for name, option in names.items():
        if given(name):
            raise InvalidInputError(f"{option} has no effect {reason}")
