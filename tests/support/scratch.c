/* SPDX-License-Identifier: Apache-2.0 */
/* scratch.c - a folder for one test, gone afterwards. */
#include "scratch.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

char *
scratch_make(void)
{
    const char *base = getenv("TMPDIR");
    char *dir = malloc(512);

    must(dir != NULL, "malloc");
    (void)snprintf(dir, 512, "%s/millrace-test.XXXXXX",
                   base != NULL ? base : "/tmp");
    must(mkdtemp(dir) != NULL, dir);
    return dir;
}

static void
remove_tree(const char *path)
{
    struct stat st;

    if (lstat(path, &st) != 0) {
        return;
    }
    if (S_ISDIR(st.st_mode)) {
        DIR *d;
        struct dirent *e;

        (void)chmod(path, 0700); /* a test may have taken our rights away */
        d = opendir(path);
        while (d != NULL && (e = readdir(d)) != NULL) {
            char inner[4096];

            if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
                (void)snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
                remove_tree(inner);
            }
        }
        if (d != NULL) {
            (void)closedir(d);
        }
    }
    (void)remove(path);
}

void
scratch_remove(char *dir)
{
    remove_tree(dir);
    free(dir);
}

const char *
scratch_path(const char *dir, const char *name)
{
    static char buffers[8][1024];
    static unsigned next;
    char *out = buffers[next++ % 8];

    (void)snprintf(out, sizeof buffers[0], "%s/%s", dir, name);
    return out;
}

void
scratch_write(const char *path, const void *p, size_t bytes)
{
    FILE *f = fopen(path, "wb");

    must(f != NULL, path);
    must(fwrite(p, 1, bytes, f) == bytes, path);
    must(fclose(f) == 0, path);
}

size_t
scratch_entries(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    size_t n = 0;

    must(d != NULL, dir);
    while ((e = readdir(d)) != NULL) {
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    (void)closedir(d);
    return n;
}

uint64_t
scratch_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}
