/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lane.h - run a graph: the memory that outlives a step, and the lanes.
 *
 * A store holds parameters on one device. A lane is one place where a graph
 * runs: an execution context, an arena of activations, and the graph's
 * operations as a flat array of calls with their arguments filled in, so that
 * a step costs nothing but its operations. Lanes of one store may run at once
 * on different threads, each with gradients of its own.
 */
#ifndef MRI_LANE_H
#define MRI_LANE_H

#include <mri/graph.h>

MRI_BEGIN

/* ---------------------------------------------------------------- store */

typedef struct mri_params mri_params;

/* Memory for the parameters of an ended graph, not yet set. `exec` must
 * outlive it. errors  MR_ENOMEM */
MR_USE_RESULT mr_err mri_params_open(mri_params **out, const mri_graph *g,
                                     mri_exec *exec, mr_diag *diag);
void mri_params_close(mri_params *store);

/*
 * Draw all parameters: each is a function of seed and name alone, whatever
 * the network around it. Shadows get the values of those they follow.
 */
MR_USE_RESULT mr_err mri_params_draw(mri_params *store, uint64_t seed,
                                     mr_diag *diag);

/* Parameters, in the order of the graph; names stay the store's. */
size_t mri_params_count(const mri_params *store);
const mri_slot *mri_params_slot(const mri_params *store, size_t i);
/* Its index, or SIZE_MAX. */
size_t mri_params_find(const mri_params *store, const char *name);
/* Views of device memory: one parameter; a whole arena, which has gaps. */
mr_tensor mri_params_tensor(const mri_params *store, size_t i);
mr_tensor mri_params_arena(const mri_params *store, mri_set set);
/* Copy to and from host memory; bytes must be those of the tensor. */
MR_USE_RESULT mr_err mri_params_get(const mri_params *store, size_t i,
                                    void *host, uint64_t bytes, mr_diag *diag);
MR_USE_RESULT mr_err mri_params_put(mri_params *store, size_t i,
                                    const void *host, uint64_t bytes,
                                    mr_diag *diag);

/* ----------------------------------------------------------------- lane */

typedef struct mri_lane mri_lane;

/*
 * Memory for one run of an ended graph, whose parameters are found in the
 * store by name. Graph, store and exec must outlive it.
 *
 * errors  MR_EARG     the store has no such parameter, or of another shape
 *         MR_EDEVICE  the back end lacks an operation, or computes no such
 *                     dtype: named
 *         MR_ENOMEM   the text says how much was wanted
 */
MR_USE_RESULT mr_err mri_lane_open(mri_lane **out, const mri_graph *g,
                                   const mri_params *store, mri_exec *exec,
                                   mr_diag *diag);
void mri_lane_close(mri_lane *lane);

/* Set an input. errors  MR_EARG  no such input, or of another size */
MR_USE_RESULT mr_err mri_lane_put(mri_lane *lane, const char *name,
                                  const void *host, uint64_t bytes,
                                  mr_diag *diag);
/*
 * Run all nodes. `grads` is device memory of mri_costs.grads bytes, or NULL
 * if the graph has neither a reverse pass nor summed results; gaps in it are
 * not touched, so it should be zeroed once.
 *
 * errors  MR_EDEVICE, MR_ENOMEM naming the node
 */
MR_USE_RESULT mr_err mri_lane_run(mri_lane *lane, void *grads, mr_diag *diag);
/* Read a kept result. */
MR_USE_RESULT mr_err mri_lane_get(mri_lane *lane, const char *name, void *host,
                                  uint64_t bytes, mr_diag *diag);
/* Offset in bytes of a summed result in `grads`; UINT64_MAX: there is none. */
uint64_t mri_graph_sum_at(const mri_graph *g, const char *name);

/*
 * Run again node by node and stop at the first that makes a NaN or an
 * infinity: MR_ECORRUPT naming it, or an input or parameter that holds one.
 * MR_OK: all is finite.
 */
MR_USE_RESULT mr_err mri_lane_hunt(mri_lane *lane, void *grads, mr_diag *diag);

/* Times of each node, summed over the runs since it was switched on. */
typedef struct mri_node_time {
    const char *name, *op; /* scope, operation */
    bool reverse;
    double flops; /* of one run */
    uint64_t runs, ns;
} mri_node_time;
MR_USE_RESULT mr_err mri_lane_clock(mri_lane *lane, bool on, mr_diag *diag);
size_t mri_lane_nodes(const mri_lane *lane);
mri_node_time mri_lane_time(const mri_lane *lane, size_t i);

MRI_END

#endif
