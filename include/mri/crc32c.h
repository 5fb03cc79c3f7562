/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c.h - the Castagnoli CRC (iSCSI, ext4): every frame and header has one.
 *
 * source  RFC 3720 B.4 (test vectors); polynomial 0x1EDC6F41, reflected
 */
#ifndef MRI_CRC32C_H
#define MRI_CRC32C_H

#include <mri/door.h>

MRI_BEGIN

/* Start with 0; feed the result back to go on. */
uint32_t mri_crc32c(uint32_t crc, const void *p, size_t bytes);

MRI_END

#endif
