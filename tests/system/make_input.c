/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_input.c - foreign files for the system tests, always the same ones.
 *
 *     make_input cells|photos|volumes FOLDER COUNT
 *     make_input newer FILE
 *
 * Classes are sub-folders, the donor stands in the name: ring/donor0_3.tif.
 * A test that needs a damaged file damages one of these; `newer` turns a
 * manifest or a shard into one of format version 9, checksum and all.
 */
#include <mri/bytes.h>
#include <mri/crc32c.h>
#include <mri/hash.h>

#include <jpeg_make.h>
#include <scratch.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SIDE 48
#define CHANNELS 5
#define DEPTH 12

static const char *const classes[] = {"ring", "spot", "star"};

typedef struct bytes {
    uint8_t *data;
    size_t len;
} bytes;

static void
put(bytes *b, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++) {
        b->data[b->len++] = (uint8_t)(value >> 8 * i);
    }
}

/* A blob of the class's form in noise; 0..4095. */
static uint16_t
value_at(unsigned class_index, double y, double x, unsigned channel,
         uint64_t *noise)
{
    double r = sqrt(y * y + x * x), level;

    switch (class_index) {
    case 0:
        level = fabs(r - 0.6) < 0.15 ? 1 : 0.1;
        break;
    case 1:
        level = r < 0.4 ? 1 : 0.1;
        break;
    default:
        level = fabs(y * x) < 0.05 && r < 0.9 ? 1 : 0.1;
    }
    return (uint16_t)(level * (1500 + 400 * channel) +
                      (double)(scratch_random(noise) % 600));
}

/* ---- TIFF: one strip, u16, channels last ---- */

static void
put_entry(bytes *b, unsigned tag, unsigned type, uint32_t count, uint32_t value)
{
    put(b, tag, 2);
    put(b, type, 2);
    put(b, count, 4);
    put(b, value, 4);
}

static bytes
make_cell(unsigned i)
{
    enum { SHORT = 3, LONG = 4, ENTRIES = 10 };
    const uint32_t ifd = 8, bits = ifd + 2 + 12 * ENTRIES + 4,
                   extra = bits + 2 * CHANNELS, data = extra + 2 * CHANNELS,
                   pixels = SIDE * SIDE * CHANNELS * 2;
    bytes b = {malloc(data + pixels), 0};
    uint64_t noise = i;

    put(&b, 0x2a4949, 4); /* II, 42 */
    put(&b, ifd, 4);
    put(&b, ENTRIES, 2);
    put_entry(&b, 256, SHORT, 1, SIDE);
    put_entry(&b, 257, SHORT, 1, SIDE);
    put_entry(&b, 258, SHORT, CHANNELS, bits);
    put_entry(&b, 259, SHORT, 1, 1); /* not compressed */
    put_entry(&b, 262, SHORT, 1, 1); /* black is 0 */
    put_entry(&b, 273, LONG, 1, data);
    put_entry(&b, 277, SHORT, 1, CHANNELS);
    put_entry(&b, 278, SHORT, 1, SIDE);
    put_entry(&b, 279, LONG, 1, pixels);
    put_entry(&b, 338, SHORT, CHANNELS - 1, extra);
    put(&b, 0, 4);
    for (unsigned c = 0; c < CHANNELS; c++) {
        put(&b, 16, 2);
    }
    for (unsigned c = 0; c < CHANNELS; c++) {
        put(&b, 0, 2);
    }
    for (unsigned y = 0; y < SIDE; y++) {
        for (unsigned x = 0; x < SIDE; x++) {
            for (unsigned c = 0; c < CHANNELS; c++) {
                put(&b,
                    value_at(i % 3, 2.0 * y / SIDE - 1, 2.0 * x / SIDE - 1, c,
                             &noise),
                    2);
            }
        }
    }
    return b;
}

/* ---- NIfTI-1: i16 with slope and intercept ---- */

static void
put_f32(bytes *b, float value)
{
    uint32_t raw;

    memcpy(&raw, &value, sizeof raw);
    put(b, raw, 4);
}

static bytes
make_volume(unsigned i)
{
    enum { HEADER = 352, I16 = 4 };
    const unsigned width = 24 + i % 3 * 4;
    bytes b = {calloc(1, HEADER + DEPTH * SIDE * width * 2), 0};
    uint64_t noise = i;

    put(&b, 348, 4);
    b.len = 40; /* dim */
    put(&b, 3, 2);
    put(&b, width, 2);
    put(&b, SIDE, 2);
    put(&b, DEPTH, 2);
    b.len = 70; /* datatype, bitpix */
    put(&b, I16, 2);
    put(&b, 16, 2);
    b.len = 76; /* pixdim */
    put_f32(&b, 1);
    put_f32(&b, 0.5f);
    put_f32(&b, 0.5f);
    put_f32(&b, 2);
    b.len = 108; /* vox_offset, slope, intercept */
    put_f32(&b, HEADER);
    put_f32(&b, 0.25f);
    put_f32(&b, -100);
    b.len = 344;
    memcpy(b.data + b.len, "n+1", 4);
    b.len = HEADER;
    for (unsigned z = 0; z < DEPTH; z++) {
        for (unsigned y = 0; y < SIDE; y++) {
            for (unsigned x = 0; x < width; x++) {
                put(&b,
                    value_at(i % 3, 2.0 * y / SIDE - 1, 2.0 * x / width - 1,
                             z % CHANNELS, &noise),
                    2);
            }
        }
    }
    return b;
}

/* ---- JPEG: of all sizes ---- */

static bytes
make_photo(unsigned i)
{
    const jpeg_made how = {.width = 90 + i % 7 * 20,
                           .height = 80 + i % 5 * 30,
                           .channels = 3,
                           .quality = 90,
                           .h = (int)(i % 2) + 1,
                           .v = i % 3 == 0 ? 2 : 1,
                           .progressive = i % 4 == 3};
    bytes b;

    b.data = jpeg_make(&how, i, &b.len);
    return b;
}

static void
make_folder(const char *path)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        perror(path);
        exit(1);
    }
}

/* ---- a version that nobody has yet ---- */

/* docs/shard-format.md: the version is at 8 in all files; a shard's head ends
 * with a CRC-32C, a manifest has XXH3-64 over all but itself at 24. */
static void
make_newer(const char *path)
{
    FILE *f = fopen(path, "r+b");
    static uint8_t p[1 << 20];
    size_t n = f != NULL ? fread(p, 1, sizeof p, f) : 0;
    mri_xxh3_state *sum = mri_xxh3_begin();

    if (n < 64 || n == sizeof p || sum == NULL) {
        (void)fprintf(stderr, "make_input: %s: cannot use it\n", path);
        exit(1);
    }
    mri_put16(p + 8, 9);
    if (p[3] == 'M') {
        mri_xxh3_add(sum, p, 24);
        mri_xxh3_add(sum, p + 32, n - 32);
        mri_put64(p + 24, mri_xxh3_end(sum));
    } else {
        mri_put32(p + 60, mri_crc32c(0, p, 60));
    }
    mri_xxh3_free(sum);
    rewind(f);
    if (fwrite(p, 1, n, f) != n || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name, *end;
        bytes (*make)(unsigned i);
    } kinds[] = {{"cells", "tif", make_cell},
                 {"photos", "jpg", make_photo},
                 {"volumes", "nii", make_volume}};
    char path[4096];
    size_t k = 0;

    if (argc == 3 && strcmp(argv[1], "newer") == 0) {
        make_newer(argv[2]);
        return 0;
    }
    while (k < 3 && (argc != 4 || strcmp(argv[1], kinds[k].name) != 0)) {
        k++;
    }
    if (k == 3) {
        (void)fputs("usage: make_input cells|photos|volumes FOLDER COUNT\n"
                    "       make_input newer FILE\n",
                    stderr);
        return 2;
    }
    make_folder(argv[2]);
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", argv[2], classes[i]);
        make_folder(path);
    }
    for (unsigned i = 0; i < strtoul(argv[3], NULL, 10); i++) {
        bytes b = kinds[k].make(i);

        (void)snprintf(path, sizeof path, "%s/%s/donor%u_%u.%s", argv[2],
                       classes[i % 3], i / 6, i, kinds[k].end);
        scratch_write(path, b.data, b.len);
        free(b.data);
    }
    return 0;
}
