/* SPDX-License-Identifier: Apache-2.0 */
/*
 * act.h - what exactly is to be done to one view of one sample: operations
 * after their random draws were made.
 *
 * Values are f32 in planes [channel][z][y][x]. Every act says how each result
 * is rounded, so that any way of computing it gives the same bits.
 */
#ifndef MRI_STREAM_ACT_H
#define MRI_STREAM_ACT_H

#include <millrace/tensor.h>
#include <mri/error.h>
#include <mri/rng.h>

#define MRI_BLUR_MAX 31
#define MRI_ACTS_MAX 72 /* of a view: one an operation, and a few */

typedef enum mri_act_kind {
    MRI_ACT_SELECT,   /* channel i is channel map[i] */
    MRI_ACT_POINT,    /* each value by itself: see mri_point_kind */
    MRI_ACT_MINMAX,   /* find the range, then MRI_POINT_UNIT */
    MRI_ACT_BOX,      /* take a box; what lies outside is `pad` */
    MRI_ACT_RESAMPLE, /* a box of the plane to [height, width] */
    MRI_ACT_FLIP,
    MRI_ACT_BLUR
} mri_act_kind;

/* a and b are by channel. Each operation rounds to f32, left to right. */
typedef enum mri_point_kind {
    MRI_POINT_UNIT,  /* (x - a) / b; b infinite where the range is empty */
    MRI_POINT_SCALE, /* x * a */
    MRI_POINT_GAIN,  /* x * a, then not below low, then not above high */
    MRI_POINT_SOLAR, /* 1 - x if x > low, else x */
    MRI_POINT_NORM,  /* (x - a) * b */
    MRI_POINT_ROUND  /* x * a, into 0 .. high, to the nearest integer, even */
} mri_point_kind;

typedef enum mri_filter {
    MRI_FILTER_BICUBIC,
    MRI_FILTER_BILINEAR,
    MRI_FILTER_NEAREST
} mri_filter;

typedef struct mri_act {
    mri_act_kind kind;
    mri_point_kind point;
    const float *a, *b; /* [channels] */
    float low, high;
    const uint32_t *map; /* SELECT: [channels] */
    uint32_t channels;   /* SELECT: after it */
    bool per_sample;     /* MINMAX: one range for all channels */
    int64_t first[3];    /* BOX, RESAMPLE: z, y, x; may be negative in BOX */
    uint64_t size[3];
    float pad;
    mri_filter filter;
    bool antialias;
    uint64_t out[2];            /* RESAMPLE: height, width */
    bool flip[3];               /* z, y, x */
    unsigned taps;              /* BLUR: odd */
    float kernel[MRI_BLUR_MAX]; /* BLUR */
} mri_act;

/* Everything that deciding one view needs, and what comes out. */
struct mri_decider {
    uint64_t key; /* of the sample's draws */
    uint32_t view;
    uint32_t channels; /* now */
    uint64_t size[3];  /* now */
    bool volume;
    /* Ranges of the channels as stored, while no act has changed a value;
     * NULL when they are not known. */
    const float *low, *high;
    mri_act *acts; /* room for one an operation */
    unsigned count;
    float *pool; /* room for three an operation and channel */
};

/* (x - a) / b for a range; b is infinite where the range is empty. */
void mri_unit_range(float *a, float *b, float low, float high);

#endif
