/* SPDX-License-Identifier: Apache-2.0 */
/* cpu.c - what the CPU has, lowered on request. */
#include <mri/cpu.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"scalar", "sse2", "avx2", "avx512"};
static pthread_once_t once = PTHREAD_ONCE_INIT;
static mri_level has;     /* of the CPU */
static mri_level allowed; /* after MILLRACE_SIMD */
static bool has_crc, has_fold, env_ok = true;
static atomic_int forced = -1;

static mri_level
probe(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    has_crc = __builtin_cpu_supports("sse4.2");
    has_fold = has_crc && __builtin_cpu_supports("pclmul") &&
               __builtin_cpu_supports("vpclmulqdq");
    if (__builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2")) {
        return MRI_AVX512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2")) {
        return MRI_AVX2;
    }
    return MRI_SSE2;
#else
    return MRI_SCALAR;
#endif
}

static void
setup(void)
{
    const char *want = getenv("MILLRACE_SIMD");

    has = probe();
    allowed = has;
    if (want == NULL || *want == '\0') {
        return;
    }
    env_ok = false;
    for (unsigned i = 0; i <= (unsigned)has; i++) {
        if (strcmp(want, names[i]) == 0) {
            allowed = (mri_level)i;
            env_ok = true;
        }
    }
}

mri_level
mri_cpu(void)
{
    int level = atomic_load_explicit(&forced, memory_order_relaxed);

    pthread_once(&once, setup);
    return level >= 0 ? (mri_level)level : allowed;
}

const char *
mri_cpu_name(mri_level level)
{
    return names[level];
}

bool
mri_cpu_env_ok(void)
{
    pthread_once(&once, setup);
    return env_ok;
}

void
mri_cpu_force(int level)
{
    pthread_once(&once, setup);
    atomic_store(&forced, level > (int)has ? (int)has : level);
}

bool
mri_cpu_crc(void)
{
    return mri_cpu() > MRI_SCALAR && has_crc;
}

bool
mri_cpu_fold(void)
{
    return mri_cpu() >= MRI_AVX2 && has_fold;
}

unsigned
mri_cpu_count(void)
{
    cpu_set_t set;
    int n;

    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

static char model[128] = "unknown CPU";

static void
find_model(void)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];

    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *name = strchr(line, ':');

        if (strncmp(line, "model name", 10) == 0 && name != NULL) {
            (void)snprintf(model, sizeof model, "%s", name + 2);
            model[strcspn(model, "\n")] = '\0';
            break;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

const char *
mri_cpu_model(void)
{
    static pthread_once_t found = PTHREAD_ONCE_INIT;

    pthread_once(&found, find_model);
    return model;
}
