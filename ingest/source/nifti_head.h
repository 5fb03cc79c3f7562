/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nifti_head.h - the header of a NIfTI-1 or NIfTI-2 file, in either byte order.
 */
#ifndef SOURCE_NIFTI_HEAD_H
#define SOURCE_NIFTI_HEAD_H

#include <mri/source.h>

#define NIFTI1_BYTES 348
#define NIFTI2_BYTES 540
#define NIFTI_RANK 7
#define NIFTI_EXTENDER 4 /* bytes after the header that announce extensions */

typedef struct nifti_head {
    uint32_t header_bytes; /* NIFTI1_BYTES or NIFTI2_BYTES */
    bool swapped;          /* not in this machine's byte order */
    bool pair;             /* the voxels are in another file */
    /* As stored; checked by nifti_read_head. */
    int64_t datatype, bitpix;
    double vox_offset_stored;
    double pixdim[8];
    double slope, inter;
    int64_t qform, sform;
    double quatern[3], qoffset[3], srow[12];
    int64_t units;
    /* What follows from them. */
    uint32_t rank;
    uint64_t dim[NIFTI_RANK]; /* fastest first */
    uint64_t vox_offset;
    mr_dtype dtype;
    char part;      /* axis of what makes up a voxel: 'C', 'R', or 0 */
    uint32_t parts; /* its length */
    double affine[12];
} nifti_head;

/* Do these bytes look like the beginning of a header? */
bool nifti_like(const uint8_t *p, size_t len);
/* Is it the header of a pair, by its magic? */
bool nifti_says_pair(const uint8_t *p, size_t len);

/*
 * Parse and check a header that begins the `len` bytes at p.
 *
 * lenient do not insist on bitpix
 * errors  MR_ECORRUPT  a field that cannot be, or fewer bytes than a header
 *         MR_EFORMAT   a datatype that is not read
 */
MR_USE_RESULT mr_err nifti_read_head(nifti_head *head, const uint8_t *p,
                                     size_t len, bool lenient, mr_diag *diag);

/*
 * Voxel to world as nibabel has it: sform, else qform, else from the voxels'
 * size alone (x flipped, origin in the middle).
 *
 * errors  MR_ECORRUPT  no rotation, or not finite
 */
MR_USE_RESULT mr_err nifti_affine(nifti_head *head, mr_diag *diag);

/*
 * Walk over the extensions that `bytes` bytes from p (the header first) hold.
 *
 * total   out: their bytes
 * errors  MR_ECORRUPT  a size that is no multiple of 16 or leads outside
 */
MR_USE_RESULT mr_err nifti_extensions(const nifti_head *head, const uint8_t *p,
                                      uint64_t bytes, uint64_t *total,
                                      mr_diag *diag);

/* Zero the free texts of a header; returns how many bytes were not zero. */
uint64_t nifti_anonymise(const nifti_head *head, uint8_t *p);

#endif
