"""Runs killed again and again, against one that never was.

    python -m tests.benchmarks.kills --times 20

Makes a small dataset with random vectors, trains it once unharmed by `cir train` (three epochs,
mined again after each, a moving average, dropout), then as many times more, each run killed by
SIGKILL at least once and resumed until it ends. The moments are drawn: while the program starts,
anywhere after its first saving, in the middle of a saving (the folder written aside is there), and
between the saving of an epoch and its line in metrics.jsonl, where mining is. Prints a line a run
and a table of what the kills met. Fails unless every run ends with the bytes of the unharmed one:
weights of `last` and `best`, every manifest, metrics.jsonl; and with its optimiser's state.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cir.artefacts.manifest import write_manifest
from cir.artefacts.store import read_embeddings
from cir.names import METADATA_FILE
from tests.support.forked import CIR, ROOT, Forked
from tests.support.mined import random_manifest
from tests.support.runs import assert_same, command_of
from tests.support.worlds import random_embeddings, small_dataset, write_store

SETTINGS = {
    "combiner": "gated-sum",
    "hidden": 64,
    "batch_size": 16,
    "epochs": 3,
    "contrast": "batch+mined",
    "ema": 0.9,
    "save_minutes": 0.004,
}
LONGEST = 120.0
"""Seconds after which a moment that did not come is given up."""
MOST = 3
"""Kills of one run."""


Process = subprocess.Popen[str] | Forked
Start = Callable[[Sequence[str]], Process]
"""Starts `cir` with what follows on its command line."""


def fresh(command: Sequence[str]) -> Process:
    """A process as a user starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", CIR, *command],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass(frozen=True)
class Attempt:
    """A program under way, and the run that it trains."""

    process: Process
    out: Path
    before: int | None
    """What identified `last` when the program was started; None where there was none."""

    @property
    def saved(self) -> bool:
        """Whether it has saved anything yet."""
        return _identity(self.out / "checkpoints/last") not in (None, self.before)


Moment = Callable[[Attempt], bool]
"""Whether it has come; asked over and over."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        met = survived(Path(folder), options.times, options.seed, report)
    report("| a kill met the program | times |\n|---|---:|")
    for moment, times in met.most_common():
        report(f"| {moment} | {times} |")
    report(f"{options.times} runs, {met.total()} kills: every run ended as the unharmed one")


def survived(
    folder: Path,
    times: int,
    seed: int,
    told: Callable[[str], None] = lambda line: None,
    start: Start = fresh,
) -> Counter[str]:
    """Kills as many runs; what the kills met."""
    files = made(folder)
    unharmed = folder / "unharmed"
    trained(files, unharmed, start)
    draw, met = random.Random(seed), Counter[str]()
    for number in range(times):
        out = folder / f"run-{number}"
        own = list(killed(files, out, draw, number, start))
        assert_same(unharmed, out)
        met.update(own)
        told(f"run {number}: killed {', '.join(own)}; ended the same")
    return met


def made(folder: Path) -> dict[str, Path]:
    """A dataset, its vectors and a manifest."""
    dataset = small_dataset(folder / "dataset", images=60, queries=200)
    store = read_embeddings(write_store(random_embeddings(dataset, 64, path=folder / "store.h5")))
    write_manifest(random_manifest(dataset, store), folder / "manifest.parquet")
    return {
        "dataset": dataset.root,
        "embeddings": store.path,
        "manifest": folder / "manifest.parquet",
    }


def trained(files: dict[str, Path], out: Path, start: Start, **changes: object) -> None:
    """Trains to the end."""
    process = start(command_of(files, out, **SETTINGS, **changes))
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"cir train ended with {process.returncode}: {said}")


def killed(
    files: dict[str, Path], out: Path, draw: random.Random, number: int, start: Start
) -> Iterator[str]:
    """Kills a run some times, then lets it end; what each kill met.

    A moment that a run has passed by is left out, but for the first: that run is begun anew.
    """
    kills = 0
    for attempt in range(1 + draw.randrange(MOST)):
        moment = _MOMENTS[(number + attempt) % len(_MOMENTS)]
        while (met := _killed_once(files, out, moment(draw), start)) is None and not kills:
            shutil.rmtree(out)
            moment = _saving
        if met is not None:
            kills += 1
            yield met
    trained(files, out, start, resume=(out / "config.json").exists())


def _killed_once(files: dict[str, Path], out: Path, moment: Moment, start: Start) -> str | None:
    """What the kill met; None where the program ended before the moment came."""
    resume = (out / "config.json").exists()
    before = _identity(out / "checkpoints/last")
    process = start(command_of(files, out, **SETTINGS, resume=resume))
    came = _awaited(moment, Attempt(process, out, before))
    process.kill()
    process.communicate()
    return _met(out, before) if came else None


def _awaited(moment: Moment, attempt: Attempt) -> bool:
    """Waits for a moment; whether it came before the program ended."""
    end = time.monotonic() + LONGEST
    while attempt.process.poll() is None and time.monotonic() < end:
        if moment(attempt):
            return True
        time.sleep(0.001)
    return False


def _saving(draw: random.Random) -> Moment:
    """Within a later saving than the first."""
    wait = _at_random(draw)
    return lambda attempt: wait(attempt) and bool(_aside(attempt.out / "checkpoints"))


def _mining(draw: random.Random) -> Moment:
    """After an epoch is saved, before its line is written."""
    return lambda attempt: attempt.saved and _between_epochs(attempt.out)


def _at_random(draw: random.Random) -> Moment:
    """Some time after the first saving."""
    wait, since = draw.uniform(0, 2.0), []

    def come(attempt: Attempt) -> bool:
        if attempt.saved and not since:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() - since[0] >= wait

    return come


def _starting(draw: random.Random) -> Moment:
    """While the program is read in, or what it resumes from."""
    at = time.monotonic() + draw.uniform(0.5, 5)
    return lambda attempt: time.monotonic() >= at


_MOMENTS = (_saving, _at_random, _mining, _starting)


def _met(out: Path, before: int | None) -> str:
    """What a killed program was doing, by what it left."""
    if aside := [name for name in (*_aside(out), *_aside(out / "checkpoints")) if name]:
        return f"writing {aside[0].strip('.').partition('-')[0]}"
    if _aside(out / "manifests"):
        return "writing a manifest"
    if _identity(out / "checkpoints/last") == before:
        return "starting"
    return "mining" if _between_epochs(out) else "training or judging"


def _between_epochs(out: Path) -> bool:
    """Whether an epoch is saved whose line is not written."""
    try:
        saved = json.loads((out / "checkpoints/last" / METADATA_FILE).read_text())
        lines = (out / "metrics.jsonl").read_text().count("\n")
    except (FileNotFoundError, NotADirectoryError):
        return False
    return bool(saved["step"] == 0 and lines <= saved["epoch"])


def _aside(folder: Path) -> list[str]:
    """Names of what is written aside, or waits to be replaced."""
    return [path.name for path in folder.glob(".*-*")] if folder.exists() else []


def _identity(folder: Path) -> int | None:
    """Another number for every saving."""
    try:
        return (folder / METADATA_FILE).stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None


def report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
