"""A catalogue of photos, with or without a CSV of attributes, becomes a dataset.

Begin with `dataset`. The parts it puts together, from the CSV to captions:

    dataset         photos and a CSV → a gallery, or a dataset with queries
    csv_form        how the CSV is written: encoding, delimiter
    rows            its rows
    column_content  what its columns hold
    column_guess    which of them is the photo, the name, the category, the split
    photos          rows and image files put together, with attributes
    facets          attributes from the words of a name
    splits          which photos go to which category and split
    thumbnails      near-identical photos, which stay together
    queries         pairs of photos in words
    pair_captions   proposed pairs in words
"""
