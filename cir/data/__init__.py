"""Datasets of composed queries, read from their folders.

`Dataset` (`dataset`) opens a folder; begin there. It reads annotations in FashionIQ's or CIRR's
form (`forms`) as `Query` objects (`queries`), whose captions become text in `captions`. `images`
decodes an image file, `image_batches` many of them in worker processes. `audit` checks a
folder; `remainder` writes what is left of one whose images are not all there. Photos lie in files,
in `shards`, or at s3:// (`remote`, to which `pointers` lead).
"""
