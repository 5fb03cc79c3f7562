/* SPDX-License-Identifier: Apache-2.0 */
/* read.c - ten lines outside the tree: the samples of a dataset. */
#include <millrace/dataset.h>
#include <stdio.h>

int
main(int argc, char **argv)
{
    mr_diag diag = {0};
    mr_dataset *ds;

    if (argc != 2 || mr_dataset_open(&ds, argv[1], &diag) != MR_OK) {
        fprintf(stderr, "%s: %s\n", diag.path, diag.text);
        return 1;
    }
    printf("%d samples\n", (int)mr_dataset_count(ds));
    mr_dataset_close(ds);
    return 0;
}
