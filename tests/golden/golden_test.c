/* SPDX-License-Identifier: Apache-2.0 */
/*
 * golden_test.c - the golden datasets through today's reader, value by value
 * against the table: every later millrace must pass this.
 *
 *     golden_test SET.txt PICTURES GOLDEN
 */
#include "golden.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/hash.h>

#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *pictures, *golden;
static golden_set set;

enum { LIVE = 256, GENERATIONS = 16 };

/* What a generation of a dataset should hold. */
typedef struct state {
    golden_step live[LIVE];
    uint32_t count, withdrawn, shards;
    bool gone; /* compacted away since */
} state;

static void
drop(state *s, const char *key)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (strcmp(s->live[i].name, key) == 0) {
            s->live[i] = s->live[--s->count];
            s->withdrawn++;
            return;
        }
    }
    fail_msg("the table withdraws %s, which is not there", key);
}

/* Another class and group; what says so is a shard of its own. */
static void
relabel(state *s, const golden_step *how)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (strcmp(s->live[i].name, how->name) == 0) {
            memcpy(s->live[i].class_name, how->class_name,
                   sizeof how->class_name);
            memcpy(s->live[i].group, how->group, sizeof how->group);
            s->shards++;
            return;
        }
    }
    fail_msg("the table relabels %s, which is not there", how->name);
}

/* The generations of a dataset, by its lines; returns how many. */
static unsigned
play(const golden_step *begin, const golden_step *end, state *out)
{
    static state now;
    unsigned n = 0;

    now = (state){0};

    for (const golden_step *s = begin; s < end; s++) {
        switch (s->kind) {
        case GOLDEN_DATASET:
            return n;
        case GOLDEN_SHARD:
            now.shards++;
            continue;
        case GOLDEN_SAMPLE:
            assert_true(now.count < LIVE);
            now.live[now.count++] = *s;
            continue;
        case GOLDEN_WITHDRAW:
            drop(&now, s->name);
            break;
        case GOLDEN_ROLLBACK:
            now = out[s->number - 1];
            break;
        case GOLDEN_RELABEL:
            relabel(&now, s);
            break;
        case GOLDEN_COMPACT:
            now.shards = s->number;
            for (unsigned k = 0; k < n; k++) {
                out[k].gone = true;
            }
            break;
        case GOLDEN_COMMIT:
            break;
        }
        assert_true(n < GENERATIONS);
        out[n++] = now;
    }
    return n;
}

/* ---- one sample ---- */

typedef struct reading {
    const mr_dataset *ds;
    mr_scratch *scratch;
    uint64_t rank, seed;
    const golden_step *sample;
} reading;

static void
check_shape(const mr_field *got, const golden_field *want)
{
    assert_int_equal(got->name, want->name);
    assert_int_equal(got->encoding, want->encoding);
    assert_int_equal(got->dtype, want->dtype);
    assert_string_equal(got->axes, want->axes);
    assert_int_equal(got->rank, want->ndim);
    for (uint32_t k = 0; k < want->ndim; k++) {
        assert_int_equal(got->shape[k], want->dims[k]);
    }
    assert_int_equal(got->scaled, want->scaled);
}

/* A box out of all values, the slow way. */
static void
cut(uint8_t *to, const uint8_t *all, const mr_field *f, const mr_box *box)
{
    size_t item = mr_dtype_bytes(f->dtype);
    uint64_t n = 1;

    for (uint32_t k = 0; k < f->rank; k++) {
        n *= box->size[k];
    }
    for (uint64_t i = 0; i < n; i++) {
        uint64_t rest = i, at = 0, stride = 1;

        for (uint32_t k = f->rank; k-- > 0;) {
            at += (box->first[k] + rest % box->size[k]) * stride;
            stride *= f->shape[k];
            rest /= box->size[k];
        }
        memcpy(to + i * item, all + at * item, item);
    }
}

static void
check_box(reading *r, uint32_t i, const mr_field *f, const uint8_t *all)
{
    uint8_t *want = malloc((size_t)f->bytes + 1);
    uint8_t *got = malloc((size_t)f->bytes + 1);
    mr_tensor out;
    mr_box box;
    uint64_t shape[MR_MAX_RANK];
    mr_diag d = {0};

    for (uint32_t k = 0; k < f->rank; k++) {
        box.first[k] = scratch_random(&r->seed) % f->shape[k];
        box.size[k] =
            1 + scratch_random(&r->seed) % (f->shape[k] - box.first[k]);
        shape[k] = box.size[k];
    }
    cut(want, all, f, &box);
    out = mr_tensor_of(got, f->dtype, f->rank, shape);
    assert_ok(mr_dataset_read(r->ds, r->rank, i, &box, &out, r->scratch, &d),
              &d);
    assert_memory_equal(got, want, mr_tensor_bytes(&out));
    free(want);
    free(got);
}

static void
check_array(reading *r, uint32_t i, const mr_field *f,
            const golden_field *want_field)
{
    uint8_t *want = golden_values(r->sample, want_field);
    uint8_t *got = malloc((size_t)f->bytes + 1);
    mr_tensor out = mr_tensor_of(got, f->dtype, f->rank, f->shape);
    mr_diag d = {0};

    assert_int_equal(f->bytes,
                     golden_count(want_field) * mr_dtype_bytes(f->dtype));
    assert_ok(mr_dataset_read(r->ds, r->rank, i, NULL, &out, r->scratch, &d),
              &d);
    assert_memory_equal(got, want, (size_t)f->bytes);
    assert_int_equal(f->content, mri_xxh3(want, (size_t)f->bytes));
    for (int k = 0; k < 8; k++) {
        check_box(r, i, f, want);
    }
    free(want);
    free(got);
}

static void
check_verbatim(reading *r, uint32_t i, const golden_field *f)
{
    const uint8_t *p;
    size_t bytes, want_bytes;
    uint8_t *want = golden_verbatim(f, pictures, &want_bytes);
    mr_diag d = {0};

    assert_ok(mr_dataset_bytes(r->ds, r->rank, i, &p, &bytes, r->scratch, &d),
              &d);
    assert_int_equal(bytes, want_bytes);
    if (bytes != 0) {
        assert_memory_equal(p, want, bytes);
    }
    free(want);
}

static void
check_geometry(const mri_geometry *got, const golden_field *f)
{
    mri_geometry want;

    golden_geometry(&want, f);
    assert_true(got->slope == want.slope && got->inter == want.inter);
    assert_int_equal(got->has_affine, want.has_affine);
    assert_int_equal(got->orientation, want.orientation);
    assert_memory_equal(got->affine, want.affine, sizeof want.affine);
    assert_memory_equal(got->spacing, want.spacing, sizeof want.spacing);
    assert_int_equal(got->nifti_bytes, want.nifti_bytes);
    if (want.nifti_bytes != 0) {
        assert_memory_equal(got->nifti, want.nifti, want.nifti_bytes);
    }
    assert_int_equal(got->channel_count, want.channel_count);
    for (uint32_t i = 0; i < want.channel_count; i++) {
        assert_string_equal(got->channels[i], want.channels[i]);
    }
    golden_geometry_release(&want);
}

static void
check_words(reading *r, const mr_sample *got)
{
    const golden_step *s = r->sample;
    uint8_t sums[GOLDEN_FIELDS][32], uid[MR_UID_BYTES];
    mri_meta *meta;
    mr_diag d = {0};

    mri_uid_of(uid, s->name, sums[0], golden_sources(s, pictures, sums));
    assert_memory_equal(got->uid, uid, sizeof uid);
    assert_int_equal(got->class_index, golden_class(s->class_name));
    assert_int_equal(got->group, mri_group_hash(s->group));
    assert_int_equal(got->fields, s->field_count);
    assert_ok(mri_dataset_meta(r->ds, r->rank, &meta, &d), &d);
    assert_string_equal(meta->key, s->name);
    assert_string_equal(meta->group, s->group);
    assert_string_equal(meta->class_name, s->class_name);
    for (uint32_t i = 0, image = 0; i < s->field_count; i++) {
        check_geometry(&meta->geometry[i], &s->fields[i]);
        assert_int_equal(meta->source_count[i], s->fields[i].name == 0);
        if (s->fields[i].name == 0) {
            assert_string_equal(meta->sources[i][0].name, s->name);
            assert_int_equal(meta->sources[i][0].bytes, 1000 + i);
            assert_string_equal(meta->sources[i][0].dropped, "exif:12");
            assert_memory_equal(meta->sources[i][0].sha256, sums[image++], 32);
        }
    }
    mri_meta_free(meta);
}

static void
check_sample(reading *r)
{
    mr_sample got;
    mr_field f;
    mr_diag d = {0};

    assert_ok(mri_dataset_find_key(r->ds, r->sample->name, &r->rank, &d), &d);
    assert_ok(mr_dataset_sample(r->ds, r->rank, &got, &d), &d);
    check_words(r, &got);
    for (uint32_t i = 0; i < got.fields; i++) {
        const golden_field *want = &r->sample->fields[i];

        assert_ok(mr_dataset_field(r->ds, r->rank, i, &f, &d), &d);
        check_shape(&f, want);
        if (want->encoding == MR_ENC_CHUNKS) {
            check_array(r, i, &f, want);
        } else {
            check_verbatim(r, i, want);
        }
    }
}

/* ---- a generation ---- */

static void
check_schema(const mr_dataset *ds)
{
    const mri_schema *s = &golden_schema;

    assert_int_equal(mr_dataset_fields(ds), s->field_count);
    for (uint32_t i = 0; i < s->field_count; i++) {
        mri_field_level level;

        assert_string_equal(mr_dataset_field_name(ds, i), s->field_names[i]);
        assert_int_equal(mri_dataset_field_kind(ds, i), s->field_kinds[i]);
        mri_dataset_field_level(ds, i, &level);
        assert_int_equal(level.of, s->field_levels[i].of);
        assert_int_equal(level.rank, s->field_levels[i].rank);
        assert_memory_equal(level.downsample, s->field_levels[i].downsample,
                            level.rank * sizeof level.downsample[0]);
    }
    assert_int_equal(mr_dataset_classes(ds), s->class_count);
    for (uint32_t i = 0; i < s->class_count; i++) {
        assert_string_equal(mr_dataset_class_name(ds, i), s->classes[i]);
    }
}

/* Each sample in one split, and no group in two. */
static void
check_splits(const mr_dataset *ds, uint64_t count)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < mr_dataset_splits(ds); i++) {
        sum += mr_dataset_split_count(ds, i);
    }
    assert_int_equal(sum, count);
    for (uint64_t a = 0; a < count; a++) {
        for (uint64_t b = 0; b < a; b++) {
            uint32_t split[2];
            mr_sample s[2];
            mr_diag d = {0};

            assert_ok(mr_dataset_sample(ds, a, &s[0], &d), &d);
            assert_ok(mr_dataset_sample(ds, b, &s[1], &d), &d);
            assert_ok(mri_dataset_split_of(ds, a, &split[0], &d), &d);
            assert_ok(mri_dataset_split_of(ds, b, &split[1], &d), &d);
            if (s[0].group != 0 && s[0].group == s[1].group) {
                assert_int_equal(split[0], split[1]);
            }
        }
    }
}

static void
check_generation(const char *name, unsigned generation, const state *want)
{
    char path[4096];
    mr_dataset *ds;
    mri_dataset_facts facts;
    reading r = {.seed = generation};
    mr_diag d = {0};

    (void)snprintf(path, sizeof path, "%s/%s.mr@%u", golden, name, generation);
    assert_ok(mr_dataset_open(&ds, path, &d), &d);
    mri_dataset_facts_of(ds, &facts);
    assert_int_equal(facts.version.major, 1);
    assert_int_equal(facts.samples, want->count);
    assert_int_equal(mr_dataset_count(ds), want->count);
    assert_int_equal(facts.withdrawn, want->withdrawn);
    assert_int_equal(facts.shards, want->shards);
    assert_int_equal(facts.quarantined, 2);
    check_schema(ds);
    check_splits(ds, want->count);
    r.ds = ds;
    r.scratch = mr_scratch_open();
    for (uint32_t i = 0; i < want->count; i++) {
        r.sample = &want->live[i];
        check_sample(&r);
    }
    mr_scratch_close(r.scratch);
    mr_dataset_close(ds);
}

static void
tell(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    print_error("%s: %s: %s\n", diag->path, sample != NULL ? sample : "-",
                diag->text);
}

static void
every_value_of_every_generation_is_that_of_the_table(void **nothing)
{
    const golden_step *end = set.steps + set.count;
    unsigned datasets = 0;

    (void)nothing;
    for (const golden_step *s = set.steps; s < end; s++) {
        static state generations[GENERATIONS];

        if (s->kind == GOLDEN_DATASET) {
            unsigned n = play(s + 1, end, generations);

            assert_true(n > 0);
            for (unsigned g = 0; g < n; g++) {
                if (!generations[g].gone) {
                    check_generation(s->name, g + 1, &generations[g]);
                }
            }
            datasets++;
        }
    }
    assert_true(datasets >= 2);
}

static void
verify_finds_them_sound(void **nothing)
{
    (void)nothing;
    for (size_t i = 0; i < set.count; i++) {
        char path[4096];
        mri_dataset_verified v;
        mr_diag d = {0};

        if (set.steps[i].kind == GOLDEN_DATASET) {
            (void)snprintf(path, sizeof path, "%s/%s.mr", golden,
                           set.steps[i].name);
            assert_ok(mri_dataset_verify(path, 1, tell, NULL, NULL, &v, &d),
                      &d);
            assert_int_equal(v.damages, 0);
            assert_int_equal(v.orphans, 0);
        }
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_of_every_generation_is_that_of_the_table),
        cmocka_unit_test(verify_finds_them_sound),
    };
    int rc;

    if (argc != 4) {
        (void)fprintf(stderr, "usage: golden_test SET.txt PICTURES GOLDEN\n");
        return 2;
    }
    pictures = argv[2];
    golden = argv[3];
    golden_load(&set, argv[1]);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    golden_release(&set);
    return rc;
}
