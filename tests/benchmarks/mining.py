"""Mining beside the matrix product that it cannot do without, and beside other libraries.

    python -m tests.benchmarks.mining [--vectors random]
    python -m tests.benchmarks.mining --dataset FOLDER --embeddings FILE [--split train]

One table, one run: every repeat measures every contestant once, each in a process of its own, in
an order that moves on from repeat to repeat, so that a busy machine hits all alike. Figures are
medians over the repeats. `--queries` and `--gallery` take a part, `--only` some contestants,
`--json FILE` keeps every single figure.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Int64

from cir.config import MiningOptions
from cir.errors import CirError
from cir.machine.workers import usable_cores
from tests.benchmarks import vectors
from tests.benchmarks.brute import BruteForce, require_agreement
from tests.benchmarks.judging import Answer, Judgement, judged
from tests.benchmarks.lineup import (
    CONTESTANTS,
    NUMPY_PRODUCTS,
    OURS,
    PRODUCTS,
    Outcome,
    run,
)
from tests.benchmarks.measured import Figures, in_fresh_process
from tests.benchmarks.vectors import World

PACKAGES = ("numpy", "torch", "faiss-gpu", "sentence-transformers", "pytorch-metric-learning")
COLUMNS = (
    "",
    "wall s",
    "CPU s",
    "× fastest product",
    "× NumPy",
    "× cir semi-hard",
    "peak MiB",
    "no negative",
    "starved",
    "reference used",
    "agrees",
    "first call s",
)
LEGEND = """\
wall, CPU: seconds, the second of all threads. × fastest product, × NumPy, × cir semi-hard: wall, by
that of the fastest float32 product, of NumPy's own, and of this miner's default. peak: resident
memory above what stood there with the vectors loaded. no negative, starved: share of queries with
none, or fewer than asked, that are valid and of the wanted kind (semi-hard where the row says no
other). reference used: share of queries with their reference image as a negative. agrees: of
{sample} sampled queries, the share with exactly the negatives of brute force, which was itself held
against tests.support.oracle on {compared}; where chance decides, with as many, each of the right
band.
first call: a tiny problem before the clock starts (compiled code loaded, threads started).
cir: from vectors in memory to the manifest on disk. sentence-transformers: `mine_hard_negatives`
with vectors for nothing. FAISS flat: the band picked from what it found, off the clock.
~ measured on the {sample} sampled queries alone, and scaled up: it lists every (query, target,
image) before it chooses."""


@dataclass
class Record:
    """What was found of one contestant."""

    figures: list[Figures] = field(default_factory=list)
    parts: list[Mapping[str, float]] = field(default_factory=list)
    answer: Answer | None = None
    judgement: Judgement | None = None
    failure: str | None = None
    scale: float = 1.0
    """What its times are multiplied by."""

    def add(self, outcome: Outcome) -> None:
        self.figures.append(outcome.figures)
        self.parts.append(outcome.parts)
        self.answer = outcome.answer

    def seconds(self, name: str) -> float:
        return median(getattr(each, name) for each in self.figures) * self.scale

    def peak(self) -> float | None:
        peaks = [each.peak_mib for each in self.figures if each.peak_mib is not None]
        return median(peaks) if peaks else None


def main() -> None:
    """Measures, judges and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    vectors.add_arguments(parser, split="train")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sample", type=int, default=300, help="queries held against brute force")
    parser.add_argument(
        "--references", type=int, default=10, help="held against tests.support.oracle"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=CONTESTANTS, default=list(CONTESTANTS)
    )
    parser.add_argument("--device", default="cpu", help="where cir and FAISS run")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    asked = parser.parse_args()

    names = [each for each in CONTESTANTS if each in asked.only]
    world, name = vectors.world_of(parser, asked, all_images=True)
    size = min(asked.sample, len(world.queries))
    sample = np.sort(np.random.default_rng(0).choice(len(world.queries), size, replace=False))
    os.environ["TQDM_DISABLE"] = "1"  # the processes to come inherit it
    with TemporaryDirectory() as folder:
        world.save(Path(folder))
        records = _measured(Path(folder), names, asked.repeats, sample, asked.device)
    for each, record in records.items():
        record.scale = len(world.queries) / size if CONTESTANTS[each].sample_only else 1.0
    compared = _judge(world, records, sample, asked.references)
    shape = f"{len(world.queries):,} queries × {len(world.ids):,} images × {world.gallery.shape[1]}"
    title = f"{name}, {shape}, median of {asked.repeats}; {_machine()}"
    _print([title, "", *_table(records), "", LEGEND.format(sample=size, compared=compared)])
    if asked.json:
        asked.json.write_text(json.dumps(_described(title, records), indent=1), encoding="utf-8")


def _measured(
    folder: Path,
    names: Sequence[str],
    repeats: int,
    sample: Int64[np.ndarray, " sample"],
    device: str,
) -> dict[str, Record]:
    """Every repeat of every contestant; one that fails is not asked again."""
    records = {name: Record() for name in names}
    for repeat in range(repeats):
        first = repeat * len(names) // repeats
        for name in (*names[first:], *names[:first]):
            if records[name].failure is None:
                _add_run(records[name], name, folder, sample, device)
                wall = [f"{each.wall:.2f}" for each in records[name].figures[-1:]]
                print(f"{repeat + 1}/{repeats} {name}: {' '.join(wall)} s", file=sys.stderr)  # noqa: T201
    return records


def _add_run(
    record: Record, name: str, folder: Path, sample: Int64[np.ndarray, " sample"], device: str
) -> None:
    try:
        record.add(in_fresh_process(run, name, folder, sample, device))
    except ImportError as fault:
        record.failure = f"not installed: {fault.name}"
    except (BrokenProcessPool, MemoryError):
        record.failure = "its process was killed, or ran out of memory"
    except CirError as fault:
        record.failure = str(fault)


def _judge(
    world: World,
    records: Mapping[str, Record],
    sample: Int64[np.ndarray, " sample"],
    references: int,
) -> int:
    """Judges every answer; how many queries the judge was itself checked on."""
    brute = BruteForce(world, MiningOptions())
    truths = list(brute.truths(sample))
    for name, record in records.items():
        options = CONTESTANTS[name].options
        if record.answer is not None and options is not None:
            record.judgement = judged(record.answer, brute, truths, options)
    return require_agreement(brute, references)


def _table(records: Mapping[str, Record]) -> list[str]:
    """The table in Markdown."""
    units = [_fastest(records, names) for names in (PRODUCTS, NUMPY_PRODUCTS, [OURS])]
    lines = [_line(COLUMNS), "|---" + "|---:" * (len(COLUMNS) - 1) + "|"]
    for name, record in records.items():
        if record.failure is not None:
            lines.append(_line((name, record.failure)))
            continue
        lines.append(_line(_row(name, record, units)))
        if name == OURS:
            lines += [
                _line((f"· {part}", f"{seconds:.2f}", "", *_ratios(seconds, units)))
                for part, seconds in _parts(record).items()
            ]
    return lines


def _row(name: str, record: Record, units: Sequence[float | None]) -> Sequence[str]:
    wall, peak = record.seconds("wall"), record.peak()
    shares = [""] * 4 if record.judgement is None else _percent(record.judgement)
    return (
        name,
        f"{'~' if CONTESTANTS[name].sample_only else ''}{wall:.2f}",
        f"{record.seconds('cpu'):.2f}",
        *_ratios(wall, units),
        "–" if peak is None else f"{peak:,.0f}",
        *shares,
        f"{median(each.first_call for each in record.figures):.2f}",
    )


def _percent(judgement: Judgement) -> list[str]:
    return [f"{100 * share:.1f} %" for share in asdict(judgement).values()]


def _ratios(wall: float, units: Sequence[float | None]) -> list[str]:
    return ["–" if unit is None else f"{wall / unit:.2f}" for unit in units]


def _fastest(records: Mapping[str, Record], names: Iterable[str]) -> float | None:
    """The least wall time of some contestants; None where none of them ran."""
    ran = [records[name] for name in names if name in records and records[name].figures]
    return min((record.seconds("wall") for record in ran), default=None)


def _parts(record: Record) -> dict[str, float]:
    """The median seconds of each step."""
    return {name: median(each[name] for each in record.parts) for name in record.parts[0]}


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join([*cells, *[''] * (len(COLUMNS) - len(cells))])} |"


def _machine() -> str:
    cores, threads = usable_cores(), os.environ.get("OMP_NUM_THREADS")
    return f"{cores} cores" + (f", OMP_NUM_THREADS={threads}" if threads else "")


def _described(title: str, records: Mapping[str, Record]) -> dict[str, Any]:
    """Everything that was measured, for a file."""
    return {
        "title": title,
        "processor": _processor(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "contestants": {
            name: {
                "failure": record.failure,
                "scaled by": record.scale,
                "runs": [asdict(figures) for figures in record.figures],
                "parts": [dict(each) for each in record.parts],
                "judgement": None if record.judgement is None else asdict(record.judgement),
            }
            for name, record in records.items()
        },
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)  # noqa: T201


if __name__ == "__main__":
    main()
