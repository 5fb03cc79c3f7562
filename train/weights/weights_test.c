/* SPDX-License-Identifier: Apache-2.0 */
/* weights_test.c - checkpoints: written, opened, refused. */
#include "state.h"

#include <millrace/checkpoint.h>
#include <mri/alloc.h>
#include <mri/error.h>

#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *const channels[] = {"DAPI", "GFP"};
static const char *const classes[] = {"disc", "ring", "two \"dots\""};
static const mri_weights_info some = {
    .vit = {.channels = 2,
            .patch = 4,
            .dim = 8,
            .depth = 1,
            .heads = 2,
            .image = 8,
            .drop_path = 0.1},
    .arch = "vit",
    .channels = channels,
    .classes = classes,
    .class_count = 3,
    .pipeline = "[{\"minmax@1\":{\"per\":\"channel\"}}]",
    .step = 40,
    .seed = UINT64_MAX,
};

static mri_encoder *
open_encoder(const mri_weights_info *info)
{
    mri_crew_options o = {.backend = &mri_backend_ref, .threads = 1};
    mr_diag d = {0};
    mri_encoder *e;

    assert_ok(mri_encoder_open(&e, &info->vit, info->vit.image, 2, &o, &d), &d);
    return e;
}

/* A checkpoint of a drawn network, as a run would write it. */
static void
write_checkpoint(const char *path, const mri_weights_info *info, uint64_t seed)
{
    mri_encoder *e = open_encoder(&some);
    mri_params *store = mri_encoder_store(e);
    size_t n = mri_params_count(store);
    mri_st_item *items = mri_alloc(n, sizeof *items);
    mri_json j = {0};
    mri_st_meta meta = {MRI_STATE_KEY, NULL};
    mr_diag d = {0};

    mri_json_object(&j);
    mri_weights_put(&j, info);
    mri_json_put_u64(&j, "of the run's own", 1);
    mri_json_end(&j);
    meta.value = mri_json_done(&j);
    assert_ok(mri_params_draw(store, seed, &d), &d);
    for (size_t i = 0; i < n; i++) {
        mr_tensor t = mri_params_tensor(store, i);

        items[i] = (mri_st_item){
            mri_params_slot(store, i)->name, t.dtype, t.rank, {0}, t.data};
        memcpy(items[i].shape, t.shape, sizeof t.shape);
    }
    assert_ok(mri_st_write(path, items, n, &meta, 1, &d), &d);
    mri_json_release(&j);
    mri_free(items);
    mri_encoder_close(e);
}

static void
what_was_put_is_read(void **state_)
{
    char *dir = scratch_make();
    const char *path = scratch_path(dir, "c.safetensors");
    const mri_weights_info *got;
    mri_weights *w;
    mr_diag d = {0};

    (void)state_;
    write_checkpoint(path, &some, 5);
    assert_ok(mri_weights_open(&w, path, &d), &d);
    got = mri_weights_info_of(w);
    assert_memory_equal(&got->vit, &some.vit, sizeof some.vit);
    assert_string_equal(got->arch, "vit");
    assert_string_equal(got->channels[1], "GFP");
    assert_int_equal(got->class_count, 3);
    assert_string_equal(got->classes[2], classes[2]);
    assert_string_equal(got->pipeline, some.pipeline);
    assert_int_equal(got->step, 40);
    assert_true(got->seed == UINT64_MAX);
    assert_string_equal(mri_weights_path(w), path);
    assert_int_equal(strlen(mri_weights_hash(w)), 16);
    assert_non_null(strstr(mri_weights_state(w), "of the run's own"));
    mri_weights_close(w);
    scratch_remove(dir);
}

static void
what_is_not_known_is_null(void **state_)
{
    char *dir = scratch_make();
    const char *path = scratch_path(dir, "c.safetensors");
    mri_weights_info info = some;
    mri_weights *w;
    mr_diag d = {0};

    (void)state_;
    info.channels = NULL;
    info.pipeline = NULL;
    info.class_count = 0;
    write_checkpoint(path, &info, 5);
    assert_ok(mri_weights_open(&w, path, &d), &d);
    assert_null(mri_weights_info_of(w)->channels);
    assert_null(mri_weights_info_of(w)->pipeline);
    assert_int_equal(mri_weights_info_of(w)->class_count, 0);
    mri_weights_close(w);
    scratch_remove(dir);
}

static void
a_runs_folder_stands_for_its_newest_checkpoint(void **state_)
{
    char *dir = scratch_make();
    mri_weights *w;
    mr_diag d = {0};

    (void)state_;
    assert_fails(mri_weights_open(&w, dir, &d), MR_EIO);
    assert_null(w);
    assert_non_null(strstr(d.path, MRI_LAST_CHECKPOINT));
    assert_int_equal(mkdir(scratch_path(dir, "checkpoints"), 0700), 0);
    write_checkpoint(scratch_path(dir, MRI_LAST_CHECKPOINT), &some, 5);
    assert_ok(mri_weights_open(&w, dir, &d), &d);
    mri_weights_close(w);
    scratch_remove(dir);
}

static void
loaded_weights_are_those_that_were_drawn(void **state_)
{
    char *dir = scratch_make();
    mri_encoder *a = open_encoder(&some), *b = open_encoder(&some);
    mri_weights *w;
    mr_diag d = {0};
    mr_tensor x, y;

    (void)state_;
    write_checkpoint(scratch_path(dir, "c"), &some, 5);
    assert_ok(mri_weights_open(&w, scratch_path(dir, "c"), &d), &d);
    assert_ok(mri_weights_load(w, mri_encoder_store(a), NULL, &d), &d);
    assert_ok(mri_params_draw(mri_encoder_store(b), 5, &d), &d);
    for (size_t i = 0; i < mri_params_count(mri_encoder_store(a)); i++) {
        x = mri_params_tensor(mri_encoder_store(a), i);
        y = mri_params_tensor(mri_encoder_store(b), i);
        assert_memory_equal(x.data, y.data, mr_tensor_bytes(&x));
    }
    assert_fails(mri_weights_load(w, mri_encoder_store(a), "student", &d),
                 MR_ECORRUPT);
    assert_non_null(strstr(d.text, "'student.backbone.cls_token'"));
    mri_weights_close(w);
    mri_encoder_close(a);
    mri_encoder_close(b);
    scratch_remove(dir);
}

static void
a_tensor_of_another_shape_is_named_with_both(void **state_)
{
    char *dir = scratch_make();
    mri_weights_info info = some;
    mri_encoder *e;
    mri_weights *w;
    mr_diag d = {0};

    (void)state_;
    info.vit.dim = 16;
    write_checkpoint(scratch_path(dir, "c"), &info, 5);
    assert_ok(mri_weights_open(&w, scratch_path(dir, "c"), &d), &d);
    e = open_encoder(mri_weights_info_of(w));
    assert_fails(mri_weights_load(w, mri_encoder_store(e), NULL, &d),
                 MR_ECORRUPT);
    assert_int_equal(d.code, MRI_E_WEIGHTS_TENSOR);
    assert_non_null(strstr(d.text, "[1, 1, 8]"));
    assert_non_null(strstr(d.text, "[1, 1, 16]"));
    assert_non_null(strstr(d.path, "/c"));
    mri_encoder_close(e);
    mri_weights_close(w);
    scratch_remove(dir);
}

static void
somebody_elses_tensors_are_refused_by_name(void **state_)
{
    char *dir = scratch_make();
    const float v[2] = {1, 2};
    const mri_st_item item = {"w", MR_F32, 1, {2}, v};
    mri_weights *w;
    mr_diag d = {0};

    (void)state_;
    assert_ok(mri_st_write(scratch_path(dir, "c"), &item, 1, NULL, 0, &d), &d);
    assert_fails(mri_weights_open(&w, scratch_path(dir, "c"), &d), MR_EFORMAT);
    assert_int_equal(d.code, MRI_E_NOT_WEIGHTS);
    assert_non_null(strstr(d.path, "/c"));
    scratch_remove(dir);
}

static void
the_public_view_shows_the_same_tensors(void **state_)
{
    char *dir = scratch_make();
    mri_encoder *e = open_encoder(&some);
    mri_params *store = mri_encoder_store(e);
    mr_checkpoint *c;
    mr_diag d = {0};

    (void)state_;
    assert_fails(mr_checkpoint_open(&c, scratch_path(dir, "c"), &d), MR_EIO);
    assert_null(c);
    write_checkpoint(scratch_path(dir, "c"), &some, 5);
    assert_ok(mri_params_draw(store, 5, &d), &d);
    assert_ok(mr_checkpoint_open(&c, scratch_path(dir, "c"), &d), &d);
    assert_string_equal(mr_checkpoint_arch(c), "vit");
    assert_int_equal(mr_checkpoint_step(c), 40);
    assert_non_null(strstr(mr_checkpoint_state(c), "of the run's own"));
    assert_int_equal(mr_checkpoint_tensors(c), mri_params_count(store));
    for (size_t i = 0; i < mr_checkpoint_tensors(c); i++) {
        const mr_tensor *got = mr_checkpoint_tensor_at(c, i);
        mr_tensor want = mri_params_tensor(store, i);

        assert_string_equal(mr_checkpoint_name_at(c, i),
                            mri_params_slot(store, i)->name);
        assert_ptr_equal(mr_checkpoint_tensor(c, mr_checkpoint_name_at(c, i)),
                         got);
        assert_int_equal(mr_tensor_bytes(got), mr_tensor_bytes(&want));
        assert_memory_equal(got->data, want.data, mr_tensor_bytes(&want));
    }
    assert_null(mr_checkpoint_tensor(c, "nobody"));
    assert_null(mr_checkpoint_tensor_at(c, mr_checkpoint_tensors(c)));
    assert_null(mr_checkpoint_name_at(c, mr_checkpoint_tensors(c)));
    mr_checkpoint_close(c);
    mr_checkpoint_close(NULL);
    mri_encoder_close(e);
    scratch_remove(dir);
}

static void
a_flipped_bit_is_found(void **state_)
{
    char *dir = scratch_make();
    const char *path = scratch_path(dir, "c");
    FILE *f;
    int c;
    mri_weights *w;
    mr_diag d = {0};

    (void)state_;
    write_checkpoint(path, &some, 5);
    f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -5, SEEK_END), 0);
    c = fgetc(f);
    assert_int_equal(fseek(f, -5, SEEK_END), 0);
    assert_int_equal(fputc(c ^ 4, f), c ^ 4);
    assert_int_equal(fclose(f), 0);
    assert_fails(mri_weights_open(&w, path, &d), MR_ECORRUPT);
    assert_int_equal(d.code, MRI_E_TENSORS);
    scratch_remove(dir);
}

#define GOOD_MODEL                                                             \
    "\"model\":{\"arch\":\"vit\",\"channels\":2,\"patch\":4,\"dim\":8,"        \
    "\"depth\":1,\"heads\":2,\"image\":8,\"drop_path\":0}"
#define GOOD_REST "\"channel_names\":null,\"classes\":[],\"pipeline\":null}"
#define GOOD_HEAD "{\"schema\":\"millrace.checkpoint.1\",\"step\":1,"

static void
members_that_cannot_be_are_named(void **state_)
{
    static const struct {
        const char *text, *named;
        mr_err err;
    } bad[] = {
        {"", "no JSON object", MR_ECORRUPT},
        {"[1]", "no JSON object", MR_ECORRUPT},
        {"{}", "schema", MR_ECORRUPT},
        {"{\"schema\":\"millrace.checkpoint.2\"}", "checkpoint.2", MR_EVERSION},
        {GOOD_HEAD "\"seed\":7," GOOD_MODEL "," GOOD_REST, "seed", MR_ECORRUPT},
        {GOOD_HEAD "\"seed\":\"-7\"," GOOD_MODEL "," GOOD_REST, "seed",
         MR_ECORRUPT},
        {GOOD_HEAD "\"seed\":\"7\"," GOOD_REST, "arch", MR_ECORRUPT},
        {GOOD_HEAD "\"seed\":\"7\",\"model\":{\"arch\":\"vit\",\"channels\":2,"
                   "\"patch\":3,\"dim\":8,\"depth\":1,\"heads\":2,\"image\":8,"
                   "\"drop_path\":0}," GOOD_REST,
         "model", MR_ECORRUPT},
        {GOOD_HEAD
         "\"seed\":\"7\",\"model\":{\"arch\":\"vit\",\"channels\":2,"
         "\"patch\":4,\"dim\":4294967304,\"depth\":1,\"heads\":2,\"image\":8,"
         "\"drop_path\":0}," GOOD_REST,
         "dim", MR_ECORRUPT},
        {GOOD_HEAD "\"seed\":\"7\"," GOOD_MODEL
                   ",\"channel_names\":[\"DAPI\"],\"classes\":[],"
                   "\"pipeline\":null}",
         "channel_names", MR_ECORRUPT},
        {GOOD_HEAD "\"seed\":\"7\"," GOOD_MODEL
                   ",\"channel_names\":null,\"classes\":[3],"
                   "\"pipeline\":null}",
         "classes", MR_ECORRUPT},
        {GOOD_HEAD "\"seed\":\"7\"," GOOD_MODEL
                   ",\"channel_names\":null,\"classes\":[],"
                   "\"pipeline\":[]}",
         "pipeline", MR_ECORRUPT},
    };
    mr_diag d = {0};
    state s;

    (void)state_;
    assert_ok(state_parse(
                  &s, GOOD_HEAD "\"seed\":\"7\"," GOOD_MODEL "," GOOD_REST, &d),
              &d);
    state_release(&s);
    for (size_t i = 0; i < MRI_COUNT(bad); i++) {
        assert_fails(state_parse(&s, bad[i].text, &d), bad[i].err);
        if (strstr(d.text, bad[i].named) == NULL) {
            fail_msg("case %zu does not name '%s': %s", i, bad[i].named,
                     d.text);
        }
        state_release(&s);
    }
}

static void
memory_that_is_out_is_said(void **state_)
{
    char *dir = scratch_make();
    const char *path = scratch_path(dir, "c");
    mr_err err = MR_ENOMEM;
    mri_weights *w;
    mr_diag d = {0};

    (void)state_;
    write_checkpoint(path, &some, 5);
    for (int64_t n = 0; err != MR_OK; n++) {
        (void)mri_alloc_fail_at(n);
        err = mri_weights_open(&w, path, &d);
        (void)mri_alloc_fail_at(-1);
        /* the checksum of a header that cannot be copied does not hold */
        assert_true(err == MR_OK || err == MR_ENOMEM || err == MR_ECORRUPT);
    }
    mri_weights_close(w);
    scratch_remove(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_read),
        cmocka_unit_test(what_is_not_known_is_null),
        cmocka_unit_test(a_runs_folder_stands_for_its_newest_checkpoint),
        cmocka_unit_test(loaded_weights_are_those_that_were_drawn),
        cmocka_unit_test(a_tensor_of_another_shape_is_named_with_both),
        cmocka_unit_test(somebody_elses_tensors_are_refused_by_name),
        cmocka_unit_test(the_public_view_shows_the_same_tensors),
        cmocka_unit_test(a_flipped_bit_is_found),
        cmocka_unit_test(members_that_cannot_be_are_named),
        cmocka_unit_test(memory_that_is_out_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
