/* SPDX-License-Identifier: Apache-2.0 */
/* store_test.c - a local folder as a store. */
#include "faulty_file.h"
#include "mr_test.h"
#include "object.h"
#include "scratch.h"

#include <mri/store.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static mri_store store;
static char *dir;

static int
setup(void **state)
{
    (void)state;
    dir = scratch_make();
    assert_int_equal(mri_store_open(&store, dir, NULL), MR_OK);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    mri_store_close(&store);
    scratch_remove(dir);
    return 0;
}

static mr_err
put(const char *name, const char *text, mri_put_how how, mr_diag *diag)
{
    mri_bytes b = {0};
    mr_err err;

    assert_true(mri_bytes_add(&b, text, strlen(text)));
    err = mri_store_put(&store, name, &b, how, diag);
    mri_bytes_release(&b);
    return err;
}

static void
assert_holds(const char *name, const char *text)
{
    mri_bytes b = {0};
    mr_diag d = {0};

    assert_ok(mri_store_load(&store, name, 4096, &b, &d), &d);
    assert_int_equal(b.len, strlen(text));
    assert_memory_equal(b.data, text, b.len);
    mri_bytes_release(&b);
}

static bool
has(const char *name)
{
    bool there;
    mr_diag d = {0};

    assert_ok(mri_store_has(&store, name, &there, &d), &d);
    return there;
}

static mr_err
count(void *user, const char *name, mr_diag *diag)
{
    (void)name;
    (void)diag;
    ++*(unsigned *)user;
    return MR_OK;
}

static unsigned
entries(const char *folder)
{
    unsigned n = 0;
    mr_diag d = {0};

    assert_ok(mri_store_list(&store, folder, count, &n, &d), &d);
    return n;
}

static void
an_object_is_there_when_it_is_committed(void **state)
{
    mri_object object;
    mri_bytes room = {0};
    const uint8_t *p;
    mri_upload u;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_upload_begin(&u, &store, "half", &d), &d);
    assert_ok(mri_upload_add(&u, "one ", 4, &d), &d);
    assert_ok(mri_upload_add(&u, "two", 3, &d), &d);
    assert_false(has("in/ner/whole"));
    assert_ok(mri_upload_commit(&u, "in/ner/whole", MRI_PUT_NEW, &d), &d);
    mri_upload_cancel(&u);
    assert_holds("in/ner/whole", "one two");
    assert_int_equal(entries(""), 1);

    assert_ok(mri_store_object(&store, "in/ner/whole", true, &object, &d), &d);
    assert_ok(mri_object_view(&object, 4, 3, &room, &p, &d), &d);
    assert_memory_equal(p, "two", 3);
    mri_object_close(&object);
    mri_bytes_release(&room);
}

static void
what_is_cancelled_was_never_there(void **state)
{
    mri_upload u;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_upload_begin(&u, &store, "half", &d), &d);
    assert_ok(mri_upload_add(&u, "one", 3, &d), &d);
    assert_int_equal(entries(""), 1);
    mri_upload_cancel(&u);
    assert_int_equal(entries(""), 0);
    mri_upload_cancel(&u); /* once more does no harm */
}

static void
a_name_is_taken_once_and_replaced_as_a_whole(void **state)
{
    mr_diag d = {0};

    (void)state;
    assert_ok(put("a", "first", MRI_PUT_NEW, &d), &d);
    assert_fails(put("a", "second", MRI_PUT_NEW, &d), MR_EBUSY);
    assert_holds("a", "first");
    assert_ok(put("a", "third", MRI_PUT_REPLACE, &d), &d);
    assert_holds("a", "third");
    assert_int_equal(entries(""), 1);
}

static void
a_folder_that_is_not_there_is_empty_but_for_the_root(void **state)
{
    mri_store none;
    unsigned n = 0;
    bool made;
    mr_diag d = {0};

    (void)state;
    assert_int_equal(entries("nowhere"), 0);
    assert_ok(mri_store_open(&none, scratch_path(dir, "none"), &d), &d);
    assert_fails(mri_store_list(&none, "", count, &n, &d), MR_EIO);
    assert_non_null(strstr(d.path, "/none"));
    assert_ok(mri_store_make(&none, &made, &d), &d);
    assert_true(made);
    assert_ok(mri_store_make(&none, &made, &d), &d);
    assert_false(made);
    assert_ok(mri_store_list(&none, "", count, &n, &d), &d);
    mri_store_unmake(&none);
    assert_int_equal(entries(""), 0);
    mri_store_close(&none);
}

static void
a_log_grows_by_what_is_added(void **state)
{
    mri_store_log log;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_store_log_open(&log, &store, "j/log", &d), &d);
    assert_ok(mri_store_log_add(&log, "a\n", 2, &d), &d);
    mri_store_log_close(&log);
    assert_ok(mri_store_log_open(&log, &store, "j/log", &d), &d);
    assert_int_equal(log.size, 2);
    assert_ok(mri_store_log_add(&log, "b\n", 2, &d), &d);
    mri_store_log_close(&log);
    assert_holds("j/log", "a\nb\n");
    assert_ok(mri_store_remove(&store, "j/log", &d), &d);
    assert_ok(mri_store_remove(&store, "j/log", &d), &d); /* is gone */
    mri_store_prune(&store, "j");
    assert_ok(mri_store_sync(&store, "", &d), &d);
    assert_int_equal(entries(""), 0);
}

static void
what_a_killed_writer_began_is_swept(void **state)
{
    mr_diag d = {0};

    (void)state;
    assert_ok(put("kept", "x", MRI_PUT_NEW, &d), &d);
    scratch_write(scratch_path(dir, ".part-1-shard"), "torso", 5);
    mri_store_sweep(&store);
    assert_int_equal(entries(""), 1);
    assert_holds("kept", "x");
}

static void
one_writer_holds_the_lock(void **state)
{
    mri_lock lock, second;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_store_lock(&store, &lock, &d), &d);
    assert_fails(mri_store_lock(&store, &second, &d), MR_EBUSY);
    assert_non_null(strstr(d.text, "pid "));
    mri_store_unlock(&store, &lock);
    assert_int_equal(entries(""), 0);
    mri_store_unlock(&store, &lock); /* not held: nothing */
    assert_ok(mri_store_lock(&store, &lock, &d), &d);
    mri_store_unlock(&store, &lock);
}

static void
an_object_of_another_store_is_shared(void **state)
{
    mri_store other;
    bool made, shared;
    mr_diag d = {0};

    (void)state;
    assert_ok(put("in/one", "x", MRI_PUT_NEW, &d), &d);
    assert_ok(mri_store_open(&other, scratch_path(dir, "other"), &d), &d);
    assert_ok(mri_store_make(&other, &made, &d), &d);
    for (int i = 0; i < 2; i++) { /* the second time it is there */
        assert_ok(mri_store_share(&other, &store, "in/one", &shared, &d), &d);
        assert_true(shared);
        assert_holds("other/in/one", "x");
    }
    assert_fails(mri_store_share(&other, &store, "in/none", &shared, &d),
                 MR_EIO);
    assert_false(shared);
    mri_store_close(&other);
}

static mri_root
what_is_at(const char *address)
{
    mri_store s;
    mri_root is;
    mr_diag d = {0};

    assert_ok(mri_store_open(&s, address, &d), &d);
    assert_ok(mri_store_root(&s, &is, &d), &d);
    mri_store_close(&s);
    return is;
}

static void
an_address_is_told_by_what_is_there(void **state)
{
    mr_diag d = {0};

    (void)state;
    assert_ok(put("one", "x", MRI_PUT_NEW, &d), &d);
    assert_int_equal(mkfifo(scratch_path(dir, "pipe"), 0600), 0);
    assert_int_equal(what_is_at(dir), MRI_ROOT_FOLDER);
    assert_int_equal(what_is_at(scratch_path(dir, "one")), MRI_ROOT_OBJECT);
    assert_int_equal(what_is_at(scratch_path(dir, "pipe")), MRI_ROOT_OTHER);
    assert_int_equal(what_is_at(scratch_path(dir, "no")), MRI_ROOT_NONE);
    assert_int_equal(what_is_at(scratch_path(dir, "one/in")), MRI_ROOT_NONE);
}

static void
a_lone_object_is_one_of_its_folder(void **state)
{
    mri_store s;
    const char *name;
    mri_bytes b = {0};
    mr_diag d = {0};

    (void)state;
    assert_ok(put("one", "x", MRI_PUT_NEW, &d), &d);
    assert_ok(mri_store_open_at(&s, &name, scratch_path(dir, "one"), &d), &d);
    assert_string_equal(name, "one");
    assert_ok(mri_store_load(&s, name, 9, &b, &d), &d);
    assert_int_equal(b.len, 1);
    mri_store_close(&s);
    mri_bytes_release(&b);
    /* messages say what the user did */
    assert_ok(mri_store_open_at(&s, &name, "no-such-file", &d), &d);
    assert_fails(mri_store_load(&s, name, 9, &b, &d), MR_EIO);
    assert_string_equal(d.path, "no-such-file");
    mri_store_close(&s);
}

static bool
lies_in(const char *inner, const char *outer)
{
    mri_store a, b;
    bool inside;
    mr_diag d = {0};

    assert_ok(mri_store_open(&a, inner, &d), &d);
    assert_ok(mri_store_open(&b, outer, &d), &d);
    assert_ok(mri_store_lies_in(&a, &b, &inside, &d), &d);
    mri_store_close(&a);
    mri_store_close(&b);
    return inside;
}

static void
a_store_lies_in_another_by_whatever_name(void **state)
{
    mr_diag d = {0};

    (void)state;
    assert_ok(put("a/b/one", "x", MRI_PUT_NEW, &d), &d);
    assert_int_equal(symlink("a", scratch_path(dir, "link")), 0);
    assert_int_equal(symlink("a/b", scratch_path(dir, "deep")), 0);
    assert_true(lies_in(scratch_path(dir, "a/b/new"), dir));
    assert_true(lies_in(scratch_path(dir, "deep/new"), scratch_path(dir, "a")));
    assert_true(lies_in(scratch_path(dir, "link/new"), dir));
    assert_true(
        lies_in(scratch_path(dir, "link/b/new"), scratch_path(dir, "a")));
    assert_true(
        lies_in(scratch_path(dir, "a/b/new/"), scratch_path(dir, "link/b")));
    assert_false(lies_in(scratch_path(dir, "new"), scratch_path(dir, "a")));
    assert_false(lies_in(scratch_path(dir, "a"), scratch_path(dir, "a/b")));
    assert_false(lies_in(scratch_path(dir, "new"), scratch_path(dir, "no")));
}

static void
what_is_held_does_not_end(void **state)
{
    mri_hold first, second;
    bool held;
    mr_diag d = {0};

    (void)state;
    assert_ok(put("one", "x", MRI_PUT_NEW, &d), &d);
    assert_ok(mri_store_hold(&first, &store, "one", &held, &d), &d);
    assert_true(held);
    assert_ok(mri_store_hold(&second, &store, "one", &held, &d), &d);
    assert_true(held); /* many may */
    assert_false(mri_store_end(&store, "one"));
    mri_store_let_go(&first);
    assert_false(mri_store_end(&store, "one"));
    mri_store_let_go(&second);
    mri_store_let_go(&second); /* once more does no harm */
    assert_true(mri_store_end(&store, "one"));
    assert_false(has("one"));
    assert_true(mri_store_end(&store, "one")); /* it is gone */
    assert_ok(mri_store_hold(&first, &store, "one", &held, &d), &d);
    assert_false(held);
    mri_store_let_go(&first);
}

/* Whatever call the system refuses: the old bytes or the new, and no torso. */
static void
a_put_that_fails_leaves_the_old_object(void **state)
{
    mr_diag d = {0};
    mr_err err = MR_EIO;

    (void)state;
    assert_ok(put("a/b", "old", MRI_PUT_NEW, &d), &d);
    for (uint64_t n = 0; err != MR_OK; n++) {
        faulty_arm(FAULTY_ANY & ~(unsigned)FAULTY_READ, n, EIO, false);
        err = put("a/b", "new", MRI_PUT_REPLACE, &d);
        assert_true(faulty_disarm() > n || err == MR_OK);
        assert_true(err == MR_OK || err == MR_EIO);
        mri_store_sweep(&store); /* where unlink failed */
        assert_int_equal(entries(""), 1);
        assert_int_equal(entries("a"), 1);
        assert_true(n < 100);
    }
    assert_holds("a/b", "new");
}

int
main(void)
{
#define WITH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH(an_object_is_there_when_it_is_committed),
        WITH(what_is_cancelled_was_never_there),
        WITH(a_name_is_taken_once_and_replaced_as_a_whole),
        WITH(a_folder_that_is_not_there_is_empty_but_for_the_root),
        WITH(a_log_grows_by_what_is_added),
        WITH(what_a_killed_writer_began_is_swept),
        WITH(one_writer_holds_the_lock),
        WITH(an_object_of_another_store_is_shared),
        WITH(a_put_that_fails_leaves_the_old_object),
        WITH(an_address_is_told_by_what_is_there),
        WITH(a_lone_object_is_one_of_its_folder),
        WITH(a_store_lies_in_another_by_whatever_name),
        WITH(what_is_held_does_not_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
