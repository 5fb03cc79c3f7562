/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_pictures.c - writes stream/pictures.h: the small JPEGs whose decoded
 * bits are part of the decoder fingerprint. Run once; the header is kept.
 */
#include "jpeg_make.h"

#include <stdio.h>
#include <stdlib.h>

int
main(void)
{
    static const jpeg_made made[] = {
        {37, 29, 3, 88, 2, 2, false}, {35, 27, 3, 75, 2, 1, false},
        {33, 26, 3, 95, 1, 1, false}, {31, 34, 1, 80, 1, 1, false},
        {39, 30, 3, 85, 2, 2, true},
    };
    unsigned count = sizeof made / sizeof *made;

    printf("/* SPDX-License-Identifier: Apache-2.0 */\n"
           "/* pictures.h - written by tests/support/make_pictures.c. */\n"
           "#ifndef MRI_STREAM_PICTURES_H\n"
           "#define MRI_STREAM_PICTURES_H\n\n");
    for (unsigned i = 0; i < count; i++) {
        size_t bytes;
        uint8_t *p = jpeg_make(&made[i], i + 1, &bytes);

        printf("static const uint8_t picture_%u[] = {", i);
        for (size_t k = 0; k < bytes; k++) {
            printf("%s%u,", k % 16 == 0 ? "\n    " : " ", p[k]);
        }
        printf("\n};\n");
        free(p);
    }
    printf("\nstatic const struct {\n    const uint8_t *data;\n"
           "    size_t bytes;\n    uint32_t height, width, channels;\n"
           "} pictures[] = {\n");
    for (unsigned i = 0; i < count; i++) {
        printf("    {picture_%u, sizeof picture_%u, %u, %u, %u},\n", i, i,
               made[i].height, made[i].width, made[i].channels);
    }
    printf("};\n\n#endif\n");
    return 0;
}
