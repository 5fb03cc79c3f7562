/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - what a run will cost, said before its first step.
 *
 * Time is an estimate: the speed of one matrix product of the network's width,
 * measured now, times the share of it that whole steps were seen to reach.
 */
#include "run.h"

#include <mri/alloc.h>
#include <mri/clock.h>
#include <mri/error.h>

#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#define MEASURE_NS 60000000u
#define SHARE 0.6 /* of a matrix product's speed that a step reaches */

/* y = x w', again and again for a moment. */
static mr_err
time_product(const run *r, const mri_linear_args *a, double *rate,
             mr_diag *diag)
{
    mri_exec *exec = mri_crew_exec(mri_dino_crew(r->dino));
    const mri_backend *b = exec->backend;
    double flops = 2.0 * (double)a->x.shape[0] * (double)a->x.shape[1] *
                   (double)a->w.shape[0];
    uint64_t runs = 0, start = 0, now = 0;
    mr_err err = MR_OK;

    while (err == MR_OK && (runs < 3 || now - start < MEASURE_NS)) {
        start = runs == 1 ? mri_now_ns() : start; /* the first warms up */
        err = b->ops->linear(exec, a);
        if (err == MR_OK) {
            err = b->sync(exec);
        }
        now = mri_now_ns();
        runs++;
    }
    if (err != MR_OK) {
        if (diag != NULL) {
            *diag = exec->diag;
        }
        return err;
    }
    *rate = flops * (double)(runs - 1) / ((double)(now - start) * 1e-9);
    return MR_OK;
}

static mr_err
measure_rate(const run *r, double *rate, mr_diag *diag)
{
    mri_exec *exec = mri_crew_exec(mri_dino_crew(r->dino));
    const mri_backend *b = exec->backend;
    const uint64_t k = r->net.vit.dim, x[] = {512, k}, w[] = {4 * k, k},
                   y[] = {512, 4 * k};
    uint64_t floats = x[0] * x[1] + w[0] * w[1] + y[0] * y[1];
    mri_linear_args a = {.act = MRI_ACT_NONE};
    void *memory;
    mr_err err = b->alloc(exec, &memory, floats * sizeof(float));

    if (err == MR_OK) {
        err = b->fill(exec, memory, 0, floats * sizeof(float));
    }
    if (err != MR_OK) {
        if (diag != NULL) {
            *diag = exec->diag;
        }
        return err;
    }
    a.x = mr_tensor_of(memory, MR_F32, 2, x);
    a.w = mr_tensor_of((float *)memory + x[0] * x[1], MR_F32, 2, w);
    a.y =
        mr_tensor_of((float *)memory + x[0] * x[1] + w[0] * w[1], MR_F32, 2, y);
    err = time_product(r, &a, rate, diag);
    b->free(exec, memory);
    return err;
}

/* Memory that there is at all: RAM and swap, or less in a container. */
static uint64_t
machine_memory(void)
{
    struct sysinfo s;
    uint64_t all = UINT64_MAX, limit;
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "re");
    char text[32] = "";

    if (sysinfo(&s) == 0) {
        all = ((uint64_t)s.totalram + s.totalswap) * s.mem_unit;
    }
    if (f != NULL) { /* "max", or bytes */
        if (fgets(text, sizeof text, f) != NULL) {
            text[strcspn(text, "\n")] = '\0';
            all = mri_parse_u64(text, &limit) && limit < all ? limit : all;
        }
        (void)fclose(f);
    }
    return all;
}

static uint64_t
memory_of(const mri_dino_costs *c)
{
    return c->weights + c->optimiser + c->gradients + c->activations;
}

mr_err
run_check_memory(const run *r, mr_diag *diag)
{
    mri_dino_costs c = mri_dino_costs_of(r->dino);
    uint64_t bytes = memory_of(&c), have = machine_memory();

    if (!r->backend->host || bytes <= have) {
        return MR_OK;
    }
    return mri_fail(diag, MRI_E_RUN_MEMORY, MR_NOWHERE,
                    "a batch of %llu needs about %.1f GB, this machine has "
                    "%.1f",
                    (unsigned long long)r->config.batch_size,
                    (double)bytes * 1e-9, (double)have * 1e-9);
}

mr_err
run_plan(run *r, mr_diag *diag)
{
    mri_dino_costs c = mri_dino_costs_of(r->dino);
    mri_device_info info;
    mri_exec *exec = mri_crew_exec(mri_dino_crew(r->dino));
    mr_train_plan p = {.arch = r->config.arch,
                       .channels = r->net.vit.channels,
                       .patch = r->net.vit.patch,
                       .params = c.params,
                       .samples = mr_stream_samples(r->stream),
                       .batch_size = r->config.batch_size,
                       .steps = r->schedule.steps,
                       .steps_in_epoch = r->schedule.epoch,
                       .done = r->step,
                       .memory = memory_of(&c),
                       .flops = c.flops,
                       .parts = r->parts,
                       .deterministic = r->decreed};
    mr_err err = measure_rate(r, &p.rate, diag);

    if (err != MR_OK) {
        return err;
    }
    exec->backend->info(exec, &info);
    p.device = info.name;
    p.threads = info.threads;
    p.seconds = p.flops * (double)(p.steps - p.done) / (p.rate * SHARE);
    run_log(&r->record,
            "%s/%u, %u channels, %.2f M parameters; %llu samples, batches of "
            "%llu, %llu steps, epochs of %llu; %.3g Gflop and %.2f GB a step; "
            "%s, %u threads, %u parts%s",
            p.arch, p.patch, p.channels, (double)p.params * 1e-6,
            (unsigned long long)p.samples, (unsigned long long)p.batch_size,
            (unsigned long long)p.steps, (unsigned long long)p.steps_in_epoch,
            p.flops * 1e-9, (double)p.memory * 1e-9, p.device, p.threads,
            p.parts, p.deterministic ? " apart" : "");
    if (r->options->plan != NULL) {
        r->options->plan(r->options->user, &p);
    }
    return MR_OK;
}
