/* SPDX-License-Identifier: Apache-2.0 */
/* weights.c - ten lines outside the tree: the tensors of a checkpoint. */
#include <millrace/checkpoint.h>
#include <stdio.h>

int
main(int argc, char **argv)
{
    mr_diag diag = {0};
    mr_checkpoint *c;

    if (argc != 2 || mr_checkpoint_open(&c, argv[1], &diag) != MR_OK) {
        fprintf(stderr, "%s: %s\n", mr_err_name(diag.err), diag.text);
        return 1;
    }
    printf("%s, %d tensors\n", mr_checkpoint_arch(c),
           (int)mr_checkpoint_tensors(c));
    mr_checkpoint_close(c);
    return 0;
}
