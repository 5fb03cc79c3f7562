/* SPDX-License-Identifier: Apache-2.0 */
/* golden.c - set.txt, and the values that it stands for. */
#include "golden.h"

#include <mri/bytes.h>
#include <mri/hash.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the schema ---- */

static const char *field_names[] = {"image", "label", "half", "text"};
static mri_field_kind field_kinds[] = {MRI_FIELD_IMAGE, MRI_FIELD_LABEL,
                                       MRI_FIELD_IMAGE, MRI_FIELD_OTHER};
static mri_field_level field_levels[] = {
    {.of = MRI_NO_FIELD},
    {.of = MRI_NO_FIELD},
    {.of = 0, .rank = 3, .downsample = {1, 2, 2}},
    {.of = MRI_NO_FIELD}};
static const char *classes[] = {"ring", "spot", "über"};

const mri_schema golden_schema = {.field_count = 4,
                                  .field_names = field_names,
                                  .field_kinds = field_kinds,
                                  .field_levels = field_levels,
                                  .class_count = 3,
                                  .classes = classes,
                                  .config = "{\"golden\":1}",
                                  .writer = "millrace, golden"};

uint32_t
golden_class(const char *name)
{
    for (uint32_t i = 0; i < MRI_COUNT(classes); i++) {
        if (strcmp(classes[i], name) == 0) {
            return i;
        }
    }
    return MR_NO_CLASS;
}

/* ---- the table ---- */

static _Noreturn void
wrong(const char *path, unsigned line)
{
    (void)fprintf(stderr, "%s:%u: not a line of this table\n", path, line);
    exit(1);
}

static bool
parse_shape(golden_field *f, const char *text)
{
    f->ndim = (uint32_t)strlen(f->axes);
    for (uint32_t i = 0; i < f->ndim; i++) {
        char *end;

        f->dims[i] = (uint32_t)strtoul(text, &end, 10);
        if (end == text) {
            return false;
        }
        text = end + (*end == 'x');
    }
    return f->ndim == 0 || *text == '\0';
}

static bool
parse_field(golden_field *f, const char *line)
{
    char name[16], encoding[16], dtype[16], shape[64];
    int n, more = 0;

    *f = (golden_field){.slope = 1};
    n = sscanf(line, "field %15s %15s %15s %31s %8s %63s%n slope %lf inter %lf",
               name, encoding, dtype, f->pattern, f->axes, shape, &more,
               &f->slope, &f->inter);
    while (f->name < MRI_COUNT(field_names) &&
           strcmp(field_names[f->name], name) != 0) {
        f->name++;
    }
    if (strcmp(f->axes, "-") == 0) {
        f->axes[0] = '\0';
    }
    f->scaled = n == 8;
    f->dtype = mr_dtype_named(dtype);
    f->encoding = strcmp(encoding, "jpeg") == 0    ? MR_ENC_JPEG
                  : strcmp(encoding, "bytes") == 0 ? MR_ENC_BYTES
                                                   : MR_ENC_CHUNKS;
    return (n == 6 || n == 8) && f->name < MRI_COUNT(field_names) &&
           f->dtype != MR_NONE && parse_shape(f, shape);
}

static void
none(char *text)
{
    if (strcmp(text, "-") == 0) {
        text[0] = '\0';
    }
}

static bool
parse_shard(golden_step *s, const char *line)
{
    char name[16] = "auto";

    s->kind = GOLDEN_SHARD;
    if (strncmp(line, "shard", 5) != 0) {
        return false;
    }
    (void)sscanf(line, "shard %15s", name);
    while (s->coding < MRI_CODING_RAW &&
           strcmp(mri_coding_name(s->coding), name) != 0) {
        s->coding++;
    }
    return strcmp(mri_coding_name(s->coding), name) == 0;
}

/* A line that is not a field. */
static bool
parse_step(golden_step *s, const char *line)
{
    *s = (golden_step){0};
    if (sscanf(line, "dataset %63s", s->name) == 1) {
        s->kind = GOLDEN_DATASET;
        return true;
    }
    if (sscanf(line, "sample %63s %31s %31s", s->name, s->group,
               s->class_name) == 3) {
        s->kind = GOLDEN_SAMPLE;
        none(s->group);
        none(s->class_name);
        return true;
    }
    if (sscanf(line, "withdraw %63s", s->name) == 1) {
        s->kind = GOLDEN_WITHDRAW;
        return true;
    }
    if (sscanf(line, "relabel %63s %31s %31s", s->name, s->class_name,
               s->group) == 3) {
        s->kind = GOLDEN_RELABEL;
        none(s->group);
        none(s->class_name);
        return true;
    }
    if (sscanf(line, "compact %u", &s->number) == 1) {
        s->kind = GOLDEN_COMPACT;
        return true;
    }
    if (sscanf(line, "rollback %u", &s->number) == 1) {
        s->kind = GOLDEN_ROLLBACK;
        return true;
    }
    s->kind = GOLDEN_COMMIT;
    return strcmp(line, "commit") == 0 || parse_shard(s, line);
}

static bool
add_line(golden_set *set, const char *line)
{
    golden_step *last = set->count > 0 ? &set->steps[set->count - 1] : NULL;

    if (strncmp(line, "field ", 6) == 0) {
        return last != NULL && last->kind == GOLDEN_SAMPLE &&
               last->field_count < GOLDEN_FIELDS &&
               parse_field(&last->fields[last->field_count++], line);
    }
    set->steps = realloc(set->steps, (set->count + 1) * sizeof *set->steps);
    return set->steps != NULL && parse_step(&set->steps[set->count++], line);
}

void
golden_load(golden_set *set, const char *path)
{
    FILE *f = fopen(path, "r");
    char line[512];

    *set = (golden_set){0};
    if (f == NULL) {
        perror(path);
        exit(1);
    }
    for (unsigned n = 1; fgets(line, sizeof line, f) != NULL; n++) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '\0' && line[0] != '#' && !add_line(set, line)) {
            wrong(path, n);
        }
    }
    (void)fclose(f);
}

void
golden_release(golden_set *set)
{
    free(set->steps);
    *set = (golden_set){0};
}

/* ---- values ---- */

uint64_t
golden_count(const golden_field *f)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < f->ndim; i++) {
        n *= f->dims[i];
    }
    return n;
}

static uint64_t
seed_of(const char *key, const char *field)
{
    uint64_t h = 0;

    for (const char *p = key; *p != '\0'; p++) {
        h = h * 31 + (uint8_t)*p;
    }
    h = h * 31 + '/';
    for (const char *p = field; *p != '\0'; p++) {
        h = h * 31 + (uint8_t)*p;
    }
    return h;
}

/* The n-th number of SplitMix64. */
static uint64_t
mix(uint64_t seed, uint64_t n)
{
    uint64_t z = seed + (n + 1) * 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

typedef struct form {
    unsigned bits, fraction; /* of the whole, of the significand */
    uint64_t bound;          /* of random quarters, all of them exact */
} form;

static bool
float_form(form *out, mr_dtype dtype)
{
    switch (dtype) {
    case MR_F16:
        *out = (form){16, 10, 127};
        return true;
    case MR_BF16:
        *out = (form){16, 7, 127};
        return true;
    case MR_F32:
        *out = (form){32, 23, 1000000};
        return true;
    case MR_F64:
        *out = (form){64, 52, (uint64_t)1 << 40};
        return true;
    default:
        return false;
    }
}

/* The bits of n quarters in a format that holds them exactly. */
static uint64_t
quarters(const form *f, int64_t n)
{
    unsigned exponents = f->bits - 1 - f->fraction;
    uint64_t sign = n < 0, top = 0, size = (uint64_t)(n < 0 ? -n : n);
    uint64_t bias = ((uint64_t)1 << (exponents - 1)) - 1;

    if (n == 0) {
        return 0;
    }
    while (size >> top > 1) {
        top++;
    }
    /* top <= 41, and <= fraction by the bounds above */
    return sign << (f->bits - 1) | (bias + top - 2) << f->fraction |
           (size << (f->fraction - top) & (((uint64_t)1 << f->fraction) - 1));
}

/* NaN, both infinities, both zeros, the largest, the least, and one. */
static uint64_t
special(const form *f, uint64_t i)
{
    uint64_t one = 1, sign = one << (f->bits - 1);
    uint64_t infinite = sign - (one << f->fraction);

    switch (i % 9) {
    case 0:
        return infinite | one << (f->fraction - 1);
    case 1:
        return infinite;
    case 2:
        return infinite | sign;
    case 3:
        return sign;
    case 4:
        return 0;
    case 5:
        return infinite - 1;
    case 6:
        return (infinite - 1) | sign;
    case 7:
        return 1;
    default:
        return quarters(f, 6);
    }
}

static uint64_t
float_bits(const form *f, const char *pattern, uint64_t i, uint64_t seed)
{
    if (strcmp(pattern, "ramp") == 0) {
        return quarters(f, (int64_t)(i % 200) - 100);
    }
    if (strcmp(pattern, "random") == 0) {
        return quarters(f, (int64_t)(mix(seed, i) % (2 * f->bound + 1)) -
                               (int64_t)f->bound);
    }
    if (strcmp(pattern, "constant") == 0) {
        return quarters(f, 21);
    }
    if (strcmp(pattern, "nan") == 0) {
        return special(f, 0);
    }
    if (strcmp(pattern, "special") == 0) {
        return special(f, i);
    }
    return 0;
}

/* Of blocks of 32 x 32 x 32 every other one is of one value. */
static bool
in_plain_block(const golden_field *f, uint64_t i)
{
    uint64_t blocks = 0;

    for (uint32_t k = f->ndim; k-- > 0;) {
        blocks += i % f->dims[k] / 32;
        i /= f->dims[k];
    }
    return blocks % 2 == 0;
}

static uint64_t
integer_bits(const golden_field *f, uint64_t i, uint64_t seed)
{
    uint64_t m = mix(seed, i);

    if (strcmp(f->pattern, "random") == 0) {
        return m;
    }
    if (strcmp(f->pattern, "sparse") == 0) {
        return m % 16 == 0 ? (m >> 8) % 5 + 1 : 0;
    }
    if (strcmp(f->pattern, "constant") == 0) {
        return 22;
    }
    if (strcmp(f->pattern, "zero") == 0) {
        return 0;
    }
    if (strcmp(f->pattern, "palette") == 0) {
        static const uint64_t few[] = {0, 17, 4000, 65535, 300};

        return few[m % MRI_COUNT(few)];
    }
    if (strcmp(f->pattern, "steps") == 0) {
        return i / 700;
    }
    if (strcmp(f->pattern, "smooth") == 0) {
        return 1000 + i / 7 % 50 + m % 4;
    }
    if (strcmp(f->pattern, "patchy") == 0 && in_plain_block(f, i)) {
        return 7;
    }
    return 3 * i + 1; /* ramp */
}

uint8_t *
golden_values(const golden_step *sample, const golden_field *f)
{
    size_t item = mr_dtype_bytes(f->dtype), n = (size_t)golden_count(f);
    uint64_t seed = seed_of(sample->name, field_names[f->name]);
    uint8_t *p = malloc(n * item + 8);
    bool real;
    form shape;

    if (p == NULL) {
        abort();
    }
    real = float_form(&shape, f->dtype);
    for (size_t i = 0; i < n; i++) {
        mri_put64(p + i * item, real ? float_bits(&shape, f->pattern, i, seed)
                                     : integer_bits(f, i, seed));
    }
    return p;
}

/* ---- what stands beside the values ---- */

void
golden_geometry(mri_geometry *g, const golden_field *f)
{
    static const double affine[12] = {-1, 0,   0, 10.5, 0, 0.75,
                                      0,  -20, 0, 0,    2, 30.125};

    mri_geometry_init(g);
    if (!f->scaled) {
        return;
    }
    g->slope = f->slope;
    g->inter = f->inter;
    g->has_affine = true;
    memcpy(g->affine, affine, sizeof affine);
    for (uint32_t i = 0; i < f->ndim; i++) {
        g->spacing[i] = 0.5 + i;
    }
    g->orientation = 6;
    g->nifti = malloc(348);
    for (uint32_t i = 0; g->nifti != NULL && i < 348; i++) {
        g->nifti[i] = (uint8_t)(i * 7);
    }
    g->nifti_bytes = 348;
    if (f->axes[0] == 'C') {
        static const char *const names[] = {"DAPI", "β-catenin", "GFP"};

        g->channels = (char **)(uintptr_t)names;
        g->channel_count = 3;
    }
}

void
golden_geometry_release(mri_geometry *g)
{
    free(g->nifti);
}

uint8_t *
golden_verbatim(const golden_field *f, const char *pictures, size_t *bytes)
{
    char path[4096];
    uint8_t *p = malloc(1 << 16);
    FILE *file;

    if (p == NULL) {
        abort();
    }
    *bytes = 0;
    if (f->encoding == MR_ENC_BYTES) {
        *bytes = f->dims[0];
        memcpy(p, f->pattern, f->dims[0]);
        return p;
    }
    (void)snprintf(path, sizeof path, "%s/%s", pictures, f->pattern);
    file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    *bytes = fread(p, 1, 1 << 16, file);
    (void)fclose(file);
    return p;
}

uint32_t
golden_sources(const golden_step *sample, const char *pictures,
               uint8_t sha256[GOLDEN_FIELDS][32])
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < sample->field_count; i++) {
        const golden_field *f = &sample->fields[i];
        size_t bytes = (size_t)golden_count(f) * mr_dtype_bytes(f->dtype);
        uint8_t *p;

        if (golden_schema.field_kinds[f->name] != MRI_FIELD_IMAGE ||
            golden_schema.field_levels[f->name].of != MRI_NO_FIELD) {
            continue;
        }
        p = f->encoding == MR_ENC_CHUNKS ? golden_values(sample, f)
                                         : golden_verbatim(f, pictures, &bytes);
        mri_sha256_of(sha256[n++], p, bytes);
        free(p);
    }
    return n;
}
