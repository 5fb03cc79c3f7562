/* SPDX-License-Identifier: Apache-2.0 */
/* dino_schedule.c - learning rate, decay, momentum and temperature by step. */
#include <mri/dino.h>

#include <mri/fmath.h>

#define PI 3.14159265358979323846

mri_dino_schedule
mri_dino_schedule_defaults(uint64_t epoch, uint32_t total)
{
    return (mri_dino_schedule){.lr = 5e-4,
                               .min_lr = 1e-6,
                               .decay = 0.04,
                               .decay_end = 0.4,
                               .momentum = 0.996,
                               .temperature = 0.04,
                               .temperature_begin = 0.04,
                               .steps = 101 * epoch,
                               .epoch = epoch,
                               .warmup = 10 * epoch,
                               .temperature_warmup = 0,
                               .freeze = epoch,
                               .total = total};
}

/* Half a cosine from `from` at step 0 towards `to`, reached after the last. */
static double
cosine(double from, double to, uint64_t step, uint64_t steps)
{
    double s, c;

    mri_sincos(PI * (double)step / (double)steps, &s, &c);
    return to + 0.5 * (from - to) * (1 + c);
}

/* Point i of n from `from` to `to`, both included. */
static double
line(double from, double to, uint64_t i, uint64_t n)
{
    return n < 2 ? from : from + (to - from) * (double)i / (double)(n - 1);
}

mri_dino_rates
mri_dino_rates_at(const mri_dino_schedule *s, uint64_t step)
{
    uint64_t warmup = s->warmup < s->steps ? s->warmup : s->steps;
    uint64_t epoch = s->epoch != 0 ? step / s->epoch : 0;
    double peak = s->lr * s->total / 256.0;
    mri_dino_rates r = {.decay = cosine(s->decay, s->decay_end, step, s->steps),
                        .momentum = cosine(s->momentum, 1, step, s->steps),
                        .temperature = s->temperature,
                        .freeze = step < s->freeze};

    r.lr = step < warmup
               ? line(0, peak, step, warmup)
               : cosine(peak, s->min_lr, step - warmup, s->steps - warmup);
    if (epoch < s->temperature_warmup) {
        r.temperature = line(s->temperature_begin, s->temperature, epoch,
                             s->temperature_warmup);
    }
    return r;
}
