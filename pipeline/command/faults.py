"""How a command ends: what went wrong as one line on standard error, and the exit code."""

import dataclasses
import io
import os
import platform
import shlex
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from cir import __version__, config
from cir.errors import CirError, StoppedError, UsageError, described
from cir.machine.memory import is_lack_of_memory, out_of_memory
from pipeline.command.leaving import SIGNALLED, Left
from pipeline.screen import console
from pipeline.screen.bars import err

FAILED: Final = 1
"""Exit code of input that a stage cannot work with, and of a machine that lacks something."""
MISUSED: Final = 2
"""Exit code of a request that cannot be, as click's own."""
BUG: Final = 70
"""Exit code of a fault in cir itself, EX_SOFTWARE of sysexits.h."""
INTERRUPTED: Final = SIGNALLED + 2
"""Exit code after Ctrl-C, as shells count it."""
PIPE_CLOSED: Final = 141
"""Exit code where nobody reads the output any more, as shells count it: 128 + SIGPIPE."""
Command = type[config.Config] | None
"""The configuration of the command that runs, where one has begun."""
_AFTERWARDS: Final[Mapping[type[config.Config], str]] = {
    config.TrainConfig: "go on with `resume=True`, where a run has begun",
    config.EmbedConfig: "the same command goes on where it was",
    config.PushConfig: "the same command goes on where it was",
    config.DemoConfig: "the same command, without `overwrite=True`, goes on where it was",
    config.PretrainConfig: "`out` holds the weights of its last finished epoch, if it came so far",
}
"""What a person finds and does after a command was stopped; others leave what was there before."""
_OF_MEMORY: Final = ("batch_size", "block_size", "encode_batch", "workers")
"""Fields of which less needs less memory."""
_SHOW: Final = "CIR_TRACEBACK"
"""The environment variable that shows tracebacks in place of writing them to a file."""


@contextmanager
def as_library_errors(command: Command = None) -> Iterator[None]:
    """Turns what the operating system refuses into a CirError, which processes tell each other.

    Args:
        command: The configuration of the command, whose options messages name.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CirError(described(error)) from error
    except Exception as error:
        if not is_lack_of_memory(error):
            raise
        raise CirError(_out_of_memory(error, command)) from error


def end(error: BaseException, command: Command, *, main: bool = True) -> int:
    """Tells why a command ended, and returns its exit code.

    Args:
        error: What was raised.
        command: The configuration of the command, if one had begun.
        main: Whether this process is the one that tells what all of them know.
    """
    try:
        flush_output()
    except OSError:
        _discard_output()
    if isinstance(error, BrokenPipeError):
        return PIPE_CLOSED
    code, line = _ending(error, command)
    if main or code == BUG:
        with suppress(BrokenPipeError):
            console.fail(line, command)
    return code


def ready_terminal() -> None:
    """Lets a terminal that knows few characters show the others by their codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    threading.excepthook = _in_thread


def _in_thread(fault: threading.ExceptHookArgs) -> None:
    """Leaves what the system refuses a thread to whoever waits for it, who tells it in one line."""
    if not isinstance(fault.exc_value, OSError):
        threading.__excepthook__(fault)


def flush_output() -> None:
    """Writes what is still to be written, while a failure can be told."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _ending(error: BaseException, command: Command) -> tuple[int, str]:
    """The exit code, and the line that tells why."""
    if isinstance(error, StoppedError):
        return SIGNALLED + error.signal, f"{error.line}: {_afterwards(command)}"
    if isinstance(error, UsageError):
        return MISUSED, str(error)
    if isinstance(error, CirError):
        return FAILED, str(error)
    if isinstance(error, OSError):
        return FAILED, described(error)
    if isinstance(error, Left):
        return SIGNALLED + error.signal, f"{error}; {_afterwards(command)}"
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, f"interrupted; {_afterwards(command)}"
    if is_lack_of_memory(error):
        return FAILED, _out_of_memory(error, command)
    return BUG, _bug(error)


def _afterwards(command: Command) -> str:
    """What a person finds and does after a command was stopped."""
    untouched = "what was there before is as it was"
    return untouched if command is None else _AFTERWARDS.get(command, untouched)


def _out_of_memory(error: BaseException, command: Command) -> str:
    known = _fields(command) if command is not None else ()
    smaller = " or ".join(f"`{name}`" for name in _OF_MEMORY if name in known)
    advice = f", use a machine with more, or a smaller {smaller}" if smaller else ""
    return out_of_memory(error, f"free some{advice or ', or use a machine with more'}")


def _fields(command: type[config.Config]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(command))


def _bug(error: BaseException) -> str:
    what = " ".join(f"{type(error).__name__}: {error}".split())
    typed = shlex.join(["cir", *sys.argv[1:]])
    return (
        f"this is a bug in cir {__version__}, not in your input ({what[:300]}); {_keep(error)}; "
        f"please report it with that traceback and the command: {typed}"
    )


def _keep(error: BaseException) -> str:
    """Writes the traceback to a file, or shows it; says where it is."""
    text = (
        f"cir {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"{shlex.join(sys.argv)}\n{''.join(traceback.format_exception(error))}"
    )
    if not os.environ.get(_SHOW):
        with suppress(OSError):
            with tempfile.NamedTemporaryFile(
                "w", prefix="cir-bug-", suffix=".txt", delete=False, encoding="utf-8",
                errors="backslashreplace",
            ) as file:  # fmt: skip
                file.write(text)
            return f"the traceback is in {file.name}"
    err.print(text, soft_wrap=True, markup=False)
    return "the traceback is above"


def _discard_output() -> None:
    """Sends what is left of standard output nowhere: Python writes it once more when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
