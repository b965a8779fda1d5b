"""Commands killed and signalled at any moment, and commands that write one output at once.

    python -m tests.benchmarks.endings --kills 50 --signals 50 --rivals 20

Makes a small world, and with it every output once, unharmed. Then each command in turn is killed by
SIGKILL, or told to leave by SIGTERM, SIGINT or SIGHUP, at a moment drawn from its whole length.
After each ending: no process that it started is left a second later (`--within` more, where the
machine does much else: a worker that still loads its libraries ends when it has), it ended with the
shell's code and no traceback, a signal left nothing half made; the same command then ends (a run is
resumed), its output is that of the unharmed one, and nothing else is there.

Rivals are commands that are started together on one output: one ends it, the others say in one line
who is writing.

Prints a line an ending and a table. Fails unless all of this holds.
"""

import argparse
import io
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from cir.artefacts.store import read_embeddings
from cir.disk.hidden import lock_of
from cir.disk.recognition import MARKER
from tests.support.folders import contents
from tests.support.forked import CIR, Forked, forked
from tests.support.hearing import hear_signals

WORLD: Final = "--dataset world/dataset --embeddings world/e.h5"
COMMANDS: Final = {
    "embed": "embed world/dataset --model cir-tiny --batch-size 32 --workers 2 --out {}.h5",
    "mine": f"mine {WORLD} --out {{}}.parquet",
    "train": (
        f"train {WORLD} --manifest world/m.parquet --epochs 3 --batch-size 16 --save-minutes 0.001 "
        "--tracker none --out {}"
    ),
    "evaluate": f"evaluate --query sum {WORLD} --json {{}}.json",
    "synth": "data synth --dress 100 --shirt 60 --toptee 60 --workers 2 --out {}",
    "check": "data check world/dataset --workers 2 --json {}.json",
    "from-catalog": (
        "data from-catalog --images world/dataset/images --attributes world/a.csv --workers 2 "
        "--min-category 1 --out {}"
    ),
    "inspect": "inspect world/m.parquet --dataset world/dataset --html {}.html",
    "export": "export world/m.parquet --out {}.jsonl",
    "demo": "demo --images 300 --epochs 1 --out {}",
}
"""Every command that takes a while, and what it is to write."""
GOES_ON: Final = {"train": " --resume", "demo": "", "embed": ""}
"""What is added to go on with what a command left."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WITHIN: Final = 1.0
"""Seconds within which no worker is left."""
LEAVES_WITHIN: Final = 5.0
"""Seconds within which a command that was told to leave does, even where it first ends a write."""
LONGEST: Final = 300.0
_SIZES: Final = "--dress 120 --shirt 60 --toptee 60 --size 64 --workers 1"


@dataclass(frozen=True)
class World:
    """A folder with what every command reads, and what each made of it unharmed."""

    folder: Path
    unharmed: dict[str, Any]
    seconds: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--signals", type=int, default=50)
    parser.add_argument("--rivals", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=WITHIN)
    parser.add_argument("--commands", nargs="*", default=list(COMMANDS), choices=list(COMMANDS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = made(Path(folder), options.commands)
        counts = ended(
            world, options.kills, options.signals, options.seed, report, within=options.within
        )
        contended(world, options.rivals, report)
    report("| ending | times |\n|---|---:|")
    for ending, times in sorted(counts.items()):
        report(f"| {ending} | {times} |")
    report(
        f"{options.kills} kills, {options.signals} signals, {options.rivals} rivalries: every "
        f"output ended as the unharmed one, 0 lost files, 0 orphans, 0 hangs"
    )


def report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def made(folder: Path, commands: Sequence[str] = tuple(COMMANDS)) -> World:
    """The world, and what every command makes of it."""
    (folder / "world").mkdir()
    lines = {
        "world/dataset": f"data synth {_SIZES}",
        "world/e.h5": "embed world/dataset --model cir-tiny --workers 0",
        "world/m.parquet": f"mine {WORLD} --sampling random",
    }
    needed = " ".join(COMMANDS[name] for name in commands)
    wanted = [out for out in lines if out in needed]
    for out in list(lines)[: list(lines).index(wanted[-1]) + 1 if wanted else 0]:
        _finished(folder, f"{lines[out]} --out {out}")
    if "world/a.csv" in needed:
        _write_csv(folder / "world")
    unharmed, seconds = {}, {}
    (folder / "unharmed").mkdir()
    for name in commands:
        began = time.monotonic()
        _finished(folder, COMMANDS[name].format(f"unharmed/{name}"))
        seconds[name] = time.monotonic() - began
        unharmed[name] = state(_output(folder / "unharmed" / name, name))
    return World(folder, unharmed, seconds)


def ended(
    world: World,
    kills: int,
    signals: int,
    seed: int = 0,
    told: Callable[[str], None] = lambda line: None,
    within: float = WITHIN,
) -> Counter[str]:
    """Kills and signals commands in turn; how often each ended how."""
    draw, counts = random.Random(seed), Counter[str]()
    names = cycle(world.unharmed)
    sent = [signal.SIGKILL] * kills + list(islice(cycle(SIGNALS), signals))
    for number, (name, one) in enumerate(zip(names, sent, strict=False)):
        share = draw.uniform(0.02, 1.0)
        ending = _ended_once(world, name, one, share, f"end-{number}", within)
        counts[f"{name}, {one.name}: {ending}"] += 1
        told(f"{number}: {name} at {share:.0%}: {one.name}, {ending}")
    return counts


def contended(
    world: World, times: int, told: Callable[[str], None] = lambda line: None, count: int = 3
) -> None:
    """Starts a command several times at once on one output."""
    for number, name in enumerate(islice(cycle(world.unharmed), times)):
        place = world.folder / f"rivals-{number}"
        place.mkdir()
        line = COMMANDS[name].format(f"{place.name}/{name}")
        rivals = [_started(world.folder, line) for _ in range(count)]
        said = [rival.communicate(LONGEST)[1] for rival in rivals]
        codes = sorted(rival.returncode or 0 for rival in rivals)
        refused = sum("is being written by" in each for each in said)
        _require(codes[0] == 0, f"{name}: none of {count} rivals ended well: {said}")
        for each, rival in zip(said, rivals, strict=True):
            words = r"is being written by (process|another)|exists: pass --overwrite"
            told_why = rival.returncode == 0 or re.search(words, each)
            _require(told_why, f"{name}: a rival ended with {rival.returncode}: {each}")
        _require_same(world, place, name)
        told(f"rivals of {name}: {codes.count(0)} ended it, {refused} were told who was writing")


def state(output: Path) -> Any:
    """What an output holds, but for times and paths."""
    if output.suffix == ".h5":
        store = read_embeddings(output)
        return store.images.keys, store.images.vectors.tobytes(), store.captions.vectors.tobytes()
    if output.suffix == ".json":
        return json.loads(output.read_text())
    if output.suffix == ".html":  # names the command that made it
        return output.read_text().replace("<wbr>", "").replace(f"{output.parent.name}/", "")
    if output.is_file():
        return output.read_bytes()
    return {
        name: _rows(kept) if name.endswith(".parquet") else kept
        for name, kept in contents(output).items()
        if not name.endswith(("times.jsonl", "config.json", "report.html", "trainer.pt"))
        and not name.endswith(("metadata.json", ".h5"))
        and "tensorboard" not in name
    }


def _rows(content: bytes) -> Any:
    """A table without what it says of the store that it was mined from, which holds times."""
    return pq.read_table(io.BytesIO(content)).replace_schema_metadata(None).to_pydict()


# -------------------------------------------------------------------------------- one ending


def _ended_once(
    world: World, name: str, sent: signal.Signals, share: float, place: str, within: float
) -> str:
    """Ends a command at a share of its length, and lets it end again; what the signal met."""
    folder = world.folder / place
    folder.mkdir()
    line = COMMANDS[name].format(f"{place}/{name}")
    process = _started(world.folder, line)
    process.await_start()
    end = time.monotonic() + share * world.seconds[name]
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    family = set(_family(process.pid))
    process.send_signal(sent)
    sent_at = time.monotonic()
    _, said = process.communicate(LONGEST)
    heard = process.returncode != 0 or time.monotonic() < sent_at + LEAVES_WITHIN
    _require(heard, f"{name}: {sent.name} was not heard")
    _require_none_left(name, sent, family, sent_at + within)
    ending = _checked_ending(name, sent, process.returncode, said)
    if sent != signal.SIGKILL:
        _require_nothing_half_made(folder, name)
    output = _output(folder / name, name)
    # One that is killed once its output is in place leaves its lock: the next writer removes it.
    locked = sent == signal.SIGKILL and output.exists() and lock_of(output).exists()
    if locked and name not in ("train", "demo"):
        _finished(world.folder, line + ("" if name == "embed" else " --overwrite"))
    elif not output.exists() or name in GOES_ON:
        more = GOES_ON.get(name, "") if output.exists() or name != "train" else ""
        if not (name == "embed" and output.exists()):
            _finished(world.folder, line + more)
    _require_same(world, folder, name)
    return ending


def _require_none_left(name: str, sent: signal.Signals, family: set[Any], until: float) -> None:
    while (left := family & set(_alive())) and time.monotonic() < until:
        time.sleep(0.01)
    _require(not left, f"{name}: {len(left)} processes outlive {sent.name}")


def _checked_ending(name: str, sent: signal.Signals, code: int | None, said: str) -> str:
    """What a signal met; raises where the command did not end as it should."""
    _require("Traceback" not in said, f"{name}: {sent.name} ended in a traceback: {said}")
    if code == 0:
        return "had ended"
    _require(code in (-sent, 128 + sent), f"{name}: {sent.name} ended with {code}: {said}")
    return "ended"


def _require_nothing_half_made(folder: Path, name: str) -> None:
    hidden = {path.name for path in folder.rglob(".*") if path.name != MARKER}
    if name in ("embed", "demo"):
        hidden = {each for each in hidden if not each.endswith(".parts")}
    _require(not hidden, f"{name}: a signal left {hidden}")


def _require_same(world: World, folder: Path, name: str) -> None:
    output = _output(folder / name, name)
    found, expected = state(output), world.unharmed[name]
    line = f"{name}: {output} is not as the unharmed one{_where(found, expected)}"
    _require(found == expected, line)
    hidden = {path.name for path in folder.rglob(".*") if path.name != MARKER}
    _require(not hidden, f"{name}: {hidden} is left")
    _require({p.name for p in folder.iterdir()} == {output.name}, f"{name}: something else is left")


def _where(found: Any, expected: Any) -> str:
    """The files of a folder that differ."""
    if not isinstance(found, dict):
        return ""
    names = sorted(found.keys() | expected.keys())
    return f": {[n for n in names if found.get(n) != expected.get(n)]}"


def _require(holds: object, line: str) -> None:
    if not holds:
        raise SystemExit(line)


def _output(path: Path, name: str) -> Path:
    suffix = COMMANDS[name].rpartition("{}")[2].partition(" ")[0]
    return path.with_name(path.name + suffix)


def _started(folder: Path, line: str) -> Forked:
    return forked(CIR, line.split(), folder=folder)


def _finished(folder: Path, line: str) -> None:
    process = _started(folder, line)
    _, said = process.communicate(LONGEST)
    _require(process.returncode == 0, f"cir {line} ended with {process.returncode}: {said}")


def _family(pid: int | None) -> Iterator[tuple[int, str]]:
    """A process and all that came of it: their numbers, and when they began."""
    members = {pid}
    processes = dict(_processes())
    grown = True
    while grown:
        more = {each for each, (parent, _) in processes.items() if parent in members} - members
        members |= more
        grown = bool(more)
    return ((each, processes[each][1]) for each in members if each in processes)


def _alive() -> Iterator[tuple[int, str]]:
    return ((pid, began) for pid, (_, began) in _processes())


def _processes() -> Iterator[tuple[int, tuple[int, str]]]:
    """Every process that has not ended: its number, its parent and when it began."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            yield int(entry.name), (int(fields[1]), fields[19])


def _write_csv(world: Path) -> None:
    """The records of the drawn garments as a catalogue."""
    photos = json.loads((world / "dataset/synthetic.json").read_text())["photos"]
    rows = ["id,subCategory,productDisplayName,articleType,gender,baseColour"]
    for photo, record in photos.items():
        colour = record["attributes"].get("colour", "red")
        rows.append(
            f"{photo},{record['category']},{record['title']},{record['category']},,{colour}"
        )
    (world / "a.csv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    hear_signals()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
