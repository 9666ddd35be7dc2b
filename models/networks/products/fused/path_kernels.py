"""C++ for products of an atom's features: a program for each triple (l₁, l₂, l), and one that runs trees of them.

A tree's vertices are computed one after another for one atom and as many channels as a vector has, so that what lies
between leaves and root never leaves the processor's cache; the backward pass computes it anew. All is written for a
type T of numbers: a vector V, or a `Dual`, a vector with its rate of change, whose backward pass gives second
derivatives.

Channels are the lanes of a vector. A last vector that would reach beyond them begins earlier, and computes some
channels twice; it stores those alone that are new.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

from e3nn import o3
from torch import float64

from tesseral.models.networks.products.fused.kernels import REALS, Kernel, vectors

Products = list[tuple[int, int, list[tuple[int, float]]]]
"""For each pair (m₁, m₂) that couples: each m that it makes, with its coefficient."""


def vertex_source(kernel: Kernel, real: str) -> str:
    """The program of a vertex of a triple: `couple` and `pull`, and both of duals.

    :param kernel: the triple and its vectors.
    :param real: a key of `REALS`.
    """
    l1, l2, l3 = kernel.triple
    coefficients = o3.wigner_3j(l1, l2, l3, dtype=float64) * (2 * l3 + 1) ** 0.5
    places = [(*place, float(coefficients[tuple(place)])) for place in (coefficients.abs() > 1e-9).nonzero().tolist()]
    products = [
        (m1, m2, [(m, value) for _, _, m, value in made])
        for (m1, m2), made in groupby(places, key=lambda place: (place[0], place[1]))
    ]
    sizes = 2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1
    return _numbers(kernel.lanes, real) + _couple(sizes, products) + _pull(sizes, products) + _NAMES


def tree_source(lanes: int, real: str) -> str:
    """The program whose functions `of_values` and `of_duals` run the vertices of a plan, there and back.

    :param lanes: of a vector.
    :param real: a key of `REALS`.
    """
    return "#include <vector>\n" + _numbers(lanes, real) + _TREES


def _couple(sizes: tuple[int, int, int], products: Products) -> str:
    def terms() -> Iterator[str]:
        for m1, m2, made in products:
            sums = " ".join(f"c{m} += Real({value!r}) * s;" for m, value in made)
            yield f"{{ const T s = a[{m1}] * b[{m2}]; {sums} }}"

    return f"""
template <class T> static void couple_of(const T* a, const T* b, T* c) {{
    T {_zeros("c", sizes[2])};
    {_lines(terms())}
    {_lines(f"c[{m}] = c{m};" for m in range(sizes[2]))}
}}
"""


def _pull(sizes: tuple[int, int, int], products: Products) -> str:
    def terms() -> Iterator[str]:
        for m1, m2, made in products:
            gradient = " + ".join(f"Real({value!r}) * g[{m}]" for m, value in made)
            yield f"{{ const T s = {gradient}; d{m1} += s * b[{m2}]; e{m2} += s * a[{m1}]; }}"

    # Both factors may be one node, whose gradient then takes both sums.
    return f"""
template <class T> static void pull_of(const T* a, const T* b, const T* g, T* da, T* db) {{
    T {_zeros("d", sizes[0])};
    T {_zeros("e", sizes[1])};
    {_lines(terms())}
    {_lines(f"da[{m}] += d{m};" for m in range(sizes[0]))}
    {_lines(f"db[{m}] += e{m};" for m in range(sizes[1]))}
}}
"""


def _zeros(name: str, size: int) -> str:
    return ", ".join(f"{name}{m} = {{}}" for m in range(size))


def _lines(statements: Iterable[str]) -> str:
    return "\n    ".join(statements)


def _numbers(lanes: int, real: str) -> str:
    return _NUMBERS.replace("REAL", REALS[real]) + vectors(lanes) + _DUALS


_NUMBERS = r"""
#include <cstdint>
#include <cstring>

typedef REAL Real;
"""

_DUALS = r"""
struct Dual { V value, change; };
static inline Dual operator+(const Dual& a, const Dual& b) { return {a.value + b.value, a.change + b.change}; }
static inline Dual operator*(Real a, const Dual& b) { return {a * b.value, a * b.change}; }
static inline Dual operator*(const Dual& a, const Dual& b) {
    return {a.value * b.value, a.value * b.change + a.change * b.value};
}
static inline void operator+=(Dual& a, const Dual& b) { a.value += b.value, a.change += b.change; }
"""

_NAMES = r"""
extern "C" void couple(const V* a, const V* b, V* c) { couple_of(a, b, c); }
extern "C" void couple_dual(const Dual* a, const Dual* b, Dual* c) { couple_of(a, b, c); }
extern "C" void pull(const V* a, const V* b, const V* g, V* da, V* db) { pull_of(a, b, g, da, db); }
extern "C" void pull_dual(const Dual* a, const Dual* b, const Dual* g, Dual* da, Dual* db) {
    pull_of(a, b, g, da, db);
}
"""

_TREES = r"""
template <class T> struct Maps {
    void (*couple)(const T*, const T*, T*);
    void (*pull)(const T*, const T*, const T*, T*, T*);
};

struct Leaf { int64_t tensor, offset, dim, place; };

struct Vertex {
    Maps<V> of_values;
    Maps<Dual> of_duals;
    int64_t left, right, place;
};

struct Share { int64_t from, to, dim, weight; };  // what a node adds to a weighted sum

struct Result { int64_t place, offset, dim, channel, component; };  // steps from one to the next

struct Plan {
    int64_t channels, size;  // components of all nodes
    int64_t leaves, vertices, shares, results;
    const Leaf* leaf;
    const Vertex* vertex;
    const Share* share;
    const Result* result;
    int64_t weights, width;
};

struct Pass {
    int64_t atoms, threads;
    const int64_t *species, *widths;    // components of each tensor of features
    const Real *const *x, *w, *y;       // features, (elements, weights, channels), gradient by the result
    const Real *const *xs, *ws;         // their changes
    Real* const* dx;
    Real *dw, *dy;                      // the result itself, where it is asked for
};

static const Maps<V>& maps(const Vertex& vertex, V*) { return vertex.of_values; }
static const Maps<Dual>& maps(const Vertex& vertex, Dual*) { return vertex.of_duals; }

static inline V gather(const Real* from, int64_t step) {
    V values;
    if (step == 1) {
        memcpy(&values, from, sizeof values);
        return values;
    }
    Real each[N];
    for (int n = 0; n < N; n++) each[n] = from[n * step];
    memcpy(&values, each, sizeof values);
    return values;
}

// Lanes before `skip` were stored by the vector before.
static inline void scatter(Real* to, int64_t step, int skip, V values) {
    if (step == 1 && !skip) {
        memcpy(to, &values, sizeof values);
        return;
    }
    Real each[N];
    memcpy(each, &values, sizeof values);
    for (int n = skip; n < N; n++) to[n * step] = each[n];
}

static inline void take(V& to, const Real* values, const Real*, int64_t step) { to = gather(values, step); }
static inline void take(Dual& to, const Real* values, const Real* changes, int64_t step) {
    to.value = gather(values, step);
    to.change = changes ? gather(changes, step) : V{};
}

static inline V last(const V& x) { return x; }
static inline V last(const Dual& x) { return x.change; }

template <class T> static void forward(const Plan& p, const Pass& c, int64_t atom, int64_t u, T* v) {
    for (int64_t n = 0; n < p.leaves; n++) {
        const Leaf& leaf = p.leaf[n];
        const int64_t first = atom * c.widths[leaf.tensor] + leaf.offset + u * leaf.dim;
        const Real *x = c.x[leaf.tensor] + first, *xs = c.xs ? c.xs[leaf.tensor] + first : nullptr;
        for (int64_t m = 0; m < leaf.dim; m++) take(v[leaf.place + m], x + m, xs ? xs + m : nullptr, leaf.dim);
    }
    for (int64_t n = 0; n < p.vertices; n++) {
        const Vertex& vertex = p.vertex[n];
        maps(vertex, v).couple(v + vertex.left, v + vertex.right, v + vertex.place);
    }
    for (int64_t n = 0; n < p.shares; n++)
        for (int64_t m = 0; m < p.share[n].dim; m++) v[p.share[n].to + m] = T{};
    for (int64_t n = 0; n < p.shares; n++) {
        const Share& share = p.share[n];
        const int64_t place = (c.species[atom] * p.weights + share.weight) * p.channels + u;
        T w;
        take(w, c.w + place, c.ws ? c.ws + place : nullptr, 1);
        for (int64_t m = 0; m < share.dim; m++) v[share.to + m] += w * v[share.from + m];
    }
}

template <class T> static void backward(const Plan& p, const Pass& c, int64_t atom, int64_t u, int skip, T* v, T* g) {
    memset((void*)g, 0, sizeof(T) * p.size);
    for (int64_t n = 0; n < p.results; n++) {
        const Result& r = p.result[n];
        for (int64_t m = 0; m < r.dim; m++)
            take(g[r.place + m], c.y + atom * p.width + r.offset + u * r.channel + m * r.component, nullptr, r.channel);
    }
    for (int64_t n = 0; n < p.shares; n++) {
        const Share& share = p.share[n];
        const int64_t place = (c.species[atom] * p.weights + share.weight) * p.channels + u;
        T w, dw = {};
        take(w, c.w + place, c.ws ? c.ws + place : nullptr, 1);
        for (int64_t m = 0; m < share.dim; m++) {
            g[share.from + m] += w * g[share.to + m];
            dw += g[share.to + m] * v[share.from + m];
        }
        scatter(c.dw + place, 1, skip, gather(c.dw + place, 1) + last(dw));
    }
    for (int64_t n = p.vertices - 1; n >= 0; n--) {
        const Vertex& vertex = p.vertex[n];
        const int64_t left = vertex.left, right = vertex.right;
        maps(vertex, v).pull(v + left, v + right, g + vertex.place, g + left, g + right);
    }
    for (int64_t n = 0; n < p.leaves; n++) {
        const Leaf& leaf = p.leaf[n];
        Real* dx = c.dx[leaf.tensor] + atom * c.widths[leaf.tensor] + leaf.offset + u * leaf.dim;
        for (int64_t m = 0; m < leaf.dim; m++) scatter(dx + m, leaf.dim, skip, last(g[leaf.place + m]));
    }
}

// Threads share out channels: no two of them add to one number, and sums have one order.
template <class T> static void run(const Plan& p, const Pass& c) {
    const int64_t groups = (p.channels + N - 1) / N;
    #pragma omp parallel for schedule(dynamic) num_threads(c.threads) if (c.threads > 1)
    for (int64_t group = 0; group < groups; group++) {
        const int64_t next = group * N, u = next + N > p.channels ? p.channels - N : next;
        std::vector<T> v(p.size), g(c.dx ? p.size : 0);
        for (int64_t atom = 0; atom < c.atoms; atom++) {
            forward(p, c, atom, u, v.data());
            if (c.dy)
                for (int64_t n = 0; n < p.results; n++) {
                    const Result& r = p.result[n];
                    Real* to = c.dy + atom * p.width + r.offset + u * r.channel;
                    for (int64_t m = 0; m < r.dim; m++)
                        scatter(to + m * r.component, r.channel, next - u, last(v[r.place + m]));
                }
            if (c.dx) backward(p, c, atom, u, next - u, v.data(), g.data());
        }
    }
}

extern "C" void of_values(const Plan* p, const Pass* c) { run<V>(*p, *c); }
extern "C" void of_duals(const Plan* p, const Pass* c) { run<Dual>(*p, *c); }
"""
