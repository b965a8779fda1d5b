"""Configurations: each fault is found, all at once."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cir import config
from cir.errors import ConfigError

STAGES = [
    kind
    for kind in vars(config).values()
    if isinstance(kind, type) and issubclass(kind, config.Config) and kind is not config.Config
]


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        config.MineConfig(strategy="harder", margin=-1, num_negatives=0, same_share=0.9)  # type: ignore[arg-type]
    assert len(raised.value.faults) == 4
    assert "`strategy` is 'harder'; expected one of random, hard, semi-hard" in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "values", "fault"),
    [
        (config.MineConfig, {"query": "combiner"}, "and `checkpoint` go together"),
        (config.MineConfig, {"margin": 2.5}, "`margin` is 2.5; expected 0 to 2"),
        (config.MineConfig, {"advise": True, "propose": "p.jsonl"}, "`advise` mines nothing"),
        (config.MiningOptions, {"relative_margin": -0.1}, "`relative_margin` is -0.1; expected 0"),
        (config.MiningOptions, {"max_similarity": 1.1}, "is 1.1; expected -1 to 1"),
        (config.MiningOptions, {"max_target_similarity": float("nan")}, "nan; expected -1 to 1"),
        (config.MiningOptions, {"range_min": -1}, "`range_min` is -1; expected at least 0"),
        (config.MiningOptions, {"range_min": 9, "range_max": 9}, "more than `range_min`, 9"),
        (config.MiningOptions, {"temperature": 0.0}, "`temperature` is 0.0; expected more than 0"),
        (config.MiningOptions, {"temperature": float("nan")}, "`temperature` is nan; expected"),
        (config.MineConfig, {"index": "flat", "candidates": 7}, "`candidates` is of an index"),
        (config.MineConfig, {"advise": True, "index": "hnsw"}, "`advise` mines exactly"),
        (config.TrainConfig, {"loss": "contrastive", "margin": 0.9}, "`margin` is of the triplet"),
        (config.TrainConfig, {"tracker": ("none",), "log_every": 3}, "`log_every` is of trackers"),
        (config.InspectConfig, {"manifest": Path("m"), "rows": 50}, "`rows` is of the page"),
        (config.TrainConfig, {"resume": True, "overwrite": True}, "exclude each other"),
        (config.MineConfig, {"advise": True, "overwrite": True}, "`overwrite` is of a manifest"),
        (config.EmbedConfig, {"list_models": True, "overwrite": True}, "encodes nothing"),
        (config.ReportConfig, {"overwrite": True}, "in the run folder is replaced without it"),
        (config.TrainConfig, {"combiner": "sum", "tune": "none"}, "nothing to train"),
        (
            config.TrainConfig,
            {"combiner": "sum", "tune": "text", "hidden": 8},
            "`hidden` is no width of the sum; leave it out with `combiner='sum'`",
        ),
        (
            config.TrainConfig,
            {"projection": 8},
            "`projection` is of clip4cir; leave it out with `combiner='gated-sum'`",
        ),
        (
            config.TrainConfig,
            {"combiner": "clip4cir", "projection": 0},
            "`projection` is 0; expected at least 1",
        ),
        (config.TrainConfig, {"learning_rate": float("nan")}, "expected more than 0"),
        (config.TrainConfig, {"dev_fraction": 0.0}, "the best epoch needs a dev split"),
        (config.TrainConfig, {"tune": "text", "encode_batch": 0}, "`encode_batch` is 0; expected"),
        (
            config.TrainConfig,
            {"tune": "text", "layer_decay": 0.0},
            "`layer_decay` is 0.0; expected",
        ),
        (
            config.TrainConfig,
            {"combiner": "attention-fusion", "dropout": 0.2},
            "`dropout` is of gated-sum, and `combiner` is 'attention-fusion': leave it out",
        ),
        (
            config.TrainConfig,
            {"loss": "triplet", "temperature": 0.1, "contrast": "batch"},
            "`temperature` and `contrast` are of the contrastive term, which `loss` lacks",
        ),
        (
            config.TrainConfig,
            {"loss": "contrastive", "triplet_form": "softplus"},
            "`triplet_form` is of the triplet loss, which `loss` lacks: leave it out",
        ),
        (
            config.TrainConfig,
            {"loss": "contrastive", "contrast": "batch", "online_top_k": 5},
            "`online_top_k` is of negatives, which neither `loss` nor `contrast` uses",
        ),
        (
            config.TrainConfig,
            {"temperature": 0.001, "learn_temperature": True},
            "`temperature` is 0.001; one that is learned is at least 0.01",
        ),
        (
            config.EvaluateConfig,
            {"resamples": 500},
            "`resamples` is of a comparison, and one run is judged: leave it out",
        ),
        (
            config.TrainConfig,
            {"tune": "none", "layer_decay": 0.5, "encode_batch": 8},
            "`layer_decay` and `encode_batch` are of tuned towers, and none is .* leave them out",
        ),
        (
            config.TrainConfig,
            {"tune": "none", "checkpoint_activations": True},
            "`checkpoint_activations` is of tuned towers, and none is .* leave it out",
        ),
        (
            config.TrainConfig,
            {"tune": "none", "clip_learning_rate": 1e-4, "weights": "clip.pt"},
            "`weights` and `clip_learning_rate` are of",
        ),
        (
            config.TrainConfig,
            {"online_top_k": 5, "remine": False},
            "`online_top_k` never mines again: leave out `remine=False`",
        ),
        (
            config.TrainConfig,
            {"epochs": 1, "weighting": "trust"},
            "`weighting='trust'` goes by mining again, after the first epoch: `epochs` is 1",
        ),
        (
            config.EvaluateConfig,
            {"query": "sum", "allow_trained": True, "workers": 2},
            "`allow_trained` and `workers` are of runs, and none is judged: leave them out",
        ),
        (config.EvaluateConfig, {"gallery": ("full", "full")}, "`gallery` is 'full' twice"),
        (config.TrainConfig, {"ema": 1.0}, "`ema` is 1.0; expected 0 or more, less than 1"),
        (
            config.EvaluateConfig,
            {"query": "sum", "run": Path("runs/x")},
            "takes a run folder only with `compare`",
        ),
        (
            config.MineConfig,
            {"sampling": "random", "temperature": 0.1},
            "`temperature` is of `sampling='softmax'`, and `sampling` is 'random': leave it out",
        ),
        (
            config.MineConfig,
            {"temperature": 0.1},
            "`temperature` is of `sampling='softmax'`, and `sampling` is 'auto': leave it out",
        ),
        (
            config.MineConfig,
            {"split": "val", "drop_window": 50},
            "`drop_window` is of bands that are adaptive, and `strategy` is 'semi-hard': leave it",
        ),
        (
            config.MineConfig,
            {"split": "val", "strategy": "hard", "same_share": 0.5, "other_share": 0.4},
            "`same_share` and `other_share` are of `strategy='category-aware'`, and `strategy` is",
        ),
        (config.SynthConfig, {"out": Path("x"), "size": 7}, "`size` is 7; expected 32 to 1024"),
        (config.EmbedConfig, {"batch_size": 0}, "`batch_size` is 0; expected at least 1"),
        (config.EmbedConfig, {"preprocess": "crop"}, "expected one of targetpad, squarepad, clip"),
    ],
)
def test_a_fault_says_what_was_expected(
    kind: type[config.Config], values: dict[str, object], fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault):
        kind(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"sampling": "softmax", "temperature": 0.1},
        {"strategy": "adaptive", "split": "val", "drop_window": 50},
        {
            "strategy": "category-aware",
            "split": "val",
            "same_kind": "adaptive",
            "drop_window": 50,
        },
        {"drop_window": 50, "same_share": 0.5, "other_share": 0.4},
    ],
    ids=["softmax", "adaptive", "a kind that is adaptive", "for a curriculum of a run"],
)
def test_what_a_strategy_or_a_curriculum_uses_may_be_set(values: dict[str, Any]) -> None:
    made = config.MineConfig(**values)
    assert {name: getattr(made, name) for name in values} == values


@pytest.mark.slow
@pytest.mark.parametrize("kind", STAGES)
def test_every_field_has_a_panel_and_help(kind: type[config.Config]) -> None:
    from pipeline.cli import _field_docs

    docs = _field_docs(kind)
    for item in dataclasses.fields(kind):
        assert item.metadata["panel"], item.name
        assert docs[item.name].endswith("."), item.name


def test_a_configuration_is_json() -> None:
    made = config.MineConfig().to_json()
    assert made["out"] == "data/manifest.parquet"
    assert config.MiningOptions(**config.MineConfig().options().to_json()) == config.MiningOptions()


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("strategy", np.array([1, 2]), "expected one of random"),
        ("strategy", ["hard"], "expected one of random"),
        ("margin", 10**400, "expected a finite number"),
        ("out", "a\0b", "expected a path"),
    ],
)
def test_a_value_of_any_kind_is_one_fault(field: str, value: object, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"`{field}` is .*{expected}"):
        config.MineConfig(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", STAGES)
def test_a_value_of_another_type_is_told_in_whichever_field(kind: type[config.Config]) -> None:
    sound = {item.name: _sound(item) for item in dataclasses.fields(kind) if _is_required(item)}
    for item in dataclasses.fields(kind):
        with pytest.raises(ConfigError) as raised:
            kind(**{**sound, item.name: object()})
        assert raised.value.faults[0].startswith(f"`{item.name}` is <object object at ")


@pytest.mark.parametrize("kind", STAGES)
def test_overwrite_is_refused_where_no_output_is_asked_for(kind: type[config.Config]) -> None:
    outputs = [item for item in dataclasses.fields(kind) if item.metadata["writes"]]
    if not outputs or any(item.default is not None for item in outputs):
        pytest.skip("it always writes, or never")
    sound = {item.name: _sound(item) for item in dataclasses.fields(kind) if _is_required(item)}
    needed = {"store": "a", "text": "red"} if kind is config.SearchConfig else {}
    with pytest.raises(ConfigError) as raised:
        kind(**sound, **needed, overwrite=True)
    (fault,) = raised.value.faults
    assert fault.startswith(f"`overwrite` is of `{outputs[0].name}`")
    for item in outputs:
        kind(**sound, **needed, **{item.name: "written"}, overwrite=True)


def _is_required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING


def _sound(item: dataclasses.Field[Any]) -> Any:
    """A value that a required field may have."""
    values = {"datasets": ("a", "b"), "to": "milvus://localhost:1/photos", "pairs": "a.jsonl"}
    return values.get(item.name, "out.jsonl" if item.metadata["writes"] == "pairs" else "a")


def test_a_text_in_a_lists_place_says_nothing_of_the_other_fields() -> None:
    with pytest.raises(ConfigError) as raised:
        config.MergeConfig(datasets="a", out="x", prefixes=("b-",))  # type: ignore[arg-type]
    assert raised.value.faults == ("`datasets` is 'a'; expected a list of texts",)
