/*
 * Let QEMU stop this emulated machine at an instant of its own clock, so that its state can be saved and later machines can go on from there.
 *
 * QEMU's watchdog i6300esb expires at that instant. With -action watchdog=pause QEMU then stands still until it is told to continue, with
 * -action watchdog=none nothing happens. To the machine both are the same when all its cores sleep at the instant: nothing happens before,
 * QEMU's main thread moves the clock there, and stops the machine before a core goes on. Whoever saves the state looks whether they sleep
 * (rtvirt_runner.machine.sleeping). Registers: Intel 6300ESB I/O Controller Hub Datasheet, chapter 16.
 * Exit status: 0, or 1 with a sentence.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { CONFIG = 0x60, LOCK = 0x68, TIMER_1 = 0x00, TIMER_2 = 0x04, RELOAD = 0x0c, PAGE = 4096 };
/* Of the configuration: no interrupt when timer 1 expires, about a millisecond for a tick, reset when timer 2 expires. */
static const uint16_t no_interrupt = 3;
static const uint8_t enabled = 1 << 1;
static const uint32_t ticks = 250; /* of either timer: the machine is to be asleep by then */

static int holds(const char *folder, const char *name, const char *wanted)
{
    char path[256], found[16] = "";
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "r");
    if (file == NULL)
        return 0;
    if (fgets(found, sizeof found, file) == NULL)
        found[0] = '\0';
    fclose(file);
    return strncmp(found, wanted, strlen(wanted)) == 0;
}

static int write_text(const char *folder, const char *name, const char *text)
{
    char path[256];
    FILE *file;
    int written;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "w");
    if (file == NULL)
        return 0;
    written = fputs(text, file) != EOF;
    return fclose(file) == 0 && written;
}

static volatile unsigned char *map_registers(const char *folder)
{
    char path[256];
    unsigned char *mapped = MAP_FAILED;
    unsigned long start;
    FILE *resource;
    int file, found;

    snprintf(path, sizeof path, "%s/resource", folder);
    resource = fopen(path, "r");
    if (resource == NULL)
        return NULL;
    found = fscanf(resource, "%lx", &start);
    fclose(resource);
    if (found != 1)
        return NULL;
    snprintf(path, sizeof path, "%s/resource0", folder);
    file = open(path, O_RDWR | O_SYNC);
    if (file >= 0) {
        mapped = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
    }
    return mapped == MAP_FAILED ? NULL : mapped + start % PAGE;
}

static void load(volatile unsigned char *registers, unsigned timer)
{
    /* Each write to a timer has to be unlocked. */
    *(volatile uint16_t *)(registers + RELOAD) = 0x80;
    *(volatile uint16_t *)(registers + RELOAD) = 0x86;
    *(volatile uint32_t *)(registers + timer) = ticks;
}

static int start_watchdog(const char *folder)
{
    const char *name = strrchr(folder, '/') + 1;
    volatile unsigned char *registers;
    char path[256];
    int config, started;

    write_text(folder, "driver/unbind", name); /* of a kernel that has one built in */
    registers = write_text(folder, "enable", "1") ? map_registers(folder) : NULL;
    snprintf(path, sizeof path, "%s/config", folder);
    config = open(path, O_RDWR);
    if (registers == NULL || config < 0)
        return 0;
    load(registers, TIMER_1);
    load(registers, TIMER_2);
    started = pwrite(config, &no_interrupt, sizeof no_interrupt, CONFIG) == sizeof no_interrupt
        && pwrite(config, &enabled, sizeof enabled, LOCK) == sizeof enabled;
    close(config);
    return started;
}

int main(void)
{
    const struct timespec until_it_has_expired = {1, 0};
    glob_t devices;

    if (glob("/sys/bus/pci/devices/*", 0, NULL, &devices) == 0) {
        for (size_t i = 0; i < devices.gl_pathc; i++) {
            const char *folder = devices.gl_pathv[i];

            if (!holds(folder, "vendor", "0x8086") || !holds(folder, "device", "0x25ab"))
                continue;
            if (!start_watchdog(folder)) {
                perror("save_point: the watchdog cannot be started");
                return 1;
            }
            nanosleep(&until_it_has_expired, NULL);
            return 0;
        }
    }
    fputs("save_point: this machine has no watchdog i6300esb\n", stderr);
    return 1;
}
