/* SPDX-License-Identifier: Apache-2.0 */
/* state.h - the members of millrace.state that describe the network. */
#ifndef WEIGHTS_STATE_H
#define WEIGHTS_STATE_H

#include <mri/weights.h>

typedef struct state {
    void *json; /* what the texts of info point into */
    mri_weights_info info;
} state;

/*
 * Fills `s` in any case; release it.
 *
 * errors  MR_ECORRUPT  no JSON, a member missing or of another kind, or a
 *                      network that cannot be
 *         MR_EVERSION  of a newer schema
 */
MR_USE_RESULT mr_err state_parse(state *s, const char *text, mr_diag *diag);
void state_release(state *s);

#endif
