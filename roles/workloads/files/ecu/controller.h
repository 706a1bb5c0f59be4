/*
 * The controller: from the wheel's teeth to the instants at which injectors and coils switch.
 *
 * The crank turns twice per cycle; which of the two turns it is (a cam sensor's task) is known: cylinder 1 fires in even
 * revolutions, 84 degrees after tooth 0, then 3, 4 and 2, each 180 degrees later. At tooth 0, when the gap has gone by, fuel and
 * spark are computed for the two cylinders that fire in the NEXT revolution: coils charge for up to 3 ms, 162 degrees at 9000 RPM.
 *
 *   injector open    120 degrees before the compression's top dead centre, for the next intake; close: the pulse's time later
 *   spark            the advance before top dead centre;  dwell start: the dwell's angle at this speed before that
 *
 * What is due at an angle is turned into an instant as late as can be, at the last tooth that is at least 6 degrees before, by the
 * time that the wheel took for its last position(s). All of it follows from ideal instants, in integers where it can be; the same
 * code runs ahead of time (for the digest), in time, and through revolutions that were lost.
 */
#ifndef ECU_CONTROLLER_H
#define ECU_CONTROLLER_H

#include "engine.h"
#include "wheel.h"

enum kind { INJECTOR_OPEN, INJECTOR_CLOSE, DWELL_START, SPARK, KINDS };

/* One per pin: injectors by cylinder, then coils by cylinder. */
enum { OUTPUTS = 2 * CYLINDERS, MOST_PLANNED = 16, MOST_SWITCHES = 2 * MOST_PLANNED };

struct planned {
    int64_t angle_mdeg; /* since tooth 0 of revolution 0 */
    int32_t pulse_100ns;
    enum kind kind;
    int output;
};

/* An output that is to be switched. */
struct switching {
    int64_t instant_ns;  /* since the start */
    int32_t position_ns; /* the crank's time for 6 degrees: to tell lateness as an angle */
    enum kind kind;
    int output;
};

/* FNV-1a, 64 bits, of all commands and switchings; after[r] is its value at the end of revolution r. */
struct digest {
    uint64_t hash, *after;
    int64_t revolutions; /* that take part */
    bool rehearsal;      /* after[] is written, not compared */
    bool agrees;
};

struct controller {
    struct wheel wheel;
    struct engine engine;
    struct planned planned[MOST_PLANNED];
    int planned_count;
    struct switching switches[MOST_SWITCHES]; /* what the last tooth led to */
    int switch_count;
    int64_t earliest_ns[OUTPUTS];
    int64_t tooth_0_ns;    /* when the last revolution began */
    int64_t revolution_ns; /* what the last whole one took */
    int64_t computed, computing_ns; /* revolutions, and the time that this took */
    struct digest digest;
};

void controller_init(struct controller *controller, const struct speed *speed, const struct digest *digest);

/* What follows from the tooth that the wheel has come to: switches[]. */
void controller_follow(struct controller *controller);

#endif
