"""How a request becomes a command: its fields are options, which stand in groups in its help."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar, get_args

import typer
import typer.core

from stress.errors import UsageFault

Request = TypeVar("Request")
Verb = Callable[[Request], int]
NUMBERS = {int: "a whole number", float: "a number"}
# What stands together in a verb's help.
PANELS = {
    "What is run": "orderings listed faults include_unsafe fail_if labels schema pair",
    "The machine": "vcpus zappers pages tlb_entries workers placement cpus settings delays memory threads",
    "How long, and how": "duration shootdowns warmup rate seed rounds budget sweep random pct short last since "
    "share cluster resume "
    "amplify outcome trace orders matrix contract no_symmetry no_reduction no_liveness fail_fast until",
    "What comes out": "out json junit ktap csv parquet markdown no_report plot export sql show dump quiet verbose "
    "no_color",
}


class Grouped(typer.core.TyperCommand):
    """A verb whose help has its options in groups."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """As click calls it: typer's own brackets differ from version to version."""
        named = [one for one in self.get_params(ctx) if one.param_type_name == "argument"]
        typed = (_several(one, str(one.metavar) if one.required else f"[{one.metavar}]") for one in named)
        return ["[OPTIONS]", *typed]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """As click calls it."""
        groups: dict[str, list[Any]] = {title: [] for title in ("Arguments", *PANELS, "Options")}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                title = getattr(param, "rich_help_panel", None) or "Options"
                if param.param_type_name == "argument":
                    title, record = "Arguments", (_several(param, str(param.metavar)), record[1])
                groups[title].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _several(argument: Any, name: str) -> str:
    return f"{name}..." if argument.nargs != 1 else name


def verb(
    app: typer.Typer,
    name: str,
    request: type[Request],
    epilog: str = "",
    *,
    help: str = "",
    only: str = "",
    **fixed: Any,
) -> Callable[[Verb[Request]], Verb[Request]]:
    """Make a function of such a request a command of this name; the request's docstring is the help. With `only`, a
    command that types these of its fields, and has others `fixed`.
    """
    defaults, fields = request._field_defaults, request.__annotations__  # type: ignore[attr-defined]
    parameters = [_parameter(name, fields[name], defaults) for name in (only.split() or fields)]

    def register(carry_out: Verb[Request]) -> Verb[Request]:
        def command(**given: Any) -> int:
            several = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
            return carry_out(request(**fixed | given | several))

        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(name, cls=Grouped, help=help or request.__doc__, epilog=epilog)(command)
        return carry_out

    return register


def typed(request: Any, names: Iterable[str]) -> list[str]:
    """Those of these fields that were typed, as options."""
    annotations, unsaid = type(request).__annotations__, request._field_defaults
    given = [name for name in names if getattr(request, name) != unsaid.get(name)]
    return [_split(get_args(annotations[name])[1])[0][-1] for name in given]


def _split(usage: str) -> tuple[list[str], str]:
    """`-x --name VALUE`: its names, and what stands behind them."""
    words = usage.split(" ")
    names = [word for word in words if word.startswith("-")]
    return names, " ".join(words[len(names) :])


def _number(option: str, kind: type[int | float]) -> Callable[[str], int | float]:
    """What reads a number as it was typed; an error of ours, as typer's own is another's."""

    def number(text: str) -> int | float:
        try:
            return kind(text)
        except ValueError:
            raise UsageFault(f'{option}: expected {NUMBERS[kind]}, found "{text}"') from None

    return number


def _parameter(name: str, annotation: Any, defaults: Mapping[str, Any]) -> inspect.Parameter:
    """As typer reads it. What several times is typed is a list to it; an option that is not given shows no default, as
    that is the scenario's.
    """
    its, usage, help = get_args(annotation)
    if get_args(its)[1:] == (...,):
        its = list[get_args(its)[0]]  # type: ignore[misc]
    names, metavar = _split(usage)
    default = defaults.get(name, inspect.Parameter.empty)
    if names:
        number = next((one for one in NUMBERS if one in (its, *get_args(its))), None)
        parser = None if number is None else _number(names[-1], number)
        panel = next((title for title, its in PANELS.items() if name in its.split()), "Options")
        said = typer.Option(
            *names, metavar=metavar or None, help=help, show_default=False, rich_help_panel=panel, parser=parser
        )
    else:
        said = typer.Argument(metavar=metavar, help=help, show_default=isinstance(default, str))
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[its, said])
