"""Damage of every kind, and what came of it.

    python -m tests.benchmarks.chaos --photos 100000 --embedded 5000 --artefacts 10000

Three parts, each drawn from a seed and bounded by its option:

* photos of all formats, mutated and decoded in a process of their own, each with a time limit
* folders of a hundred such photos through `cir embed`, under `--on-error skip` and `fail`: the
  store holds exactly the photos that can be decoded, each with its own vector, and `fail` ends with
  one line that names a photo that cannot
* stores, manifests, combiners, trainer states, checkpoints' metadata and saved blocks, damaged and
  read: every changed byte is refused

Prints a line a part and fails unless nothing escaped, hung, died, was put in a wrong row, or was
accepted though damaged.
"""

import argparse
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch

from cir.artefacts.checkpoint import read_checkpoint, read_trainer
from cir.artefacts.manifest import read_manifest, write_manifest
from cir.artefacts.store import read_embeddings
from cir.config import TINY
from cir.data.dataset import Dataset
from cir.data.images import decode_image, read_image
from cir.disk.files import write_json
from cir.encoding.embedding import image_vectors
from cir.encoding.encoder import Encoder
from cir.encoding.job.blocks import Blocks
from cir.encoding.loading import load_encoder
from cir.encoding.preprocess import ENOUGH, TARGET_RATIO, squared
from cir.errors import CirError, ImageError
from tests.support.checkpoints import saved
from tests.support.fences import Outcomes, fenced
from tests.support.forked import CIR, Forked, forked
from tests.support.mined import random_manifest
from tests.support.mutations import mutated
from tests.support.photos import varieties
from tests.support.worlds import random_embeddings, small_dataset, write_store

REFUSED, READ = "refused", "read"
PATIENCE: Final = 30.0
"""Seconds that one photo or artefact may take on a machine that does much else."""
IN_A_FOLDER: Final = 100
"""Photos that one `cir embed` reads."""
_SIDE: Final = 64
_LONGEST: Final = 300.0

Start = Callable[[Sequence[str]], Forked]
"""Starts `cir` with what follows on its command line."""


@dataclass
class Part:
    """One part of the proof."""

    name: str
    tried: int
    outcomes: Counter[str]
    faults: list[str] = field(default_factory=list)
    """A line for everything that must not be."""
    note: str = ""

    def __str__(self) -> str:
        came = ", ".join(f"{count:,} {what}" for what, count in sorted(self.outcomes.items()))
        return f"| {self.name} | {self.tried:,} | {came}{self.note} | {len(self.faults)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--embedded", type=int, default=500)
    parser.add_argument("--artefacts", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report("| part | tried | came of it | must not be |\n|---|---:|---|---:|")
    parts = []
    for part in all_parts(options.photos, options.embedded, options.artefacts, options.seed):
        report(str(part))
        parts.append(part)
    faults = [f"{part.name}: {fault}" for part in parts for fault in part.faults]
    for fault in faults:
        report(fault)
    if faults:
        raise SystemExit(1)


def all_parts(photos: int, embedded: int, artefacts: int, seed: int) -> Iterator[Part]:
    """Every part, each as it ends."""
    torch.set_num_threads(1)
    yield decoded(photos, seed)
    with tempfile.TemporaryDirectory() as folder:
        yield embedded_folders(Path(folder), embedded, seed, partial(forked, CIR))
    with tempfile.TemporaryDirectory() as folder:
        yield from damaged_artefacts(made(Path(folder)), artefacts, seed)


# ------------------------------------------------------------------------------------- photos


def mutated_photo(number: int, seed: int) -> bytes:
    """A photo of any format, damaged."""
    whole = list(varieties().values())
    return mutated(whole[number % len(whole)], whole, random.Random(f"photo {seed} {number}"))


def decoded(count: int, seed: int) -> Part:
    """Decodes as many mutated photos as an encoder would."""

    def decode(number: int) -> str:
        encoded = mutated_photo(number, seed)
        try:
            image = decode_image(encoded, Path("photo"), least=ENOUGH * _SIDE)
            squared(image, TARGET_RATIO, _SIDE)
        except ImageError as fault:
            return REFUSED if is_one_line(fault) else f"several lines {fault}"
        except Exception as fault:  # noqa: BLE001 - counting what escapes is the purpose
            return f"escaped {type(fault).__name__} {fault}"
        return READ

    return part_of("photos decoded", fenced(decode, count, patience=PATIENCE), {REFUSED, READ})


def embedded_folders(folder: Path, count: int, seed: int, start: Start) -> Part:
    """Folders of mutated photos through `cir embed`, under both policies."""
    part = Part("photos through cir embed", count, Counter())
    encoder = load_encoder(
        TINY, pretrained=None, weights=None, preprocess="targetpad", device=torch.device("cpu")
    )
    for first in range(0, count, IN_A_FOLDER):
        dataset = folder_of_photos(folder / "dataset", range(first, first + IN_A_FOLDER), seed)
        good, broken = sorted_by_fate(dataset)
        part.outcomes.update({READ: len(good), REFUSED: len(broken)})
        out = folder / "store.h5"
        skipping = embed(start, dataset, out, "skip")
        part.faults += wrong_rows(skipping, out, dataset, good, encoder)
        out.unlink(missing_ok=True)
        part.faults += not_refused(embed(start, dataset, out, "fail"), out, broken)
        shutil.rmtree(dataset.root)
    return part


def folder_of_photos(root: Path, numbers: range, seed: int) -> Dataset:
    """A dataset of mutated photos, of which every tenth is sound."""
    whole = list(varieties().values())
    (root / "images").mkdir(parents=True)
    ids = [f"p{number:06d}" for number in numbers]
    for number, image_id in zip(numbers, ids, strict=True):
        sound = number % 10 == 0
        content = whole[number % len(whole)] if sound else mutated_photo(number, seed)
        (root / "images" / f"{image_id}.jpg").write_bytes(content)
    row = {"candidate": ids[0], "target": ids[-1], "captions": ["is red", "is longer"]}
    write_json(root / "captions" / "cap.dress.train.json", [row])
    write_json(root / "image_splits" / "split.dress.train.json", ids)
    return Dataset(root)


def sorted_by_fate(dataset: Dataset) -> tuple[list[str], list[str]]:
    """The ids whose photos can be decoded, and the others."""
    good, broken = [], []
    for image_id, path in sorted(dataset.image_files.items()):
        try:
            read_image(path, least=ENOUGH * _SIDE)
        except ImageError:
            broken.append(image_id)
        else:
            good.append(image_id)
    return good, broken


def embed(start: Start, dataset: Dataset, out: Path, on_error: str) -> tuple[int | None, str]:
    """The exit code of `cir embed`, and what it said on standard error."""
    words = ["embed", str(dataset.root), "--out", str(out), "--model", TINY, "--device", "cpu"]
    process = start([*words, "--workers", "1", "--batch-size", "16", "--on-error", on_error])
    _, said = process.communicate(timeout=_LONGEST)
    return process.returncode, said


def wrong_rows(
    ended: tuple[int | None, str], out: Path, dataset: Dataset, good: list[str], encoder: Encoder
) -> Iterator[str]:
    """What a store that skips broken photos has wrong."""
    code, said = ended
    if code or not out.is_file():
        yield f"skip ended with {code}: {said[-300:]}"
        return
    store = read_embeddings(out)
    if list(store.images.keys) != good:
        yield f"the store holds {len(store.images.keys)} photos; expected {len(good)}"
        return
    files = [dataset.image_files[image_id] for image_id in good]
    expected = image_vectors(encoder, files, batch_size=1, workers=0)
    wrong = np.flatnonzero(~np.isclose(store.images.vectors, expected, atol=1e-3).all(1))
    yield from (f"{good[row]} has another photo's vector" for row in wrong)


def not_refused(ended: tuple[int | None, str], out: Path, broken: list[str]) -> Iterator[str]:
    """What is wrong with a run that should stop at a broken photo."""
    code, said = ended
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    named = re.search(r"p\d{6}", errors[0]) if len(errors) == 1 else None
    if not broken:
        return
    if code != 1 or not named or named[0] not in broken or out.exists():
        yield f"fail ended with {code} and said {said[-300:]!r}"


# ---------------------------------------------------------------------------------- artefacts


@dataclass(frozen=True)
class Artefact:
    """A file that a stage writes, and how it is read."""

    name: str
    file: Path
    read: Callable[[], object]
    """Raises CirError, or gives None, where the file is refused."""


def damaged_artefacts(artefacts: Sequence[Artefact], count: int, seed: int) -> Iterator[Part]:
    """As many damaged files of each."""
    for artefact in artefacts:
        whole = artefact.file.read_bytes()
        work = partial(read_damaged, artefact, whole, seed)
        outcomes = fenced(work, count, patience=PATIENCE)
        artefact.file.write_bytes(whole)
        yield part_of(artefact.name, outcomes, {REFUSED})


def made(folder: Path) -> list[Artefact]:
    """One sound artefact of each kind."""
    dataset = small_dataset(folder / "dataset", categories=("dress",), images=6, queries=4)
    embeddings = random_embeddings(dataset)
    store = write_store(embeddings, folder / "store.h5")
    manifest = folder / "manifest.parquet"
    write_manifest(random_manifest(dataset, embeddings), manifest)
    checkpoint = saved(folder / "last", torch.nn.Linear(8, 8), embeddings.provenance)
    blocks = Blocks(folder / "blocks.h5")
    blocks.save("block", [{"vectors": embeddings.images.vectors}])
    read = partial(read_checkpoint, checkpoint)
    return [
        Artefact("stores", store, partial(read_embeddings, store)),
        Artefact("manifests", manifest, partial(read_manifest, manifest)),
        Artefact("combiners", checkpoint / "combiner.safetensors", read),
        Artefact("trainer states", checkpoint / "trainer.pt", partial(read_trainer, checkpoint)),
        Artefact("metadata of checkpoints", checkpoint / "metadata.json", read),
        Artefact("saved blocks", next(blocks.folder.glob("*.npz")), partial(batches_of, blocks)),
    ]


def batches_of(blocks: Blocks) -> object:
    """What a run that goes on takes of its saved blocks; None where it takes nothing."""
    return list(blocks.load_all("block")) or None


def read_damaged(artefact: Artefact, whole: bytes, seed: int, number: int) -> str:
    """What comes of a damaged file."""
    draw = random.Random(f"{artefact.name} {seed} {number}")
    artefact.file.write_bytes(mutated(whole, [whole, bytes(4096)], draw))
    try:
        found = artefact.read()
    except CirError as fault:
        return REFUSED if is_one_line(fault) else f"several lines {fault}"
    except Exception as fault:  # noqa: BLE001 - counting what escapes is the purpose
        return f"escaped {type(fault).__name__} {fault}"
    return REFUSED if found is None else "accepted though damaged"


# ------------------------------------------------------------------------------------- the rest


def part_of(name: str, outcomes: Outcomes, allowed: set[str]) -> Part:
    """Counts what came of each piece of work."""
    faults = [
        f"{number}: {outcome}"
        for number, outcome in enumerate(outcomes.of)
        if outcome not in allowed
    ]
    counts = Counter(outcome.split()[0] for outcome in outcomes.of)
    return Part(name, len(outcomes.of), counts, faults, f"; {outcomes.peak_mib} MiB at most")


def is_one_line(fault: Exception) -> bool:
    """Whether a fault is told as users are told it."""
    return "\n" not in str(fault)


def report(line: str) -> None:
    """Prints, and lets it be read at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
