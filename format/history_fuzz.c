/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history_fuzz.c - any bytes as a line with a checksum, as in the history, the
 * journal and the quarantine: what holds is what was written.
 */

#include <mri/dataset.h>

#include <fuzz_bytes.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mri_bytes again = {0};
    const char *text;
    char *line;

    if (size < 1) {
        return 0;
    }
    line = malloc(size);
    hold(line != NULL);
    memcpy(line, data + 1, size - 1);
    line[size - 1] = '\0';
    if ((data[0] & FUZZ_MEND) != 0) {
        fuzz_mend_lines((uint8_t *)line, size - 1);
    }
    fuzz_begin();
    text = mri_crc_line_check(line);
    if (text != NULL) {
        hold(text == line + 9 && mri_crc_line_add(&again, text));
        hold(again.len == strlen(text) + 10 &&
             memcmp(again.data + 9, text, strlen(text)) == 0);
        hold(mri_bytes_zero(&again, 1));
        hold(mri_crc_line_check((char *)again.data) != NULL);
    }
    mri_bytes_release(&again);
    fuzz_end(4096 + 4 * size);
    free(line);
    return 0;
}
