"""The gallery passes by the queries: counts before thresholds, and pools of candidates."""
