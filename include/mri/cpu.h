/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu.h - which instructions to use: what the CPU has, or less on request.
 */
#ifndef MRI_CPU_H
#define MRI_CPU_H

#include <mri/door.h>

MRI_BEGIN

typedef enum mri_level {
    MRI_SCALAR = 0,
    MRI_SSE2 = 1,
    MRI_AVX2 = 2,
    MRI_AVX512 = 3
} mri_level;

/*
 * The highest level that the CPU and the system allow, lowered by
 * MILLRACE_SIMD=scalar|sse2|avx2|avx512. Read once.
 */
mri_level mri_cpu(void);
const char *mri_cpu_name(mri_level level);
/* False if MILLRACE_SIMD names no level or one that this CPU lacks. */
bool mri_cpu_env_ok(void);
/* For tests: force a level (not above the CPU's); -1 undoes it. */
void mri_cpu_force(int level);
/* SSE4.2's crc32 may be used (level above scalar and the CPU has it). */
bool mri_cpu_crc(void);
/* VPCLMULQDQ may be used, in vectors of the level (AVX2 or AVX-512). */
bool mri_cpu_fold(void);
/* CPUs that this process may run on, at least 1. */
unsigned mri_cpu_count(void);
/* The model's name as the CPU gives it, for reports. */
const char *mri_cpu_model(void);

/*
 * A file compiled once a level (SIMD in its room's CMakeLists.txt) names what
 * it exports with MRI_AT_LEVEL(name): name_scalar, name_avx2, ...
 */
#define MRI_PASTE2(a, b) a##_##b
#define MRI_PASTE(a, b) MRI_PASTE2(a, b)
#define MRI_AT_LEVEL(name) MRI_PASTE(name, MRI_LEVEL)

#if defined(__x86_64__)
#define MRI_LEVELS(name)                                                       \
    {                                                                          \
        name##_scalar, name##_sse2, name##_avx2, name##_avx512                 \
    }
#else
#define MRI_LEVELS(name)                                                       \
    {                                                                          \
        name##_scalar, name##_scalar, name##_scalar, name##_scalar             \
    }
#endif

MRI_END

#endif
