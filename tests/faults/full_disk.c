/* A disk that is full from its n-th writing operation on, for whatever program is preloaded with it.

   FULL_BELOW  the folder that it holds, as its real path
   FULL_AFTER  how many operations succeed
   FULL_ERROR  the number of the error of all later ones
   FULL_TRACE  a file outside of it, to which a line is appended for each operation: its name, a
               blank, and the path

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
/* Where the handle that was looked at last leads, in each thread. */
static __thread char place[PATH_MAX + 1];

static int is_below(const char *path) {
    const char *folder = getenv("FULL_BELOW");
    return folder && path && !strncmp(path, folder, strlen(folder));
}

static int is_handle_below(int handle) {
    char name[64];
    if (!getenv("FULL_BELOW")) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(name, place, PATH_MAX);
    if (length < 0) return 0;
    place[length] = 0;
    return is_below(place);
}

static int fails(const char *operation, const char *path) {
    static ssize_t (*real)(int, const void *, size_t);
    const char *trace = getenv("FULL_TRACE"), *after = getenv("FULL_AFTER");
    if (trace) {
        char line[PATH_MAX + 32];
        if (!real) real = dlsym(RTLD_NEXT, "write");
        int length = snprintf(line, sizeof line, "%s %s\n", operation, path);
        int handle = open(trace, O_WRONLY | O_APPEND | O_CREAT, 0666);
        if (handle >= 0 && real(handle, line, length)) {}
        close(handle);
    }
    long before = __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
    if (!after || before < atol(after)) return 0;
    errno = atoi(getenv("FULL_ERROR"));
    return 1;
}

#define WRAPPED(type, name, arguments, call, below, path)                 \
    type name arguments {                                                 \
        static type(*real) arguments;                                     \
        if (!real) real = (type(*) arguments)dlsym(RTLD_NEXT, #name);      \
        if ((below) && fails(#name, path)) return -1;                     \
        return real call;                                                 \
    }
#define HANDLE(type, name, arguments, call) \
    WRAPPED(type, name, arguments, call, is_handle_below(f), place)

HANDLE(ssize_t, write, (int f, const void *b, size_t n), (f, b, n))
HANDLE(ssize_t, writev, (int f, const struct iovec *v, int n), (f, v, n))
HANDLE(ssize_t, pwrite, (int f, const void *b, size_t n, off_t o), (f, b, n, o))
HANDLE(ssize_t, pwrite64, (int f, const void *b, size_t n, off64_t o), (f, b, n, o))
HANDLE(ssize_t, sendfile, (int f, int s, off_t *o, size_t n), (f, s, o, n))
HANDLE(ssize_t, sendfile64, (int f, int s, off64_t *o, size_t n), (f, s, o, n))
HANDLE(ssize_t, copy_file_range, (int s, off64_t *a, int f, off64_t *b, size_t n, unsigned k),
       (s, a, f, b, n, k))
HANDLE(int, fsync, (int f), (f))
HANDLE(int, fdatasync, (int f), (f))
WRAPPED(int, ftruncate64, (int f, off64_t n), (f, n), n > 0 && is_handle_below(f), place)
WRAPPED(int, mkdir, (const char *p, mode_t m), (p, m),
        is_below(p) && access(p, F_OK), p)
WRAPPED(int, rename, (const char *a, const char *b), (a, b), is_below(b), b)
WRAPPED(int, link, (const char *a, const char *b), (a, b), is_below(b), b)
WRAPPED(int, symlink, (const char *a, const char *b), (a, b), is_below(b), b)

/* A full disk lets a file be opened that is there; one that may only be read does not. */
static int is_refused(const char *operation, const char *path, int flags) {
    if (!is_below(path) || (flags & O_ACCMODE) == O_RDONLY) return 0;
    if (access(path, F_OK)) return flags & O_CREAT && fails(operation, path);
    const char *error = getenv("FULL_ERROR");
    return fails(operation, path) && atoi(error) == EROFS;
}

#define OPENING(name)                                                     \
    int name(const char *path, int flags, ...) {                          \
        static int (*real)(const char *, int, ...);                       \
        va_list rest;                                                     \
        va_start(rest, flags);                                            \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                     \
        if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        if (is_refused(#name, path, flags)) return -1;                    \
        return real(path, flags, mode);                                   \
    }

OPENING(open)
OPENING(open64)
