/* SPDX-License-Identifier: Apache-2.0 */
/* sniff.c - what a file is that nobody here reads, and what to do about it. */
#include "decoder.h"

#include <mri/bytes.h>

#include <string.h>

#define BYTES(text) text, sizeof(text) - 1

/* Longest magic first where one begins with another. */
static const struct magic {
    size_t at;
    const char *bytes;
    size_t len;
    const char *what;
    const char *then;
} magics[] = {
    {128, BYTES("DICM"), "a DICOM file",
     "convert the series to NIfTI, with dcm2niix for example"},
    {0, BYTES("\x89HDF\r\n\x1a\n"), "an HDF5 file",
     "write its arrays as TIFF or NIfTI"},
    {0, BYTES("PK\x03\x04"), "a ZIP archive (also .npz, .docx, .pth)",
     "unpack it first"},
    {0, BYTES("PK\x05\x06"), "an empty ZIP archive", "copy it again"},
    {0, BYTES("BM"), "a BMP image", "convert it to PNG"},
    {0, BYTES("GIF8"), "a GIF image", "convert it to PNG"},
    {0, BYTES("\x00\x00\x00\x0cjP  \r\n"), "a JPEG 2000 image",
     "convert it to TIFF or PNG"},
    {0, BYTES("\xff\x4f\xff\x51"), "a JPEG 2000 codestream",
     "convert it to TIFF or PNG"},
    {0, BYTES("\x00\x00\x00\x0cJXL \r\n"), "a JPEG XL image",
     "convert it to PNG"},
    {0, BYTES("\xff\x0a"), "a JPEG XL codestream", "convert it to PNG"},
    {4, BYTES("ftyp"), "an AVIF, HEIC or MP4 file", "convert it to PNG"},
    {0, BYTES("%PDF"), "a PDF document", "export its images"},
    {0, BYTES("%!PS"), "a PostScript document", "export its images"},
    {0, BYTES("\x93NUMPY"), "a NumPy array (.npy)",
     "write it as TIFF or NIfTI, which carry axes and spacing"},
    {0, BYTES("NRRD00"), "an NRRD volume", "convert it to NIfTI"},
    {0, BYTES("ObjectType ="), "a MetaImage header (.mhd, .mha)",
     "convert it to NIfTI"},
    {0, BYTES("CDF\x01"), "a NetCDF file (MINC 1)", "convert it to NIfTI"},
    {0, BYTES("CDF\x02"), "a NetCDF file (MINC 1)", "convert it to NIfTI"},
    {0, BYTES("ZISRAWFILE"), "a Zeiss CZI file",
     "export it as OME-TIFF, with bfconvert for example"},
    {0, BYTES("\xda\xce\xbe\x0a"), "a Nikon ND2 file",
     "export it as OME-TIFF, with bfconvert for example"},
    {0, BYTES("\x70\x00\x00\x00"), "a Leica LIF file",
     "export it as OME-TIFF, with bfconvert for example"},
    {0, BYTES("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
     "a compound document (.oib, .zvi, .mdi, .doc)",
     "export it as OME-TIFF, with bfconvert for example"},
    {0, BYTES("8BPS"), "a Photoshop file", "export it as TIFF"},
    {0, BYTES("\x76\x2f\x31\x01"), "an OpenEXR image", "convert it to TIFF"},
    {0, BYTES("version https://git-lfs"), "a Git LFS pointer, not the file",
     "fetch the file with 'git lfs pull'"},
    {0,
     BYTES("\xfd"
           "7zXZ\x00"),
     "an xz archive", "unpack it first"},
    {0, BYTES("BZh"), "a bzip2 archive", "unpack it first"},
    {0, BYTES("\x28\xb5\x2f\xfd"), "a Zstandard archive", "unpack it first"},
    {0, BYTES("7z\xbc\xaf\x27\x1c"), "a 7-Zip archive", "unpack it first"},
    {0, BYTES("Rar!"), "a RAR archive", "unpack it first"},
    {257, BYTES("ustar"), "a tar archive", "unpack it first"},
    {0, BYTES("\x1f\x8b"), "a gzip archive of something that is no NIfTI",
     "unpack it first"},
    {0, BYTES("SQLite format 3"), "an SQLite database", "export its images"},
    {0, BYTES("<?xml"), "an XML document",
     "check that it is the file you meant"},
    {0, BYTES("<!DOC"), "a web page, not an image",
     "check the download: the server may have sent an error page"},
    {0, BYTES("<html"), "a web page, not an image",
     "check the download: the server may have sent an error page"},
    {0, BYTES("<svg"), "an SVG drawing", "render it to PNG"},
    {0, BYTES("P1\n"), "a PBM image", "convert it to PNG or TIFF"},
    {0, BYTES("P2\n"), "a PGM image", "convert it to PNG or TIFF"},
    {0, BYTES("P3\n"), "a PPM image", "convert it to PNG or TIFF"},
    {0, BYTES("P4\n"), "a PBM image", "convert it to PNG or TIFF"},
    {0, BYTES("P5\n"), "a PGM image", "convert it to PNG or TIFF"},
    {0, BYTES("P6\n"), "a PPM image", "convert it to PNG or TIFF"},
    {0, BYTES("\x89PNG"), "a PNG that a transfer in text mode has damaged",
     "copy it again in binary mode"},
    {0, BYTES("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
     "a file that begins with zeros, as a copy that broke off leaves",
     "copy it again"},
};

static bool
begins(const uint8_t *data, size_t len, const struct magic *m)
{
    return len >= m->at + m->len && memcmp(data + m->at, m->bytes, m->len) == 0;
}

/* A RIFF container says its kind only after its size. */
static bool
is_webp(const uint8_t *data, size_t len)
{
    return len >= 12 && memcmp(data, "RIFF", 4) == 0 &&
           memcmp(data + 8, "WEBP", 4) == 0;
}

/* The header size of an ANALYZE 7.5 file, in either byte order. */
static bool
is_analyze(const uint8_t *data, size_t len)
{
    return len >= 348 && (mri_get32(data) == 348 ||
                          __builtin_bswap32(mri_get32(data)) == 348);
}

static mr_err
refuse_as(mr_diag *diag, const char *what, const char *then)
{
    return mri_fail(diag, MRI_E_SOURCE_FOREIGN, 0,
                    "this is %s, which millrace does not read: %s", what, then);
}

mr_err
sniff_refuse(const uint8_t *data, size_t len, mr_diag *diag)
{
    char hex[17] = "";

    if (len == 0) {
        return mri_fail(diag, MRI_E_SOURCE_EMPTY, 0, "the file is empty");
    }
    for (size_t i = 0; i < MRI_COUNT(magics); i++) {
        if (begins(data, len, &magics[i])) {
            return refuse_as(diag, magics[i].what, magics[i].then);
        }
    }
    if (is_webp(data, len)) {
        return refuse_as(diag, "a WebP image", "convert it to PNG");
    }
    if (is_analyze(data, len)) {
        return refuse_as(diag, "an ANALYZE 7.5 header or a damaged NIfTI",
                         "convert it to NIfTI, with its orientation checked");
    }
    return mri_fail(diag, MRI_E_SOURCE_UNKNOWN, 0,
                    "not a JPEG, PNG, TIFF or NIfTI file (it begins with %s)",
                    mri_hex(hex, data, len < 8 ? len : 8));
}
