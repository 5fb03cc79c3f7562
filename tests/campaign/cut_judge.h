/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cut_judge.h - is a state of the disk one that nobody has lost anything in?
 */
#ifndef CUT_JUDGE_H
#define CUT_JUDGE_H

#include "cut_steps.h"

/* How far the commands were when the power went. */
typedef struct cut_moment {
    unsigned acked; /* commands that had come to an end */
    unsigned told;  /* of these, by a line of history */
    unsigned lines; /* of the journal, that the one under way relies on */
} cut_moment;

extern cut_state cut_calm[CUT_STEPS + 1]; /* after each step, left alone */
extern char cut_why[1024];                /* what is wrong with a state */

/*
 * The state lies below `root`. All that was acknowledged is there, byte for
 * byte, and all that can be opened is whole; after a purge nothing is back.
 */
bool cut_judge(const cut_state *s, const char *root, const cut_moment *m);
/* The command that was cut off (after the last one, that again) ends well, at
 * the bytes of one that was left alone and nothing beside them. */
bool cut_go_on(const cut_state *s, const char *root, const cut_moment *m);

#endif
