/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint.c - addresses of servers, and which of them are allowed. */
#include <mri/endpoint.h>

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/opt.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <arpa/inet.h>

bool
mri_is_endpoint(const char *source)
{
    return strstr(source, "://") != NULL;
}

const char *
mri_endpoint_path(const mri_endpoint *e)
{
    return e->address + strlen("ipc://");
}

/* 127.0.0.0/8, ::1 or localhost; `host` may stand in brackets. */
static bool
is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    char bare[64];
    size_t n = strlen(host);

    if (strcmp(host, "localhost") == 0) {
        return true;
    }
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    if (n < 3 || n >= sizeof bare || host[0] != '[' || host[n - 1] != ']') {
        return false;
    }
    memcpy(bare, host + 1, n - 2);
    bare[n - 2] = '\0';
    return inet_pton(AF_INET6, bare, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static mr_err
parse_tcp(const mri_endpoint *e, mr_diag *diag)
{
    const char *host = e->address + strlen("tcp://");
    const char *colon = strrchr(host, ':');
    uint64_t port;
    char name[MRI_ENDPOINT_BYTES];

    if (colon == NULL || colon == host || !mri_parse_u64(colon + 1, &port) ||
        port == 0 || port > 65535) {
        return mri_fail(diag, MRI_E_ENDPOINT, MR_NOWHERE,
                        "'%s' needs a host and a port from 1 to 65535",
                        e->address);
    }
    memcpy(name, host, (size_t)(colon - host));
    name[colon - host] = '\0';
    if (!is_loopback(name)) {
        return mri_fail(diag, MRI_E_ENDPOINT_REMOTE, MR_NOWHERE,
                        "'%s' is not an address of this machine's loopback",
                        e->address);
    }
    return MR_OK;
}

static mr_err
parse_ipc(mri_endpoint *e, mr_diag *diag)
{
    struct sockaddr_un limit;
    const char *path = mri_endpoint_path(e);

    e->ipc = true;
    if (path[0] != '/') { /* also '@', the namespace without rights */
        return mri_fail(diag, MRI_E_ENDPOINT, MR_NOWHERE,
                        "'%s' needs a path from the root: ipc:///run/...",
                        e->address);
    }
    if (strlen(path) >= sizeof limit.sun_path) {
        return mri_fail(diag, MRI_E_ENDPOINT, MR_NOWHERE,
                        "'%s': a socket's path has at most %zu bytes",
                        e->address, sizeof limit.sun_path - 1);
    }
    return MR_OK;
}

mr_err
mri_endpoint_parse(mri_endpoint *out, const char *text, size_t bytes,
                   mr_diag *diag)
{
    const char *hash = memchr(text, '#', bytes);
    size_t address = hash != NULL ? (size_t)(hash - text) : bytes;
    size_t name = hash != NULL ? bytes - address - 1 : 0;

    *out = (mri_endpoint){.ipc = false};
    if (address >= sizeof out->address || name >= sizeof out->name) {
        return mri_fail(diag, MRI_E_ENDPOINT, MR_NOWHERE,
                        "an address of %zu bytes is too long", bytes);
    }
    memcpy(out->address, text, address);
    memcpy(out->name, hash != NULL ? hash + 1 : text, name);
    if (strncmp(out->address, "tcp://", 6) == 0) {
        return parse_tcp(out, diag);
    }
    if (strncmp(out->address, "ipc://", 6) == 0) {
        return parse_ipc(out, diag);
    }
    return mri_fail(diag, MRI_E_ENDPOINT, MR_NOWHERE,
                    "'%s' begins neither with ipc:// nor with tcp://",
                    out->address);
}

mr_err
mri_endpoint_list(mri_endpoint *out, size_t room, size_t *count,
                  const char *source, mr_diag *diag)
{
    *count = 0;
    for (const char *p = source; p != NULL;) {
        size_t n = strcspn(p, ",");
        mr_err err;

        if (*count == room) {
            return mri_fail(diag, MRI_E_ENDPOINT, MR_NOWHERE,
                            "more than %zu addresses", room);
        }
        err = mri_endpoint_parse(&out[*count], p, n, diag);
        if (err != MR_OK) {
            return err;
        }
        *count += 1;
        p = p[n] == ',' ? p + n + 1 : NULL;
    }
    return MR_OK;
}

/* A folder of ours that nobody else may enter. */
static mr_err
private_folder(const char *dir, mr_diag *diag)
{
    struct stat st;
    mr_err err;

    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        err = mri_fail(diag, MRI_E_SOCKET_FOLDER, MR_NOWHERE,
                       "cannot create the folder: %s", strerror(errno));
        mri_diag_in(diag, dir);
        return err;
    }
    if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode) ||
        st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        err = mri_fail(diag, MRI_E_SOCKET_FOLDER, MR_NOWHERE,
                       "is not a folder of yours alone (mode 0700)");
        mri_diag_in(diag, dir);
        return err;
    }
    return MR_OK;
}

mr_err
mri_endpoint_default(mri_endpoint *out, mr_diag *diag)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char dir[200], text[256];
    mr_err err;

    if (runtime != NULL && runtime[0] == '/' && strlen(runtime) < 80) {
        (void)snprintf(dir, sizeof dir, "%s/millrace", runtime);
    } else {
        (void)snprintf(dir, sizeof dir, "/tmp/millrace-%u",
                       (unsigned)geteuid());
    }
    err = private_folder(dir, diag);
    if (err != MR_OK) {
        return err;
    }
    (void)snprintf(text, sizeof text, "ipc://%s/serve.sock", dir);
    return mri_endpoint_parse(out, text, strlen(text), diag);
}

static mr_err
check_folder(const char *dir, mr_diag *diag)
{
    struct stat st;
    mr_err err;

    if (stat(dir, &st) != 0) {
        err = mri_fail(diag, MRI_E_SOCKET_FOLDER, MR_NOWHERE, "cannot open: %s",
                       strerror(errno));
        mri_diag_in(diag, dir);
        return err;
    }
    if (!S_ISDIR(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0) ||
        ((st.st_mode & 022) != 0 && (st.st_mode & S_ISVTX) == 0)) {
        err = mri_fail(diag, MRI_E_SOCKET_FOLDER, MR_NOWHERE,
                       "a socket here could be replaced by another user");
        mri_diag_in(diag, dir);
        return err;
    }
    return MR_OK;
}

mr_err
mri_endpoint_claim(const mri_endpoint *e, struct mri_lock *lock, mr_diag *diag)
{
    const char *path = mri_endpoint_path(e);
    char *dir = mri_path_dir(path);
    char file[sizeof e->address + 8];
    struct stat st;
    mr_err err = dir != NULL
                     ? check_folder(dir, diag)
                     : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");

    *lock = (mri_lock){.fd = -1};
    mri_free(dir);
    if (err != MR_OK) {
        return err;
    }
    (void)snprintf(file, sizeof file, "%s.lock", path);
    err = mri_lock_take(lock, file, diag);
    if (err == MR_EBUSY) {
        char held[sizeof diag->text];

        memcpy(held, diag != NULL ? diag->text : "",
               diag != NULL ? sizeof held : 1);
        mri_diag_clear(diag);
        return mri_fail(diag, MRI_E_PORT_TAKEN, MR_NOWHERE,
                        "'%s' is served already: %.300s", e->address, held);
    }
    if (err == MR_OK && lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) {
            mri_lock_release(lock);
            return mri_fail(diag, MRI_E_ENDPOINT, MR_NOWHERE,
                            "'%s' is there and is no socket", path);
        }
        (void)unlink(path); /* its server is dead: the lock was free */
    }
    return err;
}
