// SPDX-License-Identifier: Apache-2.0
// read.cc - the same from C++.
#include <cstdio>
#include <memory>
#include <millrace/dataset.h>

int
main(int argc, char **argv)
{
    mr_diag diag = {};
    mr_dataset *ds = nullptr;

    if (argc != 2 || mr_dataset_open(&ds, argv[1], &diag) != MR_OK) {
        std::fprintf(stderr, "%s: %s\n", diag.path, diag.text);
        return 1;
    }
    std::unique_ptr<mr_dataset, void (*)(mr_dataset *)> owner(ds,
                                                              mr_dataset_close);
    std::printf("%d samples\n", static_cast<int>(mr_dataset_count(ds)));
    return 0;
}
