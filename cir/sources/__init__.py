"""Datasets that are made here: from a folder or a catalogue of photos, or drawn.

Begin with `make_gallery` (`catalog`: photos alone), `make_catalog` (there too: photos and a CSV of
attributes) or `draw_dataset` (`synthetic`: garments). The last two pair images that differ in one
or two attributes (`pairing`) and say the difference in captions (`wording`, with the words in
`vocabulary` and `nouns`). All write the files of a dataset folder (`annotations`).

    photo_folder, photo_index, split_names               photos, and what they are called
    csv_form, catalog_csv, column_content, column_guess  the CSV of a catalogue
    catalog_photos, catalog_splits, catalog_queries      parts of `catalog`
    facets, thumbnails                                   what names and photos tell
    garments, drawing, outlines, textures                parts of `synthetic`
"""
