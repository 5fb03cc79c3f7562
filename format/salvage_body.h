/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage_body.h - the frames of a shard file of which nothing is trusted.
 */
#ifndef MRI_SALVAGE_BODY_H
#define MRI_SALVAGE_BODY_H

#include "encode.h"
#include "inflation.h"
#include "shard_read.h"

typedef struct mri_body_meta {
    uint64_t at; /* of the frame */
    uint32_t len;
} mri_body_meta;

typedef struct mri_body {
    mri_object file; /* always in memory: mapped, or `heap` */
    uint8_t *heap;   /* where the disk did not give all; zeros in its place */
    uint64_t unread; /* so many bytes */
    uint8_t plan_tag[16];
    bool worn; /* head, schema frame or tails are damaged, or bytes unread */
    bool has_foot;
    mri_tail tail; /* with has_foot */
    mri_foot foot;
    Mri__PbSchema *schema;
    bool names_lost;      /* it was made up */
    mri_body_meta *metas; /* closing frames of samples, in file order */
    size_t meta_count;
    uint64_t frames;
    uint64_t schema_at; /* 0: no schema frame is intact */
    uint64_t last;      /* where the last intact frame ends */
} mri_body;

/*
 * Bring a file into memory. What the disk refuses to read becomes zeros.
 * errors  MR_EIO (it cannot be opened), MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_body_load(mri_body *b, const mri_store *store,
                                   const char *name, mr_diag *diag);
/*
 * Find its frames, foot and schema. `expect` is what a manifest says of it,
 * `schema` what a manifest says of all; both may be NULL.
 * errors  MR_EVERSION, MR_ENOMEM; damage is none: it finds less
 */
MR_USE_RESULT mr_err mri_body_scan(mri_body *b, const mri_shard_ref *expect,
                                   const Mri__PbSchema *schema, mr_diag *diag);
void mri_body_close(mri_body *b); /* zeroed: accepted */

/* salvage_tag.c: a tag that gives the checksums of the frames in `p`, from
 * these alone. False if no two of them agree. */
bool mri_tag_from_frames(uint8_t tag[16], const uint8_t *p, uint64_t bytes);

/* Working memory of one thread; release with mri_rescue_release. */
typedef struct mri_rescue {
    mr_scratch *scratch;
    mri_bytes pixels;
    mri_inflation all; /* of the body that is at hand */
} mri_rescue;
void mri_rescue_release(mri_rescue *r);

/*
 * Prove one sample and make it ready for a writer. *pb is what its closing
 * frame says, also if the rest is damaged; both are the caller's.
 * errors  MR_ECORRUPT, MR_ELIMIT, MR_EVERSION  the sample is lost
 *         MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_body_sample(const mri_body *b,
                                     const mri_body_meta *meta,
                                     mri_rescue *rescue, Mri__PbMeta **pb,
                                     mri_encoded **out, mr_diag *diag);

#endif
