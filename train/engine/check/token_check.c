/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_check.c - patches, tokens, positions, picking, drop-path draws.
 *
 * Bounds. What only moves elements must move them exactly. An embedding plus
 * its position rounds once: u of the result's size, u = FLT_EPSILON / 2. Sums
 * of n terms: (n + 4) u of the sum of magnitudes. A drop-path factor is one
 * quotient: u.
 */
#include <mri/check.h>

#include <float.h>
#include <math.h>

#define U (FLT_EPSILON / 2.0)

MRI_CHECK_THUNK(patchify)
MRI_CHECK_THUNK(tokens)
MRI_CHECK_THUNK(tokens_back)
MRI_CHECK_THUNK(mix)
MRI_CHECK_THUNK(pick)
MRI_CHECK_THUNK(pick_back)
MRI_CHECK_THUNK(drop)

static const mri_range sign = {-1, 1};

static double *
data(const mr_tensor *t)
{
    return t->data;
}

/* ------------------------------------------------------------- patches */

typedef struct picture {
    uint64_t count, c, h, w;
} picture;

static void
patchify_case(mri_check *c, uint32_t patch, picture a, picture b)
{
    mri_patchify_args args = {.patch = patch};
    const picture p[2] = {a, b};

    mri_check_begin(c, "patch %u, %llu of %llux%llux%llu", patch,
                    (unsigned long long)a.count, (unsigned long long)a.c,
                    (unsigned long long)a.h, (unsigned long long)a.w);
    for (uint32_t g = 0; g < 2 && p[g].count != 0; g++) {
        mri_check_in(c, &args.image[g], sign,
                     MRI_DIMS(p[g].count, p[g].c, p[g].h, p[g].w));
        args.seqs.groups++;
        args.seqs.count[g] = (uint32_t)p[g].count;
        args.seqs.views[g] = 1;
        args.seqs.tokens[g] = (uint32_t)(p[g].h / patch * (p[g].w / patch));
    }
    mri_check_out(c, &args.y,
                  MRI_DIMS(mri_seqs_rows(&args.seqs), a.c * patch * patch));
    mri_check_run(c, run_patchify, &args, sizeof args, 0);
    mri_check_near(c, &args.y, 0, NULL);
}

static void
patchify_cases(mri_check *c)
{
    static const uint64_t channels[] = {1, 3, 5, 7};
    const picture none = {0, 0, 0, 0};

    patchify_case(c, 1, (picture){1, 1, 1, 1}, none);
    patchify_case(c, 16, (picture){1, 1, 16, 16}, none);
    for (size_t i = 0; i < MRI_COUNT(channels); i++) {
        uint64_t n = channels[i];

        patchify_case(c, 8, (picture){2, n, 24, 40}, (picture){3, n, 16, 8});
        patchify_case(c, 3, (picture){1, n, 15, 9}, none);
        patchify_case(c, 16, (picture){1, n, 32, 48}, (picture){1, n, 16, 16});
    }
}

/* -------------------------------------------------------------- tokens */

static const mri_seqs packs[] = {
    {.groups = 1, .count = {1}, .tokens = {2}, .views = {1}},
    {.groups = 1, .count = {3}, .tokens = {7}, .views = {3}},
    {.groups = 2, .count = {2, 5}, .tokens = {17, 5}, .views = {2, 1}},
    {.groups = 3,
     .count = {1, 2, 4},
     .tokens = {37, 2, 10},
     .views = {1, 1, 2}},
};
static const uint64_t widths[] = {1, 3, 16, 37, 64, 192};

static void
tokens_fields(mri_check *c, mri_tokens_args *a, uint64_t d)
{
    uint64_t s = mri_seqs_count(&a->seqs), r = mri_seqs_rows(&a->seqs);

    mri_check_begin(c, "rows %llu d %llu", (unsigned long long)r,
                    (unsigned long long)d);
    mri_check_in(c, &a->x, sign, MRI_DIMS(r - s, d));
    mri_check_in(c, &a->cls, sign, MRI_DIMS(d));
    for (uint32_t g = 0; g < a->seqs.groups; g++) {
        mri_check_in(c, &a->pos[g], sign, MRI_DIMS(a->seqs.tokens[g], d));
    }
    mri_check_out(c, &a->y, MRI_DIMS(r, d));
}

static void
tokens_cases(mri_check *c)
{
    for (size_t p = 0; p < MRI_COUNT(packs); p++) {
        for (size_t w = 0; w < MRI_COUNT(widths); w++) {
            mri_tokens_args a = {.seqs = packs[p]};

            tokens_fields(c, &a, widths[w]);
            mri_check_run(c, run_tokens, &a, sizeof a, 0);
            mri_check_near(c, &a.y, U, NULL);
        }
    }
}

typedef struct tokens_chain {
    mri_check *c;
    mri_tokens_args f;
    const mr_tensor *dy;
} tokens_chain;

static double
tokens_loss(void *user)
{
    tokens_chain *t = user;

    mri_check_ref(t->c, run_tokens, &t->f);
    return mri_check_dot(t->dy, &t->f.y);
}

static void
tokens_back_fields(mri_check *c, mri_tokens_back_args *a, uint64_t d)
{
    uint64_t s = mri_seqs_count(&a->seqs), r = mri_seqs_rows(&a->seqs);

    mri_check_in(c, &a->dy, sign, MRI_DIMS(r, d));
    mri_check_out(c, &a->dx, MRI_DIMS(r - s, d));
    if (a->add) {
        mri_check_both(c, &a->dcls, sign, MRI_DIMS(d));
    } else {
        mri_check_out(c, &a->dcls, MRI_DIMS(d));
    }
    for (uint32_t g = 0; g < a->seqs.groups; g++) {
        if (a->add_pos[g]) {
            mri_check_both(c, &a->dpos[g], sign,
                           MRI_DIMS(a->seqs.tokens[g], d));
        } else {
            mri_check_out(c, &a->dpos[g], MRI_DIMS(a->seqs.tokens[g], d));
        }
    }
}

static void
tokens_back_case(mri_check *c, const mri_seqs *seqs, uint64_t d, bool add)
{
    mri_tokens_args f = {.seqs = *seqs};
    mri_tokens_back_args a = {.seqs = *seqs, .add = add, .add_pos = {add}};
    tokens_chain t = {.c = c, .dy = &a.dy};
    double n = (double)mri_seqs_count(seqs);

    tokens_fields(c, &f, d);
    tokens_back_fields(c, &a, d);
    mri_check_run(c, run_tokens_back, &a, sizeof a, 0);
    mri_check_near(c, &a.dx, 0, NULL);
    /* elements are below 1, so a sum of n + 1 is below n + 1 */
    for (uint32_t g = 0; g < seqs->groups; g++) {
        mr_tensor size;

        mri_check_out(c, &size, MRI_DIMS(seqs->tokens[g], d));
        for (uint64_t i = 0; i < mr_tensor_len(&size); i++) {
            data(&size)[i] = n + 1;
        }
        mri_check_near(c, &a.dpos[g], (n + 4) * U, &size);
        mri_check_near(c, &a.dcls, (n + 4) * U, &size);
    }
    if (add) {
        return;
    }
    t.f = f;
    mri_check_slope(c, &f.x, &a.dx, tokens_loss, &t);
    mri_check_slope(c, &f.cls, &a.dcls, tokens_loss, &t);
    for (uint32_t g = 0; g < seqs->groups; g++) {
        mri_check_slope(c, &f.pos[g], &a.dpos[g], tokens_loss, &t);
    }
}

static void
tokens_back_cases(mri_check *c)
{
    for (size_t p = 0; p < MRI_COUNT(packs); p++) {
        for (size_t w = 0; w < MRI_COUNT(widths); w++) {
            tokens_back_case(c, &packs[p], widths[w], false);
            tokens_back_case(c, &packs[p], widths[w], true);
        }
    }
}

/* ----------------------------------------------------------- positions */

typedef struct mix_chain {
    mri_check *c;
    mri_mix_args f;
    const mr_tensor *dy;
} mix_chain;

static double
mix_loss(void *user)
{
    mix_chain *t = user;

    mri_check_ref(t->c, run_mix, &t->f);
    return mri_check_dot(t->dy, &t->f.y);
}

/* The reverse of y = m x is dx = m' dy: the same operation, transposed. */
static void
mix_slopes(mri_check *c, const mri_mix_args *back, uint64_t out, uint64_t in,
           uint64_t d)
{
    mix_chain t = {.c = c, .dy = &back->x};

    t.f.m = back->m;
    mri_check_in(c, &t.f.x, sign, MRI_DIMS(in, d));
    mri_check_out(c, &t.f.y, MRI_DIMS(out, d));
    mri_check_slope(c, &t.f.x, &back->y, mix_loss, &t);
}

static void
mix_case(mri_check *c, uint64_t out, uint64_t in, uint64_t d, unsigned how)
{
    mri_mix_args a = {.transposed = how & 1, .add = how & 2};
    mri_mix_args size = {.transposed = how & 1};
    uint64_t rows = a.transposed ? in : out, inner = a.transposed ? out : in;

    mri_check_begin(c, "%llu of %llu d %llu%s%s", (unsigned long long)out,
                    (unsigned long long)in, (unsigned long long)d,
                    how & 1 ? " transposed" : "", how & 2 ? " add" : "");
    mri_check_in(c, &a.m, sign, MRI_DIMS(out, in));
    mri_check_in(c, &a.x, sign, MRI_DIMS(inner, d));
    if (a.add) {
        mri_check_both(c, &a.y, sign, MRI_DIMS(rows, d));
    } else {
        mri_check_out(c, &a.y, MRI_DIMS(rows, d));
    }
    mri_check_run(c, run_mix, &a, sizeof a, 2.0 * (double)(out * in * d));
    mri_check_abs(c, &size.m, &a.m);
    mri_check_abs(c, &size.x, &a.x);
    mri_check_out(c, &size.y, MRI_DIMS(rows, d));
    mri_check_ref(c, run_mix, &size);
    for (uint64_t i = 0; i < rows * d; i++) {
        data(&size.y)[i] += 1;
    }
    mri_check_near(c, &a.y, ((double)inner + 4) * U, &size.y);
    if (mri_check_exact(c) && how == 1) {
        mix_slopes(c, &a, out, in, d);
    }
}

static void
mix_cases(mri_check *c)
{
    for (unsigned how = 0; how < 4; how++) {
        mix_case(c, 1, 1, 1, how);
        mix_case(c, 2, 5, 3, how);
        mix_case(c, 37, 50, 17, how);
        mix_case(c, 10, 26, 64, how);
    }
}

/* ------------------------------------------------------------- picking */

static void
pick_cases(mri_check *c)
{
    for (size_t p = 0; p < MRI_COUNT(packs); p++) {
        mri_pick_args a = {.seqs = packs[p]};
        uint64_t s = mri_seqs_count(&a.seqs), r = mri_seqs_rows(&a.seqs);

        mri_check_begin(c, "rows %llu", (unsigned long long)r);
        mri_check_in(c, &a.x, sign, MRI_DIMS(r, widths[p]));
        mri_check_out(c, &a.y, MRI_DIMS(s, widths[p]));
        mri_check_run(c, run_pick, &a, sizeof a, 0);
        mri_check_near(c, &a.y, 0, NULL);
    }
}

typedef struct pick_chain {
    mri_check *c;
    mri_pick_args f;
    const mr_tensor *dy;
} pick_chain;

static double
pick_loss(void *user)
{
    pick_chain *t = user;

    mri_check_ref(t->c, run_pick, &t->f);
    return mri_check_dot(t->dy, &t->f.y);
}

static void
pick_back_cases(mri_check *c)
{
    for (size_t p = 0; p < MRI_COUNT(packs); p++) {
        mri_pick_back_args a = {.seqs = packs[p]};
        pick_chain t = {.c = c, .f = {.seqs = packs[p]}, .dy = &a.dy};
        uint64_t s = mri_seqs_count(&a.seqs), r = mri_seqs_rows(&a.seqs);

        mri_check_begin(c, "rows %llu", (unsigned long long)r);
        mri_check_in(c, &a.dy, sign, MRI_DIMS(s, widths[p]));
        mri_check_out(c, &a.dx, MRI_DIMS(r, widths[p]));
        mri_check_run(c, run_pick_back, &a, sizeof a, 0);
        mri_check_near(c, &a.dx, 0, NULL);
        mri_check_in(c, &t.f.x, sign, MRI_DIMS(r, widths[p]));
        mri_check_out(c, &t.f.y, MRI_DIMS(s, widths[p]));
        mri_check_slope(c, &t.f.x, &a.dx, pick_loss, &t);
    }
}

/* ----------------------------------------------------------- drop-path */

static void
drop_case(mri_check *c, const mri_seqs *seqs, double rate,
          const uint32_t clock[4])
{
    mri_drop_args a = {.seqs = *seqs, .key = 77, .rate = rate};
    uint64_t s = mri_seqs_count(seqs);

    mri_check_begin(c, "%llu sequences rate %g", (unsigned long long)s, rate);
    mri_check_raw(c, &a.clock, MR_U32, clock, MRI_DIMS(4));
    mri_check_out(c, &a.y, MRI_DIMS(s));
    mri_check_run(c, run_drop, &a, sizeof a, 0);
    mri_check_near(c, &a.y, U, NULL);
}

/* A batch that is cut draws what the whole one draws. */
static void
drop_of_a_part(mri_check *c)
{
    const uint32_t whole_clock[4] = {9, 8, 7, 100};
    const uint32_t part_clock[4] = {9, 8, 7, 103};
    mri_drop_args whole = {.key = 5, .rate = 0.5}, part = whole;

    whole.seqs = (mri_seqs){2, {12, 18}, {5, 5}, {2, 3}}; /* 6 samples */
    part.seqs = (mri_seqs){2, {4, 6}, {5, 5}, {2, 3}};    /* 2 of them */
    mri_check_begin(c, "a part of a batch");
    mri_check_raw(c, &whole.clock, MR_U32, whole_clock, MRI_DIMS(4));
    mri_check_out(c, &whole.y, MRI_DIMS(30));
    mri_check_ref(c, run_drop, &whole);
    mri_check_raw(c, &part.clock, MR_U32, part_clock, MRI_DIMS(4));
    mri_check_out(c, &part.y, MRI_DIMS(10));
    mri_check_ref(c, run_drop, &part);
    for (uint64_t i = 0; i < 4; i++) {
        mri_check_true(c, data(&part.y)[i] == data(&whole.y)[3 * 2 + i],
                       "a part of a batch draws otherwise than the whole");
    }
    for (uint64_t i = 0; i < 6; i++) {
        mri_check_true(c,
                       data(&part.y)[4 + i] == data(&whole.y)[12 + 3 * 3 + i],
                       "a part of a batch draws otherwise than the whole");
    }
}

static void
drop_cases(mri_check *c)
{
    const uint32_t early[4] = {1, 0, 0, 0};
    const uint32_t late[4] = {~0u, 12345, 4000000000u, ~0u - 3};

    for (size_t p = 0; p < MRI_COUNT(packs); p++) {
        drop_case(c, &packs[p], 0, early);
        drop_case(c, &packs[p], 0.1, late);
        drop_case(c, &packs[p], 0.9, early);
    }
    drop_of_a_part(c);
}

/* ------------------------------------------------------------- timing */

static void
patchify_bench(mri_check *c)
{
    patchify_case(c, 16, (picture){4, 5, 224, 224}, (picture){16, 5, 96, 96});
}

static void
tokens_bench(mri_check *c)
{
    mri_tokens_args a = {.seqs = {2, {4, 16}, {197, 37}, {2, 8}}};

    tokens_fields(c, &a, 384);
    mri_check_run(c, run_tokens, &a, sizeof a, 0);
}

static void
mix_bench(mri_check *c)
{
    mix_case(c, 37, 197, 384, 0);
    mix_case(c, 37, 197, 384, 1);
}

int
main(int argc, char **argv)
{
    static const mri_check_op ops[] = {
        {"patchify", patchify_cases, patchify_bench},
        {"tokens", tokens_cases, tokens_bench},
        {"tokens_back", tokens_back_cases, NULL},
        {"mix", mix_cases, mix_bench},
        {"pick", pick_cases, NULL},
        {"pick_back", pick_back_cases, NULL},
        {"drop", drop_cases, NULL},
    };

    return mri_check_main(argc, argv, ops, MRI_COUNT(ops));
}
