"""How much a request may ask for: the server's own bounds, in one place."""

from typing import Final

from cir.search.inputs import LONGEST_TEXT

TEXT: Final = LONGEST_TEXT
"""Characters of a text."""
ID: Final = 512
"""Characters of an id or a name."""
RESULTS: Final = 100
"""Results of a search, and entries of a page of a listing."""
EXAMPLES: Final = 16
"""Photos, or texts, of one kind in a query."""
LEFT_OUT: Final = 1000
"""Ids that a query leaves out."""
UPLOAD_BYTES: Final = 16 * 2**20
"""Bytes of a photo."""
UPLOAD_PIXELS: Final = 64 * 10**6
"""Pixels of a photo: 64 megapixels."""
DECODED: Final = 2
"""Uploads that are decoded at once: of each, all pixels are held for a moment."""
BODY_BYTES: Final = UPLOAD_BYTES * 4 // 3 + 2**20
"""Bytes of a request: a photo as base64, and room for the rest."""
BATCH: Final = 32
"""Searches that pass the encoder together."""
OFFSET: Final = 10**9
"""Entries that a listing may skip."""
