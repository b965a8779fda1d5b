"""Histograms as text: bins, bars and the figures beside them."""

import numpy as np
import pytest

from cir.reporting.text_bars import NARROW, WIDE, bar_table, bin_names, round_edges, text_histogram


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.31, 0.33), (-0.4, 1.9), (0.5, 0.5), (0.1, 0.10004), (-2, 2)]
)
def test_edges_are_few_round_and_hold_every_value(low: float, high: float) -> None:
    values = np.linspace(low, high, 50)
    edges = round_edges(values)
    widths = np.diff(edges)
    assert 1 <= len(widths) <= 16
    assert edges[0] <= low
    assert edges[-1] >= high
    assert np.histogram(values, edges)[0].sum() == 50
    np.testing.assert_allclose(widths, widths[0])
    assert f"{widths[0]:.0e}"[0] in "125"
    np.testing.assert_allclose(edges / widths[0], np.round(edges / widths[0]), atol=1e-6)


def test_a_wide_range_fills_the_bins_that_there_are() -> None:
    assert len(round_edges(np.array([0.0, 0.79]))) - 1 == 16


@pytest.mark.parametrize(
    ("edges", "signed", "names"),
    [
        ([0.0, 0.5, 1.0], False, ["0.00 to 0.50", "0.50 to 1.00"]),
        ([-0.001, 0.0, 0.001], True, ["-0.001 to +0.000", "+0.000 to +0.001"]),
        ([0.1, 0.3, 0.5], True, ["+0.10 to +0.30", "+0.30 to +0.50"]),
    ],
)
def test_bins_are_named_by_their_bounds(edges: list[float], signed: bool, names: list[str]) -> None:
    assert bin_names(np.array(edges), signed=signed) == names


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_bars_are_as_long_as_their_shares_on_one_scale(width: int) -> None:
    first, second = np.array([0.5, 0.25, 0.0]), np.array([1.0, 0.001, 0.0])
    rows = bar_table("t", ("c", "a", "b"), "xyz", [first, second], width).rows
    assert [row[0] for row in rows] == ["x", "y", "z"]
    assert rows[0][2] == "█" * width + " 100.0 %"
    assert len({len(cell) for row in rows for cell in row[1:]}) == 1
    assert rows[0][1].count("█") == width // 2
    assert rows[1][1].count("█") == width // 4
    assert rows[2][1].strip() == rows[2][2].strip() == "0.0 %"
    assert rows[1][2].strip() == "0.1 %"


def test_shares_are_of_each_sample_by_itself() -> None:
    samples = {"few": np.array([0.05, 0.15]), "many": np.full(1000, 0.05)}
    table = text_histogram("t", "distance", samples, signed=False)
    assert table.columns == ("distance", "few", "many")
    shares = [[float(cell.split()[-2]) for cell in row[1:]] for row in table.rows]
    assert np.sum(shares, axis=0).tolist() == [100, 100]
    assert table.rows[0][0].startswith("0.05 to")


def test_samples_of_zero_shares_draw_nothing() -> None:
    assert bar_table("t", ("", "a"), "x", [np.zeros(1)]).rows[0][1].strip() == "0.0 %"
