/* The outputs' threads: see outputs.h. */
#define _POSIX_C_SOURCE 200809L
#include "outputs.h"
#include "realtime.h"

#include <errno.h>

static void wait_until_armed(struct output *output)
{
    while (sem_wait(&output->armed) == -1 && errno == EINTR)
        ;
}

static void *serve(void *argument)
{
    struct output *output = argument;
    for (;;) {
        wait_until_armed(output);
        if (output->begin == __atomic_load_n(&output->end, __ATOMIC_ACQUIRE))
            break; /* woken for nothing: the end */
        const struct switching *due = &output->ring[output->begin % RING];
        int64_t due_ns = *output->start_ns + due->instant_ns;
        int64_t late_ns = sleep_until(due_ns) - due_ns;
        /* Here the pin would be switched. */
        lateness_add(&output->lateness[due->kind % KINDS_PER_OUTPUT], due->instant_ns, late_ns, due->position_ns);
        __atomic_store_n(&output->begin, output->begin + 1, __ATOMIC_RELEASE);
    }
    output->cpu_ns = thread_cpu_ns();
    return NULL;
}

int output_start(struct output *output, int priority, const int64_t *start_ns)
{
    output->start_ns = start_ns;
    if (sem_init(&output->armed, 0, 0) == -1)
        return errno;
    return start_thread(&output->thread, priority, serve, output);
}

bool output_arm(struct output *output, const struct switching *switching)
{
    if (output->end - __atomic_load_n(&output->begin, __ATOMIC_ACQUIRE) == RING)
        return false;
    output->ring[output->end % RING] = *switching;
    __atomic_store_n(&output->end, output->end + 1, __ATOMIC_RELEASE);
    sem_post(&output->armed);
    return true;
}

void output_finish(struct output *output)
{
    sem_post(&output->armed);
    pthread_join(output->thread, NULL);
    sem_destroy(&output->armed);
}
