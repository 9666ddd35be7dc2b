"""C++ for a whole convolution: linear maps, radial network, product, self-connection and gate in one call.

`couple` and `pull` of `kernels.py` do the product; all matrix products are those of PyTorch's BLAS (`blas.py`). Small
networks spend most of a step on the calls of PyTorch's operations, of which a convolution has about a hundred.

What the backward pass needs again is kept in one array, whose parts are taken in one order by both passes. Rows for the
self-connection are sorted by element, so that each element takes one matrix product.
"""

from tesseral.models.networks.products.fused.kernels import shares
from tesseral.models.networks.products.fused.matrices import MATRICES


def convolution_source(real: str) -> str:
    """The program with the functions `convolve` and `convolve_back`, and others that tell sizes and places.

    :param real: a key of `kernels.REALS`.
    """
    return "#include <cmath>\n#include <vector>\n" + shares(real) + MATRICES + _MAPS + _FORWARD + _BACKWARD


_MAPS = r"""
typedef std::vector<Real*> Blocks;

struct Linear {  // one path of a linear map: a matrix of weights
    int64_t from, to, rows, columns, weight;
    double scale;
};

struct Plan {
    Gemm gemm;
    int64_t terms, blocks, outs;
    const Term *term, *block, *out;
    int64_t befores, afters, owns;
    const Linear *before, *after, *own;
    int64_t elements;
    int64_t layers;              // matrices of the radial network
    const int64_t* sizes;        // their rows, and at last the columns
    int64_t harmonics, couplings;
    int64_t paths;
    const Path *couple, *pull;
    int64_t gated;               // irreps that the gate multiplies; -1 without a gate
    const Term* gate;
    int64_t even, gates, odd;
    double silu, tanh, sigmoid;  // their normalisations
    int64_t knots;               // at which the radial network is computed; 0 for each edge
    double cutoff;
};

struct Pass {
    int64_t atoms, edges, rows, threads;
    int64_t most;                // rows of weights after which a part ends where it can; 0: never
    const int64_t *source, *destination, *reverse, *half, *species;
    const Real *harmonics, *radial, *entries, *knots;
    const Real *x, *before, *after, *own;
    const Real* const* network;  // the matrices of the radial network
    double scale;                // of the messages
    Real *kept, *y;
    const Real* dy;
    Real *spare, *dx, *dbefore, *dafter, *down;
    Real* const* dnetwork;
};

struct Arena {
    Real* start;
    int64_t used;
    Real* take(int64_t number) {
        Real* part = start + used;
        used += (number + 15) / 16 * 16;
        return part;
    }
    Blocks blocks(int64_t number, const Term* terms, int64_t atoms) {
        Blocks parts;
        for (int64_t n = 0; n < number; n++) parts.push_back(take(atoms * terms[n].dim * terms[n].channels));
        return parts;
    }
};

static void clear(Blocks& parts, const Term* terms, int64_t atoms) {
    for (size_t n = 0; n < parts.size(); n++)
        memset(parts[n], 0, sizeof(Real) * atoms * terms[n].dim * terms[n].channels);
}

// Rows of e3nn's layout, (channels, 2l+1), to blocks, (2l+1, channels); `place` is the row of each atom there.
static void to_blocks(const Real* rows, int64_t number, const Term* terms, int64_t atoms, const int64_t* place,
                      Blocks& parts) {
    const int64_t stride = width(number, terms);
    for (int64_t n = 0, start = 0; n < number; start += terms[n].dim * terms[n].channels, n++)
        for (int64_t atom = 0; atom < atoms; atom++) {
            const int64_t dim = terms[n].dim, channels = terms[n].channels;
            const Real* from = rows + atom * stride + start;
            Real* to = parts[n] + (place ? place[atom] : atom) * dim * channels;
            for (int64_t m = 0; m < dim; m++)
                for (int64_t u = 0; u < channels; u++) to[m * channels + u] = from[u * dim + m];
        }
}

// The way back; what `sorted` holds is added.
static void from_blocks(Blocks& parts, Blocks& sorted, int64_t number, const Term* terms, int64_t atoms,
                        const int64_t* place, Real* rows) {
    const int64_t stride = width(number, terms);
    for (int64_t n = 0, start = 0; n < number; start += terms[n].dim * terms[n].channels, n++)
        for (int64_t atom = 0; atom < atoms; atom++) {
            const int64_t dim = terms[n].dim, channels = terms[n].channels, size = dim * channels;
            const Real *from = parts[n] + atom * size, *other = sorted[n] + place[atom] * size;
            Real* to = rows + atom * stride + start;
            for (int64_t u = 0; u < channels; u++)
                for (int64_t m = 0; m < dim; m++) to[u * dim + m] = from[m * channels + u] + other[m * channels + u];
        }
}

// Rows that the radial network is computed for.
static int64_t computed(const Plan& p, const Pass& c) { return p.knots ? p.knots : c.rows; }

// The eight knots about a distance, and what each is multiplied by: `places` of `layers.radial_table`.
struct Place {
    int64_t first;
    Real weights[8] = {};
    Place(const Plan& p, Real distance) {
        const Real along = distance * (Real)((p.knots - 7) / p.cutoff);
        first = (int64_t)along;
        first = first > p.knots - 8 ? p.knots - 8 : first;
        const Real t = along - first, u = 1 - t;
        const Real splines[4] = {u * u * u / 6, (3 * t - 6) * t * t / 6 + (Real)2 / 3,
                                 (3 * u - 6) * u * u / 6 + (Real)2 / 3, t * t * t / 6};
        const Real filter[5] = {1, -10, 54, -10, 1};
        for (int n = 0; n < 4; n++)
            for (int k = 0; k < 5; k++) weights[n + k] += filter[k] * splines[n] / 36;
    }
};

static void add(Real* to, const Real* from, Real scale, int64_t number) {
    typedef Real V __attribute__((vector_size(32)));
    constexpr int64_t N = 32 / sizeof(Real);
    int64_t u = 0;
    for (; u + N <= number; u += N) {
        V sum, part;
        memcpy(&sum, to + u, sizeof sum);
        memcpy(&part, from + u, sizeof part);
        sum += scale * part;
        memcpy(to + u, &sum, sizeof sum);
    }
    for (; u < number; u++) to[u] += scale * from[u];
}

// What the forward pass leaves to the backward pass.
struct Kept {
    Blocks x, sorted, sent, gathered, inner, outer;  // `inner` enters a silu of the radial network, `outer` leaves it
    Real *weights, *couplings, *y;
    Kept(const Plan& p, const Pass& c, Arena& arena)
        : x(arena.blocks(p.terms, p.term, c.atoms)),
          sorted(arena.blocks(p.owns ? p.terms : 0, p.term, c.atoms)),
          sent(arena.blocks(p.terms, p.term, c.atoms)),
          gathered(arena.blocks(p.blocks, p.block, c.atoms)) {
        for (int64_t n = 0; n < p.layers; n++) {
            inner.push_back(n ? arena.take(computed(p, c) * p.sizes[n]) : nullptr);
            outer.push_back(arena.take(computed(p, c) * p.sizes[n]));
        }
        weights = arena.take(c.rows * p.sizes[p.layers]);
        couplings = arena.take(c.edges * p.couplings);
        y = p.gated < 0 ? nullptr : arena.take(c.atoms * width(p.outs, p.out));
    }
};

// What the backward pass needs for itself, of which the forward pass uses the first two.
struct Spare {
    Blocks out, own, gathered, sent, x, sorted, radial;
    Real *weights, *table, *y;
    Spare(const Plan& p, const Pass& c, Arena& arena)
        : out(arena.blocks(p.outs, p.out, c.atoms)),
          own(arena.blocks(p.outs, p.out, c.atoms)),
          gathered(arena.blocks(p.blocks, p.block, c.atoms)),
          sent(arena.blocks(p.terms, p.term, c.atoms)),
          x(arena.blocks(p.terms, p.term, c.atoms)),
          sorted(arena.blocks(p.terms, p.term, c.atoms)) {
        for (int64_t n = 0; n < p.layers; n++) radial.push_back(arena.take(computed(p, c) * p.sizes[n]));
        weights = arena.take(c.rows * p.sizes[p.layers]);
        table = arena.take(p.knots * p.sizes[p.layers]);
        y = arena.take(c.atoms * width(p.outs, p.out));
    }
};

// Where a part of the atoms begins, with the edges that lead to them and the weights of these.
struct Part {
    int64_t atom, edge, row;
};

// Parts that no edge joins, each as small as the rows of weights ask for, so that the cache holds what one takes.
static std::vector<Part> parts(const Pass& c) {
    std::vector<Part> starts{{0, 0, 0}};
    for (int64_t atom = 0, edge = 0, row = 0, reached = 0; atom < c.atoms; atom++) {
        if (c.most && reached <= atom && row - starts.back().row >= c.most) starts.push_back({atom, edge, row});
        for (; edge < c.edges && c.destination[edge] == atom; edge++)
            if (c.source[edge] >= reached) reached = c.source[edge] + 1;
        while (row < c.rows && c.half[row] < edge) row++;
    }
    starts.push_back({c.atoms, c.edges, c.rows});
    return starts;
}

// A part as a pass of its own, whose atoms and edges are counted from its first.
struct Piece {
    Pass pass;
    std::vector<int64_t> numbers;
    Piece(const Plan& p, const Pass& whole, const Part& from, const Part& to) : pass(whole) {
        Pass& c = pass;
        c.atoms = to.atom - from.atom, c.edges = to.edge - from.edge, c.rows = to.row - from.row;
        if (c.atoms == whole.atoms) return;
        numbers.reserve(3 * c.edges + c.rows);
        for (int64_t edge = from.edge; edge < to.edge; edge++) numbers.push_back(whole.source[edge] - from.atom);
        for (int64_t edge = from.edge; edge < to.edge; edge++) numbers.push_back(whole.destination[edge] - from.atom);
        for (int64_t edge = from.edge; edge < to.edge; edge++) numbers.push_back(whole.reverse[edge] - from.edge);
        for (int64_t row = from.row; row < to.row; row++) numbers.push_back(whole.half[row] - from.edge);
        c.source = numbers.data(), c.destination = c.source + c.edges, c.reverse = c.destination + c.edges;
        c.half = c.reverse + c.edges;
        c.species += from.atom;
        c.harmonics += from.edge * p.harmonics;
        c.radial += from.edge * (p.knots ? 1 : p.sizes[0]);
        const int64_t in = width(p.terms, p.term), out = width(p.outs, p.out) - (p.gated < 0 ? 0 : p.gates);
        c.x += from.atom * in;
        if (c.y) c.y += from.atom * out;
        if (c.dy) c.dy += from.atom * out;
        if (c.dx) c.dx += from.atom * in;
    }
};

template <class Parts> static int64_t size(const Plan& p, const Pass& c) {
    Arena arena{nullptr, 0};
    Parts(p, c, arena);
    return arena.used;
}

// Call for each part, which keeps what it leaves behind what those before it left.
template <class Run> static void each_part(const Plan& p, const Pass& c, Run run) {
    const std::vector<Part> starts = parts(c);
    int64_t used = 0;
    for (size_t n = 0; n + 1 < starts.size(); n++) {
        Piece piece(p, c, starts[n], starts[n + 1]);
        piece.pass.kept += used;
        used += size<Kept>(p, piece.pass);
        run(piece.pass);
    }
}

// The sum and the largest of the sizes of the parts.
template <class Parts> static void sizes(const Plan& p, Pass c, int64_t& sum, int64_t& most) {
    const std::vector<Part> starts = parts(c);
    for (size_t n = 0; n + 1 < starts.size(); n++) {
        const Part &from = starts[n], &to = starts[n + 1];
        c.atoms = to.atom - from.atom, c.edges = to.edge - from.edge, c.rows = to.row - from.row;
        const int64_t own = size<Parts>(p, c);
        sum += own, most = own > most ? own : most;
    }
}

extern "C" int64_t kept_size(const Plan* p, const Pass* c) {
    int64_t sum = 0, most = 0;
    sizes<Kept>(*p, *c, sum, most);
    return sum;
}

extern "C" int64_t spare_size(const Plan* p, const Pass* c) {
    int64_t sum = 0, most = 0;
    sizes<Spare>(*p, *c, sum, most);
    return most;
}

// Where the weights of the edges stand in `kept`, and their gradient in `spare`.
extern "C" int64_t kept_weights(const Plan* p, const Pass* c) {
    Arena arena{nullptr, 0};
    return Kept(*p, *c, arena).weights - arena.start;
}

extern "C" int64_t spare_weights(const Plan* p, const Pass* c) {
    Arena arena{nullptr, 0};
    return Spare(*p, *c, arena).weights - arena.start;
}

static void product(const Plan& p, const Pass& c, Kept& kept, Blocks& g, Blocks* dx, Real* dw) {
    Call call{};
    call.atoms = c.atoms, call.edges = c.edges;
    call.source = c.source, call.destination = c.destination, call.reverse = c.reverse;
    call.x = kept.sent.data(), call.g = g.data();
    call.k = kept.couplings, call.w = kept.weights;
    call.couplings = p.couplings, call.weights = p.sizes[p.layers];
    call.dx = dx ? dx->data() : nullptr, call.dw = dw;
    run(dx ? p.pull : p.couple, p.paths, p.terms, c.threads, c.rows, &call);
}

static inline Real sigmoid(Real x) { return 1 / (1 + std::exp(-x)); }
"""

_FORWARD = r"""
static void gate(const Plan& p, const Pass& c, const Real* inner, Real* outer) {
    const int64_t gated = width(p.gated, p.gate), wide = p.even + p.gates + p.odd + gated, less = wide - p.gates;
    for (int64_t atom = 0; atom < c.atoms; atom++) {
        const Real* x = inner + atom * wide;
        Real* y = outer + atom * less;
        for (int64_t n = 0; n < p.even; n++) y[n] = x[n] * sigmoid(x[n]) * (Real)p.silu;
        const Real *gates = x + p.even, *odd = gates + p.gates, *from = odd + p.odd;
        for (int64_t n = 0; n < p.odd; n++) y[p.even + n] = std::tanh(odd[n]) * (Real)p.tanh;
        Real* to = y + p.even + p.odd;
        for (int64_t n = 0; n < p.gated; n++)
            for (int64_t u = 0; u < p.gate[n].channels; u++) {
                const Real open = sigmoid(*gates++) * (Real)p.sigmoid;
                for (int64_t m = 0; m < p.gate[n].dim; m++) *to++ = open * *from++;
            }
    }
}

static void convolve_part(const Plan& p, const Pass& c) {
    Arena arena{c.kept, 0}, other{c.spare, 0};
    Kept kept(p, c, arena);
    Spare spare(p, c, other);
    Sorted sorted(p.elements, c.atoms, c.species);
    to_blocks(c.x, p.terms, p.term, c.atoms, nullptr, kept.x);
    clear(kept.sent, p.term, c.atoms);
    for (int64_t n = 0; n < p.befores; n++) {
        const Linear& t = p.before[n];
        multiply(p, false, false, c.atoms * p.term[t.from].dim, t.columns, t.rows, t.scale, kept.x[t.from], t.rows,
                 c.before + t.weight, t.columns, kept.sent[t.to], t.columns, true);
    }
    const int64_t number = computed(p, c), wide = p.sizes[p.layers];
    for (int64_t row = 0; row < number; row++) {
        const Real* from = p.knots ? c.knots + row * p.sizes[0] : c.radial + c.half[row] * p.sizes[0];
        memcpy(kept.outer[0] + row * p.sizes[0], from, sizeof(Real) * p.sizes[0]);
    }
    for (int64_t n = 0; n < p.layers; n++) {
        const int64_t rows = p.sizes[n], columns = p.sizes[n + 1];
        Real* made = n + 1 < p.layers ? kept.inner[n + 1] : p.knots ? spare.table : kept.weights;
        multiply(p, false, false, number, columns, rows, 1 / std::sqrt((double)rows), kept.outer[n], rows,
                 c.network[n], columns, made, columns, false);
        if (n + 1 < p.layers)
            for (int64_t i = 0; i < number * columns; i++)
                kept.outer[n + 1][i] = made[i] * sigmoid(made[i]) * (Real)p.silu;
    }
    for (int64_t row = 0; p.knots && row < c.rows; row++) {
        const Place place(p, c.radial[c.half[row]]);
        Real* to = kept.weights + row * wide;
        memset(to, 0, sizeof(Real) * wide);
        for (int n = 0; n < 8; n++) add(to, spare.table + (place.first + n) * wide, place.weights[n], wide);
    }
    multiply(p, false, false, c.edges, p.couplings, p.harmonics, 1, c.harmonics, p.harmonics, c.entries, p.couplings,
             kept.couplings, p.couplings, false);
    product(p, c, kept, kept.gathered, nullptr, nullptr);
    clear(spare.out, p.out, c.atoms);
    for (int64_t n = 0; n < p.afters; n++) {
        const Linear& t = p.after[n];
        const int64_t rows = c.atoms * p.block[t.from].dim;
        multiply(p, false, false, rows, t.columns, t.rows, t.scale * c.scale, kept.gathered[t.from], t.rows,
                 c.after + t.weight, t.columns, spare.out[t.to], t.columns, true);
    }
    clear(spare.own, p.out, c.atoms);
    if (p.owns) to_blocks(c.x, p.terms, p.term, c.atoms, sorted.place.data(), kept.sorted);
    for (int64_t n = 0; n < p.owns; n++)
        for (int64_t z = 0; z < p.elements; z++) {
            const Linear& t = p.own[n];
            const int64_t dim = p.term[t.from].dim, first = sorted.first[z] * dim, next = sorted.first[z + 1] * dim;
            multiply(p, false, false, next - first, t.columns, t.rows, t.scale, kept.sorted[t.from] + first * t.rows,
                     t.rows, c.own + t.weight + z * t.columns, p.elements * t.columns,
                     spare.own[t.to] + first * t.columns, t.columns, true);
        }
    Real* y = p.gated < 0 ? c.y : kept.y;
    from_blocks(spare.out, spare.own, p.outs, p.out, c.atoms, sorted.place.data(), y);
    if (p.gated >= 0) gate(p, c, y, c.y);
}

extern "C" void convolve(const Plan* plan, Pass* pass) {
    each_part(*plan, *pass, [&](const Pass& part) { convolve_part(*plan, part); });
}
"""

_BACKWARD = r"""
static void gate_back(const Plan& p, const Pass& c, const Real* inner, Real* dinner) {
    const int64_t gated = width(p.gated, p.gate), wide = p.even + p.gates + p.odd + gated, less = wide - p.gates;
    for (int64_t atom = 0; atom < c.atoms; atom++) {
        const Real *x = inner + atom * wide, *dy = c.dy + atom * less;
        Real* dx = dinner + atom * wide;
        for (int64_t n = 0; n < p.even; n++) {
            const Real open = sigmoid(x[n]);
            dx[n] = dy[n] * open * (1 + x[n] * (1 - open)) * (Real)p.silu;
        }
        const Real *gates = x + p.even, *odd = gates + p.gates, *from = odd + p.odd;
        Real *dgates = dx + p.even, *dodd = dgates + p.gates, *dfrom = dodd + p.odd;
        for (int64_t n = 0; n < p.odd; n++) {
            const Real t = std::tanh(odd[n]);
            dodd[n] = dy[p.even + n] * (1 - t * t) * (Real)p.tanh;
        }
        const Real* dto = dy + p.even + p.odd;
        for (int64_t n = 0; n < p.gated; n++)
            for (int64_t u = 0; u < p.gate[n].channels; u++) {
                const Real open = sigmoid(*gates++);
                Real sum = 0;
                for (int64_t m = 0; m < p.gate[n].dim; m++) {
                    sum += *dto * *from++;
                    *dfrom++ = open * (Real)p.sigmoid * *dto++;
                }
                *dgates++ = sum * open * (1 - open) * (Real)p.sigmoid;
            }
    }
}

static void convolve_part_back(const Plan& p, const Pass& c) {
    Arena arena{c.kept, 0}, other{c.spare, 0};
    Kept kept(p, c, arena);
    Spare spare(p, c, other);
    Sorted sorted(p.elements, c.atoms, c.species);
    const Real* dy = c.dy;
    if (p.gated >= 0) {
        gate_back(p, c, kept.y, spare.y);
        dy = spare.y;
    }
    to_blocks(dy, p.outs, p.out, c.atoms, nullptr, spare.out);
    clear(spare.gathered, p.block, c.atoms);
    for (int64_t n = 0; n < p.afters; n++) {
        const Linear& t = p.after[n];
        const int64_t rows = c.atoms * p.block[t.from].dim;
        const double scale = t.scale * c.scale;
        multiply(p, true, false, t.rows, t.columns, rows, scale, kept.gathered[t.from], t.rows, spare.out[t.to],
                 t.columns, c.dafter + t.weight, t.columns, true);
        multiply(p, false, true, rows, t.rows, t.columns, scale, spare.out[t.to], t.columns, c.after + t.weight,
                 t.columns, spare.gathered[t.from], t.rows, true);
    }
    clear(spare.sorted, p.term, c.atoms);
    if (p.owns) to_blocks(dy, p.outs, p.out, c.atoms, sorted.place.data(), spare.own);
    for (int64_t n = 0; n < p.owns; n++)
        for (int64_t z = 0; z < p.elements; z++) {
            const Linear& t = p.own[n];
            const int64_t dim = p.term[t.from].dim, first = sorted.first[z] * dim, next = sorted.first[z + 1] * dim;
            const int64_t wide = p.elements * t.columns, at = t.weight + z * t.columns;
            const Real* d = spare.own[t.to] + first * t.columns;
            multiply(p, true, false, t.rows, t.columns, next - first, t.scale, kept.sorted[t.from] + first * t.rows,
                     t.rows, d, t.columns, c.down + at, wide, true);
            if (c.dx)
                multiply(p, false, true, next - first, t.rows, t.columns, t.scale, d, t.columns, c.own + at, wide,
                         spare.sorted[t.from] + first * t.rows, t.rows, true);
        }
    const int64_t columns = p.sizes[p.layers];
    clear(spare.sent, p.term, c.atoms);
    memset(spare.weights, 0, sizeof(Real) * c.rows * columns);
    product(p, c, kept, spare.gathered, &spare.sent, spare.weights);
    const int64_t number = computed(p, c);
    if (p.knots) memset(spare.table, 0, sizeof(Real) * p.knots * columns);
    for (int64_t row = 0; p.knots && row < c.rows; row++) {
        const Place place(p, c.radial[c.half[row]]);
        for (int n = 0; n < 8; n++)
            add(spare.table + (place.first + n) * columns, spare.weights + row * columns, place.weights[n], columns);
    }
    const Real* d = p.knots ? spare.table : spare.weights;
    for (int64_t n = p.layers - 1; n >= 0; n--) {
        const int64_t rows = p.sizes[n], wide = p.sizes[n + 1];
        const double scale = 1 / std::sqrt((double)rows);
        multiply(p, true, false, rows, wide, number, scale, kept.outer[n], rows, d, wide, c.dnetwork[n], wide, true);
        if (!n) break;
        multiply(p, false, true, number, rows, wide, scale, d, wide, c.network[n], wide, spare.radial[n], rows, false);
        for (int64_t i = 0; i < number * rows; i++) {
            const Real x = kept.inner[n][i], open = sigmoid(x);
            spare.radial[n][i] *= open * (1 + x * (1 - open)) * (Real)p.silu;
        }
        d = spare.radial[n];
    }
    clear(spare.x, p.term, c.atoms);
    for (int64_t n = 0; n < p.befores; n++) {
        const Linear& t = p.before[n];
        const int64_t rows = c.atoms * p.term[t.from].dim;
        multiply(p, true, false, t.rows, t.columns, rows, t.scale, kept.x[t.from], t.rows, spare.sent[t.to], t.columns,
                 c.dbefore + t.weight, t.columns, true);
        if (c.dx)
            multiply(p, false, true, rows, t.rows, t.columns, t.scale, spare.sent[t.to], t.columns,
                     c.before + t.weight, t.columns, spare.x[t.from], t.rows, true);
    }
    if (c.dx) from_blocks(spare.x, spare.sorted, p.terms, p.term, c.atoms, sorted.place.data(), c.dx);
}

// What is made must be zero before: each part adds to the gradients of the weights.
extern "C" void convolve_back(const Plan* plan, Pass* pass) {
    each_part(*plan, *pass, [&](const Pass& part) { convolve_part_back(*plan, part); });
}
"""
