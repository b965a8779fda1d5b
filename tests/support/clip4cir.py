"""CLIP4Cir's Combiner as its authors publish it: the file, and its arithmetic written out."""

from pathlib import Path

import numpy as np
import torch

DIM, PROJECTION, HIDDEN = 16, 5, 7
State = dict[str, torch.Tensor]


def published_state(
    dim: int = DIM, projection: int = PROJECTION, hidden: int = HIDDEN, seed: int = 0
) -> State:
    """Random weights by the published names."""
    rng = np.random.default_rng(seed)
    layers = {
        "text_projection_layer": (projection, dim),
        "image_projection_layer": (projection, dim),
        "combiner_layer": (hidden, 2 * projection),
        "output_layer": (dim, hidden),
        "dynamic_scalar.0": (hidden, 2 * projection),
        "dynamic_scalar.3": (1, hidden),
    }
    state = {}
    for name, (outputs, inputs) in layers.items():
        state[f"{name}.weight"] = torch.tensor(rng.normal(size=(outputs, inputs))).float()
        state[f"{name}.bias"] = torch.tensor(rng.normal(size=outputs)).float()
    return state


def publish(path: Path, state: State | None = None, epoch: int = 57) -> Path:
    """Writes the file as CLIP4Cir's `save_model` does."""
    torch.save({"epoch": epoch, "Combiner": state or published_state()}, path)
    return path


def combined(state: State, image: np.ndarray, text: np.ndarray) -> np.ndarray:
    """The published `combine_features` on raw features, in float64."""
    weights = {name: value.double().numpy() for name, value in state.items()}

    def linear(name: str, rows: np.ndarray) -> np.ndarray:
        return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def relu(rows: np.ndarray) -> np.ndarray:
        return np.where(rows > 0, rows, 0)

    text_projected = relu(linear("text_projection_layer", text))
    image_projected = relu(linear("image_projection_layer", image))
    raw = np.concatenate((text_projected, image_projected), axis=1)
    mixed = relu(linear("combiner_layer", raw))
    scalar = linear("dynamic_scalar.3", relu(linear("dynamic_scalar.0", raw)))
    scalar = 1 / (1 + np.exp(-scalar))
    output = linear("output_layer", mixed) + scalar * text + (1 - scalar) * image
    return output / np.linalg.norm(output, axis=1, keepdims=True)
