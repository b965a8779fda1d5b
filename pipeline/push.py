"""`cir index push`: the vectors of a store into a collection in Milvus."""

from cir import arguments
from cir.addresses import milvus_address
from cir.artefacts.changes import changes_file
from cir.artefacts.store import map_embeddings
from cir.config import PushConfig
from cir.errors import StoreError
from cir.search.milvus.pushing import push
from cir.search.opening import UnembeddedFolder, find_source, stored_gallery
from pipeline.screen import console


def run(config: PushConfig) -> None:
    """Fills the collection, and says what it then holds and finds."""
    arguments.instance("config", config, PushConfig)
    address = milvus_address(config.to)
    source = find_source(config.store, config.dataset)
    if isinstance(source, UnembeddedFolder):
        raise StoreError(
            f"{config.store} is a folder of photos that is not embedded yet: search it once by "
            f"cir search `store={str(config.store)!r}`, which makes a store beside it"
        )
    embeddings = map_embeddings(source.store)
    pushed = push(
        embeddings,
        stored_gallery(source, embeddings, mapped=True),
        address,
        config.kind,
        overwrite=config.overwrite,
        progress=console.RichProgress(),
    )
    console.note(
        f"{address}: {pushed.images:,} photos of {source.store}, {pushed.written:,} of them "
        f"written, {pushed.deleted:,} others deleted; {pushed.kind} {pushed.recall}"
    )
    if changes_file(source.store).exists():
        console.note(
            f"What was added and removed since {source.store} was made is searched beside the "
            f"collection; cir embed folds it into the store, to be pushed with it"
        )
