"""Where an encoder's weights come from.

Begin with `files`.

    files      a local file, whatever wrote it, read without running code from it
    published  what open_clip releases
    tags       the names of weights, as users and stores write them
    colours    statistics of the photos that weights were trained on
"""
