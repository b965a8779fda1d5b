"""clip-retrieval's back end over vectors of `serving`: run by an interpreter that has it, not cir.

    python clip_back.py FOLDER PORT

FOLDER holds `vectors.npy` and `ids.json`. The index is flat, as that of `cir serve`, and the
metadata are read into memory, which is clip-retrieval's quickest way. It loads CLIP before it
answers; requests that bring their vector need none, and it is given none.
"""

import json
import sys
from pathlib import Path
from unittest import mock

import faiss
import numpy as np
import pandas as pd
from clip_retrieval.clip_back import clip_back


def main(folder: Path, port: int) -> None:
    """Writes what the back end reads, and starts it."""
    vectors = np.load(folder / "vectors.npy")
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.write_index(index, str(folder / "image.index"))
    (folder / "metadata").mkdir()
    ids = json.loads((folder / "ids.json").read_text(encoding="utf-8"))
    pd.DataFrame({"image_path": ids}).to_parquet(folder / "metadata" / "ids.parquet")
    named = folder / "indices.json"
    named.write_text(json.dumps({"shop": str(folder)}), encoding="utf-8")
    with mock.patch("all_clip.load_clip", return_value=(None, None, None)):
        clip_back(
            str(named),
            port,
            columns_to_return=["image_path"],
            enable_mclip_option=False,
            provide_aesthetic_embeddings=False,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
