/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crew.h - run a graph over a batch that is cut into parts.
 *
 * The graph is that of one part. Gradients and summed results of the parts
 * are added in a fixed binary tree, so that their bits depend on the number of
 * parts, not on who ran them. Two ways:
 *
 *   together   all threads work at one part after the other (parts is 1, or
 *              more where a batch does not fit in memory)
 *   apart      each part is run by one thread alone, in an arena of its own:
 *              then the bits do not depend on the number of threads either
 */
#ifndef MRI_CREW_H
#define MRI_CREW_H

#include <mri/lane.h>

MRI_BEGIN

typedef struct mri_crew mri_crew;

typedef struct mri_crew_options {
    const mri_backend *backend;
    unsigned threads; /* 0: all there are */
    unsigned device;
    unsigned parts; /* at least 1 */
    bool apart;     /* host back ends only; others run parts one by one */
} mri_crew_options;

/* errors  MR_EDEVICE, MR_ENOMEM */
MR_USE_RESULT mr_err mri_crew_open(mri_crew **out,
                                   const mri_crew_options *options,
                                   mr_diag *diag);
void mri_crew_close(mri_crew *crew);
/* The context for what is not cut: the store, the optimiser. All threads. */
mri_exec *mri_crew_exec(const mri_crew *crew);
/* How many lanes run at once. */
unsigned mri_crew_lanes(const mri_crew *crew);

/* Take a graph, ended, of one part. It and the store must outlive the crew. */
MR_USE_RESULT mr_err mri_crew_load(mri_crew *crew, const mri_graph *g,
                                   const mri_params *store, mr_diag *diag);

/* An input for all parts: part i gets `bytes` at data + i * step. */
typedef struct mri_feed {
    const char *name;
    const void *data; /* host memory */
    uint64_t bytes, step;
} mri_feed;

/*
 * Run all parts and add them up.
 *
 * owner   *grads is the crew's, on the device, until the next run
 * errors  those of mri_lane_run, of the lowest part that failed
 */
MR_USE_RESULT mr_err mri_crew_run(mri_crew *crew, const mri_feed *feeds,
                                  size_t count, void **grads, mr_diag *diag);

/* Which part makes the first value that is not finite, and where: runs them
 * again. MR_OK: all is finite. */
MR_USE_RESULT mr_err mri_crew_hunt(mri_crew *crew, const mri_feed *feeds,
                                   size_t count, mr_diag *diag);

/* One of the lanes, for times and kept results. */
mri_lane *mri_crew_lane(const mri_crew *crew, unsigned i);

MRI_END

#endif
