"""Signals that whoever started a program had ignored: nohup does, and `&` does."""

from signal import (
    SIG_DFL,
    SIG_IGN,
    SIGHUP,
    SIGINT,
    SIGTERM,
    default_int_handler,
    getsignal,
    signal,
)


def hear_signals() -> None:
    """Hears them from now on, and so do the programs that this one starts."""
    for number, usual in ((SIGINT, default_int_handler), (SIGHUP, SIG_DFL), (SIGTERM, SIG_DFL)):
        if getsignal(number) is SIG_IGN:
            signal(number, usual)
