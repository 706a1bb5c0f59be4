/*
 * A run: the wheel's thread meets each tooth at its instant, lets the controller follow it and arms the outputs.
 *
 * Who falls behind by more than a revolution has lost sync, as an engine controller has that misses the gap; so has who, for a
 * whole revolution, met each tooth only after the next one was due. The rest of that revolution is lost, and so are those until
 * one begins at least half a revolution from now, for which the thread then sleeps: on a machine that is too slow there is time
 * left for others, even if this is the highest priority of its only core. The controller goes through lost revolutions as well,
 * out of time, so that all that should have been is counted and computed.
 */
#ifndef ECU_RUN_H
#define ECU_RUN_H

#include "controller.h"
#include "lateness.h"
#include "outputs.h"

struct options {
    const char *profile; /* NULL: rpm */
    int32_t rpm;
    double duration_s;
    int64_t revolutions; /* at most */
    uint32_t seed;
    double tolerance_deg, injection_tolerance_deg;
    int priority, cpu; /* cpu -1: wherever */
    bool realtime, strict, summary;
    int64_t histogram_us, digest_revolutions;
};

/* expected = seen (or fired, lateness.count) + lost */
struct count {
    uint64_t expected, lost;
    struct lateness lateness;
};

struct run {
    const struct options *options;
    struct controller controller;
    struct output outputs[OUTPUTS];
    struct count teeth, events[KINDS];
    int64_t start_ns, end_ns;
    int64_t duration_ns; /* no revolution begins at it or later */
    int64_t tooth_0_ns, fastest_ns, slowest_ns; /* the last one, and the extremes of a revolution's time */
    int64_t revolutions, whole_revolutions, lost_revolutions;
    int64_t cpu_ns; /* of all real-time threads */
    int late_in_a_row; /* teeth met when the next one was due already */
    bool in_sync;
    pthread_t thread;
};

/* End the run at the next tooth; may be called by a signal's handler. */
void run_stop(void);

/* Fills digest->after; returns the digest of all its revolutions. */
uint64_t rehearse(const struct speed *speed, struct digest *digest);

/* Everything is allocated here; -1 if there is no memory. */
int run_init(struct run *run, const struct options *options, const struct speed *speed, const struct digest *digest);

/* Until the end, or until stopped. Returns 0 or what errno would be if a thread cannot be had. */
int run_all(struct run *run);
void run_free(struct run *run);

#endif
