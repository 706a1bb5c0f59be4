/*
 * lockstep: preloaded into the QEMU of a sealed machine, it lets QEMU's main loop and the emulated cores take turns.
 *
 * With -icount all emulated cores share one thread, and where all of them sleep, the main loop lets the virtual clock jump to the next timer
 * (sleep=off). The main loop is woken at other times too, each time a timer has expired, and then looks at cores that run: when it finds the last
 * of them between its instruction that sleeps and the account of its instructions, the clock jumps too far. Which moment it finds depends on how the
 * computer shares out its time, so one run in dozens had other bins.
 *
 * Here the main loop waits, whatever wakes it, until the cores' thread waits for it; and from when it has told that thread to go on, until that
 * thread waits again. Both happen under QEMU's own lock, so nothing is changed of what either does, only when.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_NS = 100 * 1000 * 1000, ENOUGH = 1000 };

/* QEMU's own: whether it has been told to end, by a signal or by its machine. */
extern int qemu_shutdown_requested_get(void) __attribute__((weak));

/* QEMU's own: whether this thread holds QEMU's lock. */
extern _Bool bql_locked(void) __attribute__((weak));

static atomic_int cores_wait;                     /* 1 from when the cores' thread waits until it is told to go on */
static _Atomic(pthread_cond_t *) cores_condition; /* for what it waits, or has waited last */
static atomic_int polls;                          /* of the main loop */
static atomic_int cores;                          /* their thread; 0 before it has waited */

#define NEXT(function) ((__typeof__(&function))next(#function))

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        fprintf(stderr, "lockstep: the C library has no %s\n", name);
        _exit(1);
    }
    return found;
}

/* The functions that are replaced here are those that this QEMU calls. */
static void require(int is_called, const char *function)
{
    if (is_called)
        return;
    fprintf(stderr, "lockstep: this QEMU does not wait in %s, so its main loop and its cores cannot take turns\n", function);
    _exit(1);
}

static int is_main_thread(void)
{
    return gettid() == getpid();
}

/* A file in the current folder says so. Of all programs that have this preloaded only QEMU is meant, not the shell that starts it. */
__attribute__((constructor)) static void say_so(void)
{
    if (!qemu_shutdown_requested_get)
        return;
    if (creat("in_lockstep", 0644) < 0) {
        perror("lockstep: in_lockstep cannot be written");
        _exit(1);
    }
}

/* The first thread that waits, other than the main one, is that of the cores: it waits for the machine to start. */
int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    static __typeof__(&pthread_cond_wait) wait;
    static int waits;
    if (!wait)
        wait = NEXT(pthread_cond_wait);
    if (is_main_thread() || (cores && cores != gettid()))
        return wait(condition, mutex);
    cores = gettid();
    if (++waits == ENOUGH)
        require(polls, "ppoll");
    cores_condition = condition;
    cores_wait = 1;
    syscall(SYS_futex, &cores_wait, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    int error = wait(condition, mutex);
    cores_wait = 0;
    return error;
}

static void told_to_go_on(pthread_cond_t *condition)
{
    if (condition == cores_condition)
        cores_wait = 0;
}

int pthread_cond_broadcast(pthread_cond_t *condition)
{
    static __typeof__(&pthread_cond_broadcast) broadcast;
    if (!broadcast)
        broadcast = NEXT(pthread_cond_broadcast);
    told_to_go_on(condition);
    return broadcast(condition);
}

int pthread_cond_signal(pthread_cond_t *condition)
{
    static __typeof__(&pthread_cond_signal) wake;
    if (!wake)
        wake = NEXT(pthread_cond_signal);
    told_to_go_on(condition);
    return wake(condition);
}

/*
 * The main loop holds QEMU's lock except in here. When QEMU is to end, it does not wait for cores that may never sleep; and when it ends, it polls
 * while it holds the lock, for which cores that were told to go on may wait.
 */
int ppoll(struct pollfd *files, nfds_t count, const struct timespec *timeout, const sigset_t *signals)
{
    static __typeof__(&ppoll) poll_files;
    const struct timespec look = {0, LOOK_NS};
    if (!poll_files)
        poll_files = NEXT(ppoll);
    int ready = poll_files(files, count, timeout, signals);
    if (!is_main_thread() || !qemu_shutdown_requested_get || (bql_locked && bql_locked()))
        return ready;
    const int error = errno;
    if (++polls == ENOUGH)
        require(cores, "pthread_cond_wait");
    while (cores && !cores_wait && !qemu_shutdown_requested_get())
        syscall(SYS_futex, &cores_wait, FUTEX_WAIT_PRIVATE, 0, &look, NULL, 0);
    errno = error;
    return ready;
}
