"""Where datasets come from without a download: a catalogue of photos, and drawn garments."""
