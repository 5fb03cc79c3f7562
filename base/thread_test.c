/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/error.h>
#include <mri/thread.h>

#include <mr_test.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

typedef struct counts {
    atomic_uint done[1000];
    atomic_uint worker_busy[8];
} counts;

static mr_err
count_task(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    counts *c = arg;

    (void)diag;
    /* no two tasks at once on one worker's number */
    assert_int_equal(atomic_fetch_add(&c->worker_busy[worker], 1), 0);
    atomic_fetch_add(&c->done[task], 1);
    atomic_fetch_sub(&c->worker_busy[worker], 1);
    return MR_OK;
}

static void
every_task_runs_once_for_any_number_of_workers(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 8; workers++) {
        mri_pool *pool;
        mr_diag d = {0};

        assert_ok(mri_pool_open(&pool, workers, &d), &d);
        assert_int_equal(mri_pool_workers(pool), workers);
        for (size_t n = 0; n < 1000; n += 1 + n) {
            static counts c;

            memset(&c, 0, sizeof c);
            assert_ok(mri_pool_run(pool, n, count_task, &c, &d), &d);
            for (size_t i = 0; i < 1000; i++) {
                assert_int_equal(atomic_load(&c.done[i]), i < n);
            }
        }
        mri_pool_close(pool);
    }
}

static mr_err
fail_from_ten(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    (void)arg;
    (void)worker;
    return task < 10 ? MR_OK
                     : mri_fail(diag, MRI_E_READ, task, "task %zu", task);
}

static void
the_lowest_failure_is_the_one_reported(void **state)
{
    mri_pool *pool;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_pool_open(&pool, 4, &d), &d);
    for (int i = 0; i < 200; i++) {
        mri_diag_clear(&d);
        assert_fails(mri_pool_run(pool, 1000, fail_from_ten, NULL, &d), MR_EIO);
        assert_int_equal(d.at, 10);
    }
    mri_pool_close(pool);
}

static void *
producer(void *arg)
{
    mri_queue *q = arg;

    for (uintptr_t i = 1; i <= 10000; i++) {
        assert_int_equal(mri_queue_put(q, (void *)i), MR_OK);
    }
    return NULL;
}

static void
a_queue_loses_and_doubles_nothing(void **state)
{
    mri_queue *q;
    pthread_t threads[3];
    uint64_t sum = 0, items = 0;
    void *item;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_queue_open(&q, 7, &d), &d);
    assert_fails(mri_queue_try(q, &item), MR_AGAIN);
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, producer, q);
    }
    while (items < 30000) {
        assert_int_equal(mri_queue_get(q, &item), MR_OK);
        sum += (uintptr_t)item;
        items++;
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(sum, 3ull * 10000 * 10001 / 2);
    assert_int_equal(mri_queue_put(q, &sum), MR_OK);
    mri_queue_stop(q);
    assert_fails(mri_queue_put(q, &sum), MR_ECLOSED);
    assert_int_equal(mri_queue_get(q, &item), MR_OK); /* drained first */
    assert_fails(mri_queue_get(q, &item), MR_FINISHED);
    mri_queue_close(q);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once_for_any_number_of_workers),
        cmocka_unit_test(the_lowest_failure_is_the_one_reported),
        cmocka_unit_test(a_queue_loses_and_doubles_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
