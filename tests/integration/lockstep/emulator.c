/*
 * emulator: what lockstep.c is preloaded into, in small. A main loop that is woken by an event file, and the thread of the cores, which wakes it while
 * they run (as an expired timer does) and when all of them sleep. Both hold one lock except where the main loop polls, the cores run, or their thread
 * waits. Each time that it has been woken the main loop looks whether the cores run; where they sleep, it tells them to go on. As in QEMU it begins
 * when the cores' thread waits for the first time.
 *
 *   emulator ROUNDS     says how often it was woken, how often it found the cores running, and how often it told them to go on
 *   emulator 0          the cores never sleep, until SIGTERM
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go_on = PTHREAD_COND_INITIALIZER, created = PTHREAD_COND_INITIALIZER;
static int events, is_told, is_created, polls_with_lock;
static atomic_int run, over, told_to_end;
static long rounds;

int qemu_shutdown_requested_get(void)
{
    return told_to_end;
}

_Bool bql_locked(void)
{
    return polls_with_lock;
}

static void wake_main_loop(void)
{
    eventfd_write(events, 1);
}

static void end(int number)
{
    (void)number;
    told_to_end = 1;
    wake_main_loop();
}

static void spin(long ns)
{
    struct timespec from, now;
    clock_gettime(CLOCK_MONOTONIC, &from);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - from.tv_sec) * 1000000000L + now.tv_nsec - from.tv_nsec < ns);
}

static void *cores(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    is_created = 1;
    pthread_cond_signal(&created);
    for (long round = 0; (!rounds || round < rounds) && !told_to_end; round++) {
        while (!is_told && !told_to_end)
            pthread_cond_wait(&go_on, &lock);
        is_told = 0;
        pthread_mutex_unlock(&lock);
        run = 1;
        wake_main_loop();
        do
            spin(20000);
        while (!rounds && !told_to_end);
        run = 0;
        pthread_mutex_lock(&lock);
        wake_main_loop();
    }
    over = 1;
    while (!told_to_end)
        pthread_cond_wait(&go_on, &lock);
    pthread_mutex_unlock(&lock);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    eventfd_t value;
    const struct timespec moment = {0, 1000 * 1000};
    long woken = 0, found_running = 0, told = 0;
    rounds = argc == 2 ? atol(argv[1]) : 1;
    events = eventfd(0, EFD_NONBLOCK);
    signal(SIGTERM, end);
    pthread_mutex_lock(&lock);
    pthread_create(&thread, NULL, cores, NULL);
    while (!is_created)
        pthread_cond_wait(&created, &lock);
    while (!over && !told_to_end) {
        struct pollfd file = {events, POLLIN, 0};
        pthread_mutex_unlock(&lock);
        ppoll(&file, 1, told ? NULL : &moment, NULL);
        pthread_mutex_lock(&lock);
        woken++;
        eventfd_read(events, &value);
        found_running += run;
        if (!run && !is_told && !over) {
            is_told = 1;
            told++;
            pthread_cond_broadcast(&go_on);
        }
    }
    /* At its end QEMU tells the cores to go on, and polls with the lock, for which they wait. */
    pthread_cond_broadcast(&go_on);
    polls_with_lock = 1;
    ppoll(NULL, 0, &moment, NULL);
    told_to_end = 1;
    pthread_cond_broadcast(&go_on);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    printf("woken %ld, found running %ld, told %ld\n", woken, found_running, told);
    return 0;
}
