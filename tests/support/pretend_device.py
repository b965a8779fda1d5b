"""A device that exists nowhere: evidence for the paths of a GPU where there is none.

Its tensors compute on the CPU. They refuse to be mixed with tensors of the CPU and to become NumPy
arrays, as those of a GPU do, and every operation that waits for the device is counted: reading a
number, copying to the host, and indexing by a mask, whose result has a size that the device alone
knows. A quotient by a number of the host rounds as on a GPU. Importing this module registers the
device for the whole process, so tests that use it run in one of their own (`tests.support.forked`).
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
aten = torch.ops.aten
_COPIES = {aten._to_copy.default, aten.copy_.default}
_INDEXING = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
}
_PRODUCTS = {aten.div.Tensor: aten.mul.Tensor, aten.div_.Tensor: aten.mul_.Tensor}
WAITS: Counter[str] = Counter()
"""How often the host waited for the device, by what for."""


class MixedDevicesError(RuntimeError):
    """An operation met tensors of the device and of the CPU."""


class _Module(backend_registration._DummyBackendModule):
    """What torch asks of a backend."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
DEVICE = torch.device(NAME, 0)


class Away(Tensor):
    """A tensor of the device; `inner` is the one of the CPU that computes."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Away":
        away = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=DEVICE,
        )
        away.inner = inner
        return away

    def __repr__(self) -> str:
        return f"Away({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Also sees what makes a tensor on the device from none."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def pretended() -> Iterator[torch.device]:
    """The device inside the block; nothing has been waited for at its beginning."""
    WAITS.clear()
    inference = torch.inference_mode
    torch.inference_mode = torch.no_grad  # type: ignore[assignment,misc]
    try:
        with _Mode():
            yield DEVICE
    finally:
        torch.inference_mode = inference  # type: ignore[misc]


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    away = [tensor for tensor in tensors if isinstance(tensor, Away)]
    _refuse_mixed(func, args, tensors, away)
    goes = _goes_to_device(func, args, kwargs, away)
    _count_wait(func, args, away, goes)
    inner_args, inner_kwargs = (tree_map(_inner, given) for given in (args, kwargs))
    if kwargs.get("device") is not None:
        inner_kwargs["device"] = torch.device("cpu")
    if away and func in _PRODUCTS:
        func, inner_args = _by_reciprocal(func, inner_args)
    known = {id(tensor.inner): tensor for tensor in away} | {
        id(tensor): tensor for tensor in tensors if not isinstance(tensor, Away)
    }

    def outer(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return known.get(id(value)) if id(value) in known else Away(value) if goes else value

    return tree_map(outer, func(*inner_args, **inner_kwargs))


def _by_reciprocal(func: Any, args: Any) -> tuple[Any, Any]:
    """A quotient by a number of the host, which a GPU computes as a product with 1 / number."""
    dividend, divisor = args[:2]
    if isinstance(divisor, Tensor) or not dividend.is_floating_point() or not divisor:
        return func, args
    return _PRODUCTS[func], (dividend, float(torch.tensor(divisor, dtype=dividend.dtype) ** -1))


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, Away) else value


def _refuse_mixed(func: Any, args: Any, tensors: list[Tensor], away: list[Away]) -> None:
    """A tensor without dimensions may come from the CPU, as on a GPU; so may an index."""
    here = [t for t in tensors if not isinstance(t, Away) and t.dim() > 0]
    if not away or not here or func in _COPIES:
        return
    if func not in _INDEXING or not isinstance(args[0], Away):
        shapes = [tuple(t.shape) for t in away], [tuple(t.shape) for t in here]
        raise MixedDevicesError(f"{func}: {shapes[0]} of the device with {shapes[1]} of the CPU")


def _goes_to_device(func: Any, args: Any, kwargs: dict[str, Any], away: list[Away]) -> bool:
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"]).type == NAME
    if func in _COPIES:
        return isinstance(args[0], Away)
    return bool(away)


def _count_wait(func: Any, args: Any, away: list[Away], goes: bool) -> None:
    if not away:
        return
    if func is aten._local_scalar_dense.default:
        WAITS["number"] += 1
    elif (func is aten._to_copy.default and not goes) or (func is aten.copy_.default and not goes):
        WAITS["copy"] += 1
    elif func is aten.nonzero.default or (func in _INDEXING and _by_mask(args[1])):
        WAITS["mask"] += 1


def _by_mask(index: Any) -> bool:
    return any(isinstance(i, Tensor) and i.dtype == torch.bool for i in tree_leaves(index))
