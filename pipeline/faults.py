"""How a command ends: what went wrong as one line on standard error, and the exit code."""

import io
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from cir import __version__, config
from cir.errors import CirError, StoppedError, UsageError, described
from pipeline import console
from pipeline.bars import err
from pipeline.flags import spelled

FAILED: Final = 1
"""Exit code of input that a stage cannot work with, and of a machine that lacks something."""
MISUSED: Final = 2
"""Exit code of a request that cannot be, as click's own."""
BUG: Final = 70
"""Exit code of a fault in cir itself, EX_SOFTWARE of sysexits.h."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells count it."""
PIPE_CLOSED: Final = 141
"""Exit code where nobody reads the output any more, as shells count it: 128 + SIGPIPE."""
_SIGNALLED: Final = 128
"""What shells add to the number of the signal that ended a program."""
_SHOW: Final = "CIR_TRACEBACK"
"""The environment variable that shows tracebacks in place of writing them to a file."""


@contextmanager
def as_library_errors() -> Iterator[None]:
    """Turns what the operating system refuses into a CirError, which processes tell each other."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CirError(described(error)) from error
    except Exception as error:
        if not _is_lack_of_memory(error):
            raise
        raise CirError(_out_of_memory(error)) from error


def end(error: BaseException, command: type[config.Config] | None, *, main: bool = True) -> int:
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
    code, line = _ending(error)
    if main or code == BUG:
        with suppress(BrokenPipeError):
            console.fail(spelled(line, command))
    return code


def ready_terminal() -> None:
    """Lets a terminal that knows few characters show the others by their codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush_output() -> None:
    """Writes what is still to be written, while a failure can be told."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _ending(error: BaseException) -> tuple[int, str]:
    """The exit code, and the line that tells why."""
    if isinstance(error, StoppedError):
        return _SIGNALLED + error.signal, str(error)
    if isinstance(error, UsageError):
        return MISUSED, str(error)
    if isinstance(error, CirError):
        return FAILED, str(error)
    if isinstance(error, OSError):
        return FAILED, described(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted; the same command goes on where it can"
    if _is_lack_of_memory(error):
        return FAILED, _out_of_memory(error)
    return BUG, _bug(error)


def _is_lack_of_memory(error: BaseException) -> bool:
    """Whether it is what NumPy or torch raise; on the CPU, torch tells by the text alone."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _out_of_memory(error: BaseException) -> str:
    detail = " ".join(str(error).split())
    return (
        f"out of memory{f' ({detail[:200]})' if detail else ''}: free some, use a machine with "
        f"more, or a smaller `batch_size` or `block_size` where the command has one"
    )


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
