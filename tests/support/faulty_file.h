/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faulty_file.h - a file table whose n-th call goes wrong.
 */
#ifndef MR_FAULTY_FILE_H
#define MR_FAULTY_FILE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum faulty_call {
    FAULTY_OPEN = 1,
    FAULTY_READ = 2,
    FAULTY_WRITE = 4,
    FAULTY_SYNC = 8,
    FAULTY_LINK = 16,
    FAULTY_RENAME = 32,
    FAULTY_UNLINK = 64,
    FAULTY_MKDIR = 128,
    FAULTY_CLOSE = 256,
    FAULTY_ANY = 511
} faulty_call;

/*
 * From now on the n-th call (0 = the next) of the kinds in `mask` fails with
 * `error`; with error 0 a read or write transfers one byte only. `stays`: all
 * later ones fail too, as on a full disk. With FAULTY_DIES the process is
 * killed there.
 */
enum { FAULTY_DIES = -1 };
void faulty_arm(unsigned mask, uint64_t n, int error, bool stays);
/* Besides, from now on until faulty_disarm: no link into a folder of this name
 * (as between two file systems), it fails with `error`. The text must last. */
void faulty_no_links(const char *folder, int error);
/* Back to the system's table. Returns how many calls in the mask were made. */
uint64_t faulty_disarm(void);

#endif
