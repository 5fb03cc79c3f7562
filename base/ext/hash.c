/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c - XXH3 by its header, SHA-256 by OpenSSL. */
#include <mri/hash.h>

#include <mri/alloc.h>
#include <mri/bytes.h>

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t
mri_xxh3(const void *p, size_t bytes)
{
    return XXH3_64bits(p, bytes);
}

uint64_t
mri_xxh3_seeded(const void *p, size_t bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, bytes, seed);
}

uint64_t
mri_xxh3_two(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    XXH3_state_t s;

    (void)XXH3_64bits_reset(&s);
    (void)XXH3_64bits_update(&s, a, a_bytes);
    (void)XXH3_64bits_update(&s, b, b_bytes);
    return XXH3_64bits_digest(&s);
}

void
mri_xxh3_128(uint8_t out[16], const void *p, size_t bytes)
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(p, bytes));
    memcpy(out, canonical.digest, 16);
}

struct mri_xxh3_state {
    XXH3_state_t state;
};

mri_xxh3_state *
mri_xxh3_begin(void)
{
    mri_xxh3_state *s = mri_alloc_pixels(1, sizeof *s); /* 64-byte aligned */

    if (s != NULL) {
        (void)XXH3_64bits_reset(&s->state);
    }
    return s;
}

void
mri_xxh3_add(mri_xxh3_state *s, const void *p, size_t bytes)
{
    (void)XXH3_64bits_update(&s->state, p, bytes);
}

uint64_t
mri_xxh3_end(const mri_xxh3_state *s)
{
    return XXH3_64bits_digest(&s->state);
}

void
mri_xxh3_free(mri_xxh3_state *s)
{
    mri_free(s);
}

/* Looked up once: fetching it by name for each use costs more than hashing a
 * small file. Never freed, as a process has one. */
static EVP_MD *sha256;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

struct mri_sha256 {
    EVP_MD_CTX *context;
};

mri_sha256 *
mri_sha256_begin(void)
{
    mri_sha256 *s = mri_alloc(1, sizeof *s);

    pthread_once(&once, fetch);
    if (s == NULL || sha256 == NULL) {
        mri_free(s);
        return NULL;
    }
    s->context = EVP_MD_CTX_new();
    if (s->context == NULL ||
        EVP_DigestInit_ex2(s->context, sha256, NULL) != 1) {
        mri_sha256_free(s);
        return NULL;
    }
    return s;
}

void
mri_sha256_add(mri_sha256 *s, const void *p, size_t bytes)
{
    int ok = EVP_DigestUpdate(s->context, p, bytes);

    assert(ok == 1); /* it cannot fail once begun */
    (void)ok;
}

void
mri_sha256_u64(mri_sha256 *s, uint64_t v)
{
    uint8_t raw[8];

    mri_put64(raw, v);
    mri_sha256_add(s, raw, sizeof raw);
}

void
mri_sha256_end(mri_sha256 *s, uint8_t out[32])
{
    unsigned n = 32;
    int ok = EVP_DigestFinal_ex(s->context, out, &n);

    assert(ok == 1 && n == 32);
    (void)ok;
}

void
mri_sha256_free(mri_sha256 *s)
{
    if (s != NULL) {
        EVP_MD_CTX_free(s->context);
        mri_free(s);
    }
}

void
mri_sha256_of(uint8_t out[32], const void *p, size_t bytes)
{
    unsigned n = 32;
    int ok;

    pthread_once(&once, fetch);
    assert(sha256 != NULL);
    ok = EVP_Digest(p, bytes, out, &n, sha256, NULL);
    assert(ok == 1 && n == 32);
    (void)ok;
}
