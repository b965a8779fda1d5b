"""Datasets of composed queries, read from their folders.

Begin with `dataset`, which opens a folder.

    dataset        `Dataset`: queries, galleries and photos by split
    forms          annotations in FashionIQ's or CIRR's form
    queries        `Query`, as every stage sees it
    captions       its captions as one text
    pairs          a reference and a target that are to be worded
    audit          checks a folder
    records        what is known of each photo: titles, attributes
    remainder      writes what is left of one whose images are not all there
    images         an image file → pixels (`rgb`, `formats`, `soundness`: of any kind, and whole)
    image_batches  many of them, in worker processes
    image_files    where the bytes of a photo are: a file, `shards`, or s3:// (`remote`, to which
                   `pointers` lead)
    photo_paths    the photos that a folder holds, by their ids
"""
