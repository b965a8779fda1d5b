"""Where the program `cir` begins: it loads next to nothing, so that a worker begins as fast."""

import signal


def main() -> None:
    """Runs the command line. Ctrl-C while that still loads ends the program without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pipeline.cli import app

    app()


if __name__ == "__main__":
    main()
