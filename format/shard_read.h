/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_read.h - a shard that is open, as the dataset sees it.
 */
#ifndef MRI_SHARD_READ_H
#define MRI_SHARD_READ_H

#include "extents.h"
#include "foot.h"
#include "meta.h"
#include "object.h"
#include "scale.h"

#include <mri/shard.h>
#include <mri/store.h>

struct mri_shard {
    mri_object file;
    mri_version version;
    uint8_t plan_tag[16];
    mri_tail tail;
    mri_foot foot;
    mri_window foot_window;
    Mri__PbSchema *schema;
};

struct mr_scratch {
    mri_bytes stored;  /* a frame, where the file is not mapped */
    mri_bytes shuffle; /* a chunk before its filter is undone */
    mri_bytes piece;   /* a chunk's part before it is widened */
    struct {
        bool known;
        uint8_t shard[16];
        uint64_t first_chunk; /* which says the field */
        mri_scale scale;
    } last; /* the scale that was looked up last */
    mri_extents ahead;
    uint64_t waits, unseen; /* of the thread; bytes read since they were seen */
    unsigned calm; /* looks without a wait: from MRI_CALM on nothing is asked */
};

enum { MRI_CALM = 16 };

/* Nothing is known of where its reads come from, or they had to wait. */
static inline bool
mri_scratch_asks(const mr_scratch *scratch)
{
    return scratch->calm < MRI_CALM;
}
/* So many bytes were read. Now and then it is seen whether the thread waited. */
void mri_scratch_note(mr_scratch *scratch, uint64_t bytes);
/* What the thread waited for until now was not its reads. */
void mri_scratch_settle(mr_scratch *scratch);

MR_USE_RESULT mr_err mri_shard_sample(const mri_shard *s, uint32_t row,
                                      mri_sample_row *out, mr_diag *diag);
/* How every reading ends: with the file's name in an error, and without belief
 * in bytes that the file no longer has. */
MR_USE_RESULT mr_err mri_shard_named(const mri_shard *s, mr_err err,
                                     mr_diag *diag);
MR_USE_RESULT mr_err mri_shard_chunk(const mri_shard *s, uint64_t i,
                                     mri_chunk_row *out, mr_diag *diag);
/* The stored bytes of a chunk, proven to be those of its row. */
MR_USE_RESULT mr_err mri_shard_stored(const mri_shard *s,
                                      const mri_chunk_row *row, mri_bytes *room,
                                      const uint8_t **payload, mr_diag *diag);
void mri_shard_add_frame(const mri_shard *s, const mri_chunk_row *row,
                         mri_extents *ahead);
/* Ask the memory for what reading a sample will touch, as far as it can be
 * guessed: its rows; then, when they have come, its first frame. */
void mri_shard_foresee_rows(const mri_shard *s, uint32_t sample);
void mri_shard_foresee_frame(const mri_shard *s, uint32_t sample);
/* Ask the file for the rows of a sample, where they are likely to stand. */
void mri_shard_want_rows(const mri_shard *s, uint32_t sample);
/* Ask the file for the frames of a sample, unless they are many. */
void mri_shard_want(const mri_shard *s, uint32_t sample, mri_extents *ahead);
/* Grid `i` of a sample, proven sound. */
MR_USE_RESULT mr_err mri_shard_grid(const mri_shard *s,
                                    const mri_sample_row *sample, uint32_t i,
                                    mri_grid_row *out, mr_diag *diag);
MR_USE_RESULT mr_err mri_shard_moments(const mri_shard *s,
                                       const mri_sample_row *sample, uint32_t i,
                                       uint32_t channel, mri_moment_row *out,
                                       mr_diag *diag);
MR_USE_RESULT mr_err mri_shard_read_box(const mri_shard *s,
                                        const mri_grid_row *g,
                                        const mr_box *box, const mr_tensor *out,
                                        mr_scratch *scratch, mr_diag *diag);
/* As f32, scaled. */
typedef struct mri_to_f32 {
    const mr_tensor *out; /* MR_F32 */
    mri_scale scale;
} mri_to_f32;
MR_USE_RESULT mr_err mri_shard_read_f32(const mri_shard *s,
                                        const mri_grid_row *g,
                                        const mr_box *box, const mri_to_f32 *to,
                                        mr_scratch *scratch, mr_diag *diag);
MR_USE_RESULT mr_err mri_shard_read_verbatim(const mri_shard *s,
                                             const mri_grid_row *g,
                                             const uint8_t **p, size_t *bytes,
                                             mr_scratch *scratch,
                                             mr_diag *diag);
/* The meta frame of a sample, checked and unpacked. */
MR_USE_RESULT mr_err mri_shard_meta_pb(const mri_shard *s,
                                       const mri_sample_row *sample,
                                       Mri__PbMeta **out, mr_diag *diag);

/* mri_shard_open_in, of a file that a user names. */
MR_USE_RESULT mr_err mri_shard_open_with(mri_shard **out, const char *path,
                                         const mri_shard_ref *expect,
                                         bool use_map, mr_diag *diag);

#endif
