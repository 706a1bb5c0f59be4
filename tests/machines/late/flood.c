/*
 * flood: on the board, lets a timer of the kernel's interrupt core 1 each 25 us, for 3 ms, again and again.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The beginning of struct perf_event_attr of linux/perf_event.h, which the C library of these programs does not bring. */
struct event {
    uint32_t type, size;
    uint64_t config, sample_period, sample_type, read_format, flags;
    uint32_t wakeup_events, bp_type;
    uint64_t config1;
};
enum { CPU = 1, EACH_NS = 25000, SOFTWARE = 1, CPU_CLOCK = 0, DISABLED = 1, ENABLE = 0x2400, DISABLE = 0x2401 };

int main(void)
{
    const struct event clock = {SOFTWARE, sizeof clock, CPU_CLOCK, EACH_NS, 0, 0, DISABLED, 0, 0, 0};
    const struct timespec pause = {0, 70300000}, flooded = {0, 3000000};
    FILE *limit = fopen("/proc/sys/kernel/perf_cpu_time_max_percent", "w"); /* else the kernel makes it rarer */
    if (limit == NULL || fputs("100", limit) < 0 || fclose(limit) != 0)
        return 1;
    const int event = (int)syscall(SYS_perf_event_open, &clock, -1, CPU, -1, 0);
    if (event < 0) {
        perror("perf_event_open");
        return 1;
    }
    for (;;) {
        nanosleep(&pause, NULL);
        ioctl(event, ENABLE, 0);
        nanosleep(&flooded, NULL);
        ioctl(event, DISABLE, 0);
    }
}
