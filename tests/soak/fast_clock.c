/* A clock that runs faster: preloaded into a process, its waits are shorter and its clocks go on faster.
 *
 * FAST_CLOCK="factor mono wall boot": a whole number, and ns of CLOCK_MONOTONIC, CLOCK_REALTIME and CLOCK_BOOTTIME at the
 * instant from which on time is fast, one for all processes that are to agree:
 *
 *     simulated = base + (real - base) * factor
 *
 * where `real` is CLOCK_MONOTONIC for all three, so that they never drift apart. Every wait is divided by the factor and rounded
 * up: nobody wakes before the simulated time that was asked for. CLOCK_MONOTONIC_RAW and the clocks of processor time
 * stay real. Where the variable is missing the factor is 1.
 *
 * The other two clocks, read for the first time after the monotonic one and within 100 ms, show its instant, as they nearly do
 * in real time: between the two reads another process may have had the processor for 10 ms, which would look like a clock that was
 * stepped by seconds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>

#define NS 1000000000LL
#define AT_ONCE_NS 100000000

enum { MONO, WALL, BOOT, CLOCKS };

static int64_t factor = 1, base[CLOCKS];

static struct {
    int (*clock_gettime)(clockid_t, struct timespec *);
    int (*epoll_pwait2)(int, struct epoll_event *, int, const struct timespec *, const sigset_t *);
    int (*ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
    int (*pselect)(int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *);
    int (*clock_nanosleep)(clockid_t, int, const struct timespec *, struct timespec *);
    int (*sem_clockwait)(sem_t *, clockid_t, const struct timespec *);
    int (*sem_timedwait)(sem_t *, const struct timespec *);
    int (*cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    int (*cond_clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    int (*sigtimedwait)(const sigset_t *, siginfo_t *, const struct timespec *);
} real;

/* The last instant of the monotonic clock that this thread read, and which clocks showed it since. */
static _Thread_local struct { int64_t ns; unsigned shown; } last;

__attribute__((constructor)) static void start(void)
{
    if (real.clock_gettime != NULL)
        return;
#define FIND(name) *(void **)&real.name = dlsym(RTLD_NEXT, #name)
    FIND(clock_gettime);
    FIND(epoll_pwait2);
    FIND(ppoll);
    FIND(pselect);
    FIND(clock_nanosleep);
    FIND(sem_clockwait);
    FIND(sem_timedwait);
    FIND(sigtimedwait);
#undef FIND
    /* The name alone may find the function of before 2003, whose conditions look different. */
    *(void **)&real.cond_timedwait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (real.cond_timedwait == NULL)
        *(void **)&real.cond_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    *(void **)&real.cond_clockwait = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    const char *said = getenv("FAST_CLOCK");
    if (said != NULL && (sscanf(said, "%ld %ld %ld %ld", &factor, &base[MONO], &base[WALL], &base[BOOT]) != 4 ||
                         factor < 1)) {
        fprintf(stderr, "fast_clock: FAST_CLOCK=\"%s\" is not \"factor mono wall boot\"\n", said);
        abort();
    }
}

static int64_t ns_of(const struct timespec *time) { return time->tv_sec * NS + time->tv_nsec; }

static struct timespec time_of(int64_t ns) { return (struct timespec){.tv_sec = ns / NS, .tv_nsec = ns % NS}; }

static int64_t read_real(clockid_t clock)
{
    struct timespec now;
    start();
    real.clock_gettime(clock, &now);
    return ns_of(&now);
}

static int which(clockid_t clock)
{
    switch (clock) {
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE: return MONO;
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE: return WALL;
    case CLOCK_BOOTTIME: return BOOT;
    default: return -1;
    }
}

static int64_t shorter(int64_t ns) { return ns <= 0 ? ns : (ns + factor - 1) / factor; }

/* A simulated instant of a clock as the real clock will have it. */
static int64_t real_instant(int clock, int64_t ns) { return base[clock] + shorter(ns - base[clock]); }

static const struct timespec *shorter_time(const struct timespec *wait, struct timespec *scratch)
{
    if (wait == NULL)
        return NULL;
    *scratch = time_of(shorter(ns_of(wait)));
    return scratch;
}

static const struct timespec *shorter_until(clockid_t clock, const struct timespec *until, struct timespec *scratch)
{
    int index = which(clock);
    if (index < 0)
        return until;
    *scratch = time_of(real_instant(index, ns_of(until)));
    return scratch;
}

/* -- clocks */

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int index = which(clock);
    start();
    if (index < 0)
        return real.clock_gettime(clock, now);
    int64_t ns = read_real(CLOCK_MONOTONIC);
    if (index == MONO) {
        last.ns = ns;
        last.shown = 0;
    } else if (!(last.shown >> index & 1U) && ns - last.ns < AT_ONCE_NS) {
        ns = last.ns;
    }
    last.shown |= 1U << index;
    *now = time_of(base[index] + (ns - base[MONO]) * factor);
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec time;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &time);
    *now = (struct timeval){.tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *now)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    if (now != NULL)
        *now = time.tv_sec;
    return time.tv_sec;
}

/* -- waits. What was read before one is of another instant. */

static void waits(void)
{
    start();
    last.ns = 0;
}

int epoll_pwait2(int fd, struct epoll_event *events, int room, const struct timespec *wait, const sigset_t *mask)
{
    struct timespec scratch;
    waits();
    return real.epoll_pwait2(fd, events, room, shorter_time(wait, &scratch), mask);
}

int epoll_pwait(int fd, struct epoll_event *events, int room, int wait_ms, const sigset_t *mask)
{
    struct timespec wait = time_of(wait_ms * 1000000LL);
    return epoll_pwait2(fd, events, room, wait_ms < 0 ? NULL : &wait, mask);
}

int epoll_wait(int fd, struct epoll_event *events, int room, int wait_ms)
{
    return epoll_pwait(fd, events, room, wait_ms, NULL);
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *wait, const sigset_t *mask)
{
    struct timespec scratch;
    waits();
    return real.ppoll(fds, count, shorter_time(wait, &scratch), mask);
}

int poll(struct pollfd *fds, nfds_t count, int wait_ms)
{
    struct timespec wait = time_of(wait_ms * 1000000LL);
    return ppoll(fds, count, wait_ms < 0 ? NULL : &wait, NULL);
}

/* What a libc that checks its buffers calls for poll. */
int __poll_chk(struct pollfd *fds, nfds_t count, int wait_ms, size_t size);
int __poll_chk(struct pollfd *fds, nfds_t count, int wait_ms, size_t size)
{
    (void)size;
    return poll(fds, count, wait_ms);
}

int pselect(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict errors,
            const struct timespec *restrict wait, const sigset_t *restrict mask)
{
    struct timespec scratch;
    waits();
    return real.pselect(count, reads, writes, errors, shorter_time(wait, &scratch), mask);
}

int select(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict errors,
           struct timeval *restrict wait)
{
    struct timespec time = {0, 0};
    if (wait != NULL)
        time = time_of(wait->tv_sec * NS + wait->tv_usec * 1000LL);
    return pselect(count, reads, writes, errors, wait == NULL ? NULL : &time, NULL);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wait, struct timespec *left)
{
    struct timespec scratch;
    waits();
    if (flags & TIMER_ABSTIME)
        return real.clock_nanosleep(clock, flags, shorter_until(clock, wait, &scratch), left);
    int code = real.clock_nanosleep(clock, flags, shorter_time(wait, &scratch), left);
    if (code != 0 && left != NULL)
        *left = time_of(ns_of(left) * factor);
    return code;
}

int nanosleep(const struct timespec *wait, struct timespec *left)
{
    errno = clock_nanosleep(CLOCK_MONOTONIC, 0, wait, left);
    return errno == 0 ? 0 : -1;
}

int sigtimedwait(const sigset_t *restrict set, siginfo_t *restrict info, const struct timespec *restrict wait)
{
    struct timespec scratch;
    waits();
    return real.sigtimedwait(set, info, shorter_time(wait, &scratch));
}

int sem_clockwait(sem_t *restrict lock, clockid_t clock, const struct timespec *restrict until)
{
    struct timespec scratch;
    waits();
    return real.sem_clockwait(lock, clock, shorter_until(clock, until, &scratch));
}

int sem_timedwait(sem_t *restrict lock, const struct timespec *restrict until)
{
    struct timespec scratch;
    waits();
    return real.sem_timedwait(lock, shorter_until(CLOCK_REALTIME, until, &scratch));
}

/* The clock of a condition cannot be asked for: an instant of more than 30 years is one of 1970's. */
int pthread_cond_timedwait(pthread_cond_t *restrict changed, pthread_mutex_t *restrict lock,
                           const struct timespec *restrict until)
{
    struct timespec scratch;
    waits();
    clockid_t clock = until->tv_sec > 1000000000 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    return real.cond_timedwait(changed, lock, shorter_until(clock, until, &scratch));
}

int pthread_cond_clockwait(pthread_cond_t *restrict changed, pthread_mutex_t *restrict lock, clockid_t clock,
                           const struct timespec *restrict until)
{
    struct timespec scratch;
    waits();
    return real.cond_clockwait(changed, lock, clock, shorter_until(clock, until, &scratch));
}
