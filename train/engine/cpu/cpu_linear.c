/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_linear.c - linear layers: tiles of a product as tasks.
 *
 * oneDNN runs fastest (97 % of what the CPU can) where all three matrices lie
 * densely and none is transposed, and on tiles of some sixty rows already. So
 * what is transposed is copied first: the weights once an operation, a few
 * columns of the gradient once a tile. What comes after the product, GELU or
 * its slope, is done while the tile is in the second cache.
 */
#include "cpu/cpu.h"
#include "cpu/gemm.h"

#include <stdatomic.h>

#define FEW_ROWS 32 /* weights are not worth turning round for so few */
#define TILE_ROWS 64
#define TASKS 24     /* at least, where there is enough work */
#define PIECE 2048   /* of a long sum, so that a turned tile fits a cache */
#define TURN_ROWS 64 /* of the weights, in one task */

/* ------------------------------------------------------------ the tiles */

/* A result [m,n] cut into tiles, all but the last of a row or column equal. */
typedef struct tiling {
    size_t m, n, tile_m, tile_n, across; /* across: tiles side by side */
    size_t count;
} tiling;

typedef struct tile {
    size_t row, column, rows, columns;
} tile;

static size_t
even(size_t n, size_t at_most)
{
    return cpu_parts(n, cpu_parts(n, at_most));
}

/* Whole rows, unless that leaves too few tiles. */
static tiling
cut(size_t m, size_t n)
{
    tiling t = {.m = m, .n = n, .tile_m = m, .tile_n = n};
    size_t down;

    if (m > FEW_ROWS) {
        size_t rows = cpu_parts(m, TASKS);

        rows = rows < 16 ? 16 : rows > TILE_ROWS ? TILE_ROWS : rows;
        t.tile_m = even(m, rows);
    }
    down = cpu_parts(m, t.tile_m);
    if (down < 16) {
        size_t columns = cpu_parts(n, cpu_parts(TASKS, down));

        t.tile_n = columns < 64 ? 64 : (columns + 15) / 16 * 16;
        t.tile_n = t.tile_n < n ? t.tile_n : n;
    }
    t.across = cpu_parts(n, t.tile_n);
    t.count = down * t.across;
    return t;
}

static tile
tile_at(const tiling *t, size_t i)
{
    size_t row = i / t->across * t->tile_m, column = i % t->across * t->tile_n;

    return (tile){row, column, t->m - row < t->tile_m ? t->m - row : t->tile_m,
                  t->n - column < t->tile_n ? t->n - column : t->tile_n};
}

/* The code for inner tiles and for those at the right and lower edges. */
typedef struct tile_code {
    gemm *at[2][2]; /* [last row][last column] */
} tile_code;

static mr_err
get_code(tile_code *out, cpu_exec *e, const tiling *t, gemm_shape shape)
{
    for (int i = 0; i < 4; i++) {
        bool last_row = i & 1, last_column = i & 2;
        tile corner = tile_at(t, (last_row ? t->count - t->across : 0) +
                                     (last_column ? t->across - 1 : 0));
        mr_err err;

        shape.m = (int64_t)corner.rows;
        shape.n = (int64_t)corner.columns;
        err = gemm_get(&out->at[last_row][last_column], e->gemms, &shape,
                       &e->head.diag);
        if (err != MR_OK) {
            return err;
        }
    }
    return MR_OK;
}

static const gemm *
code_for(const tile_code *c, const tiling *t, const tile *at)
{
    return c->at[at->row + at->rows == t->m][at->column + at->columns == t->n];
}

static size_t
code_scratch(const tile_code *c)
{
    size_t most = 0;

    for (int i = 0; i < 4; i++) {
        size_t bytes = gemm_scratch(c->at[i & 1][i >> 1]);

        most = bytes > most ? bytes : most;
    }
    return cpu_parts(most, 64) * 16; /* floats, whole lines */
}

static mr_err
verdict(cpu_exec *e, atomic_bool *failed)
{
    return atomic_load(failed)
               ? mri_exec_fail(&e->head, MRI_E_DEVICE,
                               "%s failed while it computed", gemm_library())
               : MR_OK;
}

/* ------------------------------------------------- a product of rows of x */

/* c = a b (+ bias), tile by tile, each followed by what `after` does to it. */
typedef struct product_job {
    cpu_exec *e;
    tiling t;
    tile_code code;
    const float *a, *b, *bias;
    size_t a_row, b_row; /* steps */
    float *c;
    void (*after)(const struct product_job *job, const tile *at);
    const void *args;
    atomic_bool failed;
} product_job;

static void
product_task(void *arg, size_t task, unsigned worker)
{
    product_job *j = arg;
    tile at = tile_at(&j->t, task);

    if (!gemm_run(code_for(&j->code, &j->t, &at), worker,
                  j->a + at.row * j->a_row, j->b + at.column,
                  j->bias != NULL ? j->bias + at.column : NULL,
                  j->c + at.row * j->t.n + at.column, j->e->own[worker])) {
        atomic_store(&j->failed, true);
        return;
    }
    if (j->after != NULL) {
        j->after(j, &at);
    }
}

static mr_err
run_product(product_job *j, size_t k)
{
    const gemm_shape shape = {.k = (int64_t)k,
                              .a_row = (int64_t)j->a_row,
                              .b_row = (int64_t)j->b_row,
                              .b_column = 1,
                              .c_row = (int64_t)j->t.n,
                              .bias = j->bias != NULL};
    mr_err err = get_code(&j->code, j->e, &j->t, shape);

    if (err == MR_OK) {
        err = cpu_own(j->e, code_scratch(&j->code));
    }
    if (err != MR_OK) {
        return err;
    }
    team_run(j->e->team, j->t.count, product_task, j);
    return verdict(j->e, &j->failed);
}

/* Call `each` with the place of every run of elements of a tile: the whole
 * of it where it is as wide as the result. */
static void
over_tile(const tiling *t, const tile *at,
          void (*each)(const void *args, const cpu_kernels *k, size_t first,
                       size_t count),
          const void *args, const cpu_kernels *k)
{
    if (at->columns == t->n) {
        each(args, k, at->row * t->n, at->rows * t->n);
        return;
    }
    for (size_t r = at->row; r < at->row + at->rows; r++) {
        each(args, k, r * t->n + at->column, at->columns);
    }
}

/* --------------------------------------------------------------- forward */

typedef struct turn_job {
    const cpu_exec *e;
    const float *from;
    float *to;
    size_t rows, columns;
} turn_job;

static void
turn_task(void *arg, size_t task, unsigned worker)
{
    const turn_job *j = arg;
    size_t first = task * TURN_ROWS;
    size_t rows = j->rows - first < TURN_ROWS ? j->rows - first : TURN_ROWS;

    (void)worker;
    j->e->k.gemm.transpose(j->to + first, j->rows, j->from + first * j->columns,
                           j->columns, rows, j->columns);
}

/* A matrix [n,k] as [k,n], in shared scratch 0. */
static mr_err
turn(cpu_exec *e, const float *w, size_t n, size_t k)
{
    mr_err err = cpu_share(e, 0, n * k);
    turn_job j = {e, w, e->shared[0], n, k};

    if (err == MR_OK) {
        team_run(e->team, cpu_parts(n, TURN_ROWS), turn_task, &j);
    }
    return err;
}

/* The activation of elements [first, first + count) of the result. */

static void
gelu_run(const void *args, const cpu_kernels *k, size_t first, size_t count)
{
    const mri_linear_args *a = args;
    float *y = cpu_f32(&a->y);
    const float *h = mri_there(&a->h) ? cpu_f32(&a->h) : y;

    k->exp.gelu(y + first, h + first, count);
}

static void
after_linear(const product_job *j, const tile *at)
{
    over_tile(&j->t, at, gelu_run, j->args, &j->e->k);
}

/*
 * For few rows: y' = w x'. The weights, which are most of the bytes, are then
 * read as they lie; x and the results are small enough to be turned round.
 */
typedef struct few_job {
    cpu_exec *e;
    const mri_linear_args *a;
    size_t m, n, k;
    gemm *whole, *rest; /* of TURN_ROWS rows of w, of the last ones */
    size_t result;      /* floats of scratch before the result */
    atomic_bool failed;
} few_job;

static void
few_task(void *arg, size_t task, unsigned worker)
{
    few_job *j = arg;
    const mri_linear_args *a = j->a;
    const cpu_kernels *k = &j->e->k;
    size_t first = task * TURN_ROWS;
    size_t rows = j->n - first < TURN_ROWS ? j->n - first : TURN_ROWS;
    float *own = j->e->own[worker], *result = own + j->result;
    float *to = cpu_f32(mri_there(&a->h) ? &a->h : &a->y) + first;

    if (!gemm_run(rows == TURN_ROWS ? j->whole : j->rest, worker,
                  cpu_f32(&a->w) + first * j->k, j->e->shared[0], NULL, result,
                  own)) {
        atomic_store(&j->failed, true);
        return;
    }
    k->gemm.transpose(to, j->n, result, j->m, rows, j->m);
    for (size_t r = 0; r < j->m; r++) {
        if (mri_there(&a->b)) {
            k->norm.add(to + r * j->n, to + r * j->n, cpu_f32(&a->b) + first,
                        rows);
        }
        if (a->act == MRI_ACT_GELU) {
            gelu_run(a, k, r * j->n + first, rows);
        }
    }
}

static mr_err
few_rows(cpu_exec *e, const mri_linear_args *a)
{
    few_job j = {.e = e,
                 .a = a,
                 .m = a->x.shape[0],
                 .n = a->w.shape[0],
                 .k = a->x.shape[1]};
    gemm_shape shape = {.n = (int64_t)j.m,
                        .k = (int64_t)j.k,
                        .a_row = (int64_t)j.k,
                        .b_row = (int64_t)j.m,
                        .b_column = 1,
                        .c_row = (int64_t)j.m};
    size_t lib = 0;
    mr_err err = turn(e, cpu_f32(&a->x), j.m, j.k);

    if (err == MR_OK && j.n >= TURN_ROWS) {
        shape.m = TURN_ROWS;
        err = gemm_get(&j.whole, e->gemms, &shape, &e->head.diag);
        lib = err == MR_OK ? gemm_scratch(j.whole) : 0;
    }
    if (err == MR_OK && j.n % TURN_ROWS != 0) {
        shape.m = (int64_t)(j.n % TURN_ROWS);
        err = gemm_get(&j.rest, e->gemms, &shape, &e->head.diag);
        if (err == MR_OK && gemm_scratch(j.rest) > lib) {
            lib = gemm_scratch(j.rest);
        }
    }
    j.result = cpu_parts(lib, 64) * 16;
    if (err == MR_OK) {
        err = cpu_own(e, j.result + TURN_ROWS * j.m);
    }
    if (err != MR_OK) {
        return err;
    }
    team_run(e->team, cpu_parts(j.n, TURN_ROWS), few_task, &j);
    return verdict(e, &j.failed);
}

mr_err
cpu_linear(mri_exec *exec, const mri_linear_args *a)
{
    cpu_exec *e = cpu_of(exec);
    size_t m = a->x.shape[0], k = a->x.shape[1], n = a->w.shape[0];
    product_job j = {.e = e,
                     .t = cut(m, n),
                     .a = cpu_f32(&a->x),
                     .a_row = k,
                     .b_row = n,
                     .bias = mri_there(&a->b) ? cpu_f32(&a->b) : NULL,
                     .c = cpu_f32(mri_there(&a->h) ? &a->h : &a->y),
                     .after = a->act == MRI_ACT_GELU ? after_linear : NULL,
                     .args = a};
    mr_err err;

    if (m <= FEW_ROWS) {
        return few_rows(e, a);
    }
    err = turn(e, cpu_f32(&a->w), n, k);
    j.b = e->shared[0];
    return err == MR_OK ? run_product(&j, k) : err;
}

/* ----------------------------------------------- gradient of the input */

static void
gelu_back_run(const void *args, const cpu_kernels *k, size_t first,
              size_t count)
{
    const mri_linear_dx_args *a = args;

    k->exp.gelu_back(cpu_f32(&a->dx) + first, cpu_f32(&a->a) + first,
                     cpu_f32(&a->h) + first, count);
}

static void
after_dx(const product_job *j, const tile *at)
{
    over_tile(&j->t, at, gelu_back_run, j->args, &j->e->k);
}

mr_err
cpu_linear_dx(mri_exec *exec, const mri_linear_dx_args *a)
{
    size_t m = a->dy.shape[0], n = a->dy.shape[1], k = a->w.shape[1];
    product_job j = {.e = cpu_of(exec),
                     .t = cut(m, k),
                     .a = cpu_f32(&a->dy),
                     .a_row = n,
                     .b = cpu_f32(&a->w),
                     .b_row = k,
                     .c = cpu_f32(&a->dx),
                     .after = mri_there(&a->h) ? after_dx : NULL,
                     .args = a};

    return run_product(&j, n);
}

/* --------------------------------------------- gradient of the weights */

typedef struct dw_job {
    cpu_exec *e;
    const mri_linear_dw_args *a;
    tiling t;           /* of dw */
    size_t m, piece;    /* the sum is over m rows, `piece` at a time */
    tile_code set, add; /* for whole pieces: the first, the others */
    tile_code set_rest, add_rest;
    size_t turned; /* floats of scratch before oneDNN's */
    atomic_bool failed;
} dw_job;

/* Rows [first, first + rows) of the tile's columns of dy, turned round; their
 * sums go to the bias. */
static void
turn_piece(const dw_job *j, const tile *at, size_t first, size_t rows,
           float *to)
{
    size_t n = j->t.m;
    const float *dy = cpu_f32(&j->a->dy) + first * n + at->row;
    float *db = cpu_f32(&j->a->db);

    j->e->k.gemm.transpose(to, rows, dy, n, rows, at->rows);
    for (size_t i = 0; db != NULL && at->column == 0 && i < at->rows; i++) {
        float sum = j->e->k.gemm.sum(to + i * rows, rows);
        bool more = j->a->add || first != 0;

        db[at->row + i] = more ? db[at->row + i] + sum : sum;
    }
}

static void
dw_task(void *arg, size_t task, unsigned worker)
{
    dw_job *j = arg;
    tile at = tile_at(&j->t, task);
    float *turned = j->e->own[worker];
    float *dw = cpu_f32(&j->a->dw) + at.row * j->t.n + at.column;
    const float *x = cpu_f32(&j->a->x) + at.column;

    for (size_t first = 0; first < j->m; first += j->piece) {
        bool whole = j->m - first >= j->piece;
        bool add = j->a->add || first != 0;
        const tile_code *code = add ? (whole ? &j->add : &j->add_rest)
                                    : (whole ? &j->set : &j->set_rest);

        turn_piece(j, &at, first, whole ? j->piece : j->m - first, turned);
        if (!gemm_run(code_for(code, &j->t, &at), worker, turned,
                      x + first * j->t.n, NULL, dw, turned + j->turned)) {
            atomic_store(&j->failed, true);
            return;
        }
    }
}

static mr_err
dw_code(dw_job *j, tile_code *out, size_t rows, bool add)
{
    const gemm_shape shape = {.k = (int64_t)rows,
                              .a_row = (int64_t)rows,
                              .b_row = (int64_t)j->t.n,
                              .b_column = 1,
                              .c_row = (int64_t)j->t.n,
                              .add = add};

    return get_code(out, j->e, &j->t, shape);
}

/* Only the code that will run is made. */
static mr_err
dw_codes(dw_job *j)
{
    size_t rest = j->m % j->piece, whole = j->m / j->piece;
    mr_err err = MR_OK;

    if (!j->a->add && whole > 0) {
        err = dw_code(j, &j->set, j->piece, false);
    }
    if (err == MR_OK && (j->a->add ? whole > 0 : whole > 1)) {
        err = dw_code(j, &j->add, j->piece, true);
    }
    if (err == MR_OK && rest != 0 && !j->a->add && whole == 0) {
        err = dw_code(j, &j->set_rest, rest, false);
    }
    if (err == MR_OK && rest != 0 && (j->a->add || whole > 0)) {
        err = dw_code(j, &j->add_rest, rest, true);
    }
    return err;
}

static size_t
dw_scratch(const dw_job *j)
{
    const tile_code *codes[] = {&j->set, &j->add, &j->set_rest, &j->add_rest};
    size_t most = 0;

    for (size_t i = 0; i < MRI_COUNT(codes); i++) {
        if (codes[i]->at[0][0] != NULL && code_scratch(codes[i]) > most) {
            most = code_scratch(codes[i]);
        }
    }
    return most;
}

mr_err
cpu_linear_dw(mri_exec *exec, const mri_linear_dw_args *a)
{
    size_t m = a->dy.shape[0], n = a->dy.shape[1], k = a->x.shape[1];
    dw_job j = {.e = cpu_of(exec), .a = a, .t = cut(n, k), .m = m};
    mr_err err;

    j.piece = m > PIECE ? even(m, PIECE) : m;
    j.turned = cpu_parts(j.t.tile_m * j.piece, 16) * 16;
    err = dw_codes(&j);
    if (err == MR_OK) {
        err = cpu_own(j.e, j.turned + dw_scratch(&j));
    }
    if (err != MR_OK) {
        return err;
    }
    team_run(j.e->team, j.t.count, dw_task, &j);
    return verdict(j.e, &j.failed);
}
