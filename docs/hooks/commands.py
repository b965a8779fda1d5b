"""Writes the page of commands from the command line itself, so that the two never differ."""

from collections.abc import Iterator
from typing import Any, Final, get_args

import typer
from mkdocs.structure.pages import Page
from rich.text import Text

from pipeline.cli import app

_MARK: Final = "<!-- every command -->"
_ARGUMENTS: Final = "Arguments"
_VALUES: Final[dict[Any, str]] = {int: "N", float: "X"}


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Replaces the mark by a section for each command."""
    if _MARK not in markdown:
        return markdown
    return markdown.replace(_MARK, "\n".join(_lines(typer.main.get_command(app), "cir")))


def _lines(command: Any, name: str) -> Iterator[str]:
    """A command's section, or those of its subcommands."""
    if hasattr(command, "commands"):
        for word, subcommand in command.commands.items():
            yield from _lines(subcommand, f"{name} {word}")
        return
    yield f"## {name}\n\n{command.help}\n"
    taken = [parameter for parameter in command.params if "--help" not in parameter.opts]
    panels = list(dict.fromkeys(map(_panel, taken)))
    panels.sort(key=lambda panel: panel != _ARGUMENTS)
    for panel in panels:
        yield f"**{panel}**\n\n| option | default | what it does |\n|---|---|---|"
        yield from (_row(parameter) for parameter in taken if _panel(parameter) == panel)
        yield ""


def _panel(parameter: Any) -> str:
    """The heading that `--help` shows a parameter under."""
    return getattr(parameter, "rich_help_panel", None) or _ARGUMENTS


def _row(parameter: Any) -> str:
    """One row of a table; what is typed is code, and no text opens a column of its own."""
    told = Text.from_markup(parameter.help or "").plain.replace("<", "&lt;")
    cells = (_spelling(parameter), _default(parameter), told)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    flags = " ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
    if getattr(parameter, "is_flag", False):
        return flags
    values = (parameter.metavar or _value(parameter.type_descriptor.annotation)).split("|")
    shown = " · ".join(f"`{value}`" for value in values)
    return f"{flags}<br>{shown}" if len(values) > 1 else f"{flags} {shown}"


def _value(annotation: Any) -> str:
    """What stands for a value of a type, an optional one or one of several."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return _VALUES.get(kinds[0] if kinds else annotation, "TEXT")


def _default(parameter: Any) -> str:
    default = parameter.default
    if parameter.required:
        return "required"
    if default is None or default is False or default == []:
        return ""
    if default is True:
        return "on"
    return " ".join(f"`{each}`" for each in (default if isinstance(default, list) else [default]))
