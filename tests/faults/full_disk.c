/* A disk that is full from its n-th writing operation on, for whatever program is preloaded with it.

   FULL_BELOW  the folder that it holds, as its real path
   FULL_AFTER  how many operations succeed
   FULL_ERROR  the number of the error of all later ones
   FULL_COUNT  a file outside of it, to which a byte is appended for each operation

   Operations are those that need room: making a file or folder, writing, renaming, flushing.
   Deleting and reading always succeed. Without FULL_BELOW nothing is changed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long done;

static int is_below(const char *path) {
    const char *folder = getenv("FULL_BELOW");
    return folder && path && !strncmp(path, folder, strlen(folder));
}

static int is_handle_below(int handle) {
    char name[64], path[PATH_MAX + 1];
    if (!getenv("FULL_BELOW")) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(name, path, PATH_MAX);
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

static int fails(void) {
    static ssize_t (*real)(int, const void *, size_t);
    const char *count = getenv("FULL_COUNT"), *after = getenv("FULL_AFTER");
    if (count) {
        if (!real) real = dlsym(RTLD_NEXT, "write");
        int handle = open(count, O_WRONLY | O_APPEND | O_CREAT, 0666);
        if (handle >= 0 && real(handle, "x", 1)) {}
        close(handle);
    }
    long before = __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
    if (!after || before < atol(after)) return 0;
    errno = atoi(getenv("FULL_ERROR"));
    return 1;
}

#define WRAPPED(type, name, arguments, call, below)                       \
    type name arguments {                                                 \
        static type(*real) arguments;                                     \
        if (!real) real = (type(*) arguments)dlsym(RTLD_NEXT, #name);      \
        if ((below) && fails()) return -1;                                \
        return real call;                                                 \
    }

WRAPPED(ssize_t, write, (int f, const void *b, size_t n), (f, b, n), is_handle_below(f))
WRAPPED(ssize_t, writev, (int f, const struct iovec *v, int n), (f, v, n), is_handle_below(f))
WRAPPED(ssize_t, pwrite, (int f, const void *b, size_t n, off_t o), (f, b, n, o), is_handle_below(f))
WRAPPED(ssize_t, pwrite64, (int f, const void *b, size_t n, off64_t o), (f, b, n, o), is_handle_below(f))
WRAPPED(int, ftruncate64, (int f, off64_t n), (f, n), n > 0 && is_handle_below(f))
WRAPPED(int, fsync, (int f), (f), is_handle_below(f))
WRAPPED(int, fdatasync, (int f), (f), is_handle_below(f))
WRAPPED(int, mkdir, (const char *p, mode_t m), (p, m), is_below(p))
WRAPPED(int, rename, (const char *a, const char *b), (a, b), is_below(b))

#define OPENING(name)                                                     \
    int name(const char *path, int flags, ...) {                          \
        static int (*real)(const char *, int, ...);                       \
        va_list rest;                                                     \
        va_start(rest, flags);                                            \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                     \
        if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        if (flags & O_CREAT && is_below(path) && access(path, F_OK) && fails()) return -1; \
        return real(path, flags, mode);                                   \
    }

OPENING(open)
OPENING(open64)
