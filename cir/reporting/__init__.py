"""A run as one page: charts, photos, tables."""
