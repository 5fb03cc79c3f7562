/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dino_steps.c - run DINO steps on weights from a file, for comparison.
 *
 *     dino_steps IN.safetensors OUT.safetensors [BACKEND [THREADS [PARTS]]]
 *
 * IN holds the initial student.* and, in its metadata, the configuration (see
 * members below). Pictures are uniform draws that dino.py makes in the same
 * way. OUT gets `loss` of every step, `grad.*` of the first, and the state
 * after the last.
 */
#include <mri/alloc.h>
#include <mri/rng.h>

#include <dino_file.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
must(mr_err err, const mr_diag *diag)
{
    if (err != MR_OK) {
        (void)fprintf(stderr, "dino_steps: %s: %s %s\n", mr_err_name(err),
                      diag->path, diag->text);
        exit(1);
    }
}

static void *
room(uint64_t bytes)
{
    void *p = mri_alloc_pixels((size_t)bytes, 1);

    if (p == NULL) {
        exit(1);
    }
    return p;
}

/* Student and teacher begin alike; what the file does not have is 0. */
static void
load(mri_dino *d, const mri_st *st)
{
    mr_diag diag = {0};

    for (size_t i = 0; i < mri_dino_tensors(d); i++) {
        mri_dino_tensor t = mri_dino_tensor_at(d, i);
        const mri_st_item *item = mri_st_find(st, t.name);
        char name[300];

        if (strncmp(t.name, "teacher.", 8) == 0) {
            (void)snprintf(name, sizeof name, "student.%s", t.name + 8);
            item = mri_st_find(st, name);
        }
        if (item != NULL) {
            must(mri_dino_put(d, i, item->data, &diag), &diag);
        }
    }
}

static void
fill(float *to, uint64_t len, uint64_t key)
{
    mri_draws d = mri_draws_of(key, 0, 0);

    for (uint64_t i = 0; i < len; i++) {
        to[i] = (float)mri_draw_range(&d, -2, 2);
    }
}

typedef struct items {
    mri_st_item *at;
    size_t count, room;
} items;

static void
add(items *all, const char *prefix, const mri_dino_tensor *t, void *data)
{
    mri_st_item *item = &all->at[all->count++];
    size_t bytes = strlen(prefix) + strlen(t->name) + 1;
    char *name = room(bytes);

    (void)snprintf(name, bytes, "%s%s", prefix, t->name);
    *item = (mri_st_item){
        .name = name, .dtype = MR_F32, .rank = t->rank, .data = data};
    memcpy(item->shape, t->shape, sizeof item->shape);
}

static void
add_gradients(items *all, mri_dino *d)
{
    mr_diag diag = {0};

    for (size_t i = 0; i < mri_dino_trained(d); i++) {
        for (size_t k = 0; k < mri_dino_tensors(d); k++) {
            mri_dino_tensor t = mri_dino_tensor_at(d, k);

            if (strcmp(t.name, mri_dino_trained_name(d, i)) == 0) {
                void *data = room(t.bytes);

                must(mri_dino_grad(d, i, data, t.bytes, &diag), &diag);
                add(all, "grad.", &t, data);
            }
        }
    }
}

static void
add_state(items *all, mri_dino *d)
{
    mr_diag diag = {0};

    for (size_t i = 0; i < mri_dino_tensors(d); i++) {
        mri_dino_tensor t = mri_dino_tensor_at(d, i);
        void *data = room(t.bytes);

        must(mri_dino_get(d, i, data, &diag), &diag);
        add(all, "", &t, data);
    }
}

static void
run_steps(mri_dino *d, const mri_dino_config *c, const mri_dino_schedule *s,
          double *losses, items *all)
{
    uint64_t each = (uint64_t)c->batch * c->vit.channels;
    uint64_t big = each * 2 * c->vit.image * c->vit.image;
    uint64_t small = each * c->local_count * c->local_size * c->local_size;
    float *global = room(big * sizeof *global);
    float *local = room(small * sizeof *local);
    mri_dino_batch b = {.global = global, .local = local, .seed = 1};
    mr_diag diag = {0};

    for (uint64_t i = 0; i < s->steps; i++) {
        mri_dino_rates r = mri_dino_rates_at(s, i);

        fill(global, big, 1000 + 2 * i);
        fill(local, small, 1001 + 2 * i);
        b.step = i;
        must(mri_dino_step(d, &b, &r, &losses[i], NULL, &diag), &diag);
        if (i == 0) {
            add_gradients(all, d);
        }
    }
    add_state(all, d);
}

int
main(int argc, char **argv)
{
    mri_crew_options options = {.parts = 1};
    mr_diag diag = {0};
    mri_dino_config c;
    mri_dino_schedule s;
    mri_dino *d;
    mri_st *st;
    double *losses;
    items all = {0};

    if (argc < 3) {
        (void)fprintf(stderr, "usage: dino_steps IN OUT [BACKEND [THREADS "
                              "[PARTS]]]\n");
        return 2;
    }
    must(mri_st_open(&st, argv[1], &diag), &diag);
    must(mri_backend_find(&options.backend, argc > 3 ? argv[3] : "cpu",
                          getenv("MILLRACE_LIB"), &diag),
         &diag);
    options.threads = argc > 4 ? (unsigned)atoi(argv[4]) : 0;
    options.parts = argc > 5 ? (unsigned)atoi(argv[5]) : 1;
    options.apart = options.parts > 1;
    c = dino_file_config(st);
    s = dino_file_schedule(st);
    must(mri_dino_open(&d, &c, &options, &diag), &diag);
    load(d, st);
    losses = room(s.steps * sizeof *losses);
    all.at = room((mri_dino_tensors(d) * 2 + 1) * sizeof *all.at);
    run_steps(d, &c, &s, losses, &all);
    all.at[all.count++] = (mri_st_item){.name = "loss",
                                        .dtype = MR_F64,
                                        .rank = 1,
                                        .shape = {s.steps},
                                        .data = losses};
    must(mri_st_write(argv[2], all.at, all.count, NULL, 0, &diag), &diag);
    return 0; /* the system takes the memory back */
}
