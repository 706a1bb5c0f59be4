/*
 * The outputs: one thread per injector and per coil, like one compare unit per pin of an engine controller's timer.
 *
 * The wheel's thread arms an output by writing to its ring, of which it alone moves the end and the output's thread alone the
 * beginning, and posting its semaphore; neither waits for the other and there is no lock. One pin's switchings are in order by
 * nature, so the kernel's timer queue is the only one that sorts. An absolute clock_nanosleep() ends each wait: its timer runs in
 * the hard interrupt even on PREEMPT_RT, where the signal of a POSIX timer takes the way through a softirq thread.
 */
#ifndef ECU_OUTPUTS_H
#define ECU_OUTPUTS_H

#include "controller.h"
#include "lateness.h"

#include <pthread.h>
#include <semaphore.h>

enum { RING = 8, KINDS_PER_OUTPUT = 2 };

struct output {
    sem_t armed;
    struct switching ring[RING];
    uint32_t begin, end; /* both only grow */
    pthread_t thread;
    const int64_t *start_ns;
    struct lateness lateness[KINDS_PER_OUTPUT]; /* by kind modulo 2 */
    int64_t cpu_ns;
};

/* Wait for work; start_ns is read when there is some. Returns 0 or what errno would be. */
int output_start(struct output *output, int priority, const int64_t *start_ns);

/* False if the output is too far behind to take more. */
bool output_arm(struct output *output, const struct switching *switching);

/* Returns when all that was armed has been done. */
void output_finish(struct output *output);

#endif
