/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mr_test.h - cmocka with its four includes, and a few words of our own.
 */
#ifndef MR_TEST_H
#define MR_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <millrace/base.h>

/* Passes only on MR_OK; prints what went wrong otherwise. */
#define assert_ok(call, diag)                                                  \
    do {                                                                       \
        mr_err err_ = (call);                                                  \
        if (err_ != MR_OK) {                                                   \
            print_error("%s: %s: %s@%llu\n", mr_err_name(err_), (diag)->text,  \
                        (diag)->path, (unsigned long long)(diag)->at);         \
        }                                                                      \
        assert_int_equal(err_, MR_OK);                                         \
    } while (0)

/* Failures are asserted by their exact code. */
#define assert_fails(call, expected) assert_int_equal((call), (expected))

#endif
