/* Clocks and threads: see realtime.h. */
#define _POSIX_C_SOURCE 200809L
#include "realtime.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

enum { STACK_BYTES = 256 * 1024, NS_PER_S = 1000000000 }; /* all of a stack is locked in memory */

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t thread_cpu_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

int64_t sleep_until(int64_t instant_ns)
{
    struct timespec instant;
    instant.tv_sec = (time_t)(instant_ns / NS_PER_S);
    instant.tv_nsec = (long)(instant_ns % NS_PER_S);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &instant, NULL) == EINTR)
        ;
    return monotonic_ns();
}

/* By the attributes of pthreads: musl has no sched_setscheduler(). */
int start_thread(pthread_t *thread, int priority, void *(*body)(void *), void *argument)
{
    pthread_attr_t attributes;
    struct sched_param parameters = {.sched_priority = priority};
    int error = pthread_attr_init(&attributes);
    if (error)
        return error;
    error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (!error && priority > 0) {
        pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
        error = pthread_attr_setschedparam(&attributes, &parameters);
    }
    if (!error)
        error = pthread_create(thread, &attributes, body, argument);
    pthread_attr_destroy(&attributes);
    return error;
}
