"""Those who turn photos into vectors by the same encoder, and the two halves of that work.

    python -m tests.benchmarks.embedders MODEL DATASET

reads the name of a contestant from each line that it is given, lets it embed the photos of the
dataset, and prints what that took. What a contestant needs is made when it is first asked for, and
counts for nothing. Each gets the batch size and the workers that `cir embed` takes on these cores.
An interpreter needs clip-retrieval for that contestant alone.
"""

import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from cir.config import PREPROCESS, TINY, EmbedConfig
from cir.data.dataset import Dataset
from cir.data.image_batches import Preprocessing
from cir.encoding.batching import images_at_once
from cir.encoding.embedding import photos_of, spans_of
from cir.encoding.encoder import Encoder
from cir.encoding.job.dataset_embedding import embed_dataset
from cir.encoding.lanes import in_lanes
from cir.encoding.loading import load_encoder, untrained_encoder
from cir.machine.kept_memory import keep_freed_memory
from cir.machine.workers import pick_threads, pick_workers

Work = Callable[[], object]

ENCODER: Final = "bare encoder"
DECODER: Final = "bare decoder"
CIR: Final = "cir"
LOADER: Final = "DataLoader"
READER: Final = "clip-retrieval"


def encoder_of(model: str) -> Encoder:
    """An encoder on the CPU: random weights take as long as trained ones."""
    torch.set_num_threads(pick_threads())
    how: dict[str, Any] = {"preprocess": PREPROCESS, "device": torch.device("cpu")}
    if model == TINY:
        return load_encoder(model, pretrained=None, weights=None, **how)
    torch.manual_seed(0)
    return untrained_encoder(model, **how)


def open_clip_preprocess(size: int) -> Preprocessing:
    """What open_clip puts before an encoder of a size; its package loads for seconds."""
    from open_clip.transform import image_transform

    transform: Preprocessing = image_transform(size, is_train=False)
    return transform


@dataclass(frozen=True)
class Job:
    """A gallery to embed, and by what."""

    encoder: Encoder
    root: Path
    """A dataset folder that holds photos alone."""
    preprocess: Preprocessing
    """What the others put before the encoder."""
    scratch: Path
    """Where stores are written."""
    workers: int

    @property
    def files(self) -> list[Path]:
        """The photos."""
        return sorted((self.root / "images").iterdir())

    @property
    def rows(self) -> int:
        """Photos a batch, as `cir embed` takes them."""
        return images_at_once(self.encoder, EmbedConfig.batch_size)

    @classmethod
    def of(cls, model: str, root: Path, scratch: Path) -> "Job":
        """With as many workers as `cir embed` starts on these cores."""
        encoder = encoder_of(model)
        preprocess = open_clip_preprocess(encoder.image_size)
        return cls(encoder, root, preprocess, scratch, pick_workers(None))


def gallery(root: Path, photos: Sequence[Path]) -> Path:
    """A dataset folder of photos, by symbolic links."""
    (root / "images").mkdir(parents=True)
    (root / "image_splits").mkdir()
    for photo in photos:
        (root / "images" / photo.name).symlink_to(photo.resolve())
    ids = [photo.stem for photo in photos]
    (root / "image_splits" / "split.photos.train.json").write_text(json.dumps(ids))
    return root


# ------------------------------------------------------------------------------------ the halves


def bare_encoder(job: Job) -> Work:
    """The encoder over normalised pixels that lie in memory, a batch to a core where `cir` does."""
    batches = [job.encoder.normalise(batch.pixels) for batch in _decoded(job)]
    _encoded(job.encoder, batches[:1])

    def encode(batch: Tensor) -> Tensor:
        return _encoded(job.encoder, [batch])

    return lambda: torch.cat(list(in_lanes(job.encoder, encode, batches, len(batches))))


def bare_decoder(job: Job) -> Work:
    """Reading, decoding, preprocessing and handing over, by `cir`'s workers."""
    return lambda: sum(len(batch.rows) for batch in _decoded(job))


def _decoded(job: Job) -> Iterator[Any]:
    files = job.files
    return photos_of(job.encoder, files, spans_of(range(len(files)), job.rows), job.workers)


def _encoded(encoder: Encoder, batches: Iterable[Tensor]) -> Float[Tensor, "photos dim"]:
    with torch.inference_mode():
        return torch.cat([encoder.encode_images(batch) for batch in batches])


# ---------------------------------------------------------------------------- from files to vectors


def cir(job: Job) -> Work:
    """What `cir embed` does once its encoder is loaded, up to the store; a new one each time."""
    stores = Path(tempfile.mkdtemp(dir=job.scratch))
    numbers = itertools.count()

    def work() -> object:
        return embed_dataset(
            Dataset(job.root),
            job.encoder,
            stores / f"{next(numbers)}.h5",
            batch_size=EmbedConfig.batch_size,
            workers=job.workers,
            on_error="fail",
        )

    return work


def data_loader(job: Job) -> Work:
    """torch's DataLoader over open_clip's preprocessing, as many an embedding script has it."""
    photos = _Photos(job.files, job.preprocess)

    def work() -> Tensor:
        loader = DataLoader(photos, job.rows, num_workers=job.workers)
        return _encoded(job.encoder, loader)

    return work


class _Photos(TorchDataset[Tensor]):
    def __init__(self, files: Sequence[Path], preprocess: Preprocessing) -> None:
        self._files, self._preprocess = files, preprocess

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> Tensor:
        with Image.open(self._files[row]) as photo:
            return self._preprocess(photo)


def files_reader(job: Job) -> Work:
    """clip-retrieval's reader of files, and the encoder over what it reads."""
    from clip_retrieval.clip_inference.reader import FilesReader

    def work() -> Tensor:
        reader = FilesReader(
            sampler=list,
            preprocess=job.preprocess,
            tokenizer=None,
            input_dataset=str(job.root / "images"),
            batch_size=job.rows,
            num_prepro_workers=job.workers,
            enable_text=False,
        )
        return _encoded(job.encoder, (batch["image_tensor"] for batch in reader))

    return work


CONTESTANTS: Final[dict[str, Callable[[Job], Work]]] = {
    ENCODER: bare_encoder,
    DECODER: bare_decoder,
    CIR: cir,
    LOADER: data_loader,
    READER: files_reader,
}


# --------------------------------------------------------------------------------------- timing


@dataclass(frozen=True)
class Took:
    """Seconds of one run."""

    wall: float
    cpu: float
    """Processor seconds of this process and of its workers."""


def took(work: Work) -> Took:
    """Does the work once."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    work()
    return Took(time.perf_counter() - wall, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """Of this process and of those it started that have ended."""
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main(model: str, root: Path) -> None:
    keep_freed_memory()  # as `cir embed` does
    ready: dict[str, Work] = {}
    with tempfile.TemporaryDirectory() as scratch:
        job = Job.of(model, root, Path(scratch))
        for line in sys.stdin:
            name = line.strip()
            if name not in ready:
                ready[name] = CONTESTANTS[name](job)
            sys.stdout.write(f"{json.dumps(asdict(took(ready[name])))}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
