"""C++ for products of features with harmonics: a program for each triple (l₁, l₂, l), with its couplings written out.

With features x, weights w, couplings k (`coupling.py`) and anything g that has the shape of the result, all three maps
of a program are partial derivatives of one form,

    F(x, k, w, g) = Σ_edges Σ_{u, (m₁, m)} w_u k_{m₁ m} x_{u m₁} g_{u m},

`couple` by g, the sum itself; `pull` by x and w; `steer` by k. F is linear in each argument, so their derivatives of
any order are these maps again.

Channels u are the lanes of a vector. A last vector that would reach beyond them begins earlier, and computes some
channels twice: sums that are stored come out equal, and those that are added to are counted once (`live`).

One more program, `shares`, runs the maps of all paths of a product.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from tesseral.models.networks.products.fused.coupling import Triple, pattern

REALS = {"float32": "float", "float64": "double"}
"""Types of numbers → their names in C++."""


class Kernel(NamedTuple):
    """A program for one triple."""

    triple: Triple
    lanes: int
    """Channels of a vector, a power of two; a processor with shorter vectors takes as many as it has."""


def lanes(channels: int) -> int:
    """Lanes of the vectors for so many channels: the largest power of two that is no larger, up to 16.

    :param channels: 1 or more.
    """
    return min(16, 1 << (channels.bit_length() - 1))


def source(kernel: Kernel, real: str) -> str:
    """The program of a triple, with the functions `couple`, `pull` and `steer`.

    :param kernel: the triple and its vectors.
    :param real: a key of `REALS`.
    """
    first, last = range(2 * kernel.triple[0] + 1), range(2 * kernel.triple[2] + 1)
    rows = [
        (m, [(number, pair[1]) for number, pair in pairs])
        for m, pairs in groupby(enumerate(pattern(kernel.triple)), key=lambda pair: pair[1][0])
    ]
    maps = [write(first, last, rows) for write in (_couple, _pull, _steer)]
    return "\n".join([_TYPES.replace("REAL", REALS[real]), vectors(kernel.lanes), _VECTORS, *maps])


def vectors(most: int) -> str:
    """The type `V` of vectors of `N` numbers of type `Real`: so many, or as many as the processor has.

    :param most: a power of two.
    """
    return _LANES.replace("MOST", str(most))


Rows = list[tuple[int, list[tuple[int, int]]]]
"""For each m₁ that couples at all: the number of each pair (m₁, m), and its m."""


def _couple(first: range, last: range, rows: Rows) -> str:
    """The sums that lead to each atom."""

    def terms() -> Iterator[str]:
        for m, pairs in rows:
            products = " ".join(f"g{to} += k[{n}] * s;" for n, to in pairs)
            yield f"{{ const V s = w * load(x + {m} * p.channels); {products} }}"

    return f"""
extern "C" void couple(const Call& c, const Path& p, int64_t from, int64_t to) {{
    for (int64_t atom = from; atom < to; atom++)
        for (int64_t next = 0; next < p.channels; next += N) {{
            const int64_t u = next + N > p.channels ? p.channels - N : next;
            V {", ".join(f"g{m} = {{}}" for m in last)};
            for (int64_t edge = c.first[atom]; edge < c.first[atom + 1]; edge++) {{
                const Real* k = c.k + edge * c.couplings + p.coupling;
                const Real* x = c.x[p.term] + c.source[edge] * {len(first)} * p.channels + u;
                const V w = load(c.w + c.row[edge] * c.weights + p.weight + u);
                {_lines(terms(), 16)}
            }}
            Real* g = c.g[p.block] + atom * {len(last)} * p.width + p.column + u;
            {_lines((f"store(g + {m} * p.width, g{m});" for m in last), 12)}
        }}
}}
"""


def _pull(first: range, last: range, rows: Rows) -> str:
    """The gradients by features and weights, of the edges that leave each atom: those that come in, turned round."""

    def terms() -> Iterator[str]:
        for m, pairs in rows:
            products = " + ".join(f"k[{n}] * g{to}" for n, to in pairs)
            yield f"{{ const V s = {products}; dw += s * load(x + {m} * p.channels); d{m} += s * w; }}"

    return f"""
extern "C" void pull(const Call& c, const Path& p, int64_t from, int64_t to) {{
    for (int64_t atom = from; atom < to; atom++)
        for (int64_t next = 0; next < p.channels; next += N) {{
            const int64_t u = next + N > p.channels ? p.channels - N : next;
            const V counts = live(next - u);
            const int64_t place = atom * {len(first)} * p.channels + u;
            const Real* x = c.x[p.term] + place;
            Real* dx = c.dx[p.term] + place;
            {_lines((f"V d{m} = load(dx + {m} * p.channels);" for m in first), 12)}
            for (int64_t back = c.first[atom]; back < c.first[atom + 1]; back++) {{
                const int64_t edge = c.reverse[back];
                const Real* k = c.k + edge * c.couplings + p.coupling;
                const Real* g = c.g[p.block] + c.source[back] * {len(last)} * p.width + p.column + u;
                const int64_t column = c.row[edge] * c.weights + p.weight + u;
                const V w = load(c.w + column) * counts;
                V dw = {{}};
                {_lines((f"const V g{m} = load(g + {m} * p.width);" for m in last), 16)}
                {_lines(terms(), 16)}
                store(c.dw + column, load(c.dw + column) + dw * counts);
            }}
            {_lines((f"store(dx + {m} * p.channels, d{m});" for m in first), 12)}
        }}
}}
"""


def _steer(first: range, last: range, rows: Rows) -> str:
    """The gradient by the couplings of the edges that lead to each atom."""
    numbers = [n for _, pairs in rows for n, _ in pairs]

    def terms() -> Iterator[str]:
        for m, pairs in rows:
            products = " ".join(f"k{n} += s * g{to};" for n, to in pairs)
            yield f"{{ const V s = w * load(x + {m} * p.channels); {products} }}"

    return f"""
extern "C" void steer(const Call& c, const Path& p, int64_t from, int64_t to) {{
    for (int64_t atom = from; atom < to; atom++)
        for (int64_t edge = c.first[atom]; edge < c.first[atom + 1]; edge++) {{
            V {", ".join(f"k{n} = {{}}" for n in numbers)};
            for (int64_t next = 0; next < p.channels; next += N) {{
                const int64_t u = next + N > p.channels ? p.channels - N : next;
                const Real* x = c.x[p.term] + c.source[edge] * {len(first)} * p.channels + u;
                const Real* g = c.g[p.block] + atom * {len(last)} * p.width + p.column + u;
                const V w = load(c.w + c.row[edge] * c.weights + p.weight + u) * live(next - u);
                {_lines((f"const V g{m} = load(g + {m} * p.width);" for m in last), 16)}
                {_lines(terms(), 16)}
            }}
            Real* dk = c.dk + edge * c.couplings + p.coupling;
            {_lines((f"dk[{n}] += sum(k{n});" for n in numbers), 12)}
        }}
}}
"""


def _lines(statements: Iterable[str], indent: int) -> str:
    return f"\n{indent * ' '}".join(statements)


_TYPES = r"""
#include <cstdint>
#include <cstring>

typedef REAL Real;
struct Call;
struct Path;
typedef void (*Map)(const Call&, const Path&, int64_t from, int64_t to);

struct Path {
    Map map;
    int64_t term, block;
    int64_t column;    // first channel in the block
    int64_t channels;
    int64_t width;     // channels of the block
    int64_t weight;    // first column in a row of weights
    int64_t coupling;  // first column in a row of couplings
};

struct Call {
    int64_t atoms, edges;
    const int64_t *source, *destination, *reverse;  // edges are sorted by destination
    const int64_t *first;                           // the first edge that leads to each atom
    const int64_t *row;                             // the row of weights of each edge
    Real* const* x;                                 // for each term, (atoms, 2l+1, channels)
    Real* const* g;                                 // for each block, (atoms, 2l+1, width)
    const Real *k, *w;                              // (edges, couplings), (rows, weights)
    int64_t couplings, weights;
    Real* const* dx;                                // what is added to: like x, w and k
    Real *dw, *dk;
};
"""

_LANES = r"""
#if defined(__AVX512F__)
constexpr int NATIVE = 64 / sizeof(Real);
#elif defined(__AVX__)
constexpr int NATIVE = 32 / sizeof(Real);
#else
constexpr int NATIVE = 16 / sizeof(Real);
#endif
constexpr int N = MOST < NATIVE ? MOST : NATIVE;
template <int M> struct Lanes { typedef Real Vector __attribute__((vector_size(M * sizeof(Real)))); };
template <> struct Lanes<1> { typedef Real Vector; };
typedef Lanes<N>::Vector V;
"""

_VECTORS = r"""
static inline V load(const Real* from) {
    V values;
    memcpy(&values, from, sizeof values);
    return values;
}

static inline void store(Real* to, V values) { memcpy(to, &values, sizeof values); }

// 1 in lanes whose channel was not computed before, else 0.
static inline V live(int64_t before) {
    Real each[N];
    for (int n = 0; n < N; n++) each[n] = n >= before;
    return load(each);
}

static inline Real sum(V values) {
    Real each[N], total = 0;
    store(each, values);
    for (int n = 0; n < N; n++) total += each[n];
    return total;
}
"""

# A few atoms at a time: the weights of their edges stay in the cache while one path after another reads its own.
#
# Threads share out what no two of them add to, so that sums have one order, however many threads there are: terms,
# whose paths alone reach their columns of x, w and g; for couplings, which all terms reach, atoms and their edges.
_SHARES = r"""
constexpr int64_t ATOMS = 8;

static void some(const Call& call, const Path* paths, int64_t number, int64_t term, int64_t from) {
    const int64_t to = from + ATOMS < call.atoms ? from + ATOMS : call.atoms;
    for (int64_t n = 0; n < number; n++)
        if (term < 0 || paths[n].term == term) paths[n].map(call, paths[n], from, to);
}

extern "C" void run(const Path* paths, int64_t number, int64_t terms, int64_t threads, int64_t rows, Call* call) {
    const int64_t atoms = call->atoms, edges = call->edges;
    int64_t *first = new int64_t[atoms + 1], *row = new int64_t[edges];
    for (int64_t atom = 0, edge = 0; atom <= atoms; atom++) {
        while (edge < edges && call->destination[edge] < atom) edge++;
        first[atom] = edge;
    }
    for (int64_t edge = 0, pairs = 0; edge < edges; edge++) {
        const int64_t back = call->reverse[edge];
        row[edge] = rows == edges ? edge : back > edge ? pairs++ : row[back];
    }
    call->first = first;
    call->row = row;
    if (call->dk) {
        #pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
        for (int64_t from = 0; from < atoms; from += ATOMS) some(*call, paths, number, -1, from);
    } else {
        #pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
        for (int64_t term = 0; term < terms; term++)
            for (int64_t from = 0; from < atoms; from += ATOMS) some(*call, paths, number, term, from);
    }
    delete[] first;
    delete[] row;
}
"""


def shares(real: str) -> str:
    """The program whose function `run` runs the maps of all paths of a product, for all atoms.

    :param real: a key of `REALS`.
    """
    return _TYPES.replace("REAL", REALS[real]) + _SHARES
