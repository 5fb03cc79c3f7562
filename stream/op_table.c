/* SPDX-License-Identifier: Apache-2.0 */
/* op_table.c - every operation with its parameters, once. */
#include "ops.h"

#include <string.h>

#define SIDE 1, MRI_MAX_SIDE
#define UNIT 0, 1
#define ANY -1e30, 1e30
#define P_HELP                                                                 \
    "probability; by view after multi_crop: {global: [1.0, 0.1], local: 0.5}"
#define FILTERS "bicubic|bilinear|nearest"
#define FILTER_HELP                                                            \
    "bicubic: a = -0.5 with antialias, -0.75 without; nearest: the pixel "     \
    "under the centre"
#define ANTIALIAS_HELP "widen the filter when shrinking, as Pillow does"
#define SCALE_HELP "area of the crop as a share of the picture, uniform"

static const mri_param select_params[] = {
    {"channels", MRI_PARAM_CHANNELS, NULL, 0, UINT32_MAX, NULL,
     "names or indices, in the order wanted"},
};
static const mri_param minmax_params[] = {
    {"per", MRI_PARAM_CHOICE, "channel", 0, 0, "channel|sample",
     "each channel by its own range, or all by the sample's"},
};
static const mri_param crop_params[] = {
    {"size", MRI_PARAM_SIZE2, NULL, SIDE, NULL, "n or [height, width]"},
    {"at", MRI_PARAM_CHOICE, "center", 0, 0, "center|random", "where"},
};
static const mri_param rrc_params[] = {
    {"size", MRI_PARAM_SIZE2, NULL, SIDE, NULL, "n or [height, width]"},
    {"scale", MRI_PARAM_PAIR, "[0.08, 1.0]", 1e-6, 1, NULL, SCALE_HELP},
    {"ratio", MRI_PARAM_PAIR, "[3/4, 4/3]", 1e-3, 1e3, NULL,
     "width over height of the crop, uniform in its logarithm"},
    {"filter", MRI_PARAM_CHOICE, "bicubic", 0, 0, FILTERS, FILTER_HELP},
    {"antialias", MRI_PARAM_FLAG, "true", UNIT, NULL, ANTIALIAS_HELP},
};
static const mri_param multi_params[] = {
    {"global.count", MRI_PARAM_WHOLE, "2", 1, 32, NULL, "global views"},
    {"global.size", MRI_PARAM_SIZE2, "224", SIDE, NULL, "n or [height, width]"},
    {"global.scale", MRI_PARAM_PAIR, "[0.4, 1.0]", 1e-6, 1, NULL, SCALE_HELP},
    {"local.count", MRI_PARAM_WHOLE, "8", 0, 32, NULL, "local views"},
    {"local.size", MRI_PARAM_SIZE2, "96", SIDE, NULL, "n or [height, width]"},
    {"local.scale", MRI_PARAM_PAIR, "[0.05, 0.4]", 1e-6, 1, NULL, SCALE_HELP},
    {"ratio", MRI_PARAM_PAIR, "[3/4, 4/3]", 1e-3, 1e3, NULL,
     "width over height of each crop, uniform in its logarithm"},
    {"filter", MRI_PARAM_CHOICE, "bicubic", 0, 0, FILTERS, FILTER_HELP},
    {"antialias", MRI_PARAM_FLAG, "true", UNIT, NULL, ANTIALIAS_HELP},
};
static const mri_param resize_params[] = {
    {"size", MRI_PARAM_SIZE2, NULL, SIDE, NULL,
     "n for n x n, or [height, width]"},
    {"filter", MRI_PARAM_CHOICE, "bilinear", 0, 0, FILTERS, FILTER_HELP},
    {"antialias", MRI_PARAM_FLAG, "true", UNIT, NULL, ANTIALIAS_HELP},
};
static const mri_param flip_params[] = {
    {"horizontal", MRI_PARAM_CHANCE, "0.5", UNIT, NULL, "along x; " P_HELP},
    {"vertical", MRI_PARAM_CHANCE, "0", UNIT, NULL, "along y"},
    {"depth", MRI_PARAM_CHANCE, "0", UNIT, NULL, "along z"},
};
static const mri_param brightness_params[] = {
    {"p", MRI_PARAM_CHANCE, "1", UNIT, NULL, P_HELP},
    {"range", MRI_PARAM_PAIR, "[0.5, 1.25]", 0, 1e6, NULL,
     "the factor, uniform"},
    {"per", MRI_PARAM_CHOICE, "channel", 0, 0, "channel|sample",
     "a factor for each channel, or one for all"},
    {"clamp", MRI_PARAM_PAIR, "[0, 1]", ANY, NULL,
     "bounds of the result; ~ for none"},
};
static const mri_param blur_params[] = {
    {"p", MRI_PARAM_CHANCE, "1", UNIT, NULL, P_HELP},
    {"kernel", MRI_PARAM_WHOLE, "5", 3, MRI_BLUR_MAX, NULL,
     "taps along each axis, odd"},
    {"sigma", MRI_PARAM_PAIR, "[0.1, 1.5]", 0.01, 100, NULL,
     "of the Gaussian in pixels, uniform; one for all channels"},
};
static const mri_param solarize_params[] = {
    {"p", MRI_PARAM_CHANCE, "1", UNIT, NULL, P_HELP},
    {"threshold", MRI_PARAM_NUMBER, "0.5", UNIT, NULL,
     "values above become 1 - x"},
};
static const mri_param normalize_params[] = {
    {"mean", MRI_PARAM_NUMBERS, "~", ANY, NULL, "one, or one a channel"},
    {"std", MRI_PARAM_NUMBERS, "~", 1e-30, 1e30, NULL, "one, or one a channel"},
    {"from", MRI_PARAM_CHOICE, "~", 0, 0, "dataset",
     "dataset: the train split's mean and deviation; after minmax those of "
     "values so scaled"},
    {"split", MRI_PARAM_SPLIT, "~", 0, 0, NULL,
     "with `from`, whose: one or some, as `fold0+fold1` or `'!fold2'`; train "
     "if not given, and needed where there is no train. Before validation "
     "name what was trained on, not what is validated"},
};
static const mri_param crop3d_params[] = {
    {"size", MRI_PARAM_SIZE3, NULL, SIDE, NULL, "n or [depth, height, width]"},
    {"at", MRI_PARAM_CHOICE, "random", 0, 0, "random|center", "where"},
    {"pad", MRI_PARAM_NUMBER, "0", ANY, NULL,
     "value around a volume that is smaller, which stands in the middle"},
};
static const mri_param to_params[] = {
    {"dtype", MRI_PARAM_CHOICE, "f32", 0, 0, "f32|u8|u16", "element type"},
    {"scale", MRI_PARAM_NUMBER, "1", -1e30, 1e30, NULL,
     "factor before the conversion; 1/255 may be written so"},
};

#define OP(id, version, fit, words, text)                                      \
    {                                                                          \
#id, version, text, words, id##_params, MRI_COUNT(id##_params),        \
            mri_fit_##fit, mri_decide_##id                                     \
    }
#define mri_decide_random_resized_crop mri_decide_rrc
#define mri_decide_multi_crop mri_decide_multi
#define random_resized_crop_params rrc_params
#define multi_crop_params multi_params

static const mri_op_def table[] = {
    OP(select, 1, select, "", "Take some channels, in the order given."),
    OP(minmax, 1, any, "",
       "Scale to [0, 1]: (x - min) / (max - min). A constant becomes 0."),
    OP(crop, 1, crop, "below(H - h + 1), below(W - w + 1) if random",
       "Cut out a rectangle. At the center: floor((H - h) / 2) from the top, "
       "floor((W - w) / 2) from the left."),
    OP(random_resized_crop, 1, rrc,
       "up to ten times range(scale) and range(ln ratio); after the first pair "
       "that fits below(H - h + 1), below(W - w + 1)",
       "Cut out a rectangle of random area and shape and bring it to a size. "
       "w = rint(sqrt(area ratio)), h = rint(sqrt(area / ratio)); if ten "
       "tries do not fit, the largest rectangle in the middle whose ratio is "
       "within bounds. With antialias a JPEG is decoded at 1/2, 1/4 or 1/8 if "
       "every crop of the sample is at least 3, 6 or 12 times larger than what "
       "comes out of it."),
    OP(multi_crop, 1, multi, "as random_resized_crop, by view",
       "Several random resized crops of one decode: tensors `global` and "
       "`local` instead of `image`."),
    OP(resize, 1, resize, "",
       "Bring to a size; the shape of the picture is not kept."),
    OP(flip, 1, any, "unit for horizontal, vertical, depth: always all three",
       "Mirror along axes."),
    OP(brightness, 1, any,
       "unit for p; then range for each channel, or one range",
       "Multiply by a random factor, then clamp."),
    OP(blur, 1, blur, "unit for p, then range(sigma)",
       "Gaussian blur, vertical then horizontal, borders reflected."),
    OP(solarize, 1, any, "unit for p", "Invert values above a threshold."),
    OP(normalize, 1, normalize, "",
       "(x - mean) / std, computed as (x - mean) * (1 / std)."),
    OP(crop3d, 1, crop3d,
       "below(D - d + 1), below(H - h + 1), below(W - w + 1) if random; an "
       "axis that is padded takes its word too",
       "Cut a box out of a volume; only the chunks that it touches are read."),
    OP(to, 1, to, "",
       "Multiply and convert. u8 and u16: clamped to the type's range, "
       "rounded to the nearest integer (even), and the last operation."),
};

const mri_op_def *
mri_op_table(size_t *count)
{
    *count = MRI_COUNT(table);
    return table;
}
