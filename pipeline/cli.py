"""The command line: the only typer.

Every command is made from its configuration in `cir.config`: flags, defaults, choices and help are
the fields, their types and docstrings. A stage is imported when its command runs, so that help
answers at once.
"""

import ast
import dataclasses
import importlib
import inspect
from contextlib import nullcontext
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer
from rich.markup import escape

from cir import __version__, config
from cir.errors import CirError, UsageError
from cir.machine.workers import calm_threads
from cir.types import FolderArtefact
from pipeline.command import faults, flags, leaving
from pipeline.command.starting import uncollected
from pipeline.screen.patience import awaited

if TYPE_CHECKING:
    from cir.machine.processes import Processes

_SHARED = ("embed", "mine", "train")
"""Stages that share their work among the processes that a launcher starts."""


class _App(typer.Typer):
    """Typer, which also ends in one line where it fails outside a stage."""

    is_the_program = False
    """Whether the process is there for the command, and ends with it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the program that the arguments ask for."""
        try:
            self.is_the_program = True
            faults.ready_terminal()
            return super().__call__(*args, **kwargs)
        except SystemExit as error:
            # Typer and rich end with 1, where nobody reads the help any more.
            if not isinstance(error.__context__, BrokenPipeError):
                raise
            raise SystemExit(faults.end(error.__context__, None)) from None
        except Exception as error:  # noqa: BLE001 - every failure is told in one line
            if isinstance(error, OSError):
                error.filename = error.filename or "standard output"
            raise SystemExit(faults.end(error, None)) from None


app = _App(
    name="cir",
    help="Composed image retrieval: mine negatives over precomputed embeddings, train, evaluate.",
    epilog="On a dataset in data/fashioniq: cir embed, cir mine, cir train, cir evaluate. "
    "Without one: cir demo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Check a dataset folder, or make one.", no_args_is_help=True)
app.add_typer(data, name="data", rich_help_panel="Data")
index = typer.Typer(help="Fill a search index in Milvus.", no_args_is_help=True)
app.add_typer(index, name="index", rich_help_panel="Use")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cir {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _add(
    group: typer.Typer, name: str, kind: type[config.Config], stage: str, panel: str | None = None
) -> None:
    """Adds the command `name`: it builds a `kind` and hands it to `pipeline.<stage>.run`."""

    def command(**values: Any) -> None:
        _run(stage, kind, values)

    parameters = _parameters(kind)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = flags.spelled(kind.__doc__ or "", kind)
    group.command(name, rich_help_panel=panel)(command)


def _run(stage: str, kind: type[config.Config], values: dict[str, Any]) -> None:
    """Runs a stage and turns its failure into an exit code."""
    with uncollected():
        from cir.machine.processes import launched

    faults.ready_terminal()
    calm_threads()
    with awaited(f"cir {stage.replace('_', '-')} begins"):
        code = _exit_code_of_all(stage, kind, values)
    leaving.end_if_told(code)
    if app.is_the_program or launched().count > 1:
        leaving.end_at_once(code)
    if code:
        raise typer.Exit(code)


def _exit_code_of_all(stage: str, kind: type[config.Config], values: dict[str, Any]) -> int:
    """Runs a stage in this process, and in those that share its work; the exit code."""
    from cir.machine.processes import ALONE, launched, together

    if stage not in _SHARED and launched().count > 1:
        return _refuse_to_share(kind, launched())
    try:
        with (
            leaving.on_signals(),
            together() if stage in _SHARED else nullcontext(ALONE) as processes,
        ):
            return _exit_code(stage, kind, values, processes)
    except leaving.Left as error:
        return faults.end(error, kind)
    except typer.Exit as ended:
        return ended.exit_code


def _refuse_to_share(kind: type[config.Config], processes: "Processes") -> int:
    """Tells that several processes were started of what is one's work; the exit code.

    The main process alone fails: a launcher ends the others when the first one fails, which must
    not be before the line is told.
    """
    if not processes.main:
        return 0
    shared = ", ".join(f"cir {name}" for name in _SHARED)
    line = (
        f"this is work for one process, and a launcher started {processes.count}: start it "
        f"without the launcher; {shared} share their work among processes"
    )
    return faults.end(UsageError(line), kind)


def _exit_code(
    stage: str, kind: type[config.Config], values: dict[str, Any], processes: "Processes"
) -> int:
    """Runs a stage; 0, or the code of its failure, which the main process tells in one line."""
    try:
        with processes.fail_together(), faults.as_library_errors(kind):
            built = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
            with uncollected():
                run = importlib.import_module(f"pipeline.{stage}").run
            done = run(built, processes) if stage in _SHARED else run(built)
            faults.flush_output()
    except CirError as error:
        return faults.end(error, kind, main=processes.main)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - told in one line
        code = faults.end(error, kind, main=processes.main)
        leaving.end_if_told(code)
        # Raised, not returned: the other processes know nothing of it and are not waited for.
        raise typer.Exit(code) from None
    return faults.FAILED if done is False else 0


def _parameters(kind: type[config.Config]) -> list[inspect.Parameter]:
    """One keyword parameter a field, annotated for typer; those without a default first."""
    helps, hints = _field_docs(kind), get_type_hints(kind)
    made = [
        _parameter(f, hints[f.name], flags.spelled(helps[f.name], kind))
        for f in dataclasses.fields(kind)
    ]
    return sorted(made, key=lambda p: p.default is not inspect.Parameter.empty)


def _parameter(item: dataclasses.Field[Any], hint: Any, help_text: str) -> inspect.Parameter:
    default = inspect.Parameter.empty if item.default is dataclasses.MISSING else item.default
    return inspect.Parameter(
        item.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=list(default) if isinstance(default, tuple) else default,
        annotation=Annotated[_accepted(hint), _declared(item, hint, help_text)],
    )


def _accepted(hint: Any) -> Any:
    """The type that typer parses: choices are texts, which the configuration itself checks."""
    if get_origin(hint) is tuple:
        return list[str]
    if not config.choices(hint):
        return hint
    return str | None if type(None) in get_args(hint) else str


def _declared(item: dataclasses.Field[Any], hint: Any, help_text: str) -> Any:
    """An option or argument of typer; a switch that is off has no --no- form."""
    if item.metadata["argument"]:
        return typer.Argument(help=escape(help_text), metavar=flags.metavar(item.name))
    choices = config.choices(hint)
    return typer.Option(
        *([flags.flag(item.name)] if hint is bool and item.default is False else []),
        help=escape(help_text),
        rich_help_panel=item.metadata["panel"],
        metavar="|".join(choices) or _path_metavar(item, hint),
        autocompletion=(lambda incomplete: [c for c in choices if c.startswith(incomplete)])
        if choices
        else None,
    )


def _path_metavar(item: dataclasses.Field[Any], hint: Any) -> str | None:
    """FOLDER, FILE, or PATH where either is taken; typer's own word for what is no path."""
    if Path not in (hint, *get_args(hint)):
        return None
    if item.metadata["either"]:
        return "PATH"
    written = item.metadata["writes"]
    folder = written in get_args(FolderArtefact) if written else item.name in _FOLDERS_READ
    return "FOLDER" if folder else "FILE"


_FOLDERS_READ = {"dataset", "images", "catalog", "synthetic", "checkpoint"}


def _field_docs(kind: type[config.Config]) -> dict[str, str]:
    """The docstring under each field of a configuration and of the classes it extends."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        for field, text in pairwise(_classes(base.__module__).get(base.__name__, [])):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                docs[field.target.id] = _docstring(text)
    return docs


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    """The statements of each class of a module; a module is read once, for that takes a while."""
    source = inspect.getsource(importlib.import_module(module))
    every = ast.parse(source).body
    return {node.name: node.body for node in every if isinstance(node, ast.ClassDef)}


def _docstring(statement: ast.stmt) -> str:
    text = statement.value.value if _is_text(statement) else ""  # type: ignore[attr-defined]
    return " ".join(str(text).split())


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


_add(app, "embed", config.EmbedConfig, "embed", "Stages")
_add(app, "mine", config.MineConfig, "mine", "Stages")
_add(app, "export", config.ExportConfig, "export", "Stages")
_add(app, "inspect", config.InspectConfig, "inspect", "Stages")
_add(app, "train", config.TrainConfig, "train", "Stages")
_add(app, "evaluate", config.EvaluateConfig, "evaluate", "Stages")
_add(app, "report", config.ReportConfig, "report", "Stages")
_add(app, "search", config.SearchConfig, "search", "Use")
_add(app, "serve", config.ServeConfig, "serve", "Use")
_add(app, "demo", config.DemoConfig, "demo", "Data")
_add(app, "pretrain", config.PretrainConfig, "pretrain", "Data")
_add(data, "check", config.CheckConfig, "check")
_add(data, "from-folder", config.FolderConfig, "folder")
_add(data, "from-catalog", config.CatalogConfig, "catalog")
_add(data, "synth", config.SynthConfig, "synth")
_add(data, "caption-pairs", config.CaptionPairsConfig, "caption_pairs")
_add(data, "add-queries", config.AddQueriesConfig, "add_queries")
_add(data, "merge", config.MergeConfig, "merge")
_add(index, "push", config.PushConfig, "push")
