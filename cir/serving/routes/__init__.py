"""The paths under /api, a file for each of their kinds."""
