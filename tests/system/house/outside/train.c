/* SPDX-License-Identifier: Apache-2.0 */
/* train.c - ten lines outside the tree: a training, which finds no dataset. */
#include <millrace/train.h>
#include <stdio.h>

int
main(int argc, char **argv)
{
    mr_train_options o = mr_train_defaults();
    mr_train_report report;
    mr_diag diag = {0};

    o.source = argc > 1 ? argv[1] : "nowhere.mr";
    o.out = "run";
    if (mr_train_run(&o, &report, &diag) != MR_OK) {
        fprintf(stderr, "%s: %s\n", mr_err_name(diag.err), diag.text);
        return mr_err_exit(diag.err);
    }
    printf("loss %f\n", report.last_loss);
    return 0;
}
