/* SPDX-License-Identifier: Apache-2.0 */
/* cell_file.h - a cell's picture as the bytes of an OME-TIFF. */
#ifndef SYNTH_CELL_FILE_H
#define SYNTH_CELL_FILE_H

#include <mri/synth.h>

void cell_file(uint8_t out[MRI_CELL_FILE],
               const uint16_t pixels[MRI_CELL_VALUES]);

#endif
