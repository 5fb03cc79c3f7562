/* SPDX-License-Identifier: Apache-2.0 */
/* weights_fuzz.c - any text: what is accepted is a network that can be. */
#include "state.h"

#include <stdlib.h>
#include <string.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    mr_diag diag = {0};
    state s;

    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    if (state_parse(&s, text, &diag) == MR_OK &&
        (mri_vit_check(&s.info.vit, &diag) != MR_OK || s.info.arch == NULL)) {
        abort();
    }
    state_release(&s);
    free(text);
    return 0;
}
