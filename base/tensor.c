/* SPDX-License-Identifier: Apache-2.0 */
/* tensor.c - element types and views. */
#include <millrace/tensor.h>

#include <assert.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} types[] = {
    {"?", 0},    {"u8", 1},  {"i8", 1},  {"u16", 2}, {"i16", 2},
    {"u32", 4},  {"i32", 4}, {"u64", 8}, {"i64", 8}, {"f16", 2},
    {"bf16", 2}, {"f32", 4}, {"f64", 8},
};
#define TYPES (sizeof types / sizeof *types)

size_t
mr_dtype_bytes(mr_dtype dtype)
{
    return (unsigned)dtype < TYPES ? types[dtype].bytes : 0;
}

const char *
mr_dtype_name(mr_dtype dtype)
{
    return (unsigned)dtype < TYPES ? types[dtype].name : types[0].name;
}

mr_dtype
mr_dtype_named(const char *name)
{
    for (unsigned i = 1; i < TYPES; i++) {
        if (strcmp(types[i].name, name) == 0) {
            return (mr_dtype)i;
        }
    }
    return MR_NONE;
}

mr_tensor
mr_tensor_of(void *data, mr_dtype dtype, uint32_t rank, const uint64_t *shape)
{
    mr_tensor t = {.data = data, .dtype = dtype, .rank = rank};
    int64_t step = 1;

    assert(rank <= MR_MAX_RANK);
    for (uint32_t i = rank; i-- > 0;) {
        t.shape[i] = shape[i];
        t.stride[i] = step;
        step *= (int64_t)shape[i];
    }
    return t;
}

uint64_t
mr_tensor_len(const mr_tensor *t)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < t->rank; i++) {
        n *= t->shape[i];
    }
    return n;
}

uint64_t
mr_tensor_bytes(const mr_tensor *t)
{
    return mr_tensor_len(t) * mr_dtype_bytes(t->dtype);
}
