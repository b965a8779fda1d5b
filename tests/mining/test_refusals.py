"""Every argument of the library's functions that cannot be is refused in one line, by its name."""

from typing import Final

import pytest

from tests.support.fresh import assert_refused, lines_of

SETUP: Final = """
import numpy as np, pandas as pd, torch
from dataclasses import replace
from cir.mining import (
    Draw, Mined, Plan, Problem, as_columns, exclusions_of, mine, mine_negatives
)
rng = np.random.default_rng(0)
def unit(rows, dim=4):
    table = rng.standard_normal((rows, dim)).astype(np.float32)
    return table / np.linalg.norm(table, axis=1, keepdims=True)
def negatives(**changed):
    usual = dict(anchors=unit(3), positives=[0, 1, 2], corpus=unit(9), num_negatives=2)
    return mine_negatives(**usual | changed)
def problem(**changed):
    usual = dict(
        queries=unit(3), targets=unit(3), gallery=unit(5),
        exclusions=exclusions_of([[0], [], [4, 1]]),
        categories=np.array([0, 1, 1]), members=np.ones((2, 5), np.bool_),
    )
    return Problem(**usual | changed)
def plan(**changed):
    return Plan(**dict(draws=(Draw("any", 1, "hard"),), num_negatives=2, margin=0.2) | changed)
def mined(**changed):
    return mine(**dict(problem=problem(), plan=plan()) | changed)
def columns(**changed):
    usual = dict(anchors="qrs", positives=[0, 1, 2], corpus=list("abcdefghi"))
    usual["anchors"] = list(usual["anchors"])
    return as_columns(**dict(mined=found) | usual | changed)
found = negatives(fill="nearest")
def negatives_first():
    return found.rows[:, 0].tolist()
"""
REFUSED: Final = {
    # mine_negatives
    "negatives(fill='closest')": "`fill` is 'closest'; expected one of None, nearest, random",
    "negatives(strategy='harder')": "`strategy` is 'harder'; expected one of nearest, hard",
    "negatives(strategy=['hard'])": "`strategy` is a list; expected one of nearest",
    "negatives(strategy='nearest', fill='random')": "filled up by the nearest",
    "negatives(strategy='nearest', sampling='random')": "takes no sample",
    "negatives(sampling='best')": "`sampling` is 'best'; expected one of top, random, softmax",
    "negatives(num_negatives='10')": "`num_negatives` is '10'; expected a whole number",
    "negatives(num_negatives=True)": "`num_negatives` is True; expected a whole number",
    "negatives(num_negatives=2.0)": "`num_negatives` is 2.0; expected a whole number",
    "negatives(num_negatives=10)": "`num_negatives` is 10; expected at most 9, the rows of",
    "negatives(margin=3)": "`margin` is 3; expected 0 to 2",
    "negatives(margin='0.2')": "`margin` is '0.2'; expected 0 to 2",
    "negatives(block_size=-1)": "`block_size` is -1; expected a whole number, at least 1",
    "negatives(block_size=None)": "`block_size` is None; expected a whole number, at least 1",
    "negatives(device='graphics')": "`device` is 'graphics'; expected auto, cpu, cuda or mps",
    "negatives(device=3.5)": "`device` is 3.5; expected auto, cpu or cuda",
    "negatives(seed=0.5)": "`seed` is 0.5; expected 0 to",
    "negatives(temperature='warm')": "`temperature` is 'warm'; expected more than 0",
    "negatives(duplicate_threshold=None)": "`duplicate_threshold` is None; expected 0 to 1.01",
    "negatives(progress=print)": "expected a Progress",
    "negatives(positives={0: 1, 1: 2, 2: 3})": "`positives` is a dict; expected a list of rows",
    "negatives(positives='123')": "`positives` is '123'; expected a list of rows",
    "negatives(positives=None)": "`positives` is None; expected a list of rows",
    "negatives(positives=np.ones(3, bool))": "`positives` is True for query 0; expected rows",
    "negatives(positives=np.eye(3, 9) > 0)": "`positives` holds True for query 0; expected rows",
    "negatives(positives=[0.0, 1.0, 2.0])": "`positives` is 0.0 for query 0; expected rows",
    "negatives(positives=['0', '1', '2'])": "`positives` is '0' for query 0; expected rows",
    "negatives(excluded={0: [1]})": "`excluded` is a dict; expected a list of rows",
    "negatives(excluded=[[], [], ['1']])": "`excluded` holds '1' for query 2; expected rows",
    "negatives(anchors={'a': 1})": "`anchors` is a dict; expected a table of numbers",
    "negatives(anchors='vectors')": "`anchors` is 'vectors'; expected a table of numbers",
    "negatives(anchors=torch.empty(3, 4, device='meta'))": "`anchors` is a tensor of the device",
    "negatives(positives=torch.empty(3, dtype=int, device='meta'))": "`positives` is a torch.int64",
    "negatives(corpus=[1.0, 2.0])": "`corpus` is a list; expected a table of numbers",
    "negatives(corpus=np.ones((9, 4), bool))": "`corpus` is a bool ndarray of shape (9, 4)",
    # mine
    "mined(problem={})": "`problem` is a dict; expected a Problem",
    "mined(plan='semi-hard')": "`plan` is 'semi-hard'; expected a Plan",
    "mined(device=None)": "`device` is None; expected auto, cpu or cuda",
    "mined(block_size='512')": "`block_size` is '512'; expected a whole number, at least 1",
    "mined(tile_size=1.5)": "`tile_size` is 1.5; expected a whole number, at least 1",
    "mined(threads=-2)": "`threads` is -2; expected a whole number, at least 1",
    "mined(arithmetic='bf16')": (
        "`arithmetic` is 'bf16'; expected torch.int16, torch.bfloat16 or torch.float32"
    ),
    "mined(progress=None)": "`progress` is None; expected a Progress",
    "mined(processes=2)": "`processes` is 2; expected a Processes",
    "mined(propose=[])": "`propose` is a list; expected a function",
    # Problem
    "problem(queries=[[1.0]])": "`queries` is a list; expected a 2-d array of float32",
    "problem(queries=np.eye(3, 4))": "`queries` is a float64 ndarray of shape (3, 4)",
    "problem(gallery=unit(5)[0])": "`gallery` is a float32 ndarray of shape (4,)",
    "problem(targets=2 * unit(3))": "row 0 of `targets` has length 2; expected unit vectors",
    "problem(gallery=unit(5) * np.nan)": "row 0 of `gallery` has length nan",
    "problem(gallery=unit(5, 8))": "are of [4, 8] dimensions; expected one",
    "problem(target_rows=[0, 1, 2])": "`target_rows` is a list; expected a 1-d array of int64",
    "problem(target_rows=np.array([0, 1]))": "`target_rows` are of 2 queries; expected 3",
    "problem(target_rows=np.array([0, 3, 1]))": "`target_rows` are not all rows of `targets`",
    "problem(targets=unit(2))": "3 `queries` have 2 `targets`; expected one a query",
    "problem(exclusions=[[0], [], []])": "`exclusions` is a list; expected a Ragged",
    "problem(exclusions=exclusions_of([[0]]))": "`exclusions` are of 1 queries; expected 3",
    "problem(exclusions=exclusions_of([[5], [], []]))": "`exclusions` name row 5; expected rows",
    "problem(categories=[0, 1, 1])": "`categories` is a list; expected a 1-d array of int64",
    "problem(categories=np.array([0, 1, 2]))": "`categories` are not all rows of `members`",
    "problem(members=np.ones((2, 5)))": "expected a 2-d array of bool",
    "problem(members=np.ones((2, 4), bool))": "are of 3 queries and 4 gallery rows",
    "problem(first_row=-1)": "`first_row` is -1; expected a whole number, at least 0",
    # Plan and Draw
    "plan(draws=())": "`draws` is a tuple; expected draws whose shares add up to 1, not 0",
    "plan(draws=[Draw('any', 1, 'hard')])": "`draws` is a list; expected a tuple of `Draw`s",
    "plan(draws=('hard',))": "`draws` is a tuple; expected a tuple of `Draw`s",
    "plan(draws=(Draw('any', 0.9, 'hard'),))": "add up to 1, not 0.9",
    "plan(num_negatives=0)": "`num_negatives` is 0; expected a whole number, at least 1",
    "plan(margin=float('nan'))": "`margin` is nan; expected 0 to 2",
    "plan(temperature=float('inf'))": "`temperature` is inf; expected more than 0",
    "plan(fill='drop')": "`fill` is 'drop'; expected one of None, nearest, random",
    "plan(seed=2**63)": "`seed` is 9223372036854775808; expected 0 to",
    "plan(relative_margin=1.5)": "`relative_margin` is 1.5; expected 0 to 1",
    "plan(max_similarity='high')": "`max_similarity` is 'high'; expected -1 to 1",
    "plan(range_min=-1)": "`range_min` is -1; expected a whole number, at least 0",
    "plan(range_min=4, range_max=4)": "`range_max` is 4; expected a whole number, at least 5",
    "Draw('some', 1, 'hard')": "`scope` is 'some'; expected one of same-category, other-category",
    "Draw('any', '1', 'hard')": "`share` is '1'; expected 0 to 1",
    "Draw('any', 1, 'harder')": "`band` is 'harder'; expected one of hard, semi-hard, easy, any",
    # as_columns and exclusions_of
    "columns(mined=[[3, 1]])": "`mined` is a list; expected a Mined",
    "columns(form='pairs')": "`form` is 'pairs'; expected one of triplet, n-tuple, labeled-pair",
    "columns(corpus={0: 'zero'})": "`corpus` is a dict; expected a list, or one column",
    "columns(anchors='qrs')": "`anchors` is 'qrs'; expected a list, or one column",
    "columns(positives=negatives_first())": "which is a negative of it; expected the positives",
    "columns(positives=np.ones(3, bool))": "`positives` is True for query 0; expected rows",
    "exclusions_of({0: [1]})": "`rows` is a dict; expected a list of rows, by query",
    "exclusions_of('123')": "`rows` is '123'; expected a list of rows, by query",
    "exclusions_of([[-1]])": "`rows` names row -1; expected at least 0",
    "exclusions_of(np.eye(3) > 0)": "`rows` holds True for query 0; expected rows",
}
ACCEPTED: Final = (
    "negatives(device='cpu', positives=(0, 1, 2), anchors=unit(3).tolist())",
    "negatives(positives=pd.Series([0, 1, 2]), corpus=pd.DataFrame(unit(9)))",
    "negatives(num_negatives=np.int64(2), margin=np.float32(0.5))",
    "mined(device='cpu', threads=1, tile_size=2)",
    "columns(corpus=pd.Series(list('abcdefghi'), index=range(9, 0, -1)))",
    "problem(categories=None, members=None)",
)


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    calls = [*REFUSED, *ACCEPTED]
    return dict(zip(calls, lines_of(SETUP, calls), strict=True))


@pytest.mark.parametrize("call", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(told: dict[str, str], call: str) -> None:
    assert_refused(told[call], REFUSED[call], "UsageError", "VectorError")


@pytest.mark.parametrize("call", ACCEPTED)
def test_what_means_the_same_is_accepted(told: dict[str, str], call: str) -> None:
    assert told[call] == "accepted"
