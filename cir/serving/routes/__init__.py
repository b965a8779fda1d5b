"""The paths under /api, a file for each of their kinds.

`cir.serving.app` puts them together.

    about      what is served, and how it does
    searching  photos and words in, the nearest photos out
    browsing   the photos of the gallery
    judging    the ranks of known targets
    changing   photos added and removed
"""
