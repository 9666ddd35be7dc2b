"""An equivariant linear map as one operation of torch's autograd, in e3nn's layout.

Its weights are the same for all atoms, or those of each element.
It is bilinear in features and weights, so that its derivatives of both orders are the same two maps again.
"""

import ctypes
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tesseral.models.compiled.blas import matrix_product
from tesseral.models.compiled.library import open_library
from tesseral.models.networks.products.fused.kernels import REALS
from tesseral.models.networks.products.fused.matrices import MATRICES
from tesseral.study.errors import TesseralError


class LinearPath(NamedTuple):
    """A path of a linear map: a matrix of weights, from one block to another."""

    entering: int
    made: int
    rows: int
    columns: int
    first: int
    """Its first weight."""
    scale: float
    """By which its weights are multiplied."""


class LinearPlan(NamedTuple):
    """What a linear map computes; its text is what `linear` is given."""

    terms: list[tuple[int, int]]
    """2l+1 and channels of each irrep that enters."""
    outs: list[tuple[int, int]]
    """The same of the result."""
    paths: list[LinearPath]
    elements: int
    """Number of elements; weights are (rows, elements, columns)."""

    def text(self) -> str:
        """The plan as JSON."""
        return json.dumps(self)


_INTEGER, _POINTER = ctypes.c_int64, ctypes.c_void_p


class _Path(ctypes.Structure):
    """`Path` of the C++."""

    _fields_ = [
        *((name, _INTEGER) for name in ("start", "end", "rows", "columns", "weight")),
        ("scale", ctypes.c_double),
    ]


class _Plan(ctypes.Structure):
    """`Plan` of the C++."""

    _fields_ = [
        ("gemm", _POINTER),
        *((name, _INTEGER) for name in ("terms", "outs", "paths", "elements")),
        *((name, _POINTER) for name in ("term", "out", "path")),
    ]


class _Map(NamedTuple):
    """A plan, ready to be run."""

    plan: _Plan
    library: ctypes.CDLL
    width: int
    """Components of the result."""
    alive: tuple[Any, ...]
    """What the plan points at."""


@lru_cache(maxsize=4096)
def open_linear(text: str, real: str) -> _Map:
    """A linear map, compiled if it was not before.

    :param text: of a `LinearPlan`.
    :param real: `float32` or `float64`.
    :raises NoLibraryError: if it cannot be built.
    """
    terms, outs, paths, elements = json.loads(text)
    library = open_library(_HEAD.replace("REAL", REALS[real]) + MATRICES + _MAPS)
    library.there.restype = library.back.restype = None
    flat = [(_INTEGER * (2 * len(of)))(*(number for pair in of for number in pair)) for of in (terms, outs)]
    arrays: tuple[Any, ...] = *flat, (_Path * len(paths))(*(_Path(*path) for path in paths))
    numbers = matrix_product(real), len(terms), len(outs), len(paths), elements
    plan = _Plan(*numbers, *(ctypes.addressof(array) for array in arrays))
    return _Map(plan, library, sum(dim * channels for dim, channels in outs), arrays)


def linear(text: str, features: Tensor, weights: Tensor, species: Tensor | None = None) -> Tensor:
    """Mix the channels of each irrep.

    :param text: of a `LinearPlan`.
    :param features: (atoms, components), in e3nn's layout.
    :param weights: in e3nn's order, by path.
    :param species: (atoms,) int64, the element of each; None where weights are the same for all.
    :returns: (atoms, components of the result).
    :raises TesseralError: if the features are on an accelerator.
    """
    if features.device.type != "cpu":  # its address would be given to the C++
        raise TesseralError(f"resources.backend: expected features on the CPU for 'fused', got {features.device}")
    species = features.new_zeros(len(features), dtype=torch.int64) if species is None else species
    result: Tensor = _Linear.apply(text, features, weights, species)
    return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, text: str, features: Tensor, weights: Tensor, species: Tensor) -> Tensor:
        ctx.text = text
        ctx.save_for_backward(features, weights, species)
        return _there(text, features, weights, species)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_Gradients.apply(ctx.text, gradient, *ctx.saved_tensors), None


class _Gradients(torch.autograd.Function):
    """The derivatives of Σ g y by features and weights."""

    @staticmethod
    def forward(ctx: Any, text: str, gradient: Tensor, *saved: Tensor) -> tuple[Tensor, Tensor]:
        ctx.text = text
        ctx.save_for_backward(gradient, *saved)
        return _back(text, gradient, *saved)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_features: Tensor, by_weights: Tensor) -> tuple[Tensor | None, ...]:
        gradient, features, weights, species = ctx.saved_tensors
        by_gradient = _there(ctx.text, by_features, weights, species) + _there(ctx.text, features, by_weights, species)
        return None, by_gradient, *_back(ctx.text, gradient, by_features, by_weights, species), None


def _there(text: str, features: Tensor, weights: Tensor, species: Tensor) -> Tensor:
    opened = open_linear(text, str(features.dtype).removeprefix("torch."))
    result = features.new_empty(len(features), opened.width)
    _call(opened, opened.library.there, (features, weights, species), (result,))
    return result


def _back(text: str, gradient: Tensor, features: Tensor, weights: Tensor, species: Tensor) -> tuple[Tensor, Tensor]:
    opened = open_linear(text, str(features.dtype).removeprefix("torch."))
    made = tuple(torch.empty_like(part, memory_format=torch.contiguous_format) for part in (features, weights))
    _call(opened, opened.library.back, (features, weights, species, gradient), made)
    return made[0], made[1]


def _call(opened: _Map, run: Any, given: Sequence[Tensor], made: Sequence[Tensor]) -> None:
    kept = [part.contiguous() for part in given]  # until the call returns: an address alone keeps no copy alive
    addresses = [_POINTER(part.data_ptr()) for part in (*kept, *made)]
    run(ctypes.byref(opened.plan), _INTEGER(len(kept[0])), *addresses)


_HEAD = r"""
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

typedef REAL Real;
"""

_MAPS = r"""
typedef std::vector<std::vector<Real>> Blocks;

struct Path { int64_t from, to, rows, columns, weight; double scale; };
struct Plan {
    Gemm gemm;
    int64_t terms, outs, paths, elements;
    const Term *term, *out;
    const Path* path;
};

static Blocks empty(int64_t number, const Term* terms, int64_t atoms) {
    Blocks parts(number);
    for (int64_t n = 0; n < number; n++) parts[n].resize(atoms * terms[n].dim * terms[n].channels);
    return parts;
}

// Rows of e3nn's layout, (channels, 2l+1), to blocks, (2l+1, channels), and back.
template <bool BACK> static void turn(Real* rows, int64_t number, const Term* terms, int64_t atoms,
                                      const std::vector<int64_t>& place, Blocks& parts) {
    const int64_t stride = width(number, terms);
    for (int64_t n = 0, start = 0; n < number; start += terms[n].dim * terms[n].channels, n++)
        for (int64_t atom = 0; atom < atoms; atom++) {
            const int64_t dim = terms[n].dim, channels = terms[n].channels;
            Real *row = rows + atom * stride + start, *block = parts[n].data() + place[atom] * dim * channels;
            if (dim == 1) {
                memcpy(BACK ? row : block, BACK ? block : row, sizeof(Real) * channels);
                continue;
            }
            for (int64_t m = 0; m < dim; m++)
                for (int64_t u = 0; u < channels; u++)
                    if (BACK) row[u * dim + m] = block[m * channels + u];
                    else block[m * channels + u] = row[u * dim + m];
        }
}

extern "C" void there(const Plan* plan, int64_t atoms, Real* x, const Real* w, const int64_t* species, Real* y) {
    const Plan& p = *plan;
    Sorted sorted(p.elements, atoms, species);
    Blocks in = empty(p.terms, p.term, atoms), out = empty(p.outs, p.out, atoms);
    turn<false>(x, p.terms, p.term, atoms, sorted.place, in);
    for (int64_t n = 0; n < p.paths; n++)
        for (int64_t z = 0; z < p.elements; z++) {
            const Path& t = p.path[n];
            const int64_t dim = p.term[t.from].dim, first = sorted.first[z] * dim, next = sorted.first[z + 1] * dim;
            multiply(p, false, false, next - first, t.columns, t.rows, t.scale, in[t.from].data() + first * t.rows,
                     t.rows, w + t.weight + z * t.columns, p.elements * t.columns,
                     out[t.to].data() + first * t.columns, t.columns, true);
        }
    turn<true>(y, p.outs, p.out, atoms, sorted.place, out);
}

extern "C" void back(const Plan* plan, int64_t atoms, Real* x, const Real* w, const int64_t* species, Real* dy,
                     Real* dx, Real* dw) {
    const Plan& p = *plan;
    Sorted sorted(p.elements, atoms, species);
    Blocks in = empty(p.terms, p.term, atoms), out = empty(p.outs, p.out, atoms), din = empty(p.terms, p.term, atoms);
    turn<false>(x, p.terms, p.term, atoms, sorted.place, in);
    turn<false>(dy, p.outs, p.out, atoms, sorted.place, out);
    for (int64_t n = 0; n < p.paths; n++)
        for (int64_t z = 0; z < p.elements; z++) {
            const Path& t = p.path[n];
            const int64_t dim = p.term[t.from].dim, first = sorted.first[z] * dim, next = sorted.first[z + 1] * dim;
            const Real *a = in[t.from].data() + first * t.rows, *g = out[t.to].data() + first * t.columns;
            const int64_t weight = t.weight + z * t.columns, step = p.elements * t.columns;
            if (next == first) {
                for (int64_t row = 0; row < t.rows; row++)
                    memset(dw + weight + row * step, 0, sizeof(Real) * t.columns);
                continue;
            }
            multiply(p, true, false, t.rows, t.columns, next - first, t.scale, a, t.rows, g, t.columns, dw + weight,
                     step, false);
            multiply(p, false, true, next - first, t.rows, t.columns, t.scale, g, t.columns, w + weight, step,
                     din[t.from].data() + first * t.rows, t.rows, true);
        }
    turn<true>(dx, p.terms, p.term, atoms, sorted.place, din);
}
"""
