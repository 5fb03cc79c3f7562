/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nifti_affine.c - from voxel indices to millimetres, to the last bit as
 * nibabel computes it (in the longest floats that there are), so that a volume
 * that went through a shard lies where it lay before.
 */
#include "nifti_head.h"

#include "decoder.h"

#include <float.h>
#include <math.h>

#define XFORM_CODES 5 /* larger ones are unknown and count as none */

/* Sizes as nibabel mends them: none is 1, and a sign has no meaning. */
static double
voxel_size(double pixdim)
{
    return pixdim == 0 ? 1 : fabs(pixdim);
}

static void
from_size(nifti_head *h)
{
    for (uint32_t i = 0; i < 3; i++) {
        double size = i < h->rank ? voxel_size(h->pixdim[i + 1]) : 1;
        double len = i < h->rank ? (double)h->dim[i] : 1;

        size = i == 0 ? -size : size;
        h->affine[4 * i + i] = size;
        h->affine[4 * i + 3] = -((len - 1) / 2) * size;
    }
}

/* The fourth part of a unit quaternion; false if three are too long. */
static bool
fourth(const nifti_head *h, long double q[4])
{
    double eps = h->header_bytes == NIFTI1_BYTES ? FLT_EPSILON : DBL_EPSILON;
    long double left = 0;

    for (int i = 0; i < 3; i++) {
        q[i + 1] = h->quatern[i];
        left += q[i + 1] * q[i + 1];
    }
    left = 1 - left;
    if (fabsl(left) < 3 * eps) {
        q[0] = 0;
        return true;
    }
    q[0] = left > 0 ? sqrtl(left) : 0;
    return left > 0;
}

static void
rotation(const long double q[4], long double r[3][3])
{
    long double w = q[0], x = q[1], y = q[2], z = q[3];
    long double s = 2 / (w * w + x * x + y * y + z * z);
    long double sx = x * s, sy = y * s, sz = z * s;

    r[0][0] = 1 - (y * sy + z * sz);
    r[0][1] = x * sy - w * sz;
    r[0][2] = x * sz + w * sy;
    r[1][0] = x * sy + w * sz;
    r[1][1] = 1 - (x * sx + z * sz);
    r[1][2] = y * sz - w * sx;
    r[2][0] = x * sz - w * sy;
    r[2][1] = y * sz + w * sx;
    r[2][2] = 1 - (x * sx + y * sy);
}

static bool
from_quaternion(nifti_head *h)
{
    long double q[4], r[3][3];

    if (!fourth(h, q)) {
        return false;
    }
    rotation(q, r);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            double size = voxel_size(h->pixdim[j + 1]);

            size = j == 2 && h->pixdim[0] == -1 ? -size : size;
            h->affine[4 * i + j] = (double)(r[i][j] * size);
        }
        h->affine[4 * i + 3] = h->qoffset[i];
    }
    return true;
}

static bool
known(int64_t code)
{
    return code > 0 && code <= XFORM_CODES;
}

mr_err
nifti_affine(nifti_head *head, mr_diag *diag)
{
    bool v1 = head->header_bytes == NIFTI1_BYTES;

    if (known(head->sform)) {
        for (int i = 0; i < 12; i++) {
            head->affine[i] = head->srow[i];
        }
    } else if (!known(head->qform)) {
        from_size(head);
    } else if (!from_quaternion(head)) {
        return mri_fail(diag, MRI_E_NIFTI_AFFINE, v1 ? 256 : 352,
                        "the quaternion (%g %g %g) is longer than 1",
                        head->quatern[0], head->quatern[1], head->quatern[2]);
    }
    for (int i = 0; i < 12; i++) {
        if (!isfinite(head->affine[i])) {
            return mri_fail(diag, MRI_E_NIFTI_AFFINE, MR_NOWHERE,
                            "the affine is not finite");
        }
    }
    return MR_OK;
}
