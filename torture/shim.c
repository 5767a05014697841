/* Between a process and the C library: makes the n-th call of a kind fail, and writes down every
 * change of the files in a folder, with its flushes, so that a loss of power can be replayed. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t folder_length;
static char failing[16];
static long first_failing, last_failing, calls_seen;
static int failing_errno, hits_file = -1, trace = -1;
static uint64_t flushes;
static long lines_left;

struct record {
    char kind;
    char padding[3];
    uint32_t path_length;
    uint32_t data_length;
    uint32_t pid;
    uint64_t inode;
    int64_t offset;
};

/* From now on calls `first` to `last` of a kind, on files in the folder, fail with an error. */
void torture_fail(const char *in, const char *kind, long first, long last, int error, int hits)
{
    snprintf(folder, sizeof folder, "%s/", in);
    folder_length = strlen(folder);
    snprintf(failing, sizeof failing, "%s", kind);
    first_failing = first;
    last_failing = last;
    failing_errno = error;
    hits_file = hits;
    calls_seen = 0;
}

/* From now on every change in the folder is appended to an open file. With a `last` above 0 the
 * process dies right after that line: so a change was written down if and only if it was made. */
void torture_record(const char *in, int file, long last)
{
    lines_left = last;
    snprintf(folder, sizeof folder, "%s/", in);
    folder_length = strlen(folder);
    trace = file;
}

static void put(char kind, uint64_t inode, int64_t offset, const char *path, const void *data,
                size_t length)
{
    struct record head = {.kind = kind, .pid = (uint32_t)getpid(), .inode = inode, .offset = offset};
    struct iovec parts[3];
    int saved = errno;
    head.path_length = (uint32_t)strlen(path);
    head.data_length = (uint32_t)length;
    parts[0] = (struct iovec){&head, sizeof head};
    parts[1] = (struct iovec){(void *)path, head.path_length};
    parts[2] = (struct iovec){(void *)data, length};
    syscall(SYS_writev, trace, parts, 3);
    if (lines_left > 0 && --lines_left == 0)
        kill(getpid(), SIGKILL);
    errno = saved;
}

/* Something that the program says, between the changes. */
void torture_note(const char *text, size_t length)
{
    if (trace >= 0)
        put('n', 0, 0, "", text, length);
}

static int is_inside(const char *path)
{
    size_t length = strlen(path);
    if (folder_length == 0)
        return 0;
    return strncmp(path, folder, folder_length) == 0 ||
           (length + 1 == folder_length && strncmp(path, folder, length) == 0);
}

static int path_of(int file, char *path)
{
    char link[64];
    ssize_t length;
    if (folder_length == 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_inside(path);
}

static int absolute(int at, const char *name, char *path)
{
    char base[PATH_MAX], link[64];
    ssize_t length;
    if (folder_length == 0)
        return 0;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return is_inside(path);
    }
    snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    length = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
    if (length < 0)
        return 0;
    base[length] = 0;
    if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX)
        return 0;
    return is_inside(path);
}

static int fails(const char *kind)
{
    long number;
    if (failing[0] == 0 || strcmp(kind, failing) != 0)
        return 0;
    number = __atomic_add_fetch(&calls_seen, 1, __ATOMIC_RELAXED);
    if (number < first_failing || number > last_failing)
        return 0;
    if (hits_file >= 0)
        syscall(SYS_write, hits_file, ".", 1);
    errno = failing_errno;
    return 1;
}

#define REAL(type, name, ...)                                                                      \
    static type (*real)(__VA_ARGS__);                                                              \
    if (real == NULL)                                                                              \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name);

static uint64_t inode_of(int file)
{
    struct stat found;
    return fstat(file, &found) == 0 ? found.st_ino : 0;
}

/* A write that is to fail for want of space writes half of it first. */
static size_t shortened(int failed, size_t length)
{
    return failed && failing_errno == ENOSPC ? length / 2 : 0;
}

ssize_t write(int file, const void *data, size_t length)
{
    char path[PATH_MAX];
    ssize_t done;
    REAL(ssize_t, "write", int, const void *, size_t)
    if (!path_of(file, path))
        return real(file, data, length);
    if (fails("write")) {
        size_t half = shortened(calls_seen == first_failing, length);
        if (half == 0)
            return -1;
        length = half;
    }
    done = real(file, data, length);
    if (done > 0 && trace >= 0)
        put('w', inode_of(file), lseek(file, 0, SEEK_CUR) - done, path, data, (size_t)done);
    return done;
}

static ssize_t put_at(ssize_t (*real)(int, const void *, size_t, off_t), int file, const void *data,
                      size_t length, off_t offset)
{
    char path[PATH_MAX];
    ssize_t done;
    if (!path_of(file, path))
        return real(file, data, length, offset);
    if (fails("write")) {
        size_t half = shortened(calls_seen == first_failing, length);
        if (half == 0)
            return -1;
        length = half;
    }
    done = real(file, data, length, offset);
    if (done > 0 && trace >= 0)
        put('w', inode_of(file), offset, path, data, (size_t)done);
    return done;
}

ssize_t pwrite(int file, const void *data, size_t length, off_t offset)
{
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)
    return put_at(real, file, data, length, offset);
}

ssize_t pwrite64(int file, const void *data, size_t length, off_t offset)
{
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t)
    return put_at(real, file, data, length, offset);
}

static int flushed(int (*real)(int), int file)
{
    char path[PATH_MAX];
    struct stat found;
    uint64_t number;
    int done;
    if (!path_of(file, path))
        return real(file);
    if (fails("fsync"))
        return -1;
    number = __atomic_add_fetch(&flushes, 1, __ATOMIC_RELAXED);
    if (trace >= 0)
        put('b', 0, (int64_t)number, path, "", 0);
    done = real(file);
    if (done == 0 && trace >= 0 && fstat(file, &found) == 0)
        put(S_ISDIR(found.st_mode) ? 'd' : 's', found.st_ino, (int64_t)number, path, "", 0);
    return done;
}

int fsync(int file)
{
    REAL(int, "fsync", int)
    return flushed(real, file);
}

int fdatasync(int file)
{
    REAL(int, "fdatasync", int)
    return flushed(real, file);
}

static int cut(int (*real)(int, off_t), int file, off_t length)
{
    char path[PATH_MAX];
    int done;
    if (!path_of(file, path))
        return real(file, length);
    if (fails("ftruncate"))
        return -1;
    done = real(file, length);
    if (done == 0 && trace >= 0)
        put('t', inode_of(file), length, path, "", 0);
    return done;
}

int ftruncate(int file, off_t length)
{
    REAL(int, "ftruncate", int, off_t)
    return cut(real, file, length);
}

int ftruncate64(int file, off_t length)
{
    REAL(int, "ftruncate64", int, off_t)
    return cut(real, file, length);
}

int close(int file)
{
    char path[PATH_MAX];
    int inside;
    REAL(int, "close", int)
    inside = failing[0] && path_of(file, path);
    if (inside && fails("close")) {
        int error = errno;
        real(file);
        errno = error;
        return -1;
    }
    return real(file);
}

static int opened(int (*real)(int, const char *, int, ...), int at, const char *name, int flags,
                  mode_t mode)
{
    char path[PATH_MAX];
    struct stat before;
    int file, is_new;
    if (!absolute(at, name, path))
        return real(at, name, flags, mode);
    if (fails("open"))
        return -1;
    is_new = trace >= 0 && (flags & O_CREAT) && lstat(path, &before) != 0;
    file = real(at, name, flags, mode);
    if (file >= 0 && is_new)
        put('c', inode_of(file), 0, path, "", 0);
    else if (file >= 0 && trace >= 0 && (flags & O_TRUNC))
        put('t', inode_of(file), 0, path, "", 0);
    return file;
}

static mode_t mode_of(int flags, va_list rest)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPENS(symbol, declared, at)                                                                \
    int symbol declared                                                                            \
    {                                                                                              \
        va_list rest;                                                                              \
        mode_t mode;                                                                               \
        static int (*real)(int, const char *, int, ...);                                           \
        if (real == NULL)                                                                          \
            real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat64");             \
        va_start(rest, flags);                                                                     \
        mode = mode_of(flags, rest);                                                               \
        va_end(rest);                                                                              \
        return opened(real, at, path, flags, mode);                                                \
    }

OPENS(open, (const char *path, int flags, ...), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), AT_FDCWD)
OPENS(openat, (int at, const char *path, int flags, ...), at)
OPENS(openat64, (int at, const char *path, int flags, ...), at)

static int named(const char *kind, char record, int at, const char *name, const char *to)
{
    char path[PATH_MAX], other[PATH_MAX];
    if (!absolute(at, name, path))
        return 0;
    if (kind != NULL)
        return fails(kind) ? -1 : 0;
    if (trace < 0)
        return 0;
    other[0] = 0;
    if (to != NULL && !absolute(AT_FDCWD, to, other))
        return 0;
    put(record, 0, 0, path, other, strlen(other));
    return 0;
}

int rename(const char *from, const char *to)
{
    int done;
    REAL(int, "rename", const char *, const char *)
    if (named("rename", 0, AT_FDCWD, from, to))
        return -1;
    done = real(from, to);
    if (done == 0)
        named(NULL, 'r', AT_FDCWD, from, to);
    return done;
}

int link(const char *from, const char *to)
{
    int done;
    REAL(int, "link", const char *, const char *)
    done = real(from, to);
    if (done == 0)
        named(NULL, 'l', AT_FDCWD, from, to);
    return done;
}

int unlink(const char *path)
{
    int done;
    REAL(int, "unlink", const char *)
    if (named("unlink", 0, AT_FDCWD, path, NULL))
        return -1;
    done = real(path);
    if (done == 0)
        named(NULL, 'u', AT_FDCWD, path, NULL);
    return done;
}

int mkdir(const char *path, mode_t mode)
{
    int done;
    REAL(int, "mkdir", const char *, mode_t)
    if (named("mkdir", 0, AT_FDCWD, path, NULL))
        return -1;
    done = real(path, mode);
    if (done == 0)
        named(NULL, 'm', AT_FDCWD, path, NULL);
    return done;
}
