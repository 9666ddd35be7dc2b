"""C++ that convolutions and linear maps share: products of matrices, sizes of blocks, and atoms sorted by element."""

MATRICES = r"""
typedef void (*Gemm)(const char*, const char*, const int*, const int*, const int*, const Real*, const Real*,
                     const int*, const Real*, const int*, const Real*, Real*, const int*);

struct Term { int64_t dim, channels; };

// c = scale op(a) op(b), rows one after another; or that added to c. A plan names the `gemm` of BLAS.
template <class Plan>
static void multiply(const Plan& p, bool turn_a, bool turn_b, int64_t m, int64_t n, int64_t k, double scale,
                     const Real* a, int64_t next_a, const Real* b, int64_t next_b, Real* c, int64_t next_c, bool add) {
    if (!m || !n || !k) return;
    const int M = n, N = m, K = k, LA = next_b, LB = next_a, LC = next_c;  // BLAS has columns one after another
    const Real alpha = scale, beta = add;
    p.gemm(turn_b ? "T" : "N", turn_a ? "T" : "N", &M, &N, &K, &alpha, b, &LA, a, &LB, &beta, c, &LC);
}

static int64_t width(int64_t number, const Term* terms) {
    int64_t sum = 0;
    for (int64_t n = 0; n < number; n++) sum += terms[n].dim * terms[n].channels;
    return sum;
}

// Atoms sorted by element: the row of each, and the first row of each element.
struct Sorted {
    std::vector<int64_t> place, first;
    Sorted(int64_t elements, int64_t atoms, const int64_t* species) : place(atoms), first(elements + 2) {
        for (int64_t atom = 0; atom < atoms; atom++) first[species[atom] + 2]++;
        for (int64_t z = 2; z < elements + 2; z++) first[z] += first[z - 1];
        for (int64_t atom = 0; atom < atoms; atom++) place[atom] = first[species[atom] + 1]++;
    }
};
"""
"""After the type `Real` and the headers cstdint and vector."""
