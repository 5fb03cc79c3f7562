/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.c - runs a fuzz target over the files of its corpus, for compilers
 * without libFuzzer. No file at all is a failure: then nothing was tested.
 * From every file it also makes cut and flipped copies, so that a small corpus
 * already visits the error paths.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUTATIONS 200
#define LIMIT (1u << 22)

static uint64_t
next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static void
mutate(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    uint64_t s = 88172645463325252u + size;

    for (int i = 0; copy != NULL && i < MUTATIONS; i++) {
        size_t n = size;

        memcpy(copy, data, size);
        if (i % 4 == 0) {
            n = (size_t)(next(&s) % (size + 1));
        }
        for (uint64_t k = next(&s) % 4; n != 0 && k-- != 0;) {
            copy[next(&s) % n] ^= (uint8_t)(1u << next(&s) % 8);
        }
        (void)LLVMFuzzerTestOneInput(copy, n);
    }
    free(copy);
}

static int
run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(LIMIT);
    size_t n;

    if (f == NULL || data == NULL) {
        free(data);
        if (f != NULL) {
            (void)fclose(f);
        }
        return 0;
    }
    n = fread(data, 1, LIMIT, f);
    (void)fclose(f);
    (void)LLVMFuzzerTestOneInput(data, n);
    mutate(data, n);
    free(data);
    return 1;
}

int
main(int argc, char **argv)
{
    int files = 0;

    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        struct dirent *e;

        while (d != NULL && (e = readdir(d)) != NULL) {
            char path[4096];

            if (e->d_name[0] != '.') {
                (void)snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
                files += run_file(path);
            }
        }
        if (d != NULL) {
            (void)closedir(d);
        }
    }
    printf("%d files, %d inputs\n", files, files * (MUTATIONS + 1));
    return files > 0 ? 0 : 1;
}
