/* What POSIX offers to be on time: absolute sleeps on the monotonic clock, threads of the policy SCHED_FIFO. */
#ifndef ECU_REALTIME_H
#define ECU_REALTIME_H

#include <pthread.h>
#include <stdint.h>

int64_t monotonic_ns(void);

/* The processor time that the calling thread has had. */
int64_t thread_cpu_ns(void);

/* Returns the time at which it woke. */
int64_t sleep_until(int64_t instant_ns);

/* With SCHED_FIFO and that priority, or as the caller is if it is 0. Returns 0 or what errno would be. */
int start_thread(pthread_t *thread, int priority, void *(*body)(void *), void *argument);

#endif
